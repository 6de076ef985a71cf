// One answer of HTTP/1.1 (RFC 9112) from its bytes, however the network cut them: two lengths, or a length beside chunks, are none.
// It must never hold more than a head, and it shows each byte of a body where it lies.
// Pure: no socket, no clock.
import { BodyParser } from '../../wire/http/body-parser.ts';
import { framingBy, HeadReader, MalformedHttp, readHeaders, staysOpen } from '../../wire/http/head.ts';
import { transportError } from './transport-error.ts';
import type { UpstreamHeaders, UpstreamReader } from './upstream-reader.ts';

const BEGINNING = 'HTTP/1.';
const STATUS_LINE = /HTTP\/1\.([01]) (\d{3})(?: [^\r\n\0]*)?\r\n/y;

export class ResponseParser {
  /** A byte of an answer came. */
  hasBegun = false;
  /** By its head the connection may serve another request after this answer. */
  keepsAlive = false;
  /** How long the server says that it keeps the connection, in ms; undefined: it says nothing. */
  keepAliveMs: number | undefined;
  readonly #reader: UpstreamReader;
  readonly #head = new HeadReader();
  readonly #body: BodyParser;

  constructor(reader: UpstreamReader) {
    this.#reader = reader;
    this.#body = new BodyParser(reader);
  }

  /** The answer has come to its end. */
  get isDone(): boolean {
    return this.#body.isDone;
  }

  /** Its body has no end but that of its connection. */
  get endsWithConnection(): boolean {
    return this.#body.endsWithConnection;
  }

  /** Nothing more is told, also where it is called by the reader. */
  stop(): void {
    this.#body.stop();
  }

  /** Takes the next bytes; returns how many of them are this answer's. Throws `backend_failed` for what is no HTTP. */
  read(bytes: Buffer): number {
    this.hasBegun ||= bytes.length > 0;
    let at = 0;
    try {
      while (at < bytes.length && !this.#body.isDone) {
        at = this.#body.isUnderWay ? this.#body.read(bytes, at) : this.#readHead(bytes, at);
      }
    } catch (thrown) {
      throw thrown instanceof MalformedHttp ? transportError('bad-http') : thrown;
    }
    return at;
  }

  #readHead(bytes: Buffer, at: number): number {
    const head = this.#head.read(bytes, at);
    if (head) {
      this.#begin(head.lines);
      return head.end;
    }
    const { held } = this.#head;
    if (!held.startsWith(BEGINNING) && !BEGINNING.startsWith(held)) throw new MalformedHttp();
    return bytes.length;
  }

  #begin(lines: string): void {
    STATUS_LINE.lastIndex = 0;
    const line = STATUS_LINE.exec(lines);
    if (!line) throw new MalformedHttp();
    const status = Number(line[2]);
    const headers: UpstreamHeaders = readHeaders<string[]>(lines, STATUS_LINE.lastIndex, listed);
    // Hints come before the answer. Nobody has asked for another protocol.
    if (status < 200 && status !== 101) return;
    if (status < 200) throw new MalformedHttp();
    this.keepsAlive = staysOpen(line[1] === '0', headers);
    const hint = /(?:^|[\s,])timeout=(\d{1,9})/i.exec(String(headers['keep-alive'] ?? ''));
    if (hint) this.keepAliveMs = Number(hint[1]) * 1000;
    const framing = status === 204 || status === 304 ? 0 : (framingBy(headers) ?? 'connection');
    if (framing === 'connection') this.keepsAlive = false;
    this.#body.begin(framing);
    this.#reader.head(status, headers);
  }
}

function listed(earlier: string | string[], value: string): string[] {
  return [...(typeof earlier === 'string' ? [earlier] : earlier), value];
}
