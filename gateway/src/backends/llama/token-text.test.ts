// Checks token-text.ts: a token's bytes are those of its vocabulary's entry, in both ways that vocabularies write them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { singleToken } from './token-text.ts';

test('a token of whole characters is its text', () => {
  assert.deepEqual(singleToken(' the', 'Ġthe'), { token: ' the' });
  assert.deepEqual(singleToken('<0x41>', '<0x41>'), { token: '<0x41>' });
});

test('a part of a character has its bytes, from byte-level entries and from those for one byte', () => {
  assert.deepEqual(singleToken('\uFFFD', 'ðŁ'), { token: '\uFFFD', bytes: [0xf0, 0x9f] });
  assert.deepEqual(singleToken(' \uFFFD', 'ĠðŁĺ'), { token: ' \uFFFD', bytes: [0x20, 0xf0, 0x9f, 0x98] });
  assert.deepEqual(singleToken('\uFFFD', '<0xE4>'), { token: '\uFFFD', bytes: [0xe4] });
});

test('every byte has a character of its own, and what is no such character stands for itself', () => {
  // As the table is defined: 188 bytes print, the other 68 follow from U+0100 on.
  const prints = (byte: number) =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 255 && byte !== 173);
  const unprinted = Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => !prints(byte));
  assert.equal(unprinted.length, 68);
  const written = (byte: number) =>
    String.fromCodePoint(prints(byte) ? byte : 0x100 + unprinted.indexOf(byte));
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 9 }), (bytes) => {
      const entry = [...bytes].map(written).join('');
      assert.deepEqual(singleToken('\uFFFD', entry).bytes, [...bytes]);
    }),
  );
  assert.deepEqual(singleToken('中\uFFFD', '中').bytes, [...Buffer.from('中')]);
});
