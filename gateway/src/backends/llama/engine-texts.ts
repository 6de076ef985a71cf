// From the client's texts to what crosses to the engine, and what is said of those that are too long.
// It must never look at a token: those are the engine's process.
// Pure.
import type { EmbeddingRequest, RerankRequest } from '../../core/embedding.ts';
import { GatewayError } from '../../core/errors.ts';
import { MOST_BYTES_PER_TOKEN } from './conversation.ts';
import type { EngineText, EngineTexts } from './messages.ts';

type Texts = Omit<EngineTexts, 'call'>;

/** Throws `context_length_exceeded` for a text that is so long that counting it would only block the engine. */
export function toEmbeddingTexts({ inputs, dimensions }: EmbeddingRequest, contextTokens: number): Texts {
  return checked({ inputs: inputs.map(wellFormed), dimensions }, contextTokens);
}

/** As `toEmbeddingTexts`. */
export function toRerankTexts({ query, documents }: RerankRequest, contextTokens: number): Texts {
  refuseOversized(query, contextTokens, 'query');
  return checked({ inputs: documents.map(wellFormed), query: query.toWellFormed() }, contextTokens);
}

/** Where the client wrote the input with this number. */
export function placeOfText({ inputs, query }: Pick<Texts, 'inputs' | 'query'>, index: number): string {
  if (query !== undefined) return `documents[${index}]`;
  return inputs.length === 1 ? 'input' : `input[${index}]`;
}

/** `tokens`: with the model's own marks, and with the query where there is one. */
export function refuseLongText(tokens: number, contextTokens: number, place: string): void {
  if (tokens <= contextTokens) return;
  throw tooLong(`${tokens} tokens`, contextTokens, place);
}

function checked(texts: Texts, contextTokens: number): Texts {
  for (const [index, input] of texts.inputs.entries()) {
    const place = placeOfText(texts, index);
    if (typeof input === 'string') refuseOversized(input, contextTokens, place);
    else refuseLongText(input.length, contextTokens, place);
  }
  return texts;
}

function refuseOversized(text: string, contextTokens: number, place: string): void {
  const bytes = Buffer.byteLength(text);
  if (bytes > contextTokens * MOST_BYTES_PER_TOKEN) throw tooLong(`${bytes} bytes`, contextTokens, place);
}

function tooLong(size: string, contextTokens: number, place: string): GatewayError {
  return new GatewayError(
    'context_length_exceeded',
    `${place} has ${size}; this model reads at most ${contextTokens} tokens at once. Cut it into pieces.`,
    { param: place },
  );
}

function wellFormed(input: EngineText): EngineText {
  return typeof input === 'string' ? input.toWellFormed() : input;
}
