// Reranking, as SiliconFlow, Jina and vLLM have it: documents in the order in which they answer a query.
// Pure.
import { z } from 'zod';
import type { RerankAnswer, RerankRequest } from '../../core/embedding.ts';
import { bodyReader, booleanField, integerField, listOf, modelField } from '../request-fields.ts';

const MOST_DOCUMENTS = 2048;

const DOCUMENTS = `must be a list of 1 to ${MOST_DOCUMENTS} texts, or of objects with a "text"`;
const QUERY = 'must be a text that is not empty';

const document = z.union([z.string(), z.object({ text: z.string() }).transform((one) => one.text)], {
  error: 'must be a text, or an object with a "text"',
});

const schema = z.object({
  model: modelField,
  query: z.string(QUERY).min(1, QUERY),
  documents: listOf(document, DOCUMENTS, 1, MOST_DOCUMENTS),
  top_n: integerField(1, Number.MAX_SAFE_INTEGER),
  return_documents: booleanField,
});
const readFields = bodyReader(schema);

export interface RerankAsked {
  readonly request: RerankRequest;
  /** So many of the best; undefined: all. */
  readonly most: number | undefined;
  /** The answer repeats the texts. */
  readonly showsDocuments: boolean;
}

/** Throws `invalid_request` with the first fault's place as `param`. */
export function readRerank(body: unknown): RerankAsked {
  const { fields, extra } = readFields(body);
  const { model, query, documents, top_n: most, return_documents: showsDocuments = false } = fields;
  return { request: { model, query, documents, extra }, most, showsDocuments };
}

/** The answer's body, best first; `id`: the request's. */
export function rerankBody(
  { scores, usage: { promptTokens } }: RerankAnswer,
  { request: { model, documents }, most, showsDocuments }: RerankAsked,
  id: string,
): object {
  const best = [...scores.entries()].sort(([a, x], [b, y]) => y - x || a - b).slice(0, most);
  return {
    id: `rerank-${id}`,
    model,
    results: best.map(([index, score]) => ({
      index,
      relevance_score: score,
      ...(showsDocuments && { document: { text: documents[index] } }),
    })),
    usage: { prompt_tokens: promptTokens, total_tokens: promptTokens },
    meta: { tokens: { input_tokens: promptTokens, output_tokens: 0 } },
  };
}
