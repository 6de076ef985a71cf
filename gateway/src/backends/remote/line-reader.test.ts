// Lines come out whole, once and in order, however their bytes were cut.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { GatewayError } from '../../core/errors.ts';
import { HeldBytes } from './held-bytes.ts';
import { LineReader } from './line-reader.ts';

function read(bytes: Uint8Array, sizes: readonly number[], maxLineBytes = 1_000_000): string[] {
  const lines: string[] = [];
  const reader = new LineReader({ onLine: (line) => lines.push(line), maxLineBytes });
  for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
    const size = Math.max(1, sizes[turn % sizes.length]!);
    reader.push(bytes.subarray(at, at + size));
    at += size;
  }
  reader.end();
  return lines;
}

const encode = (text: string) => new TextEncoder().encode(text);

test('lines at every pair of cuts: a mark, blank lines, both line ends, the last without one', () => {
  const bytes = encode('\ufeff{"a":"Über"}\n\n \r\n{"b":"水😀"}\r\n{"c":1}');
  const lines = ['{"a":"Über"}', '{"b":"水😀"}\r', '{"c":1}'];
  for (let a = 0; a <= bytes.length; a += 1) {
    for (let b = a; b <= bytes.length; b += 1) {
      assert.deepEqual(read(bytes, [a, b - a, bytes.length]), lines, `cut at ${a} and ${b}`);
    }
  }
  assert.deepEqual(read(bytes, [1]), lines);
});

test('any lines, cut in any way', () => {
  const words = fc.constantFrom('\n', '\r\n', '\n\n', 'a', ' ', '量', '😀', '\u2028', '{}');
  fc.assert(
    fc.property(fc.array(words), fc.array(fc.nat(7), { minLength: 1 }), (all, sizes) => {
      const text = all.join('');
      const lines = text.split('\n').filter((line) => line.trim() !== '');
      assert.deepEqual(read(encode(text), sizes), lines);
    }),
    { numRuns: 2_000 },
  );
});

test('a line past its bound is refused, with an end or without, and the cut does not matter', () => {
  for (const sizes of [[1], [7], [5_000]]) {
    assert.equal(read(encode(`${'x'.repeat(100)}\n`.repeat(5)), sizes, 100).length, 5);
    for (const text of [`${'x'.repeat(101)}\n`, 'x'.repeat(101), `a\n${'x'.repeat(101)}`]) {
      assert.throws(
        () => read(encode(text), sizes, 100),
        (thrown: unknown) =>
          thrown instanceof GatewayError &&
          thrown.code === 'backend_failed' &&
          thrown.message === 'The back end sent a line of more than 100 bytes.',
      );
    }
  }
});

test('held bytes come back as they went in, many times over', () => {
  fc.assert(
    fc.property(fc.array(fc.array(fc.nat(9_000), { maxLength: 6 }), { maxLength: 5 }), (rounds) => {
      const held = new HeldBytes();
      let next = 0;
      for (const sizes of rounds) {
        const pieces = sizes.map((size) => Buffer.alloc(size + 2, next++ % 251));
        for (const piece of pieces) held.append(piece, 1, piece.length - 1);
        const all = Buffer.concat(pieces.map((piece) => piece.subarray(1, -1)));
        assert.equal(held.length, all.length);
        assert.ok(held.take().equals(all));
        assert.equal(held.length, 0);
      }
    }),
  );
});
