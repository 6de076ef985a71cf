// Small GGUF files for tests: whole and lawful, with weights that mean nothing.
// Never imported by anything that is not a test.

export interface SampleTensor {
  readonly name: string;
  readonly dimensions: readonly number[];
  /** ggml's number of it. */
  readonly type: number;
  readonly data: Uint8Array;
  /** Where the header says that it begins, instead of where it does. */
  readonly offset?: number;
}

/** A number is an unsigned integer of 32 bits, in a list a signed one. */
export type SampleValue =
  | string
  | number
  | boolean
  | { readonly float: number }
  | readonly string[]
  | readonly number[];

export type SampleEntry = readonly [key: string, value: SampleValue];

export interface SampleOptions {
  readonly metadata?: readonly SampleEntry[];
  /** In place of the one tensor, `token_embd.weight` with its `values` F32 weights. Each begins at the alignment. */
  readonly tensors?: readonly SampleTensor[];
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

/** A file as llama.cpp writes it. `general.alignment` in the metadata is obeyed. */
export function sampleGguf(options: SampleOptions = {}): Buffer {
  const metadata = options.metadata ?? SAMPLE_METADATA;
  const alignment = Number(metadata.find(([key]) => key === 'general.alignment')?.[1] ?? 32);
  const padded = (bytes: Buffer) =>
    Buffer.concat([bytes, Buffer.alloc((alignment - (bytes.length % alignment)) % alignment)]);
  const tensors = options.tensors ?? [oneTensor(options)];
  const infos: Buffer[] = [];
  let data = Buffer.alloc(0);
  for (const { name, dimensions, type, data: weights, offset } of tensors) {
    infos.push(text(name), u32(dimensions.length), ...dimensions.map(u64), u32(type));
    infos.push(u64(offset ?? data.length));
    data = padded(Buffer.concat([data, weights]));
  }
  const header = Buffer.concat([
    Buffer.from('GGUF'),
    u32(options.version ?? 3),
    u64(tensors.length),
    u64(metadata.length),
    ...metadata.map(entryBytes),
    ...infos,
  ]);
  return Buffer.concat([padded(header), data]);
}

function oneTensor({ values = 64, tensorType = 0, seed }: SampleOptions): SampleTensor {
  const data = sampleBytes(values * 4, seed);
  return { name: 'token_embd.weight', dimensions: [values], type: tensorType, data };
}

/** Bytes that mean nothing; two seeds differ everywhere. */
export function sampleBytes(length: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(Math.ceil(length / 4) * 4);
  let state = seed * 2654435761;
  for (let at = 0; at < bytes.length; at += 4) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes.writeUInt32LE(state, at);
  }
  return bytes.subarray(0, length);
}

/** `blocks` of Q4_1: small steps and least values, and numbers that mean nothing. */
export function sampleQ4Blocks(blocks: number, seed = 1): Buffer {
  const bytes = sampleBytes(blocks * 20, seed);
  for (let at = 0; at < bytes.length; at += 20) {
    // The high bytes of two float16: some 0.01 and some -0.1, whatever the low bytes are.
    bytes[at + 1] = 0x21;
    bytes[at + 3] = 0xae;
  }
  return bytes;
}

/** One entry of a file's metadata. */
export function entryBytes([key, value]: SampleEntry): Buffer {
  return Buffer.concat([text(key), valueBytes(value)]);
}

function isFloat(value: SampleValue): value is { readonly float: number } {
  return typeof value === 'object' && 'float' in value;
}

function valueBytes(value: SampleValue): Buffer {
  if (typeof value === 'string') return Buffer.concat([u32(8), text(value)]);
  if (typeof value === 'number') return Buffer.concat([u32(4), u32(value)]);
  if (typeof value === 'boolean') return Buffer.concat([u32(7), Buffer.from([value ? 1 : 0])]);
  if (isFloat(value)) return Buffer.concat([u32(6), Buffer.from(Float32Array.of(value.float).buffer)]);
  const items = value.map((item) => (typeof item === 'string' ? text(item) : i32(item)));
  return Buffer.concat([u32(9), u32(typeof value[0] === 'number' ? 5 : 8), u64(value.length), ...items]);
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([u64(bytes.length), bytes]);
}

function i32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
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
