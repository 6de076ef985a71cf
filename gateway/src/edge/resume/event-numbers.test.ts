import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { EventNumbers, parseEventId } from './event-numbers.ts';

const SSE = 'text/event-stream; charset=utf-8';
const NDJSON = 'application/x-ndjson';

/** The text in pieces, cut at these places. */
function cutAt(text: string, places: readonly number[]): string[] {
  const cuts = [...new Set(places.map((place) => place % (text.length + 1)))].sort((a, b) => a - b);
  return [0, ...cuts].map((from, index) => text.slice(from, cuts[index] ?? text.length));
}

const places = fc.array(fc.nat(10_000), { maxLength: 20 });
const line = fc.string({ unit: 'grapheme' }).map((text) => JSON.stringify({ text }));

test('an event of a stream has its number on a line of its own before it', () => {
  const numbers = new EventNumbers('s', SSE);
  assert.deepEqual(numbers.take('data: {"a":1}\n\nevent: b\ndata: {}\n\n'), [
    'id: s:1\ndata: {"a":1}\n\n',
    'id: s:2\nevent: b\ndata: {}\n\n',
  ]);
  assert.deepEqual(numbers.take('data: [DONE]\n\n'), ['id: s:3\ndata: [DONE]\n\n']);
});

test('an object on a line has its number as its first member', () => {
  const numbers = new EventNumbers('s', NDJSON);
  assert.deepEqual(numbers.take('{"a":1}\n{}\n'), ['{"event_id":"s:1","a":1}\n', '{"event_id":"s:2"}\n']);
});

test('wherever what a codec writes is cut, the same events come of it', () => {
  const data = fc.array(line, { minLength: 1, maxLength: 12 });
  fc.assert(
    fc.property(data, places, fc.boolean(), (lines, cuts, isSse) => {
      const type = isSse ? SSE : NDJSON;
      const text = lines.map((one) => (isSse ? `data: ${one}\n\n` : `${one}\n`)).join('');
      const whole = new EventNumbers('s', type).take(text);
      const numbers = new EventNumbers('s', type);
      const inPieces = cutAt(text, cuts).flatMap((piece) => numbers.take(piece));
      assert.deepEqual(inPieces, whole);
      assert.equal(whole.length, lines.length);
    }),
  );
});

test('without their numbers the events are what the codec wrote', () => {
  fc.assert(
    fc.property(fc.array(line, { maxLength: 12 }), (lines) => {
      const text = lines.map((one) => `${one}\n`).join('');
      const numbered = new EventNumbers('s', NDJSON).take(text).join('');
      assert.equal(numbered.replace(/^\{"event_id":"s:\d+",?/gm, '{'), text);
      for (const one of numbered.split('\n').slice(0, -1)) assert.match(JSON.parse(one).event_id, /^s:\d+$/);
    }),
  );
});

test('an id is read as it was written, and nothing else is one', () => {
  assert.deepEqual(parseEventId('abc-_9:17'), { stream: 'abc-_9', number: 17 });
  for (const text of ['', ':', 'abc', 'abc:', ':1', 'abc:-1', 'abc:1.5', 'a b:1', 'abc:1 ', 'abc:1:2', 'abc:9999999999999999'])
    assert.equal(parseEventId(text), undefined, text);
});
