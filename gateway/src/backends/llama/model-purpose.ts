// What a model's file is for, by what its header says: files that are made to give vectors, or to judge, say how the
// values of a text's tokens are pooled into one. Names and numbers are llama.cpp's (llama-arch.cpp, llama.h).
// Pure.
import type { ModelPurpose } from './messages.ts';

/** Architectures that read a text as a whole and write none. */
const ENCODERS: ReadonlySet<string> = new Set([
  'bert',
  'eurobert',
  'gemma-embedding',
  'jina-bert-v2',
  'jina-bert-v3',
  'llama-embed',
  'modern-bert',
  'neo-bert',
  'nomic-bert',
  'nomic-bert-moe',
  't5encoder',
]);
/** `<architecture>.pooling_type`: mean, first token, last token. */
const POOLED: ReadonlySet<unknown> = new Set([1, 2, 3]);
const RANK = 4;

/**
 * From `general.architecture` and `<architecture>.pooling_type`. Throws, in a sentence for who starts the engine, for a file
 * that can do neither.
 */
export function purposeOf(architecture: string, poolingType: unknown): ModelPurpose {
  if (poolingType === RANK) return 'rerank';
  if (POOLED.has(poolingType)) return 'embed';
  if (!ENCODERS.has(architecture)) return 'chat';
  throw new Error(
    `the file's architecture (${architecture}) writes no text, and it does not say how its vectors are pooled: use a file with ${architecture}.pooling_type, as convert_hf_to_gguf.py makes it of a sentence-transformers model`,
  );
}
