// Guards that a value's end is seen with its last character and never sooner, however it was cut.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { JsonEnd } from './json-end.ts';

function reachedAfter(pieces: readonly string[]): number {
  const end = new JsonEnd();
  return (
    1 +
    pieces.findIndex((piece) => {
      end.push(piece);
      return end.isReached;
    })
  );
}

const list = fc.array(fc.jsonValue());
const object = fc.dictionary(fc.string(), fc.jsonValue());

test('an object or a list ends with its last character', () => {
  fc.assert(
    fc.property(fc.oneof(list, object), fc.constantFrom(undefined, 1), (value, indent) => {
      const text = ` ${JSON.stringify(value, undefined, indent)}`;
      assert.equal(reachedAfter([...text]), [...text].length);
    }),
  );
});

test('brackets and quotes in a text are text', () => {
  const text = JSON.stringify({ a: '}"]\\', '{': ['\\"}'] });
  for (let cut = 1; cut < text.length; cut += 1) {
    assert.equal(reachedAfter([text.slice(0, cut), text.slice(cut)]), 2);
  }
});

test('nothing, and what has no brackets, has no end', () => {
  for (const text of ['', ' ', 'null', '12', '"a"']) assert.equal(reachedAfter([text]), 0);
});
