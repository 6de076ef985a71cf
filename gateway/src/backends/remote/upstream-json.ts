// JSON as other servers write it: what Python's own writer makes of numbers that JSON has no word for is read too.
// It must never give out a value so deep that whoever follows it runs out of stack, and no error repeats what was sent.
// Pure.
import { GatewayError } from '../../core/errors.ts';
import { endOfString, parseJsonText } from '../../wire/json.ts';

/**
 * A text of fewer characters cannot nest deep enough to hurt, so it is parsed without a look at it first: that is every
 * piece of a stream. What is done with a value follows a few levels; arguments alone are written out again, and they
 * are read by `parseExactly`.
 */
const SHORT = 8 * 1024;

const QUOTE = 0x22;
const MINUS = 0x2d;
const UPPER_I = 0x49;
const UPPER_N = 0x4e;
const BARE_NUMBER = /-?Infinity|NaN/y;

/** Integers of a short text are JavaScript's numbers. Throws `backend_failed` for what is no JSON or too deep. */
export function parseUpstream(text: string): unknown {
  return text.length < SHORT ? parse(text, JSON.parse) : parse(text, parseJsonText);
}

/** Integers keep all of their digits: JSON.stringify writes them as they came. Throws as `parseUpstream` does. */
export function parseExactly(text: string): unknown {
  return parse(text, parseJsonText);
}

/** Of a JSON object. */
export type Members = Readonly<Record<string, unknown>>;

/** Whether the value is an object, and no list. */
export function hasMembers(value: unknown): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** None where the value is no object. */
export function membersOf(value: unknown): Members {
  return hasMembers(value) ? value : NO_MEMBERS;
}

/** What a text says that may be JSON or not; undefined: it is none. For what is looked at, and never walked. */
export function jsonIn(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** None where the value is no list. */
export function itemsOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : NO_ITEMS;
}

const NO_MEMBERS: Members = Object.freeze({});
const NO_ITEMS: readonly unknown[] = Object.freeze([]);

function parse(text: string, parser: (text: string) => unknown): unknown {
  try {
    return parser(text);
  } catch (thrown) {
    if (thrown instanceof GatewayError) {
      throw new GatewayError(
        'backend_failed',
        'The back end sent JSON that is nested too deep, or holds a number out of range.',
      );
    }
  }
  const mended = withoutBareNumbers(text);
  try {
    if (mended !== text) return parser(mended);
  } catch {
    // The numbers were not all that was wrong.
  }
  throw new GatewayError('backend_failed', 'The back end sent something that is no JSON.');
}

/** `NaN`, `Infinity` and `-Infinity` outside of strings become null. */
function withoutBareNumbers(text: string): string {
  let mended = '';
  let done = 0;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = endOfString(text, at);
    else if (code === MINUS || code === UPPER_I || code === UPPER_N) {
      BARE_NUMBER.lastIndex = at;
      const [bare = ''] = BARE_NUMBER.exec(text) ?? [];
      if (bare === '') continue;
      mended += `${text.slice(done, at)}null`;
      done = at + bare.length;
      at = done - 1;
    }
  }
  return mended + text.slice(done);
}
