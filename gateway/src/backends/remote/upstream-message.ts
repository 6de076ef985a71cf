// What the body of a refusal says, in any dialect that servers refuse in: text for people, and names for programs.
// What it returns is for clients: bounded, without control characters, and without the secrets that it is given.
import { hasMembers, jsonIn, type Members } from './upstream-json.ts';

/** In characters. */
const MOST_MESSAGE = 2_000;
/** Of a body, before it is searched; in characters. */
const MOST_BODY = 64 * 1024;
/** How deep an error may stand in errors. */
const MOST_NESTED = 4;
/** Faults of fields that are named, where a server lists them. */
const MOST_FAULTS = 5;

export interface UpstreamMessage {
  /** Absent: it said nothing that is fit for a client. */
  readonly text: string | undefined;
  /** It is a page for browsers: some other server than the one that was meant. */
  readonly isPage: boolean;
  /** As the server named them; absent: not at all, or not in a plain word. */
  readonly type: string | undefined;
  readonly code: string | undefined;
  readonly param: string | undefined;
}

/** Reads a body of any form, never throws. `secrets` become `***`. */
export function readUpstreamMessage(body: string, secrets: readonly string[] = []): UpstreamMessage {
  const trimmed = body.slice(0, MOST_BODY).trim();
  if (trimmed.startsWith('<')) return { ...NOTHING, isPage: true };
  const value = jsonIn(body.trim());
  if (value === undefined) return { ...NOTHING, text: clean(trimmed, secrets) };
  const fields = fieldsOf(value);
  const word = (name: string) => plainWord(fields[name], secrets);
  return {
    text: clean(textOf(value), secrets),
    isPage: false,
    type: word('type'),
    code: word('code'),
    param: word('param'),
  };
}

const NOTHING: UpstreamMessage = {
  text: undefined,
  isPage: false,
  type: undefined,
  code: undefined,
  param: undefined,
};

/** Where type, code and param stand: in `error` if that is an object, else at the top. */
function fieldsOf(value: unknown): Members {
  const top = Array.isArray(value) ? value[0] : value;
  if (!hasMembers(top)) return {};
  return hasMembers(top.error) ? top.error : top;
}

function textOf(value: unknown, depth = 0): string {
  if (typeof value === 'string') return value;
  const fields = fieldsOf(value);
  for (const candidate of [fields.message, fields.error, fields.detail, fields.msg]) {
    if (typeof candidate === 'string') return candidate;
    if (Array.isArray(candidate))
      return candidate.slice(0, MOST_FAULTS).map(faultOf).filter(Boolean).join('; ');
    if (hasMembers(candidate)) return depth < MOST_NESTED ? textOf(candidate, depth + 1) : '';
  }
  return '';
}

/** Of a list of faults: the field and what is wrong with it. What the client wrote there is left out. */
function faultOf(fault: unknown): string {
  if (typeof fault === 'string') return fault;
  if (!hasMembers(fault) || typeof fault.msg !== 'string') return '';
  const path = Array.isArray(fault.loc) ? fault.loc.filter((part) => part !== 'body').join('.') : '';
  return path ? `${path}: ${fault.msg}` : fault.msg;
}

function plainWord(value: unknown, secrets: readonly string[]): string | undefined {
  if (typeof value !== 'string' || !/^[a-z][\w.[\]-]{0,63}$/i.test(value)) return undefined;
  return redact(value, secrets) === value ? value : undefined;
}

/** Secrets go before the text is cut: half of one is too much. */
function clean(text: string, secrets: readonly string[]): string | undefined {
  const line = text.slice(0, MOST_BODY).replace(/[\p{Cc}\u2028\u2029]+/gu, ' ');
  return redact(line, secrets).trim().slice(0, MOST_MESSAGE).toWellFormed() || undefined;
}

function redact(text: string, secrets: readonly string[]): string {
  return secrets.reduce((rest, secret) => (secret === '' ? rest : rest.replaceAll(secret, '***')), text);
}
