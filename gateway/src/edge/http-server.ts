// The listening socket: from bytes to routes and back, with the limits that keep strangers from holding it.
// Bare node:http, because a framework's work for each request would be most of ours (docs/adr).
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { GatewayError, toGatewayError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { AccessKey, Readiness, World } from '../core/world.ts';
import { errorBody } from '../wire/error-body.ts';
import { type AccessRules, authenticate, isLoopback } from './access/access.ts';
import { handleCors } from './access/cors.ts';
import { setRateLimitHeaders } from './access/rate-limit-headers.ts';
import { type AdminOptions, authenticateAdmin, sendBackends } from './handlers/admin.ts';
import { countTokens } from './handlers/count-tokens.ts';
import { sendHealth, sendModel, sendModels, sendReadiness, sendUserInfo } from './handlers/discovery.ts';
import { sendFrontPage } from './handlers/front-page.ts';
import { Generation, type GenerationOptions } from './handlers/generation.ts';
import { answerEmbeddings, answerRerank } from './handlers/vectors.ts';
import { Exchange, splitTarget } from './http/exchange.ts';
import { cancelStream, resumeStream } from './resume/kept-reading.ts';
import { type Match, matchRoute, type Route } from './routes.ts';
import { asksForWebSocket, WEBSOCKET_VERSION } from './socket/handshake.ts';
import { type SocketFigures, Sockets } from './socket/sockets.ts';

export interface HttpServerOptions extends GenerationOptions {
  /** Asked once for each request, which then holds what it got. */
  readonly world: () => World;
  readonly readiness: () => Readiness;
  readonly metrics: () => Promise<{ readonly contentType: string; readonly text: string }>;
  readonly access: AccessRules;
  /** Absent: the operator's routes do not exist. */
  readonly admin: AdminOptions | undefined;
  readonly log: Log;
  /** From a connection's first byte to its last header, in ms. */
  readonly headerTimeoutMs: number;
}

/** Behind a proxy, ours must be the longer idle time: a proxy that re-uses a socket as we close it reports a 502. */
const IDLE_CONNECTION_MS = 75_000;
const CONNECTION_CHECK_MS = 500;
const DRAIN_POLL_MS = 50;

export class HttpServer {
  readonly #options: HttpServerOptions;
  readonly #generation: Generation;
  readonly #server: Server;
  readonly #sockets: Sockets;
  /** Responses under way on a socket: nothing else may be written there. No Map: see core/bag.ts. */
  readonly #busy = new WeakMap<Socket, number>();
  #underWay = 0;
  /** Sockets on which nonsense followed a good request: they close when that is answered. */
  readonly #garbled = new WeakSet<Socket>();
  #isOnLoopback = true;
  #isDraining = false;

  constructor(options: HttpServerOptions) {
    this.#options = options;
    this.#generation = new Generation(options);
    this.#server = createServer({
      headersTimeout: options.headerTimeoutMs,
      // Bodies have their own clock, which counts silence and not length: see body.ts.
      requestTimeout: 0,
      connectionsCheckingInterval: CONNECTION_CHECK_MS,
      keepAliveTimeout: IDLE_CONNECTION_MS,
      noDelay: true,
      // What is refused as a WebSocket, or asks for anything else (h2c), is an ordinary request and gets an ordinary answer.
      shouldUpgradeCallback: (request) => this.#mayUpgrade(request),
    });
    this.#sockets = new Sockets(options);
    this.#server.on('upgrade', (request, socket, head) =>
      this.#sockets.open(request, socket as Socket, head),
    );
    this.#server.on('request', (request, response) => void this.#handle(request, response));
    this.#server.on('clientError', (error: NodeJS.ErrnoException, socket) =>
      this.#refuse(error, socket as Socket),
    );
  }

  /** Rejects with Node's own error (EADDRINUSE, EACCES, ENOTFOUND). */
  listen(host: string, port: number): Promise<AddressInfo> {
    this.#isOnLoopback = isLoopback(host);
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, host, () => {
        this.#server.off('error', reject);
        resolve(this.#server.address() as AddressInfo);
      });
    });
  }

  get sockets(): SocketFigures {
    return this.#sockets.figures;
  }

  /** Waits until every answer under way has ended, at most `limitMs`; true if all have. Go on to `close`. */
  async drain(limitMs: number): Promise<boolean> {
    const { clock, kept } = this.#options;
    this.#isDraining = true;
    this.#sockets.goAway(limitMs);
    const isBusy = () => this.#underWay > 0 || kept.running > 0 || this.#sockets.isBusy;
    const until = clock.now() + limitMs;
    while (isBusy() && clock.now() < until) await sleep(DRAIN_POLL_MS);
    return !isBusy();
  }

  /** Cuts what is still open. */
  close(): Promise<void> {
    this.#options.kept.close();
    this.#sockets.close();
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.#track(request.socket, response);
    const exchange = new Exchange(request, response);
    try {
      await this.#dispatch(exchange);
    } catch (thrown) {
      const error = toGatewayError(thrown);
      if (error.code === 'internal') {
        this.#options.log('error', 'A request failed by a bug.', { id: exchange.id, cause: error.cause });
      }
      exchange.sendError(error);
    }
  }

  #dispatch(exchange: Exchange): Promise<void> | void {
    const { access } = this.#options;
    const world = this.#options.world();
    const wantsSocket = asksForWebSocket(exchange.request.headers);
    if (wantsSocket || this.#isDraining) exchange.setHeader('connection', 'close');
    if (handleCors(exchange, access)) return;
    const match = this.#match(exchange, world);
    const { route } = match;
    if ('dialect' in route) exchange.speak(route.dialect);
    const key = this.#letIn(exchange, route, world);
    if (key) setRateLimitHeaders(exchange, this.#options.quotas.standing(key));
    refuseOtherMethods(exchange, match);
    switch (route.kind) {
      case 'generation':
        return this.#generation.handle({
          exchange,
          dialect: route.dialect,
          modelInPath: match.model,
          key: key!,
          world,
        });
      case 'embeddings':
        return answerEmbeddings({ exchange, key: key!, world }, this.#options);
      case 'rerank':
        return answerRerank({ exchange, key: key!, world }, this.#options);
      case 'count-tokens':
        return countTokens(exchange, world, key!, this.#options);
      case 'models':
        return sendModels(exchange, world, key!);
      case 'model':
        return sendModel(exchange, world, key!, match.model ?? '');
      case 'user-info':
        return sendUserInfo(exchange, key!, this.#options.quotas.standing(key!));
      case 'stream':
        return this.#stream(exchange, match.stream!, key!);
      case 'socket':
        return this.#refuseSocket(exchange);
      case 'health':
        return sendHealth(exchange);
      case 'readiness':
        return sendReadiness(exchange, this.#options.readiness());
      case 'metrics':
        return this.#sendMetrics(exchange);
      case 'front-page':
        return sendFrontPage(exchange, world, this.#options.readiness());
      case 'backends':
        return sendBackends(exchange, this.#options.admin!);
    }
  }

  async #sendMetrics(exchange: Exchange): Promise<void> {
    const { contentType, text } = await this.#options.metrics();
    exchange.send(200, contentType, text);
  }

  /** Whether the request becomes a WebSocket. Nothing may be written beside an answer that is under way. */
  #mayUpgrade(request: IncomingMessage): boolean {
    if (!asksForWebSocket(request.headers) || this.#busy.has(request.socket)) return false;
    try {
      const { route, methods } = matchRoute(splitTarget(request.url).path);
      if (route.kind !== 'socket' || !methods.some((method) => method === request.method)) return false;
      this.#sockets.letIn(request);
      return true;
    } catch {
      // Why, the ordinary way tells.
      return false;
    }
  }

  /** Throws why the request has not become a WebSocket. */
  #refuseSocket(exchange: Exchange): never {
    exchange.setHeader('connection', 'upgrade, close');
    exchange.setHeader('upgrade', 'websocket');
    exchange.setHeader('sec-websocket-version', WEBSOCKET_VERSION);
    this.#sockets.letIn(exchange.request);
    throw new GatewayError('upgrade_required', 'A WebSocket needs a connection of its own.');
  }

  async #stream(exchange: Exchange, id: string, key: AccessKey): Promise<void> {
    if (exchange.request.method === 'DELETE') cancelStream(exchange, id, key, this.#options);
    else await resumeStream(exchange, id, key, this.#options);
  }

  /** The caller's key; undefined where none is asked for. Throws what keeps the caller out. */
  #letIn(exchange: Exchange, route: Route, world: World): AccessKey | undefined {
    const { access, admin } = this.#options;
    if (this.#isOpen(route, world)) return undefined;
    if (route.access !== 'admin') return authenticate(exchange.request, world, access);
    authenticateAdmin(exchange, admin!);
    return undefined;
  }

  /** Whether anyone may have it. A server without keys still looks at Host and Origin, but for what probes ask. */
  #isOpen({ access }: Route, world: World): boolean {
    return (
      access === 'open' || (access === 'open-on-loopback' && this.#isOnLoopback && world.keys.length > 0)
    );
  }

  /** Who has no key does not learn which paths exist. */
  #match(exchange: Exchange, world: World): Match {
    try {
      return matchRoute(exchange.path, this.#options.admin !== undefined);
    } catch (thrown) {
      authenticate(exchange.request, world, this.#options.access);
      throw thrown;
    }
  }

  #track(socket: Socket, response: ServerResponse): void {
    this.#busy.set(socket, (this.#busy.get(socket) ?? 0) + 1);
    this.#underWay += 1;
    response.once('close', () => {
      this.#underWay -= 1;
      const left = (this.#busy.get(socket) ?? 1) - 1;
      if (left > 0) {
        this.#busy.set(socket, left);
        return;
      }
      this.#busy.delete(socket);
      if (this.#garbled.has(socket)) socket.destroySoon();
    });
  }

  /** What never became a request still gets an answer that says why. */
  #refuse(thrown: NodeJS.ErrnoException, socket: Socket): void {
    if (!socket.writable || thrown.code === 'ECONNRESET') {
      socket.destroy();
      return;
    }
    if (this.#busy.has(socket)) {
      this.#garbled.add(socket);
      return;
    }
    const { status, error } = parserError(thrown.code);
    const body = `${JSON.stringify(errorBody(error))}\n`;
    socket.end(
      `HTTP/1.1 ${status}\r\nContent-Type: application/json; charset=utf-8\r\n` +
        `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
    );
  }
}

function refuseOtherMethods(exchange: Exchange, { methods }: Match): void {
  if (methods.some((method) => method === exchange.request.method)) return;
  const allowed = methods.join(', ');
  exchange.setHeader('allow', allowed);
  throw new GatewayError('method_not_allowed', `This path takes ${allowed}.`);
}

function parserError(code: string | undefined): { status: string; error: GatewayError } {
  if (code === 'HPE_HEADER_OVERFLOW') {
    return {
      status: '431 Request Header Fields Too Large',
      error: new GatewayError('invalid_request', 'The headers are too large.'),
    };
  }
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return {
      status: '408 Request Timeout',
      error: new GatewayError('request_timeout', 'The headers were not complete in time.'),
    };
  }
  return { status: '400 Bad Request', error: new GatewayError('invalid_request', 'This is not HTTP/1.1.') };
}
