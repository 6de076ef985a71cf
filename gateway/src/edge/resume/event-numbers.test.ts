// Guards the ids by which clients come again: whole events only, however they were written, and nothing else is changed.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { EventNumbers, parseEventId, readEvents } from './event-numbers.ts';

const SSE = 'text/event-stream; charset=utf-8';
const NDJSON = 'application/x-ndjson';

/** What is written, cut anywhere. */
function cutInto(text: string, cuts: readonly number[]): string[] {
  const places = [...cuts.map((cut) => cut % (text.length + 1)), 0, text.length].sort((a, b) => a - b);
  return places.slice(1).map((end, index) => text.slice(places[index], end));
}

test('a server-sent event has its id before all else, the end mark too', () => {
  const numbers = new EventNumbers('s', SSE);
  assert.deepEqual(numbers.take('data: {"a":1}\n\nevent: x\ndata: {}\n\n'), [
    'id: s:1\ndata: {"a":1}\n\n',
    'id: s:2\nevent: x\ndata: {}\n\n',
  ]);
  assert.deepEqual(numbers.take('data: [DONE]\n\n'), ['id: s:3\ndata: [DONE]\n\n']);
});

test('an object on a line has its id as its first member; an empty line stays empty', () => {
  const numbers = new EventNumbers('s', NDJSON);
  assert.deepEqual(numbers.take('{"a":1}\n\n{}\n'), [
    '{"event_id":"s:1","a":1}\n',
    '\n',
    '{"event_id":"s:3"}\n',
  ]);
});

test('events come out whole and in order wherever their text is cut', () => {
  const words = fc.array(
    fc.string({ unit: 'grapheme' }).filter((word) => !word.includes('\n')),
    { minLength: 1 },
  );
  fc.assert(
    fc.property(words, fc.array(fc.nat()), fc.boolean(), (texts, cuts, isSse) => {
      const written = texts.map((text) => (isSse ? `data: ${text}\n\n` : `${JSON.stringify({ text })}\n`));
      const numbers = new EventNumbers('s', isSse ? SSE : NDJSON);
      const events = cutInto(written.join(''), cuts).flatMap((piece) => numbers.take(piece));
      assert.deepEqual(
        events,
        written.map((event, index) =>
          isSse ? `id: s:${index + 1}\n${event}` : event.replace('{', `{"event_id":"s:${index + 1}",`),
        ),
      );
    }),
  );
});

test('an id is read as it was written, and nothing else is one', () => {
  assert.deepEqual(parseEventId('a-_Z09:12'), { stream: 'a-_Z09', number: 12 });
  for (const text of [
    '',
    'a',
    ':1',
    'a:',
    'a:-1',
    'a:1.5',
    'a:1e3',
    'a b:1',
    'a:1 ',
    'a:1:2',
    `a:${'9'.repeat(16)}`,
    `${'a'.repeat(65)}:1`,
  ]) {
    assert.equal(parseEventId(text), undefined, text);
  }
});

test('what was numbered is read back as it was, with its number, and what says nothing is left out', () => {
  const objects = fc.array(fc.dictionary(fc.string(), fc.string({ unit: 'grapheme' })), { maxLength: 8 });
  for (const contentType of [SSE, 'application/x-ndjson']) {
    const isSse = contentType === SSE;
    const written = (data: string, index: number) => {
      if (!isSse) return index % 3 === 2 ? `\n${data}\n` : `${data}\n`;
      return index % 3 === 2 ? `event: some_name\ndata: ${data}\n\n` : `data: ${data}\n\n`;
    };
    fc.assert(
      fc.property(objects, (values) => {
        const texts = values.map((value) => JSON.stringify(value));
        const plain = texts.map(written).join('');
        const numbered = new EventNumbers('s', contentType).take(plain).join('');
        const read = readEvents(numbered, contentType);
        assert.deepEqual(
          read.map(({ data }) => data),
          texts,
        );
        assert.ok(read.every(({ number }, at) => number! > (read[at - 1]?.number ?? 0)));
        assert.deepEqual(
          readEvents(plain, contentType),
          texts.map((data) => ({ number: undefined, data })),
        );
      }),
    );
  }
});
