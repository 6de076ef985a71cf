// One request and its response, with what every answer has: an id, the CORS headers, one shape of errors.
// The only place that turns error codes into HTTP.
import { randomUUID } from 'node:crypto';
import { ERROR_TRAITS, type GatewayError } from '../../core/errors.ts';
import type { Dialect } from '../../wire/dialect.ts';
import { errorBody } from '../../wire/error-body.ts';
import { type BodyLimits, readBody } from './body.ts';
import type { Request } from './request.ts';
import type { Response, ResponseHeaders } from './response.ts';

/** A client's own id is taken if it is short and plain; anything else could be used to forge log lines. */
const SANE_ID = /^[\w.:/+=@-]{1,128}$/;
const DEFAULT_RETRY_MS = 1_000;

export class Exchange {
  readonly id: string;
  readonly request: Request;
  readonly response: Response;
  /** The path as it came, without the query. */
  readonly path: string;
  readonly #query: string;
  readonly #headers: Record<string, string>;
  #errorShape: (error: GatewayError, id: string) => object = errorBody;

  constructor(request: Request, response: Response) {
    this.request = request;
    this.response = response;
    this.id = requestId(request.headers['x-request-id']);
    this.#headers = { 'x-request-id': this.id, 'x-siliconcloud-trace-id': this.id };
    const { path, query } = splitTarget(request.target);
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

  /** A request header, with commas between where the client sent several; undefined if absent or empty. */
  header(name: string): string | undefined {
    return this.request.headers[name] || undefined;
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

  /** Status and headers; the body follows by `response.write`. */
  begin(status: number, headers: ResponseHeaders): void {
    this.response.begin(status, { ...this.#headers, ...headers });
  }

  sendJson(status: number, body: object, headers: ResponseHeaders = {}): void {
    this.send(status, 'application/json; charset=utf-8', `${JSON.stringify(body)}\n`, headers);
  }

  send(status: number, contentType: string, text: string, headers: ResponseHeaders = {}): void {
    const { response } = this;
    if (response.hasBegun || response.isLost) return;
    const length = Buffer.byteLength(text);
    this.begin(status, { 'content-type': contentType, 'content-length': length, ...headers });
    // A turn's answers are made first and then written, as its requests are read before any of them is computed: see body.ts.
    setImmediate(() => response.end(text));
  }

  sendError(error: GatewayError, headers: ResponseHeaders = {}): void {
    this.sendJson(error.status, this.errorBody(error), { ...errorHeaders(error), ...headers });
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

function errorHeaders(error: GatewayError): ResponseHeaders {
  if (error.code === 'unauthenticated') return { 'www-authenticate': 'Bearer', 'x-should-retry': 'false' };
  const ms = retryMs(error);
  if (ms === undefined) return { 'x-should-retry': 'false' };
  return { 'retry-after': `${Math.ceil(ms / 1000)}`, 'retry-after-ms': `${ms}`, 'x-should-retry': 'true' };
}

/** A request's target as it came, in its two parts. */
export function splitTarget(url: string): { readonly path: string; readonly query: string } {
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
