// The fields that every dialect's requests share, and how a dialect checks a body against its schema.
// `null` is the same as absent, everywhere. What has no name here is not judged.
import { z } from 'zod';
import type { ChatRequest, Sampling } from '../core/chat.ts';
import { GatewayError } from '../core/errors.ts';

const MAX_MODEL_LENGTH = 256;
const MAX_STOPS = 16;
const MAX_STOP_LENGTH = 256;
const MAX_CHOICES = 128;
/** Prompts in one request. */
export const MAX_PROMPTS = 1024;

/** Absent and null are one. */
export function optional<T extends z.ZodType>(type: T) {
  return type.nullish().transform((value) => value ?? undefined);
}

const numberBetween = (low: number, high: number) =>
  optional(z.number(`must be a number from ${low} to ${high}`).min(low).max(high));

/** Any magnitude: what is more than the window leaves is capped by the back end. */
const tokenLimit = z
  .number('must be a whole number above 0')
  .refine((value) => value >= 1 && Number.isInteger(value), 'must be a whole number above 0');

const stopString = z.string('must be a text').max(MAX_STOP_LENGTH);

export const modelField = z
  .string('the name of a model is needed')
  .min(1, 'the name of a model is needed')
  .max(MAX_MODEL_LENGTH);

export const samplingFields = {
  max_tokens: optional(tokenLimit),
  temperature: numberBetween(0, 2),
  top_p: numberBetween(0, 1),
  /** -1 is how some clients say "off". */
  top_k: optional(z.number('must be a whole number').int('must be a whole number').min(-1)),
  min_p: numberBetween(0, 1),
  seed: optional(z.number('must be a whole number').refine(Number.isInteger, 'must be a whole number')),
  presence_penalty: numberBetween(-2, 2),
  frequency_penalty: numberBetween(-2, 2),
  repetition_penalty: optional(z.number('must be a number above 0').gt(0).max(10)),
  stop: optional(
    z.union([stopString, z.array(stopString).max(MAX_STOPS)], 'must be a text or a list of texts'),
  ),
  stream: optional(z.boolean('must be true or false')),
};

export const choiceField = optional(
  z.number('must be a whole number').int('must be a whole number').min(1).max(MAX_CHOICES),
);
export const tokenLimitField = optional(tokenLimit);
export const streamOptionsField = optional(
  z.looseObject({ include_usage: optional(z.boolean('must be true or false')) }, 'must be an object'),
);

type SamplingFields = z.output<z.ZodObject<typeof samplingFields>>;

export function samplingOf(fields: SamplingFields): Sampling {
  return {
    temperature: fields.temperature,
    topP: fields.top_p,
    topK: fields.top_k === undefined || fields.top_k < 0 ? undefined : fields.top_k,
    minP: fields.min_p,
    seed: fields.seed,
    presencePenalty: fields.presence_penalty,
    frequencyPenalty: fields.frequency_penalty,
    repetitionPenalty: fields.repetition_penalty,
  };
}

export function stopsOf({ stop }: SamplingFields): readonly string[] {
  const stops = typeof stop === 'string' ? [stop] : (stop ?? []);
  return stops.filter((one) => one !== '');
}

/** The body's fields that the schema does not name, without those that are null. */
export function extraOf(body: object, named: ReadonlySet<string>): ChatRequest['extra'] {
  return Object.fromEntries(
    Object.entries(body).filter(([name, value]) => value !== null && !named.has(name)),
  );
}

/** Throws `invalid_request` with the first thing that is wrong, its path as `param`. */
export function check<T extends z.ZodType>(schema: T, body: unknown): z.output<T> {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new GatewayError('invalid_request', 'The body must be a JSON object.');
  }
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const issue = deepest(parsed.error.issues[0]!);
  const param = pathText(issue.path);
  throw new GatewayError('invalid_request', `"${param}" is wrong: ${sentence(issue.message)}.`, { param });
}

/** Of a union's branches, the issue that got furthest: it is the one that the client meant. */
function deepest(issue: z.core.$ZodIssue): z.core.$ZodIssue {
  if (issue.code !== 'invalid_union') return issue;
  let best: z.core.$ZodIssue | undefined;
  for (const inner of issue.errors.flat()) {
    if (inner.path.length > (best?.path.length ?? 0)) best = inner;
  }
  return best ? deepest({ ...best, path: [...issue.path, ...best.path] }) : issue;
}

function pathText(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (text, step) =>
      typeof step === 'number' ? `${text}[${step}]` : text ? `${text}.${String(step)}` : String(step),
    '',
  );
}

function sentence(message: string): string {
  return message.replace(/\.$/, '').replace(/^[A-Z](?=[a-z])/, (letter) => letter.toLowerCase());
}
