// Holds answers whose events are taken by their bytes against the same ones parsed: whatever comes in whatever order, however
// the network cut it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { TokenEvent } from '../../core/chat.ts';
import {
  CALL,
  choice,
  DONE,
  delta,
  ended,
  event,
  type How,
  head,
  open,
  playReads,
  TOOL,
  text,
  usage,
} from './openai-testing.ts';

const WHO = delta({ role: 'assistant', content: '' });

/** What a server may say with a word, in events that differ in nothing else. */
const SHAPES: readonly ((word: string) => string)[] = [
  (word) => text(word),
  (word) => delta({ reasoning: word }),
  (word) => delta({ reasoning_content: word, content: null }),
  (word) => text(word, 1),
  (word) => choice({ text: word }),
  (word) => delta({ content: word, reasoning_content: word }),
  (word) => delta({ content: word, reasoning: 'a thought' }),
  (word) => delta({ content: 'a text', reasoning: word }),
  (word) => delta({ content: word, refusal: 'never' }),
  (word) => delta({ content: 'a text', refusal: word }),
  (word) => delta({ content: word, tool_calls: [CALL] }),
  (word) => delta({ content: word, function_call: CALL.function }),
  (word) => delta({ tool_calls: [{ index: 0, function: { arguments: word } }] }),
  (word) => choice({ message: { content: word } }),
  (word) => choice({ delta: { content: word }, finish_reason: 'length' }),
  (word) => choice({ delta: { content: word }, stop_reason: 'END', finish_reason: 'stop' }),
  (word) => choice({ delta: { content: word }, matched_stop: 'aa', finish_reason: 'stop' }),
  (word) => choice({ delta: { content: word }, logprobs: { content: [{ token: word, logprob: -1 }] } }),
  (word) => choice({ delta: { content: word }, logprobs: { content: [{ token: 'one', logprob: -1 }] } }),
  (word) => choice({ delta: { content: word }, usage: usage(3, 4) }),
  (word) => event({ ...head, choices: [{ delta: { content: word } }], usage: usage(1, 2) }),
  (word) => event({ ...head, created: 2, choices: [{ index: 0, delta: { content: word } }] }),
  (word) =>
    event({ ...head, choices: [{ delta: { content: word } }, { index: 1, delta: { content: 'b' } }] }),
  (word) => event({ error: { message: word, code: 503 } }),
  (word) => `event: message\n${text(word)}`,
  (word) => `event: other\n${text(word)}`,
  (word) => `event: error\n${text(word)}`,
  (word) => `: ping\n\n${text(word)}`,
  (word) => `data: {"choices":[{"index":0,\ndata: "delta":{"content":"${word}"}}]}\n\n`,
  (word) => text(word).replaceAll('\n', '\r\n'),
  (word) => text(word).replaceAll('\n', '\r'),
  (word) => text(word).replace('data: ', 'data:'),
  () => `data: {"choices":\n\n`,
  () => ended('stop'),
  () => ended('stop', 1),
  () => DONE,
];
const words = fc.constantFrom(
  ...['a', ' be', '量子', '😀', 'EN', 'D', '<', 'think>', '</', 'id', 'index', '', 'END'],
  ...['\n', 'a "quote"', '\ud83d', '\ude00'],
);
/** A few words in a shape: mostly the next word comes in the same one. */
const said = fc
  .tuple(fc.constantFrom(SHAPES[0]!, SHAPES[1]!, ...SHAPES), fc.array(words, { minLength: 1, maxLength: 5 }))
  .map(([shape, all]) => all.map(shape));

const hows = fc.constantFrom<How>(
  {},
  { request: { choices: 2 } },
  { request: { stop: ['END', 'aa'] } },
  { request: { logprobs: 1 } },
  { traits: { thinkTags: true, beginsInReasoning: true } },
  { traits: { thinkTags: true, toolMarkup: 'qwen' }, request: { tools: [TOOL] } },
);

interface Outcome {
  /** What was pushed before a failure is seen too. */
  readonly events: readonly TokenEvent[];
  readonly thrown: string | undefined;
}

function outcomeOf(reads: readonly Buffer[], how: How): Outcome {
  const events: TokenEvent[] = [];
  try {
    playReads(reads, { ...how, more: { sink: (pushed) => events.push(pushed) } });
    return { events, thrown: undefined };
  } catch (thrown) {
    return { events, thrown: String(thrown) };
  }
}

/** As the server wrote them, or in pieces of `size`. */
function readsOf(events: readonly string[], size: number | undefined): Buffer[] {
  if (size === undefined) return events.map((one) => Buffer.from(one));
  const stream = Buffer.from(events.join(''));
  const count = Math.ceil(stream.length / size);
  return Array.from({ length: count }, (_, index) => stream.subarray(index * size, (index + 1) * size));
}

test('an answer is the same, whether its events are taken by their bytes or parsed', () => {
  const sizes = fc.option(fc.integer({ min: 1, max: 900 }), { nil: undefined, freq: 1 });
  fc.assert(
    fc.property(fc.array(said, { maxLength: 8 }), hows, sizes, (all, how, size) => {
      const reads = readsOf([WHO, ...all.flat()], size);
      assert.deepEqual(outcomeOf(reads, how), outcomeOf(reads, { ...how, parsesAll: true }));
    }),
    { numRuns: 5_000 },
  );
});

/** How many of the events are taken by their bytes, each in a read of its own. */
function knownOf(stream: readonly string[]): number {
  const { answer } = open({ request: { choices: 2 } });
  let known = 0;
  for (const one of stream) {
    const bytes = Buffer.from(one);
    if (answer.known(bytes, 0) === bytes.length) known += 1;
    else answer.data(one.slice('data: '.length).trimEnd());
  }
  return known;
}

test('all but the first of many texts are taken by their bytes', () => {
  const texts = Array.from({ length: 50 }, (_, index) => text(`word ${index} `));
  assert.equal(knownOf([WHO, ...texts, ended('stop')]), 49);
  const thoughts = texts.map((_, index) => delta({ reasoning_content: `thought ${index}`, content: null }));
  assert.equal(knownOf([WHO, ...thoughts, ...texts]), 98);
});

test('a text with an escape does not make the next one unknown', () => {
  const texts = Array.from({ length: 50 }, (_, index) => text(index % 5 === 2 ? 'a\nb' : `word ${index} `));
  assert.equal(knownOf([WHO, ...texts]), 39);
});

test('a time that changes once in a while is learnt anew, one in each event is not tried for ever', () => {
  const at = (created: number): string =>
    event({ ...head, created, choices: [{ index: 0, delta: { content: 'word' } }] });
  assert.equal(knownOf(Array.from({ length: 60 }, (_, index) => at(Math.floor(index / 10)))), 54);
  const { answer } = open();
  for (let created = 0; created < 20; created += 1) answer.data(at(created).slice('data: '.length).trimEnd());
  const bytes = Buffer.from(at(19));
  assert.equal(answer.known(bytes, 0), 0);
});
