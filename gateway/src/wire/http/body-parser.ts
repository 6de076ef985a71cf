// The body of a message of HTTP/1.1 (RFC 9112, 6 and 7) from its bytes, however the network cut them.
// It holds none of them: each is shown where it lies. What nobody reads, extensions and trailers, has a bound.
// Pure: no socket, no clock.
import { MalformedHttp, MOST_HEAD_BYTES } from './head.ts';

/** How a body ends: after so many bytes, with its last chunk, or with its connection. */
export type BodyFraming = number | 'chunked' | 'connection';

/** Who takes a body's bytes, which are valid until it returns. */
export interface DataReader {
  data(bytes: Buffer): void;
}

/** Of a length in digits: what is longer is no number any more. */
const MOST_DIGITS = 13;

const TAB = 0x09;
const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const SPACE = 0x20;
const SEMICOLON = 0x3b;

type State =
  /** No message has one. */
  | 'none'
  /** With a length. */
  | 'sized'
  /** It ends with its connection. */
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
  | 'trailer-line-end'
  | 'trailer-end'
  | 'done';

export class BodyParser {
  readonly #reader: DataReader;
  #state: State = 'none';
  /** Bytes of the body, or of the chunk, that are to come. */
  #left = 0;
  /** Of the present length; of what stands behind one, or behind the last chunk. */
  #digits = 0;
  #beside = 0;

  constructor(reader: DataReader) {
    this.#reader = reader;
  }

  /** A body has begun, and its end has not come. */
  get isUnderWay(): boolean {
    return this.#state !== 'none' && this.#state !== 'done';
  }

  get isDone(): boolean {
    return this.#state === 'done';
  }

  /** It has no end but that of its connection. */
  get endsWithConnection(): boolean {
    return this.#state === 'open';
  }

  /** A message's head has come: its body follows. */
  begin(framing: BodyFraming): void {
    this.#digits = 0;
    if (framing === 'chunked') this.#state = 'chunk-length';
    else if (framing === 'connection') this.#state = 'open';
    else {
      this.#left = framing;
      this.#state = framing > 0 ? 'sized' : 'done';
    }
  }

  /** Nothing more is told, also where it is called by who is told. */
  stop(): void {
    this.#state = 'done';
  }

  /** The next message is awaited. */
  reset(): void {
    this.#state = 'none';
  }

  /** Takes bytes of a body under way from `at` on; returns where what is not its own begins. Throws `MalformedHttp`. */
  read(bytes: Buffer, at: number): number {
    let next = at;
    while (next < bytes.length && this.#state !== 'done') next = this.#step(bytes, next);
    return next;
  }

  /** Returns where the next step begins. The state is set before anybody is told, for that may stop all. */
  #step(bytes: Buffer, at: number): number {
    switch (this.#state) {
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
        else this.#beginTrailer(bytes[at]!);
        break;
      case 'trailer-line':
        this.#pass(bytes[at]!);
        if (bytes[at] === CARRIAGE_RETURN) this.#state = 'trailer-line-end';
        break;
      case 'trailer-line-end':
        expect(bytes[at]!, LINE_FEED);
        this.#state = 'trailer';
        break;
      case 'trailer-end':
        expect(bytes[at]!, LINE_FEED);
        this.#state = 'done';
        break;
      case 'none':
      case 'done':
        throw new Error('No body is under way.');
    }
    return at + 1;
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
      if (this.#digits > MOST_DIGITS) throw new MalformedHttp();
      return;
    }
    if (this.#digits === 0) throw new MalformedHttp();
    if (byte === CARRIAGE_RETURN) this.#state = 'chunk-length-end';
    else if (byte === SEMICOLON || byte === SPACE || byte === TAB) this.#state = 'chunk-extension';
    else throw new MalformedHttp();
  }

  #beginTrailer(byte: number): void {
    if (byte === SPACE || byte === TAB) throw new MalformedHttp();
    this.#state = 'trailer-line';
    this.#pass(byte);
  }

  /** What nobody reads has a bound too. */
  #pass(byte: number): void {
    this.#beside += 1;
    if (byte === LINE_FEED || this.#beside > MOST_HEAD_BYTES) throw new MalformedHttp();
  }
}

/** -1: it is none. */
function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

function expect(byte: number, wanted: number): void {
  if (byte !== wanted) throw new MalformedHttp();
}
