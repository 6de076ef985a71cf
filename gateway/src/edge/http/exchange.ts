// One request and its response, with what every answer has: an id, the CORS headers, one shape of errors.
// The only place that turns error codes into HTTP.
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { ERROR_TRAITS, type GatewayError } from '../../core/errors.ts';
import type { Dialect } from '../../wire/dialect.ts';
import { errorBody } from '../../wire/error-body.ts';
import { type BodyLimits, readBody } from './body.ts';

/** A client's own id is taken if it is short and plain; anything else could be used to forge log lines. */
const SANE_ID = /^[\w.:/+=@-]{1,128}$/;
/** How long the rest of an unwanted body is read, so that the client gets to see the answer, in ms and bytes. */
const LINGER_MS = 2_000;
const LINGER_BYTES = 256 * 1024 * 1024;
const DEFAULT_RETRY_MS = 1_000;

export class Exchange {
  readonly id: string;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** The path as it came, without the query. */
  readonly path: string;
  readonly #query: string;
  readonly #headers: OutgoingHttpHeaders;
  #errorShape: (error: GatewayError, id: string) => object = errorBody;

  constructor(request: IncomingMessage, response: ServerResponse) {
    this.request = request;
    this.response = response;
    this.id = requestId(request.headers['x-request-id']);
    this.#headers = { 'x-request-id': this.id, 'x-siliconcloud-trace-id': this.id };
    const { path, query } = splitTarget(request.url);
    this.path = path;
    this.#query = query;
  }

  get query(): URLSearchParams {
    return new URLSearchParams(this.#query);
  }

  /** A header for whatever the answer will be. */
  setHeader(name: string, value: string): void {
    this.#headers[name] = value;
  }

  /** A request header that the client sent once; undefined if absent or empty. */
  header(name: string): string | undefined {
    const value = this.request.headers[name];
    return typeof value === 'string' && value !== '' ? value : undefined;
  }

  /** A dialect may have its own way to tell failures, and its own name for the request's id. */
  speak({ error, idHeader }: Pick<Dialect, 'error' | 'idHeader'>): void {
    if (error) this.#errorShape = error;
    if (idHeader !== undefined) this.setHeader(idHeader, this.id);
  }

  errorBody(error: GatewayError): object {
    return this.#errorShape(error, this.id);
  }

  readBody(limits: BodyLimits): Promise<Buffer> {
    return readBody(this.request, limits);
  }

  /** Sends status and headers; the body follows by `response.write`. */
  writeHead(status: number, headers: OutgoingHttpHeaders): void {
    this.response.writeHead(status, { ...this.#headers, ...headers });
  }

  sendJson(status: number, body: object, headers: OutgoingHttpHeaders = {}): void {
    this.send(status, 'application/json; charset=utf-8', `${JSON.stringify(body)}\n`, headers);
  }

  send(status: number, contentType: string, text: string, headers: OutgoingHttpHeaders = {}): void {
    const { request, response } = this;
    if (response.headersSent || response.destroyed) return;
    const isRead = request.complete || !hasBody(request);
    this.writeHead(status, {
      'content-type': contentType,
      'content-length': Buffer.byteLength(text),
      ...(isRead ? {} : { connection: 'close' }),
      ...headers,
    });
    if (request.method === 'HEAD') response.end();
    // As text, not as bytes: Node then writes head and body in one go. A turn's answers are made first and then written, as its
    // requests are read before any of them is computed: see body.ts.
    else if (isRead) setImmediate(() => response.end(text));
    else this.#sendAndLinger(text);
  }

  sendError(error: GatewayError, headers: OutgoingHttpHeaders = {}): void {
    this.sendJson(error.status, this.errorBody(error), { ...errorHeaders(error), ...headers });
  }

  /** Closing while the client still sends would reset the connection, and the answer would be lost with it. */
  #sendAndLinger(text: string): void {
    const { request, response } = this;
    let bytes = 0;
    const close = () => {
      clearTimeout(timer);
      request.off('data', count);
      response.end();
    };
    const count = (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > LINGER_BYTES) request.destroy();
    };
    const timer = setTimeout(() => request.destroy(), LINGER_MS).unref();
    request
      .on('data', count)
      .once('end', close)
      .once('close', close)
      .on('error', () => {})
      .resume();
    response.write(text);
  }
}

/** The client's own id, as it sent it, or a fresh one. */
export function requestId(asked: unknown): string {
  return typeof asked === 'string' && SANE_ID.test(asked) ? asked : randomUUID();
}

/** When to ask again, in whole ms; undefined: nobody is told a time that would not hold, nor to try its luck. */
export function retryMs({ code, retryAfterMs = DEFAULT_RETRY_MS }: GatewayError): number | undefined {
  return ERROR_TRAITS[code].retryable && retryAfterMs !== Infinity ? Math.ceil(retryAfterMs) : undefined;
}

function errorHeaders(error: GatewayError): OutgoingHttpHeaders {
  if (error.code === 'unauthenticated') return { 'www-authenticate': 'Bearer', 'x-should-retry': 'false' };
  const ms = retryMs(error);
  if (ms === undefined) return { 'x-should-retry': 'false' };
  return { 'retry-after': `${Math.ceil(ms / 1000)}`, 'retry-after-ms': `${ms}`, 'x-should-retry': 'true' };
}

function hasBody(request: IncomingMessage): boolean {
  const { headers } = request;
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

/** A request's target as it came, in its two parts. */
export function splitTarget(url = '/'): { readonly path: string; readonly query: string } {
  const target = withoutAuthority(url);
  const queryAt = target.indexOf('?');
  if (queryAt < 0) return { path: target, query: '' };
  return { path: target.slice(0, queryAt), query: target.slice(queryAt + 1) };
}

/** Proxies may send the absolute form, `GET http://host/path`. */
function withoutAuthority(target: string): string {
  const absolute = /^https?:\/\/[^/?#]*/i.exec(target);
  return absolute ? target.slice(absolute[0].length) || '/' : target;
}

/** A header's value may only hold Latin-1: anything else is percent-encoded, and so is `%` itself then. */
export function headerSafe(text: string): string {
  return /^[\x20-\x7e]*$/.test(text) ? text : encodeURIComponent(text.toWellFormed()).replaceAll('%2F', '/');
}
