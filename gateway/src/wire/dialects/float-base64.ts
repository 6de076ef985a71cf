// Vectors as base64: the bytes of 32-bit floats, little-endian, which is how OpenAI's clients ask for them unless they are told
// otherwise. It must never change a number.
// Pure.
import { endianness } from 'node:os';

const BYTES = Float32Array.BYTES_PER_ELEMENT;
const IS_BIG_ENDIAN = endianness() === 'BE';

export function toBase64(vector: Float32Array): string {
  const bytes = Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength);
  return (IS_BIG_ENDIAN ? Buffer.from(bytes).swap32() : bytes).toString('base64');
}

/** Undefined: the text is no base64 of whole floats, or of none. */
export function fromBase64(text: string): Float32Array | undefined {
  if (text === '' || !/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return undefined;
  const bytes = Buffer.from(text, 'base64');
  if (bytes.length === 0 || bytes.length % BYTES !== 0) return undefined;
  if (IS_BIG_ENDIAN) bytes.swap32();
  // Small buffers share their memory with others, and need not begin where a float may.
  const vector = new Float32Array(bytes.length / BYTES);
  new Uint8Array(vector.buffer).set(bytes);
  return vector;
}
