// Weights of ggml's format Q4_1 as Q8_0, block by block: the arithmetic of ggml's reference code in 32-bit floats, with
// its roundings, so that the same weights give the same bytes on every machine. It knows no files and no tensors.

/** Weights in a block of either format. */
export const BLOCK_VALUES = 32;
/** Two float16, the step and the least value, then 32 numbers of 4 bits: the first 16 in the low halves of the bytes. */
export const Q4_1_BLOCK_BYTES = 20;
/** One float16, the step, then 32 signed bytes. */
export const Q8_0_BLOCK_BYTES = 34;

const HALF = BLOCK_VALUES / 2;

/**
 * Fills `target` with the blocks of `source`; both hold whole blocks, and as many. False, and what is in `target` means
 * nothing, where a step or a least value is no finite number.
 */
export function rewriteBlocks(source: Uint8Array, target: Uint8Array): boolean {
  const from = new DataView(source.buffer, source.byteOffset, source.byteLength);
  const to = new DataView(target.buffer, target.byteOffset, target.byteLength);
  const numbers = new Int8Array(target.buffer, target.byteOffset, target.byteLength);
  const values = new Float32Array(BLOCK_VALUES);
  const blocks = source.length / Q4_1_BLOCK_BYTES;
  for (let block = 0; block < blocks; block += 1) {
    const read = block * Q4_1_BLOCK_BYTES;
    const step = from.getFloat16(read, true);
    const least = from.getFloat16(read + 2, true);
    if (!Number.isFinite(step) || !Number.isFinite(least)) return false;
    let largest = 0;
    for (let index = 0; index < HALF; index += 1) {
      const pair = source[read + 4 + index]!;
      // The sums are exact in 64 bits, so that the array's rounding to 32 is the only one.
      const low = (pair & 15) * step + least;
      const high = (pair >> 4) * step + least;
      values[index] = low;
      values[index + HALF] = high;
      largest = Math.max(largest, Math.abs(low), Math.abs(high));
    }
    const newStep = Math.fround(Math.fround(largest) / 127);
    // The numbers come of the step before it becomes a float16, as in the reference.
    const inverse = newStep === 0 ? 0 : Math.fround(1 / newStep);
    const write = block * Q8_0_BLOCK_BYTES;
    to.setFloat16(write, newStep, true);
    for (let index = 0; index < BLOCK_VALUES; index += 1) {
      const scaled = Math.fround(values[index]! * inverse);
      // The array cuts off what is behind the point, so halves go away from zero; Math.round takes them upwards.
      numbers[write + 2 + index] = scaled < 0 ? scaled - 0.5 : scaled + 0.5;
    }
  }
  return true;
}
