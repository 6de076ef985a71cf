// Guards what later readers are given of an answer: the same to every reader as the pieces were, in fewer of them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { TokenEvent, TokenLogprob } from '../core/chat.ts';
import { AnswerFold } from './partial.ts';
import { Recording } from './recording.ts';
import { bytesOf } from './stream-log.ts';

const text = (words: string, choice = 0): TokenEvent => ({ type: 'text-delta', choice, text: words });
const END: TokenEvent = { type: 'choice-end', choice: 0, reason: 'stop' };

function recordingOf(events: readonly TokenEvent[]): Recording {
  const recording = new Recording();
  for (const event of events) recording.add(event);
  return recording;
}

/** What a reader makes of the events, but for what only back ends use. */
function readOf(events: readonly TokenEvent[]) {
  const fold = new AnswerFold();
  for (const event of events) fold.add(event);
  return fold.answer().choices.map(({ text: words, reasoning, toolCalls, logprobs, reason }) => ({
    words,
    reasoning,
    toolCalls,
    logprobs,
    reason,
  }));
}

const logprob = fc.record({
  token: fc.string({ maxLength: 3 }),
  logprob: fc.constant(-1),
  offset: fc.nat(9),
  top: fc.constant([]),
}) satisfies fc.Arbitrary<TokenLogprob>;
const choice = fc.nat(1);
const words = fc.string({ unit: 'grapheme', maxLength: 6 });
const tokens = fc.option(fc.array(fc.nat(9), { maxLength: 2 }), { nil: undefined });
const event: fc.Arbitrary<TokenEvent> = fc.oneof(
  fc.record({
    type: fc.constant('text-delta' as const),
    choice,
    text: words,
    tokens,
    logprobs: fc.option(fc.array(logprob, { maxLength: 40 }), { nil: undefined }),
  }),
  fc.record({ type: fc.constant('reasoning-delta' as const), choice, text: words, tokens }),
  fc.record({
    type: fc.constant('tool-call-delta' as const),
    choice,
    index: fc.nat(1),
    id: fc.option(fc.constant('id'), { nil: undefined }),
    name: fc.option(fc.constant('f'), { nil: undefined }),
    arguments: words,
  }),
  fc.record({
    type: fc.constant('choice-end' as const),
    choice,
    reason: fc.constantFrom('stop' as const, 'length' as const),
  }),
);

test('a reader makes the same of it as of the pieces, and no piece bears ids', () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 60 }), (events) => {
      const { events: kept } = recordingOf(events);
      assert.deepEqual(readOf(kept!), readOf(events));
      assert.ok(kept!.length <= events.length);
      assert.ok(kept!.every((one) => !('tokens' in one) || one.tokens === undefined));
    }),
  );
});

test('its memory is that of what it keeps', () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 60 }), (events) => {
      const { events: kept, bytes } = recordingOf(events);
      assert.equal(
        bytes,
        kept!.reduce((sum, one) => sum + bytesOf(one), 0),
      );
    }),
  );
});

test('probabilities that were asked for and are none stay told as none', () => {
  const { events } = recordingOf([{ type: 'text-delta', choice: 0, text: 'a', logprobs: [] }, text('b')]);
  assert.deepEqual(readOf(events!)[0]!.logprobs, []);
});

test('pieces of one text become one, up to a size', () => {
  const { events } = recordingOf([text('a'), text('b'), text('c'), END]);
  assert.deepEqual(
    events!.map((one) => ('text' in one ? one.text : one.type)),
    ['abc', 'choice-end'],
  );
  const long = recordingOf(Array.from({ length: 100 }, () => text('x'.repeat(100))));
  assert.equal(long.events?.length, 3);
});

test('who announced itself and said nothing is not who speaks; who goes on announces itself to nobody', () => {
  const recording = recordingOf([{ type: 'start', speaker: 'silent' }]);
  assert.equal(recording.hasWords, false);
  recording.add({ type: 'start', speaker: 'speaks' });
  recording.add(text('one'));
  recording.add({ type: 'start', speaker: 'goes on' });
  recording.add(text(' two'));
  assert.equal(recording.hasWords, true);
  assert.deepEqual(recording.events?.[0], { type: 'start', speaker: 'speaks' });
  assert.equal(recording.events?.length, 2);
});

test('what no reader could be given at once is not held', () => {
  const recording = recordingOf([{ type: 'start', speaker: 'mad' }]);
  const piece = text('x'.repeat(4_096));
  for (let count = 0; count < 400; count += 1) recording.add(piece);
  assert.ok(recording.events);
  for (let count = 0; count < 400; count += 1) recording.add(piece);
  assert.deepEqual([recording.events, recording.bytes, recording.hasWords], [undefined, 0, true]);
});
