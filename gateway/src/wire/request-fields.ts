// The fields that every dialect's requests share, and how a dialect reads a body by its schema.
// `null` is the same as absent, everywhere. What has no name here is not judged, and no error repeats a value.
// A list is read item by item and given up at its first fault: zod alone would collect millions.
import { z } from 'zod';
import type { ChatRequest, Sampling } from '../core/chat.ts';
import { GatewayError } from '../core/errors.ts';
import { isExactInteger } from './json.ts';

const MAX_MODEL_LENGTH = 256;
const MAX_STOPS = 16;
const MAX_STOP_LENGTH = 256;
const MAX_CHOICES = 128;
/** Prompts in one request. */
const MAX_PROMPTS = 1024;

/** Whatever is there, or nothing: for what is read by hand. */
const anything = z.unknown().optional();

/** Gives a value as a schema would, or undefined where the schema is to be asked. */
type PlainRead = (value: unknown) => unknown;

/** How plain values are read, by their schemas: zod's way to a number costs as much as parsing the body it stands in. */
const PLAIN_READS = new WeakMap<z.core.$ZodType, PlainRead>();

function readPlainly<T extends z.ZodType>(schema: T, read: PlainRead | undefined): T {
  if (read) PLAIN_READS.set(schema, read);
  return schema;
}

/** Absent and null are one. */
export function optional<T extends z.ZodType>(type: T) {
  const field = type.nullish().transform((value) => value ?? undefined);
  return readPlainly(field, PLAIN_READS.get(type));
}

/** An optional number. The message goes on after the field's name: "must be…". */
export function numberField(message: string, isValid: (value: number) => boolean) {
  return plainField(message, (value) => {
    const number = isExactInteger(value) ? Number(value.rawJSON) : value;
    return typeof number === 'number' && isValid(number) ? number : undefined;
  });
}

/** An optional value that needs no schema of its own: `read` gives it, or undefined where it is none. */
function plainField<T>(message: string, read: (value: unknown) => T | undefined) {
  const field = anything.transform((value, context): T | undefined => {
    if (isNullish(value)) return undefined;
    const known = read(value);
    if (known !== undefined) return known;
    context.addIssue({ code: 'custom', message });
    return z.NEVER;
  });
  return readPlainly(field, read);
}

/** An optional integer between two bounds. */
export function integerField(low: number, high: number) {
  return numberField(
    `must be a whole number from ${low} to ${high}`,
    (value) => Number.isInteger(value) && value >= low && value <= high,
  );
}

/** An optional text, of any length. */
export const textField = plainField('must be a text', (value) =>
  typeof value === 'string' ? value : undefined,
);
/** An optional yes or no. */
export const booleanField = plainField('must be true or false', (value) =>
  typeof value === 'boolean' ? value : undefined,
);

/** A list whose items are all read by one schema, up to the first that is wrong. */
export function listOf<T extends z.ZodType>(
  item: T,
  message: string,
  low = 0,
  high = Number.POSITIVE_INFINITY,
) {
  return anything.transform((values, context) => {
    if (!Array.isArray(values) || values.length < low || values.length > high) {
      context.addIssue({ code: 'custom', message });
      return z.NEVER;
    }
    const read: z.output<T>[] = [];
    for (let index = 0; index < values.length; index += 1) {
      if (!readInto(read, item, values[index], context, [index])) return z.NEVER;
    }
    return read;
  });
}

/** An object's members by its schema, and beside them what the schema has no name for. */
export function objectWithRest<Shape extends z.ZodRawShape>(schema: z.ZodObject<Shape>) {
  const readMembers = memberReader(schema);
  return z.unknown().transform((value, context) => {
    const { fields, rest } = isObject(value) ? readMembers(value) : NOTHING_READ;
    if (fields) return { fields, rest };
    const read: z.output<z.ZodObject<Shape>>[] = [];
    return readInto(read, schema, value, context, []) ? { fields: read[0]!, rest } : z.NEVER;
  });
}

/** What an object's members come to. */
interface Members<Shape extends z.ZodRawShape> {
  /** Undefined where something is wrong: what it is, the schema tells. */
  readonly fields: z.output<z.ZodObject<Shape>> | undefined;
  /** Beside its schema's names, without nulls. */
  readonly rest: ChatRequest['extra'];
}

const NOTHING_READ: Members<never> = { fields: undefined, rest: {} };

/**
 * Reads an object as its schema would, but only what is there: most of a request's fields are absent, and zod looks into each
 * of them anew.
 */
function memberReader<Shape extends z.ZodRawShape>({ shape }: z.ZodObject<Shape>) {
  const types = new Map(
    Object.entries<z.core.$ZodType>(shape).map(([name, type]) => [
      name,
      { type, readPlain: PLAIN_READS.get(type) },
    ]),
  );
  const needed = Object.keys(shape).filter((name) => {
    const absent = z.safeParse(shape[name]!, undefined);
    return !absent.success || absent.data !== undefined;
  });
  return (object: Readonly<Record<string, unknown>>): Members<Shape> => {
    const fields: Record<string, unknown> = {};
    const rest: Record<string, unknown> = {};
    let isRight = needed.every((name) => object[name] !== undefined);
    for (const name of Object.keys(object)) {
      const value = object[name];
      const known = types.get(name);
      if (known === undefined) {
        // `__proto__` is a name like any other in JSON, and a trap to whoever copies it member by member.
        if (value !== null && name !== '__proto__') rest[name] = value;
      } else if (isRight) {
        const plain = known.readPlain?.(value);
        if (plain !== undefined) fields[name] = plain;
        else {
          const read = z.safeParse(known.type, value);
          isRight = read.success;
          fields[name] = read.data;
        }
      }
    }
    // Sampling has a seed only as a number; a back end that can pass on every digit finds them here.
    if (isExactInteger(object.seed)) rest.seed = object.seed;
    return { fields: isRight ? (fields as z.output<z.ZodObject<Shape>>) : undefined, rest };
  };
}

/** A text where the value is one, as `text` has it, else a list. */
export function textOr<T extends z.ZodType>(list: T, text?: z.ZodString) {
  const field = z.unknown().transform((value, context): string | z.output<T> => {
    const isText = typeof value === 'string';
    if (isText && !text) return value;
    const read: (string | z.output<T>)[] = [];
    return readInto(read, isText ? text! : list, value, context, []) ? read[0]! : z.NEVER;
  });
  return text ? field : readPlainly(field, (value) => (typeof value === 'string' ? value : undefined));
}

function readInto<T extends z.ZodType>(
  read: z.output<T>[],
  schema: T,
  value: unknown,
  context: z.RefinementCtx,
  path: PropertyKey[],
): boolean {
  const parsed = z.safeParse(schema, value);
  if (parsed.success) {
    read.push(parsed.data);
    return true;
  }
  const issue = parsed.error.issues[0]!;
  context.addIssue({ code: 'custom', path: [...path, ...issue.path], message: issue.message });
  return false;
}

/** A prompt or several, read as a list. `message`: what is said of an item that is no text. */
export function promptsField(message: string) {
  const list = listOf(
    z.string(message),
    `must be a text or a list of 1 to ${MAX_PROMPTS} texts`,
    1,
    MAX_PROMPTS,
  );
  return textOr(list).transform((prompt) => (typeof prompt === 'string' ? [prompt] : prompt));
}

const MODEL_MESSAGE = `must be the name of a model, of 1 to ${MAX_MODEL_LENGTH} characters`;
/** The model's name as the client writes it. */
export const modelField = z.string(MODEL_MESSAGE).min(1, MODEL_MESSAGE).max(MAX_MODEL_LENGTH, MODEL_MESSAGE);

/** Any magnitude: what is more than the window leaves is capped by the back end. */
export const tokenLimitField = numberField(
  'must be a whole number above 0',
  (value) => value >= 1 && Number.isInteger(value),
);

/** How many answers to the one prompt. */
export const choicesField = integerField(1, MAX_CHOICES);

const STOP_MESSAGE = `must be a text or a list of up to ${MAX_STOPS} texts, each of up to ${MAX_STOP_LENGTH} characters`;
const stopString = z.string(STOP_MESSAGE).max(MAX_STOP_LENGTH, STOP_MESSAGE);

/** What every dialect of generation understands under the same names. */
export const samplingFields = {
  max_tokens: tokenLimitField,
  temperature: numberBetween(0, 2),
  top_p: numberBetween(0, 1),
  /** -1 is how some clients say "off". */
  top_k: numberField('must be a whole number, 0 or above', (value) => value >= -1 && Number.isInteger(value)),
  min_p: numberBetween(0, 1),
  seed: numberField('must be a whole number', Number.isInteger),
  presence_penalty: numberBetween(-2, 2),
  frequency_penalty: numberBetween(-2, 2),
  repetition_penalty: numberField(
    'must be a number above 0, at most 10',
    (value) => value > 0 && value <= 10,
  ),
  stop: optional(textOr(listOf(stopString, STOP_MESSAGE, 0, MAX_STOPS), stopString)),
  stream: booleanField,
};

/** `stream_options`, of OpenAI's dialects. */
export const streamOptionsField = optional(
  z.custom(isObject, 'must be an object').pipe(z.object({ include_usage: booleanField })),
);

type SamplingFields = z.output<z.ZodObject<typeof samplingFields>>;

/** What was asked of the sampler; absent is the model's own default. */
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

/** An empty stop string would end every answer before it begins: it counts as none. */
export function stopsOf({ stop }: Pick<SamplingFields, 'stop'>): readonly string[] {
  const stops = typeof stop === 'string' ? [stop] : (stop ?? []);
  return stops.filter((one) => one !== '');
}

/** A body as its schema reads it, and what the schema has no name for. */
export interface ReadBody<Shape extends z.ZodRawShape> {
  readonly fields: z.output<z.ZodObject<Shape>>;
  readonly extra: ChatRequest['extra'];
}

/** The function throws `invalid_request` with the first thing that is wrong, its path as `param`. */
export function bodyReader<Shape extends z.ZodRawShape>(
  schema: z.ZodObject<Shape>,
): (body: unknown) => ReadBody<Shape> {
  const readMembers = memberReader(schema);
  return (body) => {
    if (!isObject(body)) throw new GatewayError('invalid_request', 'The body must be a JSON object.');
    const { fields = explained(schema, body), rest } = readMembers(body);
    return { fields, extra: rest };
  };
}

/** What the schema itself makes of a body that is not as it should be. */
function explained<Shape extends z.ZodRawShape>(schema: z.ZodObject<Shape>, body: unknown) {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  const param = pathText(issue.path);
  throw new GatewayError('invalid_request', `${param} ${issue.message}.`, { param });
}

/** An object of JSON's kind: no list, no null, no integer that is kept as one. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !isExactInteger(value);
}

/** `null` is the same as absent. */
export function isNullish(value: unknown): value is null | undefined {
  return value === undefined || value === null;
}

function numberBetween(low: number, high: number) {
  return numberField(`must be a number from ${low} to ${high}`, (value) => value >= low && value <= high);
}

function pathText(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, step) => {
    if (typeof step === 'number') return `${text}[${step}]`;
    return text === '' ? String(step) : `${text}.${String(step)}`;
  }, '');
}
