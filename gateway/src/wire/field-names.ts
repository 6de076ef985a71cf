// What back ends say of a request names its fields as the chat dialect has them, and its messages by their number. Its client may
// have sent other fields: here a refusal gets the names of those. It must never name a field that the client did not send: where
// the place is not known exactly, the request as a whole is meant. Pure.
import { GatewayError } from '../core/errors.ts';

/** Where a message stands in its client's request. */
export interface MessageOrigin {
  /** What it was made of, as a path. */
  readonly field: string;
  /** The list whose items its parts are, one for one; absent: there is none. */
  readonly parts?: string | undefined;
}

export interface FieldNames {
  /** The field that all messages were made of; absent: there are none in this dialect. */
  readonly messages?: string | undefined;
  /** Of each message of the prompt. */
  readonly origins: readonly MessageOrigin[];
  /** Fields that have another name or another place here: the first that fits is replaced. */
  readonly renamed: readonly (readonly [RegExp, string])[];
  /** The fields that there are here; what else is named is none of the client's. Absent: a client may send any. */
  readonly known?: ReadonlySet<string> | undefined;
}

/** As OpenAI, vLLM, pydantic and our own back ends write a place among the messages. */
const MESSAGE = /^messages(?:\.?\[(\d+)\]|\.(\d+))?(.*)$/s;
const PART = /^\.?content(?:\.?\[(\d+)\]|\.(\d+))/;
/** The same within a sentence. */
const MESSAGE_PLACES = /\bmessages(?:\.?\[\d+\]|\.\d+)(?:\.?\[\d+\]|\.\w+)*/g;
const TOP = /^[\w-]*/;

/** The chat dialect's own: every field is what its name says. */
const CHAT_NAMES: FieldNames = { messages: 'messages', origins: [], renamed: [] };

/**
 * The error in the names that its client knows; the same one where nothing is named, or all is named as the client has it.
 * `isTrimmed`: the back end had fewer messages than the client sent, and no number of one means anything.
 */
export function retoldIn(
  names: FieldNames | undefined,
  error: GatewayError,
  isTrimmed: boolean,
): GatewayError {
  // In the chat dialect's own words, and about what the client sent.
  if (!names && !isTrimmed) return error;
  const known = isTrimmed ? { ...(names ?? CHAT_NAMES), origins: [] } : names!;
  const { code, retryAfterMs, status, wire, cause } = error;
  const param = error.param === undefined ? undefined : fieldOf(error.param, known);
  const message = messageOf(error, param, known);
  if (param === error.param && message === error.message) return error;
  return new GatewayError(code, message, { param, retryAfterMs, status, wire, cause });
}

/** Undefined: nothing that the client has sent. */
function fieldOf(named: string, { messages, origins, renamed, known }: FieldNames): string | undefined {
  const place = MESSAGE.exec(named);
  if (place) {
    const [, index = place[2], , rest = ''] = place;
    const origin = index === undefined ? undefined : origins[Number(index)];
    if (!origin) return messages;
    const part = PART.exec(rest);
    return part && origin.parts !== undefined ? `${origin.parts}[${part[1] ?? part[2]}]` : origin.field;
  }
  const [pattern, replacement] = renamed.find(([pattern]) => pattern.test(named)) ?? [];
  if (pattern) return named.replace(pattern, replacement!);
  return known === undefined || known.has(TOP.exec(named)![0]) ? named : undefined;
}

function messageOf({ message, param }: GatewayError, field: string | undefined, names: FieldNames): string {
  // Our own refusals begin with the field.
  const isOurs = param !== undefined && message.startsWith(`${param} `);
  const begun = isOurs ? (field ?? 'The request') : '';
  const rest = isOurs ? message.slice(param.length) : message;
  const told = rest.replace(MESSAGE_PLACES, (named, at: number) => {
    return fieldOf(named, names) ?? (at === 0 ? 'The request' : 'the request');
  });
  return begun + told;
}
