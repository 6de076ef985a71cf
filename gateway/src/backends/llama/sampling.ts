// What a request asks of the sampler, in the engine's terms, and what it asks that the engine cannot do.
// It must never honour half of a field: what is not listed here as refused is either obeyed or unknown to us.
// Pure, but for the seed of a request that names none.
import { randomInt } from 'node:crypto';
import type { ChatRequest, Sampling } from '../../core/chat.ts';
import { GatewayError } from '../../core/errors.ts';
import type { EngineSampling } from './messages.ts';

/** The engine's defaults, as DeepSeek advises for R1; top-k first keeps sampling cheap over a large vocabulary. */
export const DEFAULT_SAMPLING = { temperature: 0.6, topP: 0.95, topK: 40, minP: 0 } as const;

const UINT32 = 0x1_0000_0000;

/** Fills in defaults and brings values into what the binding takes; ranges are the wire's to refuse. */
export function toEngineSampling(sampling: Sampling): EngineSampling {
  return {
    temperature: within(sampling.temperature ?? DEFAULT_SAMPLING.temperature, 0, 100),
    topP: within(sampling.topP ?? DEFAULT_SAMPLING.topP, 0, 1),
    // The binding reads an int32, and 0 or less as "the whole vocabulary".
    topK: Math.trunc(within(sampling.topK ?? DEFAULT_SAMPLING.topK, 0, 0x7fff_ffff)),
    minP: within(sampling.minP ?? DEFAULT_SAMPLING.minP, 0, 1),
    seed: seedOf(sampling.seed),
    presencePenalty: within(sampling.presencePenalty ?? 0, -100, 100),
    frequencyPenalty: within(sampling.frequencyPenalty ?? 0, -100, 100),
    // 0 would divide by zero inside llama.cpp.
    repetitionPenalty: within(sampling.repetitionPenalty ?? 1, 0.01, 100),
  };
}

/**
 * Without a seed each call gets its own: the binding would take the wall clock's second, the same for all calls of
 * that second. The largest value is llama.cpp's word for "random", so a client's cannot be it.
 */
function seedOf(seed: number | undefined): number {
  if (seed === undefined || !Number.isFinite(seed)) return randomInt(UINT32 - 1);
  const wrapped = ((Math.trunc(seed) % UINT32) + UINT32) % UINT32;
  return Math.min(wrapped, UINT32 - 2);
}

function within(value: number, low: number, high: number): number {
  return Number.isNaN(value) ? low : Math.min(high, Math.max(low, value));
}

const isNonEmpty = (value: unknown): boolean =>
  Array.isArray(value)
    ? value.length > 0
    : typeof value === 'object' && value !== null
      ? Object.keys(value).length > 0
      : value !== undefined && value !== null && value !== '' && value !== false;

const isSet = (value: unknown): boolean => value !== undefined && value !== null && value !== false;
const isAbove = (limit: number) => (value: unknown) => typeof value === 'number' && value > limit;
const isOtherThan =
  (...allowed: readonly string[]) =>
  (value: unknown) =>
    isSet(value) && !(typeof value === 'string' && allowed.includes(value));

/** Each field that would change the answer and that this engine cannot honour, with when it asks for anything. */
const REFUSED: Readonly<Record<string, (value: unknown) => boolean>> = {
  n: isAbove(1),
  best_of: isAbove(1),
  tools: isNonEmpty,
  tool_choice: isOtherThan('none', 'auto'),
  functions: isNonEmpty,
  function_call: isOtherThan('none', 'auto'),
  response_format: (value) =>
    isSet(value) && (typeof value !== 'object' || (value as { type?: unknown }).type !== 'text'),
  prompt_logprobs: (value) => typeof value === 'number',
  logit_bias: isNonEmpty,
  suffix: isNonEmpty,
  echo: (value) => value === true,
  modalities: (value) => Array.isArray(value) && value.some((kind) => kind !== 'text'),
  audio: isSet,
  prediction: isSet,
  grammar: isNonEmpty,
  json_schema: isNonEmpty,
  structured_outputs: isNonEmpty,
  guided_json: isNonEmpty,
  guided_regex: isNonEmpty,
  guided_choice: isNonEmpty,
  guided_grammar: isNonEmpty,
};

/** Throws `invalid_request` naming the first field that the engine cannot honour; unknown fields are ignored. */
export function refuseUnsupported(request: ChatRequest): void {
  if (request.choices > 1) throw refusal('n');
  for (const [field, asks] of Object.entries(REFUSED)) {
    if (Object.hasOwn(request.extra, field) && asks(request.extra[field])) throw refusal(field);
  }
}

function refusal(field: string): GatewayError {
  return new GatewayError(
    'invalid_request',
    `The engine that serves this model cannot honour '${field}' yet; leave the field out, or use another model.`,
    { param: field },
  );
}
