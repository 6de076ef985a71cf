// JSON as the network brings and takes it: any bytes become a value or a GatewayError, in bounded time and depth.
// What is odd but legal has one outcome everywhere: invalid UTF-8 and half surrogate pairs become U+FFFD, of a key that
// comes twice the last counts, NUL is text, integers keep their digits. No error ever repeats what was sent.
import { GatewayError } from '../core/errors.ts';
import { jsonFault } from './json-fault.ts';

/** Nested brackets. JSON.parse itself survives a million, but whoever walks such a value would not. */
const MAX_DEPTH = 128;
/** Every integer of fewer digits is exact as a number. */
const SAFE_DIGITS = 15;

const UTF8 = new TextDecoder();

const QUOTE = 0x22;
const MINUS = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const LOWER_E = 0x65;

/** Only an escape can make half a surrogate pair: UTF-8 has none. */
const SURROGATE_ESCAPE = /\\u[dD][89a-fA-F]/;
/** Line ends to some readers of lines, though not to JSON: Python's str.splitlines among them. */
const LINE_BREAKER = /[\u0080-\u009f\u2028\u2029]/;
const LINE_BREAKERS = new RegExp(LINE_BREAKER, 'g');
/** Stands before an integer's digits while JSON.parse sees it as a string. Random, so that no body holds it by chance. */
const KEPT_INTEGER = `${Math.random()}${Math.random()}:`;

/** The part of the language that TypeScript's library does not know yet. */
const { rawJSON, isRawJSON } = JSON as unknown as {
  readonly rawJSON: (text: string) => ExactInteger;
  readonly isRawJSON: (value: unknown) => value is ExactInteger;
};

/** An integer that a JavaScript number would change: JSON.stringify writes it as it came, digit by digit. */
export interface ExactInteger {
  readonly rawJSON: string;
}

/** Throws `invalid_request` on anything that is no JSON text of reasonable depth. A byte order mark is skipped. */
export function parseJson(bytes: Uint8Array): unknown {
  const text = UTF8.decode(bytes);
  try {
    return parseJsonText(text);
  } catch (thrown) {
    if (thrown instanceof GatewayError) throw thrown;
    throw new GatewayError('invalid_request', faultOf(text));
  }
}

/**
 * The value of a text. Throws V8's own SyntaxError, which quotes the text, where it is no JSON, and `invalid_request` where
 * it is too deep or holds a number out of range.
 */
export function parseJsonText(text: string): unknown {
  const exact = scan(text);
  const value: unknown = JSON.parse(exact);
  // The walk is the dear part: most bodies need none.
  return exact !== text || SURROGATE_ESCAPE.test(text) ? settle(value) : value;
}

/** JSON on one line, also for readers that split on more than `\n`. */
export function stringifyLine(value: unknown): string {
  const line = JSON.stringify(value);
  // For each piece of every stream, and to look costs a quarter of what replacing nothing does.
  return LINE_BREAKER.test(line) ? line.replace(LINE_BREAKERS, escapeCharacter) : line;
}

/** Whether `parseJson` kept the value digit by digit, because as a number it would be another one. */
export function isExactInteger(value: unknown): value is ExactInteger {
  return isRawJSON(value);
}

function escapeCharacter(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/**
 * One pass before parsing, so that a hostile body costs little: refuses what is too deep, and numbers that would become
 * Infinity. Gives the text back with each integer that a number would change turned into a marked string.
 */
function scan(text: string): string {
  let depth = 0;
  let done = 0;
  let exact = '';
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = endOfString(text, at);
    // `[` and `{` differ in one bit, and so do `]` and `}`.
    else if ((code & ~0x20) === 0x5b) {
      depth += 1;
      if (depth > MAX_DEPTH) {
        throw new GatewayError('invalid_request', `The body is nested deeper than ${MAX_DEPTH} levels.`);
      }
    } else if ((code & ~0x20) === 0x5d) depth -= 1;
    else if (isDigit(code)) {
      const end = endOfNumber(text, at);
      if (end - at > SAFE_DIGITS || isExponent(text.charCodeAt(end))) {
        const start = text.charCodeAt(at - 1) === MINUS ? at - 1 : at;
        at = refuseInfinity(text, start, end);
        if (at === end && isChanged(text, start, end)) {
          exact += `${text.slice(done, start)}"${KEPT_INTEGER}${text.slice(start, end)}"`;
          done = end;
        }
        at -= 1;
      } else at = end - 1;
    }
  }
  return done === 0 ? text : exact + text.slice(done);
}

/** Of the string that begins with the quote at `start`: its closing quote's place, or the text's end. */
export function endOfString(text: string, start: number): number {
  for (let quote = text.indexOf('"', start + 1); quote >= 0; quote = text.indexOf('"', quote + 1)) {
    let first = quote;
    while (text.charCodeAt(first - 1) === BACKSLASH && first - 1 > start) first -= 1;
    if ((quote - first) % 2 === 0) return quote;
  }
  return text.length;
}

/** Behind the digits, and behind those after a point. */
function endOfNumber(text: string, start: number): number {
  let end = start;
  while (isDigit(text.charCodeAt(end)) || text.charCodeAt(end) === POINT) end += 1;
  return end;
}

/** The number's true end, its exponent included. JSON could carry such a number; no answer of ours could repeat it. */
function refuseInfinity(text: string, start: number, end: number): number {
  let last = end;
  if (isExponent(text.charCodeAt(end))) {
    last += 1;
    while (/[\d+-]/.test(text.charAt(last))) last += 1;
  }
  // What is no number at all is a fault for JSON.parse to find.
  if (Math.abs(Number(text.slice(start, last))) !== Number.POSITIVE_INFINITY) return last;
  throw new GatewayError(
    'invalid_request',
    `The body holds a number that is out of range (position ${start}).`,
  );
}

/**
 * Whether it is an integer that would be written with other digits than it came with: some are, though a number can hold
 * them (30352021391449912). Where a member's name should be it is a fault, and must stay one.
 */
function isChanged(text: string, start: number, end: number): boolean {
  const digits = text.slice(start, end);
  if (!/^-?[1-9]\d*$/.test(digits)) return false;
  let next = end;
  while (/[ \t\r\n]/.test(text.charAt(next))) next += 1;
  return text.charCodeAt(next) !== COLON && String(Number(digits)) !== digits;
}

function isDigit(code: number): boolean {
  return code >= ZERO && code <= NINE;
}

function isExponent(code: number): boolean {
  return (code | 0x20) === LOWER_E;
}

function faultOf(text: string): string {
  const at = jsonFault(text);
  if (at < text.length) return `The body is not JSON (position ${at}).`;
  return /[^ \t\r\n]/.test(text)
    ? 'The body is not JSON: it ends too early.'
    : 'The body is empty: JSON is needed.';
}

/** Replaces half surrogate pairs, in keys too, and marked integers, in place. The value's depth is bounded already. */
function settle(value: unknown): unknown {
  if (typeof value === 'string') {
    return value.startsWith(KEPT_INTEGER) ? rawJSON(value.slice(KEPT_INTEGER.length)) : value.toWellFormed();
  }
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index += 1) {
      if (mayChange(value[index])) value[index] = settle(value[index]);
    }
  } else if (typeof value === 'object' && value !== null) settleMembers(value as Record<string, unknown>);
  return value;
}

function settleMembers(members: Record<string, unknown>): void {
  for (const key of Object.keys(members)) {
    const inner = members[key];
    if (mayChange(inner)) members[key] = settle(inner);
    if (key.isWellFormed()) continue;
    const settled = members[key];
    delete members[key];
    members[key.toWellFormed()] = settled;
  }
}

function mayChange(value: unknown): boolean {
  return typeof value === 'string' || (typeof value === 'object' && value !== null);
}
