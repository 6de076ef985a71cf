// All sockets of the server: whom it lets in, how many there are, whether they are still there, and their end. The frames of
// RFC 6455 are the library's (ws): nothing of the protocol is done here by hand, and nothing is compressed, which would keep a
// window for each connection and hold words back.
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { WebSocketServer } from 'ws';
import { GatewayError } from '../../core/errors.ts';
import { authenticate, type Caller, refuseForeignSocket } from '../access/access.ts';
import { refuseUnlessReady } from '../asking/served-models.ts';
import type { BodyLimits } from '../http/body.ts';
import type { Request } from '../http/request.ts';
import { type ConnectionOptions, SocketConnection } from './connection.ts';
import { CLIENT_KINDS, type FrameKind, SERVER_KINDS } from './frames.ts';
import { checkHandshake, SUBPROTOCOL } from './handshake.ts';

export interface SocketsOptions extends Omit<ConnectionOptions, 'count'> {
  readonly bodyLimits: BodyLimits;
  /** Between two looks whether the other side is still there, in ms. */
  readonly keepAliveMs: number;
}

/** What there is, and what was. */
export interface SocketFigures {
  readonly connections: number;
  /** Since the start. */
  readonly frames: Readonly<Record<FrameKind, number>>;
}

/** In this process. */
export const MOST_CONNECTIONS = 1_000;

export class Sockets {
  readonly #options: SocketsOptions;
  readonly #server: WebSocketServer;
  readonly #connections = new Set<SocketConnection>();
  readonly #frames: Record<FrameKind, number>;
  #stopBeating: (() => void) | undefined;

  constructor(options: SocketsOptions) {
    this.#options = options;
    this.#frames = Object.fromEntries([...SERVER_KINDS, ...CLIENT_KINDS].map((kind) => [kind, 0])) as Record<
      FrameKind,
      number
    >;
    this.#server = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      maxPayload: options.bodyLimits.maxBytes,
      perMessageDeflate: false,
      skipUTF8Validation: false,
      handleProtocols: () => SUBPROTOCOL,
    });
  }

  get figures(): SocketFigures {
    return { connections: this.#connections.size, frames: this.#frames };
  }

  /** A call is open somewhere, or something was not sent yet. */
  get isBusy(): boolean {
    for (const connection of this.#connections) if (connection.isBusy) return true;
    return false;
  }

  /** Throws why the request is not to become a socket. */
  letIn(request: Caller): void {
    const { access, readiness, world } = this.#options;
    authenticate(request, world(), access);
    refuseForeignSocket(request, access);
    checkHandshake(request.headers);
    refuseUnlessReady(readiness());
    if (this.#connections.size < MOST_CONNECTIONS) return;
    throw new GatewayError('overloaded', `There are ${MOST_CONNECTIONS} sockets open, and no room for more.`);
  }

  /** What was let in becomes one. `ahead`: what came of it already. */
  open(request: Request, socket: Socket, ahead: Buffer): void {
    const count = (kind: FrameKind) => {
      this.#frames[kind] += 1;
    };
    // All that the library reads of a request is its method and headers.
    this.#server.handleUpgrade(request as unknown as IncomingMessage, socket, ahead, (ws) => {
      const connection = new SocketConnection(ws, socket, request.headers, { ...this.#options, count });
      this.#connections.add(connection);
      ws.once('close', () => this.#connections.delete(connection));
      this.#beatLater();
    });
  }

  /** No new calls; each closes when its last one has ended. `drainMs`: what they have for it. */
  goAway(drainMs: number): void {
    for (const connection of this.#connections) connection.goAway(drainMs);
  }

  /** Cuts what is still open. */
  close(): void {
    for (const connection of this.#connections) connection.cut();
    this.#stopBeating?.();
  }

  /** One timer for all of them, and none where there are none. */
  #beatLater(): void {
    const { clock, keepAliveMs } = this.#options;
    this.#stopBeating ??= clock.after(keepAliveMs, () => {
      this.#stopBeating = undefined;
      for (const connection of this.#connections) connection.beat();
      if (this.#connections.size > 0) this.#beatLater();
    });
  }
}
