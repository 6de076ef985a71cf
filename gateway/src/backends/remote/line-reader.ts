// Reads newline-delimited JSON from bytes, however the network cut them: whole lines, as text.
// It must never decode a part of a character, or hold more than one line: what grows past the bound ends the stream.
// Pure: no socket, no clock.
import { GatewayError } from '../../core/errors.ts';
import { HeldBytes } from './held-bytes.ts';

export interface LineReaderOptions {
  /** A line that is not blank, without its end. What it throws leaves `push` or `end`. */
  readonly onLine: (line: string) => void;
  /** Bound on one line, in bytes. */
  readonly maxLineBytes: number;
}

const LINE_FEED = 0x0a;
const BYTE_ORDER_MARK = '\ufeff';
const NO_BYTES = Buffer.alloc(0);

export class LineReader {
  readonly #onLine: (line: string) => void;
  readonly #maxLineBytes: number;
  readonly #held = new HeldBytes();
  #isAtStart = true;

  constructor({ onLine, maxLineBytes }: LineReaderOptions) {
    this.#onLine = onLine;
    this.#maxLineBytes = maxLineBytes;
  }

  /** Takes the next bytes. Throws `backend_failed` when a line grows past its bound, and is of no use after that. */
  push(bytes: Uint8Array): void {
    const chunk = Buffer.isBuffer(bytes)
      ? bytes
      : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let at = 0;
    for (let end = chunk.indexOf(LINE_FEED); end >= 0; end = chunk.indexOf(LINE_FEED, at)) {
      this.#endLine(chunk, at, end);
      at = end + 1;
    }
    if (at === chunk.length) return;
    this.#refuseAbove(this.#held.length + chunk.length - at);
    this.#held.append(chunk, at, chunk.length);
  }

  /** The bytes have ended: a last line needs no line end. */
  end(): void {
    if (this.#held.length > 0) this.#endLine(NO_BYTES, 0, 0);
  }

  #endLine(chunk: Buffer, start: number, end: number): void {
    this.#refuseAbove(this.#held.length + end - start);
    if (this.#held.length === 0) {
      this.#line(chunk.toString('utf8', start, end));
      return;
    }
    this.#held.append(chunk, start, end);
    this.#line(this.#held.take().toString('utf8'));
  }

  /** A CR before the line's end is white space to JSON, as a whole line of it is to us. */
  #line(text: string): void {
    const line = this.#isAtStart && text.startsWith(BYTE_ORDER_MARK) ? text.slice(1) : text;
    this.#isAtStart = false;
    if (line.trim() !== '') this.#onLine(line);
  }

  #refuseAbove(bytes: number): void {
    if (bytes <= this.#maxLineBytes) return;
    throw new GatewayError(
      'backend_failed',
      `The back end sent a line of more than ${this.#maxLineBytes} bytes.`,
    );
  }
}
