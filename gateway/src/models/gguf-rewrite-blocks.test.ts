// The conversion of blocks against values worked out by hand from the two formats' definitions, and its error's bound.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BLOCK_VALUES, Q4_1_BLOCK_BYTES, Q8_0_BLOCK_BYTES, rewriteBlocks } from './gguf-rewrite-blocks.ts';

interface Block {
  /** As the bits of a float16. */
  readonly step: number;
  readonly least: number;
  /** 32 of 0 to 15. */
  readonly numbers: readonly number[];
}

function q4Block({ step, least, numbers }: Block): Buffer {
  const bytes = Buffer.alloc(Q4_1_BLOCK_BYTES);
  bytes.writeUInt16LE(step, 0);
  bytes.writeUInt16LE(least, 2);
  for (let index = 0; index < 16; index += 1)
    bytes[4 + index] = numbers[index]! | (numbers[index + 16]! << 4);
  return bytes;
}

function converted(blocks: readonly Block[]): { step: number; numbers: number[] }[] {
  const target = Buffer.alloc(blocks.length * Q8_0_BLOCK_BYTES, 0xaa);
  assert.ok(rewriteBlocks(Buffer.concat(blocks.map(q4Block)), target));
  return blocks.map((_, index) => {
    const block = target.subarray(index * Q8_0_BLOCK_BYTES, (index + 1) * Q8_0_BLOCK_BYTES);
    return { step: block.readUInt16LE(0), numbers: [...new Int8Array(block.subarray(2))] };
  });
}

const all = (number: number) => Array<number>(BLOCK_VALUES).fill(number);
const first = (numbers: readonly number[]) => [...numbers, ...all(15)].slice(0, BLOCK_VALUES);

const CASES: readonly [name: string, block: Block, step: number, numbers: readonly number[]][] = [
  ['nothing but zeros', { step: 0, least: 0, numbers: all(9) }, 0, all(0)],
  // -2 everywhere: the step is 2/127 = 1.00787 * 2^-6, so the fraction is 8/1024.
  ['one value', { step: 0, least: 0xc000, numbers: all(3) }, 0x2408, all(-127)],
  // 0.5 n - 1, largest 6.5: the step is 6.5/127 = 1.63780 * 2^-5, the fraction 653/1024. -1 -> -19.5, 0.5 -> 9.8.
  [
    'a range about zero, and the order of the halves',
    {
      step: 0x3800,
      least: 0xbc00,
      numbers: [...all(15).slice(16), ...all(0).slice(16)].with(1, 3).with(17, 2),
    },
    0x2a8d,
    [...all(127).slice(16), ...all(-20).slice(16)].with(1, 10).with(17, 0),
  ],
  // 8.5 n - 0.5, largest 127: the step is 1, and -0.5, 16.5, 33.5 and 8 are what they are.
  [
    'halves go away from zero',
    { step: 0x4840, least: 0xb800, numbers: first([0, 2, 4, 1]) },
    0x3c00,
    [-1, 17, 34, 8, ...all(127).slice(4)],
  ],
  // 2^-24 everywhere, the least float16: its 127th part is none any more. The numbers are of the step before that.
  ['what is too small for a float16', { step: 0, least: 1, numbers: all(0) }, 0, all(127)],
];

for (const [name, block, step, numbers] of CASES) {
  test(`a block by hand: ${name}`, () => {
    assert.deepEqual(converted([block]), [{ step, numbers }]);
  });
}

test('each block has a step of its own', () => {
  assert.deepEqual(
    converted(CASES.map(([, block]) => block)),
    CASES.map(([, , step, numbers]) => ({ step, numbers })),
  );
});

test('a step or a least value that is no finite number is refused', () => {
  for (const bits of [0x7c00, 0xfc00, 0x7e00]) {
    for (const bad of [
      { step: bits, least: 0 },
      { step: 0x3800, least: bits },
    ]) {
      const source = Buffer.concat(
        [{ step: 0, least: 0 }, bad].map((one) => q4Block({ ...one, numbers: all(0) })),
      );
      assert.equal(rewriteBlocks(source, Buffer.alloc(2 * Q8_0_BLOCK_BYTES)), false);
    }
  }
});

test('no value moves by more than half a step, and what the step itself lost as a float16', () => {
  const finite = fc.nat(0xffff).filter((bits) => (bits & 0x7c00) !== 0x7c00);
  const blocks = fc.array(
    fc.record({
      step: finite,
      least: finite,
      numbers: fc.array(fc.nat(15), { minLength: BLOCK_VALUES, maxLength: BLOCK_VALUES }),
    }),
    { minLength: 1, maxLength: 4 },
  );
  const float = (bits: number) => new Float16Array(new Uint16Array([bits]).buffer)[0]!;
  fc.assert(
    fc.property(blocks, (before) => {
      for (const [index, after] of converted(before).entries()) {
        const { step, least, numbers } = before[index]!;
        const values = numbers.map((number) => number * float(step) + float(least));
        const exactStep = Math.max(...values.map(Math.abs)) / 127;
        const step16 = float(after.step);
        // A float16 has 11 bits; below 2^-14 they become fewer.
        const lost = Math.abs(step16 - exactStep);
        assert.ok(lost <= Math.max(exactStep * 2 ** -11 * 1.001, 2 ** -25), `${step16} for ${exactStep}`);
        for (const [at, value] of values.entries()) {
          const number = after.numbers[at]!;
          const error = Math.abs(number * step16 - value);
          // 1.0001: the reference computes in 32-bit floats.
          assert.ok(
            error <= 0.5 * exactStep * 1.0001 + Math.abs(number) * lost,
            `${value} became ${number * step16}`,
          );
        }
      }
    }),
    { numRuns: 500 },
  );
});
