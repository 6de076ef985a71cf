// Guards the short way through a stream's events: whatever a server writes, and in whatever way, what is read is what it wrote; and
// where it writes the same around each text, nothing is parsed any more.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readChoices } from './answer-testing.ts';
import { DONE, ended, open, play, text } from './openai-testing.ts';
import { type PlainPiece, TextFrame } from './text-frame.ts';

const piece = (words: string): PlainPiece => ({ kind: 'text', choice: 0, text: words });

/** A frame over events that are `{"a": …}`, and how often one was parsed. */
function frameOfA() {
  const parsed: string[] = [];
  const frame = new TextFrame((event) => {
    parsed.push(event);
    const { a } = JSON.parse(event);
    return typeof a === 'string' ? piece(a) : undefined;
  });
  return { frame, parsed };
}

test('a frame holds for every plain text, and for nothing else', () => {
  const { frame } = frameOfA();
  assert.equal(frame.pieceIn('{"id":1,"a":"x","b":null}'), undefined);
  frame.learn('{"id":1,"a":"x","b":null}', piece('x'));
  for (const words of ['y', ' two words', '北京', '🌍', "'", '}{', 'x","b":0'.replaceAll('"', "'")])
    assert.deepEqual(frame.pieceIn(`{"id":1,"a":"${words}","b":null}`), piece(words));
  for (const event of [
    '{"id":1,"a":"","b":null}',
    '{"id":1,"a":"\\n","b":null}',
    '{"id":1,"a":"x","c":"y","b":null}',
    '{"id":1,"a":"\n","b":null}',
    '{"id":2,"a":"x","b":null}',
    '{"id":1,"a":"x","b":null,"c":1}',
    '{"id":1,"a":"x","b":null',
    '{"id":1,"a":","b":null}',
    '{"id":1,"a":"',
    '',
  ])
    assert.equal(frame.pieceIn(event), undefined, event);
});

test('what only looks like the text is no frame', () => {
  for (const event of [
    '{"a":"x","b":"x"}',
    '{"a":"x","\\u0061":"x","b":"x"}',
    '{"a":"\\u0078"}',
    '{"a":"x","c":{"a":"x"}}',
  ]) {
    const { frame } = frameOfA();
    frame.learn(event, piece('x'));
    const other = event.replace(/"x"(?!.*"x")/, '"y"');
    if (other !== event) assert.equal(frame.pieceIn(other), undefined, event);
  }
});

test('of a server that writes something else around each text nothing is learnt for ever', () => {
  const { frame, parsed } = frameOfA();
  for (let id = 0; id < 100; id += 1) {
    const event = `{"id":${id},"a":"x"}`;
    assert.equal(frame.pieceIn(event), undefined);
    frame.learn(event, piece('x'));
  }
  assert.ok(parsed.length < 10, `${parsed.length}`);
});

test('a frame that changes now and then is learnt each time', () => {
  const { frame, parsed } = frameOfA();
  let hits = 0;
  for (let at = 0; at < 100; at += 1) {
    const event = `{"created":${Math.floor(at / 10)},"a":"x${at}"}`;
    const found = frame.pieceIn(event);
    if (found) hits += 1;
    else frame.learn(event, piece(`x${at}`));
  }
  assert.deepEqual([hits, parsed.length], [90, 10]);
});

test('any stream is read as it was written, the short way or the long', () => {
  const words = fc.oneof(
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 8 }),
    fc.constantFrom('a', '"', '\\', '\n', 'content', 'null', '","content":"', '\u2028', '</think>'),
  );
  const said = fc.record({
    text: words,
    field: fc.constantFrom('content', 'content', 'content', 'reasoning_content', 'reasoning'),
    created: fc.constantFrom(1, 1, 1, 2),
    more: fc.constantFrom(undefined, undefined, { usage: { completion_tokens: 1 } }, { logprobs: null }),
    twice: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(said, { minLength: 1, maxLength: 20 }), fc.boolean(), (events, isSpaced) => {
      const written = events.map(({ text: piece, field, created, more, twice }) => {
        const choice = { index: 0, delta: { [field]: piece }, finish_reason: null };
        const line = JSON.stringify({ id: piece, created, choices: [choice], ...more });
        const repeated = twice ? line.replace('"choices"', '"choices":[],"choices"') : line;
        return `data: ${isSpaced ? repeated.replaceAll('":', '": ') : repeated}\n\n`;
      });
      // A space behind a colon may stand in a text too.
      const shown = (one: string) => (isSpaced ? one.replaceAll('":', '": ') : one);
      const [read] = readChoices(play(Buffer.from(written.join('') + ended('stop') + DONE)));
      const all = (isAnswer: boolean) =>
        events
          .filter(({ field }) => (field === 'content') === isAnswer)
          .map(({ text: piece }) => shown(piece))
          .join('');
      assert.equal(read!.text, all(true));
      assert.equal(read!.reasoning, all(false));
    }),
  );
});

test('a stop string ends an answer also where it comes in a frame', () => {
  const { answer } = open({ request: { stop: ['END'] } });
  for (const one of ['a', 'b', 'c', 'EN', 'D', 'more']) answer.data(text(one).slice('data: '.length).trim());
  assert.deepEqual([answer.isOver, answer.isStopped], [true, true]);
});
