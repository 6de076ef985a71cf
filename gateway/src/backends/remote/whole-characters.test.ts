// Halves of characters find each other, and what finds no other half is U+FFFD.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { WholeCharacters } from './whole-characters.ts';

function read(pieces: readonly string[]): string {
  const characters = new WholeCharacters();
  const given = pieces.map((piece) => characters.push(piece));
  for (const piece of given) assert.ok(piece.isWellFormed());
  return given.join('') + characters.flush();
}

test('a text cut at any place, characters included, is whole again', () => {
  const units = fc.string({ unit: fc.constantFrom('a', '量', '😀', '\ud83d', '\ude00'), maxLength: 12 });
  fc.assert(
    fc.property(units, fc.array(fc.nat(3)), (text, sizes) => {
      const pieces: string[] = [];
      let at = 0;
      for (const size of sizes) {
        pieces.push(text.slice(at, at + size));
        at += size;
      }
      pieces.push(text.slice(at));
      assert.equal(read(pieces), text.toWellFormed());
    }),
    { numRuns: 2_000 },
  );
});

test('only half a character is held', () => {
  const characters = new WholeCharacters();
  assert.equal(characters.push('a\ud83d'), 'a');
  assert.equal(characters.push('\ude00b'), '😀b');
  assert.equal(characters.push('\ud83d'), '');
  assert.equal(characters.push('x'), '\ufffdx');
  assert.equal(characters.flush(), '');
});
