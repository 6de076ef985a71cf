// JSON as the network brings and takes it: any bytes become a value or a GatewayError, in bounded time and depth.
// What is odd but legal has one outcome everywhere: invalid UTF-8 and half surrogate pairs become U+FFFD, of a key that
// comes twice the last counts, NUL is text. No error ever repeats what was sent.
import { GatewayError } from '../core/errors.ts';

/** Nested brackets. JSON.parse itself survives a million, but whoever walks such a value would not. */
const MAX_DEPTH = 128;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** Only an escape can make half a surrogate pair: UTF-8 has none. */
const SURROGATE_ESCAPE = /\\u[dD][89a-fA-F]/;
/** Line ends to some readers of lines, though not to JSON: Python's str.splitlines among them. */
const LINE_BREAKERS = /[\u0080-\u009f\u2028\u2029]/g;

/** Throws `invalid_request` on anything that is no JSON text of reasonable depth. A byte order mark is skipped. */
export function parseJson(bytes: Uint8Array): unknown {
  refuseDepth(bytes);
  const text = new TextDecoder().decode(bytes);
  if (text.trim() === '')
    throw new GatewayError('invalid_request', 'The body is empty: a JSON object is needed.');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (thrown) {
    throw new GatewayError('invalid_request', `The body is not JSON${placeOf(thrown)}.`);
  }
  return SURROGATE_ESCAPE.test(text) ? wellFormed(value) : value;
}

/** JSON on one line, also for readers that split on more than `\n`. */
export function stringifyLine(value: unknown): string {
  return JSON.stringify(value).replace(LINE_BREAKERS, escapeCharacter);
}

function escapeCharacter(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/** Before parsing, so that a hostile body costs one pass over its bytes and no memory. */
function refuseDepth(bytes: Uint8Array): void {
  let depth = 0;
  let inString = false;
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at]!;
    if (inString) {
      if (byte === BACKSLASH) at += 1;
      else if (byte === QUOTE) inString = false;
    } else if (byte === QUOTE) inString = true;
    // `[` and `{` differ in one bit, and so do `]` and `}`.
    else if ((byte & 0xdf) === 0x5b) {
      depth += 1;
      if (depth > MAX_DEPTH) {
        throw new GatewayError('invalid_request', `The body is nested deeper than ${MAX_DEPTH} levels.`);
      }
    } else if ((byte & 0xdf) === 0x5d) depth -= 1;
  }
}

/** V8 says where it stumbled, and quotes what it saw: only the place is passed on. */
function placeOf(thrown: unknown): string {
  const place = /at position (\d+)/.exec(thrown instanceof Error ? thrown.message : '');
  return place ? ` (position ${place[1]})` : '';
}

/** The same value with every half surrogate pair replaced, in keys too. Its depth is bounded already. */
function wellFormed(value: unknown): unknown {
  if (typeof value === 'string') return value.toWellFormed();
  if (Array.isArray(value)) return value.map(wellFormed);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [key.toWellFormed(), wellFormed(inner)]),
  );
}
