// Small GGUF files for the tests of this room: whole and lawful, with weights that mean nothing.
// Never imported by anything that is not a test.

export interface SampleOptions {
  readonly metadata?: readonly (readonly [key: string, value: string | number | readonly string[]])[];
  /** Of the one tensor, F32. */
  readonly values?: number;
  readonly tensorType?: number;
  readonly version?: number;
  /** Fills the weights: two samples of two seeds differ in every part of them. */
  readonly seed?: number;
}

export const SAMPLE_METADATA: NonNullable<SampleOptions['metadata']> = [
  ['general.architecture', 'llama'],
  ['general.name', 'Sample'],
  ['general.license', 'mit'],
  ['llama.context_length', 2048],
  ['tokenizer.ggml.tokens', ['a', 'b', 'c']],
  ['tokenizer.chat_template', '{{ messages }}'],
];

/** `values` F32 weights behind a header as llama.cpp writes it. */
export function sampleGguf(options: SampleOptions = {}): Buffer {
  const metadata = options.metadata ?? SAMPLE_METADATA;
  const values = options.values ?? 64;
  const header = Buffer.concat([
    Buffer.from('GGUF'),
    u32(options.version ?? 3),
    u64(1),
    u64(metadata.length),
    ...metadata.flatMap(([key, value]) => [text(key), valueBytes(value)]),
    text('token_embd.weight'),
    u32(1),
    u64(values),
    u32(options.tensorType ?? 0),
    u64(0),
  ]);
  const weights = Buffer.alloc(values * 4);
  let state = (options.seed ?? 1) * 2654435761;
  for (let at = 0; at < weights.length; at += 4) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    weights.writeUInt32LE(state, at);
  }
  return Buffer.concat([header, Buffer.alloc((32 - (header.length % 32)) % 32), weights]);
}

function valueBytes(value: string | number | readonly string[]): Buffer {
  if (typeof value === 'string') return Buffer.concat([u32(8), text(value)]);
  if (typeof value === 'number') return Buffer.concat([u32(4), u32(value)]);
  return Buffer.concat([u32(9), u32(8), u64(value.length), ...value.map(text)]);
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([u64(bytes.length), bytes]);
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}
