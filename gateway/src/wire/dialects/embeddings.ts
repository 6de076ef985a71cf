// OpenAI's embeddings: texts, or the numbers of their tokens, become vectors as numbers or in base64.
// Pure.
import { z } from 'zod';
import type { EmbeddingAnswer, EmbeddingInput, EmbeddingRequest } from '../../core/embedding.ts';
import type { Report } from '../dialect.ts';
import { stringifyLine } from '../json.ts';
import { bodyReader, integerField, modelField, optional } from '../request-fields.ts';
import { toBase64 } from './float-base64.ts';

/** In one request, as OpenAI has it. */
const MOST_INPUTS = 2048;
const MOST_TOKENS = 1_048_576;
const MOST_DIMENSIONS = 65_536;

const ONE = 'a text, or a list of token numbers';
const INPUT = `must be ${ONE}, or a list of 1 to ${MOST_INPUTS} of these`;

const schema = z.object({
  model: modelField,
  input: z.unknown().transform(readInputs),
  encoding_format: optional(z.enum(['float', 'base64'], 'must be float or base64')),
  dimensions: integerField(1, MOST_DIMENSIONS),
});
const readFields = bodyReader(schema);

export interface EmbeddingsAsked {
  readonly request: EmbeddingRequest;
  readonly format: 'float' | 'base64';
}

/** Throws `invalid_request` with the first fault's place as `param`. */
export function readEmbeddings(body: unknown): EmbeddingsAsked {
  const { fields, extra } = readFields(body);
  const { model, input: inputs, dimensions, encoding_format: format = 'float' } = fields;
  return { request: { model, inputs, dimensions, extra }, format };
}

/** The answer's body, in pieces of JSON: all vectors of a request at once would hold everybody else up. */
export function* embeddingsBody(
  { vectors, usage: { promptTokens } }: EmbeddingAnswer,
  { request: { model }, format }: EmbeddingsAsked,
  report?: Report,
): Generator<string> {
  yield '{"object":"list","data":[';
  for (const [index, vector] of vectors.entries()) {
    // Finite numbers, and of these their own text is JSON.
    const numbers = format === 'base64' ? `"${toBase64(vector)}"` : `[${vector.join(',')}]`;
    yield `${index === 0 ? '' : ','}{"object":"embedding","index":${index},"embedding":${numbers}}`;
  }
  const usage = { prompt_tokens: promptTokens, total_tokens: promptTokens };
  yield `],${stringifyLine({ model, usage, ...(report && { sluice: report }) }).slice(1)}\n`;
}

/** Looked at by hand, and up to the first fault: there can be millions of numbers. */
function readInputs(value: unknown, context: z.RefinementCtx): readonly EmbeddingInput[] {
  const refuse = (message: string, path: PropertyKey[] = []) => {
    context.addIssue({ code: 'custom', path, message });
    return z.NEVER;
  };
  const isOne = typeof value === 'string' || (Array.isArray(value) && typeof value[0] === 'number');
  const items: unknown = isOne ? [value] : value;
  if (!Array.isArray(items) || items.length === 0 || items.length > MOST_INPUTS) return refuse(INPUT);
  for (const [index, item] of items.entries()) {
    const fault = faultOf(item);
    if (fault !== undefined) return refuse(fault, isOne ? [] : [index]);
  }
  return items;
}

/** What is wrong with an input, as the rest of a sentence; undefined: nothing. */
function faultOf(item: unknown): string | undefined {
  if (typeof item === 'string') return item === '' ? 'must not be empty' : undefined;
  if (!Array.isArray(item)) return `must be ${ONE}`;
  if (item.length === 0) return 'must not be empty';
  if (item.length > MOST_TOKENS) return `must not have more than ${MOST_TOKENS} tokens`;
  const isToken = (one: unknown) => Number.isSafeInteger(one) && (one as number) >= 0;
  return item.every(isToken) ? undefined : 'must have whole numbers from 0 on as its tokens';
}
