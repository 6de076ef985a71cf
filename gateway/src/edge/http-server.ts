// From requests to routes and back: who is let in, which handler answers, and how all of it ends.
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { GatewayError, toGatewayError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { AccessKey, Readiness, World } from '../core/world.ts';
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
import { HttpListener } from './http/listener.ts';
import type { Request } from './http/request.ts';
import type { Response } from './http/response.ts';
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

const DRAIN_POLL_MS = 50;

export class HttpServer {
  readonly #options: HttpServerOptions;
  readonly #generation: Generation;
  readonly #listener: HttpListener;
  readonly #sockets: Sockets;
  #isOnLoopback = true;
  #isDraining = false;

  constructor(options: HttpServerOptions) {
    this.#options = options;
    this.#generation = new Generation(options);
    this.#sockets = new Sockets(options);
    this.#listener = new HttpListener({
      headerTimeoutMs: options.headerTimeoutMs,
      onExchange: (request, response) => void this.#handle(request, response),
      // What is refused as a WebSocket, or asks for anything else (h2c), is an ordinary request and gets an ordinary answer.
      takesOver: (request) => this.#mayUpgrade(request),
      onTakenOver: (request, socket, ahead) => this.#sockets.open(request, socket, ahead),
    });
  }

  /** Rejects with Node's own error (EADDRINUSE, EACCES, ENOTFOUND). */
  listen(host: string, port: number): Promise<AddressInfo> {
    this.#isOnLoopback = isLoopback(host);
    return this.#listener.listen(host, port);
  }

  get sockets(): SocketFigures {
    return this.#sockets.figures;
  }

  /** Waits until every answer under way has ended, at most `limitMs`; true if all have. Go on to `close`. */
  async drain(limitMs: number): Promise<boolean> {
    const { clock, kept } = this.#options;
    this.#isDraining = true;
    this.#sockets.goAway(limitMs);
    const isBusy = () => this.#listener.isBusy || kept.running > 0 || this.#sockets.isBusy;
    const until = clock.now() + limitMs;
    while (isBusy() && clock.now() < until) await sleep(DRAIN_POLL_MS);
    return !isBusy();
  }

  /** Cuts what is still open. */
  close(): Promise<void> {
    this.#options.kept.close();
    this.#sockets.close();
    return this.#listener.close();
  }

  async #handle(request: Request, response: Response): Promise<void> {
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

  /** Whether the request becomes a WebSocket. */
  #mayUpgrade(request: Request): boolean {
    if (!asksForWebSocket(request.headers)) return false;
    try {
      const { route, methods } = matchRoute(splitTarget(request.target).path);
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
}

function refuseOtherMethods(exchange: Exchange, { methods }: Match): void {
  if (methods.some((method) => method === exchange.request.method)) return;
  const allowed = methods.join(', ');
  exchange.setHeader('allow', allowed);
  throw new GatewayError('method_not_allowed', `This path takes ${allowed}.`);
}
