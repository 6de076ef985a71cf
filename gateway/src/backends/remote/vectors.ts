// Vectors and judgements of other servers: what they are asked, and what of their answers is believed. A vector that is not
// all numbers, of another length than the others or of another text would be worse than none.
// Pure.
import type { EmbeddingAnswer, EmbeddingRequest, RerankAnswer, RerankRequest } from '../../core/embedding.ts';
import { GatewayError } from '../../core/errors.ts';
import { fromBase64 } from '../../wire/dialects/float-base64.ts';
import { tokenCount } from './answer-parts.ts';
import type { Question } from './question-exchange.ts';
import { hasMembers, itemsOf, type Members, membersOf } from './upstream-json.ts';
import type { Embedding } from './vendors.ts';

/** Throws `invalid_request` for what the server cannot be asked. `basePath`: of its API. */
export function embeddingQuestion(
  request: EmbeddingRequest,
  basePath: string,
  embedding: Embedding,
): Question<EmbeddingAnswer> {
  const { model, inputs, dimensions, extra } = request;
  if (!embedding.takesTokens) refuseTokens(request);
  if (embedding.way === 'ollama') {
    return {
      // Its own API is beside the one that it shares with others.
      path: `${basePath.replace(/\/v1$/, '')}/api/embed`,
      // It cuts what is too long unless it is told not to.
      body: JSON.stringify({ truncate: false, ...extra, model, input: inputs, dimensions }),
      read: (answer) => {
        const { embeddings, prompt_eval_count } = membersOf(answer);
        const vectors = inOrder(embeddings, inputs.length, vectorOf);
        return embeddingAnswer(request, answer, vectors, prompt_eval_count);
      },
    };
  }
  const encoding_format = embedding.base64 ? 'base64' : 'float';
  return {
    path: `${basePath}/embeddings`,
    body: JSON.stringify({ ...extra, model, input: inputs, encoding_format, dimensions }),
    read: (answer) => {
      const { data, usage } = membersOf(answer);
      const vectors = byIndex(data, inputs.length, ({ embedding }) => vectorOf(embedding));
      return embeddingAnswer(request, answer, vectors, promptTokensOf(usage));
    },
  };
}

function embeddingAnswer(
  { model }: EmbeddingRequest,
  answer: unknown,
  vectors: readonly Float32Array[],
  promptTokens: unknown,
): EmbeddingAnswer {
  const { length } = vectors[0]!;
  if (vectors.some((vector) => vector.length !== length)) throw failure('vectors of different lengths');
  return { speaker: speakerOf(answer, model), vectors, usage: { promptTokens: tokenCount(promptTokens) } };
}

export function rerankQuestion(request: RerankRequest, basePath: string): Question<RerankAnswer> {
  const { model, query, documents, extra } = request;
  return {
    path: `${basePath}/rerank`,
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
      // SGLang answers with a bare list, and calls the judgement `score`.
      const list = Array.isArray(answer) ? answer : results;
      const scores = byIndex(list, documents.length, ({ relevance_score, score = relevance_score }) =>
        typeof score === 'number' && Number.isFinite(score) ? score : undefined,
      );
      const counted = promptTokensOf(usage) ?? tokenCount(membersOf(membersOf(meta).tokens).input_tokens);
      return { speaker: speakerOf(answer, model), scores, usage: { promptTokens: counted } };
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
  if (found.size !== count || items.length !== count) throw miscounted(found.size, count);
  return Array.from({ length: count }, (_, index) => found.get(index)!);
}

/** One for each place, in their order. */
function inOrder<T>(list: unknown, count: number, read: (item: unknown) => T | undefined): T[] {
  const found = itemsOf(list)
    .map(read)
    .filter((one) => one !== undefined);
  if (found.length !== count || itemsOf(list).length !== count) throw miscounted(found.length, count);
  return found;
}

/** Undefined: it is none, or holds what is no number of 32 bits. */
function vectorOf(value: unknown): Float32Array | undefined {
  const vector = typeof value === 'string' ? fromBase64(value) : vectorOfNumbers(itemsOf(value));
  return vector?.length && vector.every(Number.isFinite) ? vector : undefined;
}

function vectorOfNumbers(numbers: readonly unknown[]): Float32Array | undefined {
  return numbers.every((one): one is number => typeof one === 'number')
    ? Float32Array.from(numbers)
    : undefined;
}

function speakerOf(answer: unknown, asked: string): string {
  const { model } = membersOf(answer);
  return typeof model === 'string' && model !== '' ? model : asked;
}

function refuseTokens({ inputs }: EmbeddingRequest): void {
  if (inputs.every((input) => typeof input === 'string')) return;
  const message = 'The back end of this model takes texts alone, and no numbers of tokens.';
  throw new GatewayError('invalid_request', message, { param: 'input' });
}

function promptTokensOf(usage: unknown): number | undefined {
  const { prompt_tokens, total_tokens } = membersOf(usage);
  return tokenCount(prompt_tokens) ?? tokenCount(total_tokens);
}

function miscounted(good: number, count: number): GatewayError {
  return failure(`${good} good results for ${count} texts`);
}

function failure(what: string): GatewayError {
  return new GatewayError('backend_failed', `The back end gave no answer that can be used: ${what}.`);
}
