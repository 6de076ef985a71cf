// HTTP for the model store: one request with its redirects, through the proxy that the environment names.
// Credentials go to the origin that they were meant for and to no other. No answer's text ever gets into an error.
import { type Dispatcher, EnvHttpProxyAgent } from 'undici';
import type { Environment } from '../home.ts';
import { ModelStoreError, reasonOf } from '../model-store-error.ts';

const MAX_REDIRECTS = 5;
const CONNECT_MS = 15_000;

/** Headers that prove who asks. */
export type Credentials = Readonly<Record<string, string>>;

export interface HttpRequest {
  readonly method: 'GET' | 'HEAD';
  readonly url: URL;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent only while the origin is that of `url`. */
  readonly credentials?: Credentials | undefined;
  readonly signal: AbortSignal;
  /** Ends the chain at a redirect that already says enough. */
  readonly isEnough?: (headers: HttpHeaders) => boolean;
}

export type HttpHeaders = Readonly<Record<string, string | undefined>>;

export interface HttpAnswer {
  readonly status: number;
  readonly url: URL;
  readonly headers: HttpHeaders;
  readonly body: Dispatcher.ResponseData['body'];
}

export interface HttpClient extends AsyncDisposable {
  /** Rejects with undici's error or the signal's reason, or with ModelStoreError `unreachable` for a wrong redirect. */
  request(request: HttpRequest): Promise<HttpAnswer>;
}

/** Reads HTTP_PROXY, HTTPS_PROXY and NO_PROXY, in either case, from the given environment. */
export function createHttpClient(env: Environment): HttpClient {
  const httpProxy = proxyOf(env.http_proxy || env.HTTP_PROXY);
  const httpsProxy = proxyOf(env.https_proxy || env.HTTPS_PROXY);
  let agent: EnvHttpProxyAgent;
  try {
    agent = new EnvHttpProxyAgent({
      // Empty, not absent: where it is absent, undici looks into the process's environment by itself.
      httpProxy,
      httpsProxy,
      noProxy: env.no_proxy || env.NO_PROXY || '',
      connect: { timeout: CONNECT_MS },
      // Both limits are the caller's, by the signal.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
  } catch (thrown) {
    throw new ModelStoreError(
      'unreachable',
      'HTTP_PROXY or HTTPS_PROXY is not the address of a proxy.',
      thrown,
    );
  }
  return {
    request: (request) => requestWithRedirects(agent, request),
    [Symbol.asyncDispose]: () => agent.destroy(),
  };
}

/** Many people write the proxy's host and port alone. */
function proxyOf(value: string | undefined): string {
  return value && !value.includes('://') ? `http://${value}` : (value ?? '');
}

async function requestWithRedirects(agent: EnvHttpProxyAgent, request: HttpRequest): Promise<HttpAnswer> {
  const home = request.url.origin;
  let url = request.url;
  for (let hop = 0; ; hop += 1) {
    const headers: Record<string, string> = {
      'user-agent': 'sluice',
      // Ranges and sizes are those of the file, not of a packed form of it.
      'accept-encoding': 'identity',
      ...request.headers,
    };
    if (url.origin === home) Object.assign(headers, request.credentials);
    const response = await send(agent, url, { ...request, headers });
    const answer: HttpAnswer = {
      status: response.statusCode,
      url,
      headers: singleHeaders(response.headers),
      body: response.body,
    };
    const { location } = answer.headers;
    const isRedirect = [301, 302, 303, 307, 308].includes(answer.status) && location !== undefined;
    if (!isRedirect || request.isEnough?.(answer.headers)) return answer;
    // Its body is of no use, and its connection not worth keeping at any price.
    response.body.on('error', () => {}).destroy();
    if (hop >= MAX_REDIRECTS)
      throw new ModelStoreError('unreachable', `${request.url.host} redirects in circles.`);
    url = nextUrl(url, location, request.url.host);
  }
}

async function send(
  agent: EnvHttpProxyAgent,
  url: URL,
  request: HttpRequest & { headers: Record<string, string> },
): Promise<Dispatcher.ResponseData> {
  try {
    return await agent.request({
      origin: url.origin,
      path: `${url.pathname}${url.search}`,
      method: request.method,
      headers: request.headers,
      signal: request.signal,
    });
  } catch (thrown) {
    request.signal.throwIfAborted();
    throw thrown;
  }
}

function nextUrl(from: URL, location: string, who: string): URL {
  const url = URL.canParse(location, from.href) ? new URL(location, from) : undefined;
  if (!url || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    throw new ModelStoreError('unreachable', `${who} redirects to an address that is none.`);
  }
  if (from.protocol === 'https:' && url.protocol === 'http:') {
    throw new ModelStoreError('unreachable', `${who} redirects from https to http, which is refused.`);
  }
  return url;
}

function singleHeaders(headers: Readonly<Record<string, string | string[] | undefined>>): HttpHeaders {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, Array.isArray(value) ? value[0] : value]),
  );
}

/** `host cannot be reached: nothing listens there.` */
export function unreachable(host: string, thrown: unknown): ModelStoreError {
  return new ModelStoreError('unreachable', `${host} cannot be reached: ${reasonOf(thrown)}.`, thrown);
}
