// A request of HTTP/1.1 (RFC 9112) as the bytes that are sent, all in one piece.
// What could be read as more than the one header, or the one request, that it is, is not sent.
import { transportError } from './transport-error.ts';

export interface RequestWriterOptions {
  /** Of the back end, with its port where that is not the scheme's own. */
  readonly host: string;
  /** Stands before every path. */
  readonly pathPrefix: string;
  /** Of every request. Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
}

export interface WritableRequest {
  readonly method: 'GET' | 'POST';
  /** With the query, from the origin on. */
  readonly path: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
}

/** Of Latin-1 what RFC 9110, 5.5 allows. */
const SENDABLE_HEADER = /^[!#$%&'*+\-.^_`|~0-9a-z]+: [\t\x20-\x7e\x80-\xff]*\r\n$/;
const SENDABLE_PATH = /^[\x21-\x7e]+$/;

export class RequestWriter {
  private readonly pathPrefix: string;
  /** The lines that every request has, behind its first. */
  private readonly lines: string;

  constructor({ host, pathPrefix, headers }: RequestWriterOptions) {
    this.pathPrefix = pathPrefix;
    this.lines = `host: ${host}\r\nconnection: keep-alive\r\n${linesOf(headers)}`;
  }

  /** Throws `backend_failed` for what cannot be sent, without showing it. */
  write({ method, path, headers, body }: WritableRequest): Buffer {
    if (!SENDABLE_PATH.test(path)) throw transportError('unsendable');
    const start = `${method} ${this.pathPrefix}${path} HTTP/1.1\r\n${this.lines}${linesOf(headers)}`;
    if (body === undefined) return Buffer.from(`${start}\r\n`, 'latin1');
    const bodyBytes = Buffer.byteLength(body);
    const head = `${start}content-length: ${bodyBytes}\r\n\r\n`;
    const bytes = Buffer.allocUnsafe(head.length + bodyBytes);
    bytes.write(head, 'latin1');
    bytes.write(body, head.length, 'utf8');
    return bytes;
  }
}

function linesOf(headers: Readonly<Record<string, string>>): string {
  let lines = '';
  for (const name in headers) {
    const line = `${name}: ${headers[name]}\r\n`;
    if (!SENDABLE_HEADER.test(line)) throw transportError('unsendable');
    lines += line;
  }
  return lines;
}
