// Models for tests that no registry has: a BERT of some kilobytes whose weights are numbers from a seed, and a real model with
// other words in its header. What they say means nothing; how the engine treats them does.

import { writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { readGgufHeader } from '../src/models/gguf.ts';
import { entryBytes, type SampleEntry, type SampleTensor, sampleGguf } from '../src/models/sample-gguf.ts';

const WORDS = ['the', 'sea', 'river', 'is', 'blue', 'cold', 'cat', 'sat', 'on', 'mat', 'tax', 'law', 'of'];
const LETTERS = [...'abcdefghijklmnopqrstuvwxyz0123456789'];
const MARKS = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];
/** WordPiece as llama.cpp has it: what begins a word has a low line before it. */
const VOCABULARY = [...MARKS, ...[...WORDS, ...LETTERS].map((piece) => `\u2581${piece}`), ...LETTERS];

/** The longest text of a tiny BERT, in tokens, its two marks among them. */
export const BERT_TOKENS = 64;
/** Numbers in its vectors. */
export const BERT_LENGTH = 32;
export const BERT_VOCABULARY = VOCABULARY.length;
const FEED_FORWARD = 64;
const BLOCKS = 2;

/** llama.cpp's numbers of how the values of a text's tokens become one. */
export const POOLING = { none: 0, mean: 1, first: 2, last: 3, rank: 4 } as const;

/** Writes a BERT that pools so; `pooling` undefined: it does not say how. */
export function writeTinyBert(path: string, pooling: number | undefined, seed = 1): void {
  writeFileSync(path, sampleGguf({ metadata: bertMetadata(pooling), tensors: bertTensors(pooling, seed) }));
}

function bertMetadata(pooling: number | undefined): SampleEntry[] {
  return [
    ['general.architecture', 'bert'],
    ['general.name', 'Tiny BERT of random numbers'],
    ['bert.context_length', BERT_TOKENS],
    ['bert.embedding_length', BERT_LENGTH],
    ['bert.block_count', BLOCKS],
    ['bert.feed_forward_length', FEED_FORWARD],
    ['bert.attention.head_count', 2],
    ['bert.attention.layer_norm_epsilon', { float: 1e-12 }],
    ['bert.attention.causal', false],
    ...(pooling === undefined ? [] : [['bert.pooling_type', pooling] as const]),
    ['tokenizer.ggml.model', 'bert'],
    ['tokenizer.ggml.tokens', VOCABULARY],
    ['tokenizer.ggml.token_type', VOCABULARY.map((_, token) => (token < MARKS.length ? 3 : 1))],
    ['tokenizer.ggml.token_type_count', 2],
    ['tokenizer.ggml.padding_token_id', 0],
    ['tokenizer.ggml.unknown_token_id', 1],
    ['tokenizer.ggml.bos_token_id', 2],
    ['tokenizer.ggml.seperator_token_id', 3],
    ['tokenizer.ggml.mask_token_id', 4],
  ];
}

function bertTensors(pooling: number | undefined, seed: number): SampleTensor[] {
  let state = seed;
  /** Between -0.5 and 0.5. */
  const random = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
  const tensor = (name: string, dimensions: readonly number[], value = random): SampleTensor => {
    const values = Float32Array.from({ length: dimensions.reduce((a, b) => a * b, 1) }, value);
    return { name, dimensions, type: 0, data: new Uint8Array(values.buffer) };
  };
  const linear = (name: string, from: number, to: number) => [
    tensor(`${name}.weight`, [from, to]),
    tensor(`${name}.bias`, [to]),
  ];
  const norm = (name: string) => [
    tensor(`${name}.weight`, [BERT_LENGTH], () => 1),
    tensor(`${name}.bias`, [BERT_LENGTH], () => 0),
  ];
  const block = (name: string) => [
    ...['attn_q', 'attn_k', 'attn_v', 'attn_output'].flatMap((part) =>
      linear(`${name}.${part}`, BERT_LENGTH, BERT_LENGTH),
    ),
    ...norm(`${name}.attn_output_norm`),
    ...linear(`${name}.ffn_up`, BERT_LENGTH, FEED_FORWARD),
    ...linear(`${name}.ffn_down`, FEED_FORWARD, BERT_LENGTH),
    ...norm(`${name}.layer_output_norm`),
  ];
  return [
    tensor('token_embd.weight', [BERT_LENGTH, VOCABULARY.length]),
    tensor('token_types.weight', [BERT_LENGTH, 2]),
    tensor('position_embd.weight', [BERT_LENGTH, BERT_TOKENS]),
    ...norm('token_embd_norm'),
    ...Array.from({ length: BLOCKS }, (_, index) => block(`blk.${index}`)).flat(),
    ...(pooling === POOLING.rank ? linear('cls.output', BERT_LENGTH, 1) : []),
  ];
}

/** Copies a model's file with these entries before those that it has; keys that it has already must not be among them. */
export async function copyWithMetadata(
  source: string,
  target: string,
  entries: readonly SampleEntry[],
): Promise<void> {
  const from = await open(source, 'r');
  try {
    const { size } = await from.stat();
    const { bytes, alignment, dataStart } = await readGgufHeader(from, source, size);
    // "GGUF", the version, and the counts of tensors and of entries.
    const head = Buffer.from(bytes.subarray(0, 24));
    head.writeBigUInt64LE(head.readBigUInt64LE(16) + BigInt(entries.length), 16);
    const header = Buffer.concat([head, ...entries.map(entryBytes), bytes.subarray(24)]);
    const padding = Buffer.alloc((alignment - (header.length % alignment)) % alignment);
    const data = Buffer.alloc(size - dataStart);
    await from.read(data, 0, data.length, dataStart);
    writeFileSync(target, Buffer.concat([header, padding, data]));
  } finally {
    await from.close();
  }
}
