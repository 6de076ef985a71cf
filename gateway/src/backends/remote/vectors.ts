// Vectors and judgements of other servers: what they are asked, and what of their answers is believed. A vector that is not
// all numbers, of another length than the others or of another text would be worse than none.

import type { EmbeddingAnswer, EmbeddingRequest, RerankAnswer, RerankRequest } from '../../core/embedding.ts';
import { GatewayError } from '../../core/errors.ts';
import { hasMembers, itemsOf, type Members, membersOf } from './upstream-json.ts';

export interface Question<Answer> {
  /** Below the API's own. */
  readonly path: string;
  readonly body: string;
  /** Of an answer's JSON. Throws `backend_failed` for what is no answer. */
  readonly read: (answer: unknown) => Answer;
}

export function embeddingQuestion(request: EmbeddingRequest): Question<EmbeddingAnswer> {
  const { model, inputs, dimensions, extra } = request;
  return {
    path: '/embeddings',
    body: JSON.stringify({
      ...extra,
      model,
      input: inputs,
      encoding_format: 'float',
      ...(dimensions !== undefined && { dimensions }),
    }),
    read: (answer) => {
      const { data, usage } = membersOf(answer);
      const vectors = byIndex(data, inputs.length, ({ embedding }) => vectorOf(embedding));
      const [first] = vectors;
      if (vectors.some(({ length }) => length !== first!.length))
        throw failure('vectors of different lengths');
      return { speaker: model, vectors, usage: { promptTokens: promptTokensOf(usage) } };
    },
  };
}

export function rerankQuestion(request: RerankRequest): Question<RerankAnswer> {
  const { model, query, documents, extra } = request;
  return {
    path: '/rerank',
    body: JSON.stringify({
      ...extra,
      model,
      query,
      documents,
      top_n: documents.length,
      return_documents: false,
    }),
    read: (answer) => {
      const { results, usage, meta } = membersOf(answer);
      const scores = byIndex(results, documents.length, ({ relevance_score }) =>
        typeof relevance_score === 'number' && Number.isFinite(relevance_score) ? relevance_score : undefined,
      );
      const counted = promptTokensOf(usage) ?? countOf(membersOf(membersOf(meta).tokens).input_tokens);
      return { speaker: model, scores, usage: { promptTokens: counted } };
    },
  };
}

/** One for each place, however they were ordered. */
function byIndex<T>(list: unknown, count: number, read: (item: Members) => T | undefined): T[] {
  const items = itemsOf(list);
  const found = new Map<number, T>();
  for (const [place, item] of items.entries()) {
    const members = membersOf(item);
    const index = typeof members.index === 'number' ? members.index : place;
    const value = hasMembers(item) ? read(members) : undefined;
    if (value !== undefined && Number.isInteger(index) && index >= 0 && index < count)
      found.set(index, value);
  }
  if (found.size !== count || items.length !== count) {
    throw failure(`${found.size} good results for ${count} texts`);
  }
  return Array.from({ length: count }, (_, index) => found.get(index)!);
}

function vectorOf(value: unknown): Float32Array | undefined {
  const numbers = itemsOf(value);
  if (numbers.length === 0) return undefined;
  return numbers.every((one) => typeof one === 'number' && Number.isFinite(one))
    ? Float32Array.from(numbers as readonly number[])
    : undefined;
}

function promptTokensOf(usage: unknown): number | undefined {
  const { prompt_tokens, total_tokens } = membersOf(usage);
  return countOf(prompt_tokens) ?? countOf(total_tokens);
}

function countOf(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

function failure(what: string): GatewayError {
  return new GatewayError('backend_failed', `The back end gave no answer that can be used: ${what}.`);
}
