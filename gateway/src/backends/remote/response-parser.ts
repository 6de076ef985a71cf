// One answer of HTTP/1.1 (RFC 9112) from its bytes, however the network cut them.
// What two readers could take for different answers is none: bare line feeds, folded headers, two lengths, a length beside
// chunks. It must never hold more than a head, and it shows each byte of a body where it lies.
// Pure: no socket, no clock.
import { transportError } from './transport-error.ts';
import type { UpstreamHeaders, UpstreamReader } from './upstream-reader.ts';

/** Of a head, of what may stand behind a chunk's length, and of all that stands behind the last chunk, in bytes. */
const MOST_HEAD_BYTES = 16 * 1024;
/** Of a length in digits: what is longer is no number any more. */
const MOST_DIGITS = 13;

const TAB = 0x09;
const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const SPACE = 0x20;
const SEMICOLON = 0x3b;

const HEAD_END = '\r\n\r\n';
const STATUS_LINE = /HTTP\/1\.([01]) (\d{3})(?: [^\r\n\0]*)?\r\n/y;
const HEADER_LINE = /([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\r\n\0]*)\r\n/y;

type State =
  | 'head'
  /** A body with a length. */
  | 'sized'
  /** A body that ends with its connection. */
  | 'open'
  | 'chunk-length'
  | 'chunk-extension'
  | 'chunk-length-end'
  | 'chunk'
  | 'chunk-end'
  | 'chunk-end-end'
  /** Where a line of a trailer begins, or the empty one that ends it. */
  | 'trailer'
  | 'trailer-line'
  | 'trailer-end'
  | 'done';

export class ResponseParser {
  /** A byte of an answer came. */
  hasBegun = false;
  /** By its head the connection may serve another request after this answer. */
  keepsAlive = false;
  /** How long the server says that it keeps the connection, in ms; undefined: it says nothing. */
  keepAliveMs: number | undefined;
  readonly #reader: UpstreamReader;
  #state: State = 'head';
  /** Of a head that has not come whole. */
  #held = '';
  /** Bytes of the body, or of the chunk, that are to come. */
  #left = 0;
  /** Of the present length; of what stands behind one, or behind the last chunk. */
  #digits = 0;
  #beside = 0;

  constructor(reader: UpstreamReader) {
    this.#reader = reader;
  }

  /** The answer has come to its end. */
  get isDone(): boolean {
    return this.#state === 'done';
  }

  /** Its body has no end but that of its connection. */
  get endsWithConnection(): boolean {
    return this.#state === 'open';
  }

  /** Nothing more is told, also where it is called by the reader. */
  stop(): void {
    this.#state = 'done';
  }

  /** Takes the next bytes; returns how many of them are this answer's. Throws `backend_failed` for what is no HTTP. */
  read(bytes: Buffer): number {
    this.hasBegun ||= bytes.length > 0;
    let at = 0;
    while (at < bytes.length && this.#state !== 'done') at = this.#step(bytes, at);
    return at;
  }

  /** Returns where the next step begins. The state is set before the reader is told, for that may stop all. */
  #step(bytes: Buffer, at: number): number {
    switch (this.#state) {
      case 'head':
        return this.#readHead(bytes, at);
      case 'sized':
      case 'chunk':
        return this.#readData(bytes, at);
      case 'open':
        this.#reader.data(at === 0 ? bytes : bytes.subarray(at));
        return bytes.length;
      case 'chunk-length':
        this.#readLength(bytes[at]!);
        break;
      case 'chunk-extension':
        if (bytes[at] === CARRIAGE_RETURN) this.#state = 'chunk-length-end';
        else this.#pass(bytes[at]!);
        break;
      case 'chunk-length-end':
        expect(bytes[at]!, LINE_FEED);
        this.#beside = 0;
        this.#state = this.#left > 0 ? 'chunk' : 'trailer';
        break;
      case 'chunk-end':
        expect(bytes[at]!, CARRIAGE_RETURN);
        this.#state = 'chunk-end-end';
        break;
      case 'chunk-end-end':
        expect(bytes[at]!, LINE_FEED);
        this.#digits = 0;
        this.#state = 'chunk-length';
        break;
      case 'trailer':
        if (bytes[at] === CARRIAGE_RETURN) this.#state = 'trailer-end';
        else this.#passTrailer(bytes[at]!);
        break;
      case 'trailer-line':
        this.#passTrailer(bytes[at]!);
        break;
      case 'trailer-end':
        expect(bytes[at]!, LINE_FEED);
        this.#state = 'done';
        break;
      case 'done':
        break;
    }
    return at + 1;
  }

  #readHead(bytes: Buffer, at: number): number {
    const before = this.#held.length;
    const text = this.#held + bytes.toString('latin1', at, Math.min(bytes.length, at + MOST_HEAD_BYTES));
    const end = text.indexOf(HEAD_END, Math.max(0, before - HEAD_END.length));
    if (end < 0) {
      const hasBegun = text.startsWith('HTTP/1.') || 'HTTP/1.'.startsWith(text);
      if (!hasBegun || text.length >= MOST_HEAD_BYTES) throw transportError('bad-http');
      this.#held = text;
      return bytes.length;
    }
    this.#held = '';
    this.#begin(text.slice(0, end + 2));
    return at + end + HEAD_END.length - before;
  }

  /** `head`: its lines, each with its end. */
  #begin(head: string): void {
    STATUS_LINE.lastIndex = 0;
    const line = STATUS_LINE.exec(head);
    if (!line) throw transportError('bad-http');
    const status = Number(line[2]);
    const headers = headersOf(head, STATUS_LINE.lastIndex);
    // Hints come before the answer. Nobody has asked for another protocol.
    if (status < 200 && status !== 101) return;
    if (status < 200) throw transportError('bad-http');
    const connection = String(headers.connection ?? '').toLowerCase();
    this.keepsAlive = line[1] === '1' ? !hasToken(connection, 'close') : hasToken(connection, 'keep-alive');
    const hint = /(?:^|[\s,])timeout=(\d{1,9})/i.exec(String(headers['keep-alive'] ?? ''));
    if (hint) this.keepAliveMs = Number(hint[1]) * 1000;
    this.#frame(status, headers);
    this.#reader.head(status, headers);
  }

  /** How the body ends (RFC 9112, 6.3). */
  #frame(status: number, headers: UpstreamHeaders): void {
    const coding = headers['transfer-encoding'];
    const length = headers['content-length'];
    if (status === 204 || status === 304) this.#state = 'done';
    else if (coding !== undefined) {
      if (length !== undefined || String(coding).toLowerCase() !== 'chunked')
        throw transportError('bad-http');
      this.#digits = 0;
      this.#state = 'chunk-length';
    } else if (length !== undefined) {
      if (typeof length !== 'string' || !/^\d{1,15}$/.test(length)) throw transportError('bad-http');
      this.#left = Number(length);
      this.#state = this.#left > 0 ? 'sized' : 'done';
    } else {
      this.keepsAlive = false;
      this.#state = 'open';
    }
  }

  #readData(bytes: Buffer, at: number): number {
    const end = Math.min(bytes.length, at + this.#left);
    this.#left -= end - at;
    if (this.#left === 0) this.#state = this.#state === 'chunk' ? 'chunk-end' : 'done';
    this.#reader.data(bytes.subarray(at, end));
    return end;
  }

  #readLength(byte: number): void {
    const digit = hexDigit(byte);
    if (digit >= 0) {
      this.#left = this.#digits === 0 ? digit : this.#left * 16 + digit;
      this.#digits += 1;
      if (this.#digits > MOST_DIGITS) throw transportError('bad-http');
      return;
    }
    if (this.#digits === 0) throw transportError('bad-http');
    if (byte === CARRIAGE_RETURN) this.#state = 'chunk-length-end';
    else if (byte === SEMICOLON || byte === SPACE || byte === TAB) this.#state = 'chunk-extension';
    else throw transportError('bad-http');
  }

  #passTrailer(byte: number): void {
    this.#state = byte === LINE_FEED ? 'trailer' : 'trailer-line';
    if (byte !== LINE_FEED) this.#pass(byte);
  }

  /** What nobody reads has a bound too. */
  #pass(byte: number): void {
    this.#beside += 1;
    if (byte === LINE_FEED || this.#beside > MOST_HEAD_BYTES) throw transportError('bad-http');
  }
}

function headersOf(head: string, start: number): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = Object.create(null);
  let at = start;
  while (at < head.length) {
    HEADER_LINE.lastIndex = at;
    const line = HEADER_LINE.exec(head);
    if (!line) throw transportError('bad-http');
    at = HEADER_LINE.lastIndex;
    const name = line[1]!.toLowerCase();
    const value = line[2]!.trim();
    const earlier = headers[name];
    if (earlier === undefined) headers[name] = value;
    else if (typeof earlier === 'string') headers[name] = [earlier, value];
    else earlier.push(value);
  }
  return headers;
}

/** Of a list with commas between. */
function hasToken(list: string, token: string): boolean {
  return list !== '' && list.split(',').some((one) => one.trim() === token);
}

/** -1: it is none. */
function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

function expect(byte: number, wanted: number): void {
  if (byte !== wanted) throw transportError('bad-http');
}
