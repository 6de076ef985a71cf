// Requests of HTTP/1.1 (RFC 9112) from a connection's bytes, one after the other, however the network cut them.
// What a proxy in front could take for another request than we do is none: bare line feeds, folded headers, two lengths, a length
// beside chunks, two hosts. It holds no more than a head.
// Pure: no socket, no clock.
import { BodyParser, type DataReader } from '../../wire/http/body-parser.ts';
import {
  framingBy,
  HeadReader,
  hasToken,
  MalformedHttp,
  readHeaders,
  staysOpen,
} from '../../wire/http/head.ts';

/** Names in lower case; what was sent more than once stands with commas between. */
export type RequestHeaders = Readonly<Record<string, string | undefined>>;

export interface RequestHead {
  readonly method: string;
  /** As it came: a path with its query, or the absolute form. */
  readonly target: string;
  readonly headers: RequestHeaders;
  /** HTTP/1.0 knows no chunks. */
  readonly isOld: boolean;
  /** The client would send another request on this connection. */
  readonly keepsAlive: boolean;
  /** It waits to be told that its body is wanted. */
  readonly awaitsContinue: boolean;
  readonly hasBody: boolean;
  /** The client would speak something else on this connection. */
  readonly asksForUpgrade: boolean;
}

export interface RequestReader extends DataReader {
  head(head: RequestHead): void;
}

/** No method has other letters, and so what is left of a body that somebody counted otherwise is mostly none. */
const REQUEST_LINE = /([A-Z]{1,32}) ([\x21-\x7e\x80-\xff]+) HTTP\/1\.([01])\r\n/y;
const BEGINNING = /^[A-Z]/;

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;

export class RequestParser {
  readonly #reader: RequestReader;
  readonly #head = new HeadReader();
  readonly #body: BodyParser;

  constructor(reader: RequestReader) {
    this.#reader = reader;
    this.#body = new BodyParser(reader);
  }

  /** Not a byte of a request has come. */
  get isIdle(): boolean {
    return !this.#body.isUnderWay && !this.#body.isDone && this.#head.held === '';
  }

  /** The request has come to its end: nothing more is taken until `next`. */
  get isDone(): boolean {
    return this.#body.isDone;
  }

  /** Another request may come. */
  next(): void {
    this.#body.reset();
  }

  /** Takes the next bytes; returns how many of them are this request's. Throws `MalformedHttp`, and is of no use after that. */
  read(bytes: Buffer): number {
    let at = this.isIdle ? withoutBlankLines(bytes) : 0;
    while (at < bytes.length && !this.#body.isDone) {
      at = this.#body.isUnderWay ? this.#body.read(bytes, at) : this.#readHead(bytes, at);
    }
    return at;
  }

  #readHead(bytes: Buffer, at: number): number {
    const head = this.#head.read(bytes, at);
    if (head) {
      this.#begin(head.lines);
      return head.end;
    }
    // Another protocol's first bytes are told so at once.
    if (!BEGINNING.test(this.#head.held)) throw new MalformedHttp();
    return bytes.length;
  }

  #begin(lines: string): void {
    REQUEST_LINE.lastIndex = 0;
    const line = REQUEST_LINE.exec(lines);
    if (!line) throw new MalformedHttp();
    const isOld = line[3] === '0';
    const headers: RequestHeaders = readHeaders<string>(lines, REQUEST_LINE.lastIndex, joined);
    const { host, connection, expect } = headers;
    if (host === undefined ? !isOld : host.includes(',')) throw new MalformedHttp();
    if (isOld && headers['transfer-encoding'] !== undefined) throw new MalformedHttp();
    // Without a word of it there is none.
    const framing = framingBy(headers) ?? 0;
    this.#body.begin(framing);
    this.#reader.head({
      method: line[1]!,
      target: line[2]!,
      headers,
      isOld,
      keepsAlive: staysOpen(isOld, headers),
      awaitsContinue: !isOld && framing !== 0 && expect?.toLowerCase() === '100-continue',
      hasBody: framing !== 0,
      asksForUpgrade:
        !isOld && headers.upgrade !== undefined && hasToken((connection ?? '').toLowerCase(), 'upgrade'),
    });
  }
}

/** Some clients end a body with a line end that is none of it (RFC 9112, 2.2). */
function withoutBlankLines(bytes: Buffer): number {
  let at = 0;
  while (bytes[at] === CARRIAGE_RETURN || bytes[at] === LINE_FEED) at += 1;
  return at;
}

function joined(earlier: string, value: string): string {
  return `${earlier}, ${value}`;
}
