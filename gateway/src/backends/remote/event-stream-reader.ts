// Reads server-sent events from bytes, however the network cut them.
// It must never decode a part of a character, wait for more than the end of a line that is certain, or hold more than one
// event: what grows past the bound ends the stream.
// Pure: no socket, no clock.

// Not the global one, which is asked for through a getter each time.
import { Buffer } from 'node:buffer';
import { GatewayError } from '../../core/errors.ts';
import { HeldBytes } from './held-bytes.ts';

/** An event with a whole thought or a picture in it passes; one without an end does not. In bytes: 16 MiB. */
export const MAX_EVENT_BYTES = 16 * 1024 * 1024;

export interface EventStreamReaderOptions {
  /** The event's data lines, joined; its name, '' where it has none. What it throws leaves `push` or `end`. */
  readonly onEvent: (data: string, event: string) => void;
  /**
   * Takes an event that begins at `at`, if it knows it by its bytes and all of it is there. Returns where it ends; `at`: it is
   * for `onEvent`.
   */
  readonly takeKnown?: ((bytes: Buffer, at: number) => number) | undefined;
  /** Bound on one event, in bytes; `MAX_EVENT_BYTES` unless there is a reason. */
  readonly maxEventBytes: number;
}

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const SPACE = 0x20;
const COLON = 0x3a;
const LOWER_A = 0x61;
const LOWER_D = 0x64;
const LOWER_T = 0x74;

/** What a line of data costs besides its bytes, so that a million empty ones have a bound too. */
const LINE_BYTES = 64;
const NO_BYTES = Buffer.alloc(0);

export class EventStreamReader {
  readonly #onEvent: (data: string, event: string) => void;
  readonly #takeKnown: EventStreamReaderOptions['takeKnown'];
  readonly #maxEventBytes: number;
  readonly #held = new HeldBytes();
  #isAtStart = true;
  /** The last read ended with a CR: an LF that comes next belongs to it. */
  #skipsLineFeed = false;
  /** Of the event under way. */
  #data: string | undefined;
  #event = '';
  #eventBytes = 0;

  constructor({ onEvent, takeKnown, maxEventBytes }: EventStreamReaderOptions) {
    this.#onEvent = onEvent;
    this.#takeKnown = takeKnown;
    this.#maxEventBytes = maxEventBytes;
  }

  /** Takes the next bytes. Throws `backend_failed` when an event grows past its bound, and is of no use after that. */
  push(bytes: Uint8Array): void {
    const chunk = Buffer.isBuffer(bytes)
      ? bytes
      : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let at = 0;
    if (this.#skipsLineFeed && chunk.length > 0) {
      this.#skipsLineFeed = false;
      if (chunk[0] === LINE_FEED) at = 1;
    }
    if (this.#takeKnown && this.#isBetweenEvents) at = this.#takeAllKnown(chunk, at);
    // Each is looked for once in a chunk, or where the last one was passed: most streams have no CR at all.
    let carriageReturn = chunk.indexOf(CARRIAGE_RETURN, at);
    let lineFeed = chunk.indexOf(LINE_FEED, at);
    while (lineFeed >= 0 || carriageReturn >= 0) {
      const isReturn = carriageReturn >= 0 && (lineFeed < 0 || carriageReturn < lineFeed);
      const end = isReturn ? carriageReturn : lineFeed;
      this.#endLine(chunk, at, end);
      at = end + 1;
      if (isReturn) {
        if (at === chunk.length) this.#skipsLineFeed = true;
        else if (chunk[at] === LINE_FEED) at += 1;
        carriageReturn = chunk.indexOf(CARRIAGE_RETURN, at);
      }
      if (lineFeed >= 0 && lineFeed < at) lineFeed = nextLineFeed(chunk, at);
    }
    if (at < chunk.length) {
      this.#refuseAbove(this.#eventBytes + this.#held.length + chunk.length - at);
      this.#held.append(chunk, at, chunk.length);
    }
  }

  /**
   * The bytes have ended. Some servers leave out the last blank line, or the last line's end: what there is counts as
   * an event, and whoever reads its data sees whether it is whole.
   */
  end(): void {
    if (this.#held.length > 0) this.#endLine(NO_BYTES, 0, 0);
    this.#dispatch();
  }

  /** What comes next begins an event. */
  get #isBetweenEvents(): boolean {
    return this.#data === undefined && this.#event === '' && this.#held.length === 0;
  }

  /** Returns where what is left begins. */
  #takeAllKnown(chunk: Buffer, start: number): number {
    let at = start;
    while (at < chunk.length) {
      const end = this.#takeKnown!(chunk, at);
      if (end === at) break;
      at = end;
    }
    return at;
  }

  #endLine(chunk: Buffer, start: number, end: number): void {
    if (this.#held.length === 0) {
      this.#line(chunk, start, end);
      return;
    }
    this.#held.append(chunk, start, end);
    const line = this.#held.take();
    this.#line(line, 0, line.length);
  }

  /** The byte at `end` is a line's end or not there, so nothing that is compared here can lie behind it. */
  #line(bytes: Buffer, lineStart: number, end: number): void {
    let start = lineStart;
    if (this.#isAtStart) {
      this.#isAtStart = false;
      if (bytes[start] === 0xef && bytes[start + 1] === 0xbb && bytes[start + 2] === 0xbf) start += 3;
    }
    if (start === end) {
      this.#dispatch();
      return;
    }
    this.#refuseAbove(this.#eventBytes + end - start);
    if (
      bytes[start] === LOWER_D &&
      bytes[start + 1] === LOWER_A &&
      bytes[start + 2] === LOWER_T &&
      bytes[start + 3] === LOWER_A &&
      bytes[start + 4] === COLON
    ) {
      const from = bytes[start + 5] === SPACE ? start + 6 : start + 5;
      this.#addData(bytes.toString('utf8', from, end), end - from);
    } else this.#field(bytes.toString('utf8', start, end));
  }

  /** Any line that does not begin with `data:`. */
  #field(line: string): void {
    if (line === 'data') this.#addData('', 0);
    else if (line === 'event') this.#event = '';
    else if (line.startsWith('event:')) this.#event = line.slice(line.charCodeAt(6) === SPACE ? 7 : 6);
    // A comment, an id, a time to retry after, or a field that nobody knows.
  }

  #addData(text: string, bytes: number): void {
    this.#data = this.#data === undefined ? text : `${this.#data}\n${text}`;
    this.#eventBytes += bytes + LINE_BYTES;
  }

  #dispatch(): void {
    const data = this.#data;
    const event = this.#event;
    this.#data = undefined;
    this.#event = '';
    this.#eventBytes = 0;
    if (data !== undefined && data !== '') this.#onEvent(data, event);
  }

  #refuseAbove(bytes: number): void {
    if (bytes <= this.#maxEventBytes) return;
    throw new GatewayError(
      'backend_failed',
      `The back end sent an event of more than ${this.#maxEventBytes} bytes.`,
    );
  }
}

/** Behind a line there is most often a blank one, or nothing. */
function nextLineFeed(chunk: Buffer, at: number): number {
  if (chunk[at] === LINE_FEED) return at;
  return at === chunk.length ? -1 : chunk.indexOf(LINE_FEED, at);
}
