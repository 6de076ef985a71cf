// OpenAI's embeddings: texts, or the numbers of their tokens, become vectors as numbers or in base64.
// Pure.
import { z } from 'zod';
import type { EmbeddingAnswer, EmbeddingInput, EmbeddingRequest } from '../core/embedding.ts';
import { integerField, listOf, modelField, optional, readBody, textOr } from './request-fields.ts';

/** In one request, as OpenAI has it. */
const MOST_INPUTS = 2048;
const MOST_TOKENS = 1_048_576;
const MOST_DIMENSIONS = 65_536;

const INPUT = `must be a text, a list of 1 to ${MOST_INPUTS} texts, or token numbers in their place`;
const EMPTY = 'must not be empty';
const TOKEN = 'must be the number of a token';

const text = z.string(INPUT).min(1, EMPTY);
const token = z.number(TOKEN).refine((value) => Number.isInteger(value) && value >= 0, TOKEN);
const tokens = listOf(token, EMPTY, 1, MOST_TOKENS);

/** A list of numbers is one text's tokens; any other list holds texts or such lists. */
const input = z.unknown().transform((value, context): readonly EmbeddingInput[] => {
  const isTokens = Array.isArray(value) && typeof value[0] === 'number';
  const schema = isTokens ? tokens.transform((one) => [one]) : several;
  const read = schema.safeParse(value);
  if (read.success) return read.data;
  const issue = read.error.issues[0]!;
  context.addIssue({ code: 'custom', path: [...issue.path], message: issue.message });
  return z.NEVER;
});

const several = textOr(listOf(textOr(tokens, text), INPUT, 1, MOST_INPUTS), text).transform((value) =>
  typeof value === 'string' ? [value] : value,
);

const schema = z.object({
  model: modelField,
  input,
  encoding_format: optional(z.enum(['float', 'base64'], 'must be float or base64')),
  dimensions: integerField(1, MOST_DIMENSIONS),
});

export interface EmbeddingsAsked {
  readonly request: EmbeddingRequest;
  readonly format: 'float' | 'base64';
}

/** Throws `invalid_request` with the first fault's place as `param`. */
export function readEmbeddings(body: unknown): EmbeddingsAsked {
  const { fields, extra } = readBody(schema, body);
  const { model, input: inputs, dimensions, encoding_format: format = 'float' } = fields;
  return { request: { model, inputs, dimensions, extra }, format };
}

/** The answer's body; `model` as the client asked for it. */
export function embeddingsBody(
  { vectors, usage: { promptTokens } }: EmbeddingAnswer,
  { request: { model }, format }: EmbeddingsAsked,
): object {
  return {
    object: 'list',
    data: vectors.map((vector, index) => ({
      object: 'embedding',
      index,
      embedding: format === 'base64' ? base64Of(vector) : [...vector],
    })),
    model,
    usage: { prompt_tokens: promptTokens, total_tokens: promptTokens },
  };
}

/** Little-endian, whatever this machine is. */
function base64Of(vector: Float32Array): string {
  const bytes = Buffer.alloc(vector.length * 4);
  for (const [index, value] of vector.entries()) bytes.writeFloatLE(value, index * 4);
  return bytes.toString('base64');
}
