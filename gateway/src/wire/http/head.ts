// The head of a message of HTTP/1.1 (RFC 9112, 2 and 5), a request's or an answer's, from its bytes, however the network cut them.
// What two readers could take for different messages is none: bare line feeds and folded headers are no HTTP here.
// Pure: no socket, no clock.

/** Of a head, in bytes; and of what a body may hold besides its data, from one piece of data to the next. */
export const MOST_HEAD_BYTES = 16 * 1024;

const TAB = 0x09;
const SPACE = 0x20;
const HEAD_END = '\r\n\r\n';
const HEADER_LINE = /([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t\x20-\x7e\x80-\xff]*)\r\n/y;

/** What came is no HTTP/1.1. */
export class MalformedHttp extends Error {
  override readonly name: string = 'MalformedHttp';
}

/** A head that does not end in time to be read. */
export class HeadTooLarge extends MalformedHttp {
  override readonly name = 'HeadTooLarge';
}

/** Waits for the blank line that ends a head. */
export class HeadReader {
  #held = '';

  /** What has come of a head that is not whole, as Latin-1. */
  get held(): string {
    return this.#held;
  }

  /**
   * Takes bytes from `at` on. The head's lines, each with its end, and where the next byte stands; undefined: all of it was taken, and
   * more is to come. Throws `HeadTooLarge`.
   */
  read(bytes: Buffer, at: number): { readonly lines: string; readonly end: number } | undefined {
    const before = this.#held.length;
    const text = this.#held + bytes.toString('latin1', at, Math.min(bytes.length, at + MOST_HEAD_BYTES));
    const end = text.indexOf(HEAD_END, Math.max(0, before - HEAD_END.length));
    if (end >= 0) {
      this.#held = '';
      return { lines: text.slice(0, end + 2), end: at + end + HEAD_END.length - before };
    }
    if (text.length >= MOST_HEAD_BYTES) throw new HeadTooLarge();
    this.#held = text;
    return undefined;
  }
}

/** The headers of a head's lines from `start` on, names in lower case; `merge`: what becomes of a name that comes again. Throws `MalformedHttp`. */
export function readHeaders<Merged>(
  lines: string,
  start: number,
  merge: (earlier: string | Merged, value: string) => Merged,
): Record<string, string | Merged> {
  const headers: Record<string, string | Merged> = Object.create(null);
  let at = start;
  while (at < lines.length) {
    HEADER_LINE.lastIndex = at;
    const line = HEADER_LINE.exec(lines);
    if (!line) throw new MalformedHttp();
    at = HEADER_LINE.lastIndex;
    const name = line[1]!.toLowerCase();
    const value = trimmed(line[2]!);
    const earlier = headers[name];
    headers[name] = earlier === undefined ? value : merge(earlier, value);
  }
  return headers;
}

/** Without what may stand around a value. `trim` would take more, and see another value than who reads only these. */
function trimmed(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isBlank(text.charCodeAt(start))) start += 1;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end -= 1;
  return text.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === SPACE || code === TAB;
}

/** Whether it is one of a list with commas between, which is in lower case. */
export function hasToken(list: string, token: string): boolean {
  return list !== '' && list.split(',').some((one) => one.trim() === token);
}

/** Whether the other side would use the connection again. `isOld`: it speaks HTTP/1.0, where one has to ask for it. */
export function staysOpen(isOld: boolean, { connection }: Readonly<Record<string, unknown>>): boolean {
  const wishes = String(connection ?? '').toLowerCase();
  return isOld ? hasToken(wishes, 'keep-alive') : !hasToken(wishes, 'close');
}

/**
 * How a message's body ends, by its headers (RFC 9112, 6.3); undefined: they do not say. Throws `MalformedHttp` for what two readers
 * could take for two bodies: a length beside chunks, another coding, a length that is no plain number, as where two were sent.
 */
export function framingBy(headers: Readonly<Record<string, unknown>>): number | 'chunked' | undefined {
  const coding = headers['transfer-encoding'];
  const length = headers['content-length'];
  if (coding !== undefined) {
    if (length !== undefined || String(coding).toLowerCase() !== 'chunked') throw new MalformedHttp();
    return 'chunked';
  }
  if (length === undefined) return undefined;
  if (typeof length !== 'string' || !/^\d{1,15}$/.test(length)) throw new MalformedHttp();
  return Number(length);
}
