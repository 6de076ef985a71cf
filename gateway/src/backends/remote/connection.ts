// One connection to a back end, and HTTP/1.1 on it: one exchange at a time, from the bytes of a request to the parts of an answer.
// It runs for every chunk of every stream, so it makes no promise, no stream and no closure for one: a plain socket is read
// without Node's streams, into memory that all sockets share.
// An exchange that does not come to its clean end takes the connection with it.
import type { Socket } from 'node:net';
import type { Connector } from './connector.ts';
import { ResponseParser } from './response-parser.ts';
import type { UpstreamReader } from './upstream-reader.ts';

/** Whom a connection tells of one answer. Only one of `end` and `failed` is told, and nothing after it. */
export interface Exchanging extends UpstreamReader {
  /** The answer came to its clean end; the connection is nobody's. */
  end(): void;
  /** There will be no more of it: with what failed, or undefined where the other side has closed the connection. */
  failed(thrown: unknown): void;
}

/** How much sooner than a server's own hint an idle connection is closed: the time that a last request needs to get there. */
const HINT_MARGIN_MS = 1_000;
/** However long a server would keep one: what is between us may forget it sooner. */
const MOST_HINTED_MS = 60_000;

export class Connection {
  /** Exchanges that it has served to their end. */
  served = 0;
  private readonly connector: Connector;
  private readonly idleMs: number;
  private readonly onGone: (gone: Connection) => void;
  private socket: Socket | undefined;
  private remoteAddress = '';
  private isAlive = true;
  private cancelOpening: (() => void) | undefined;
  private exchanging: Exchanging | undefined;
  /** Not yet written. */
  private request: Buffer | undefined;
  private parser: ResponseParser | undefined;
  /** Ends it when it has been idle for as long as it may; made once, as there is one for every answer. */
  private idleTimer: NodeJS.Timeout | undefined;
  private idleTimerMs = 0;

  /**
   * `idleMs`: how long it may rest where the server does not say. `onGone`: it was closed, by either side, while nobody used it.
   * Connects when the first request is sent.
   */
  constructor(connector: Connector, idleMs: number, onGone: (gone: Connection) => void) {
    this.connector = connector;
    this.idleMs = idleMs;
    this.onGone = onGone;
  }

  /** Of who is at the other end; empty while there is no socket. */
  get address(): string {
    return this.remoteAddress;
  }

  /** A byte of the present answer came. */
  get hasBegun(): boolean {
    return this.parser?.hasBegun === true;
  }

  /** Sends a request, whole, once it is connected. It must be nobody else's. */
  send(request: Buffer, exchanging: Exchanging): void {
    this.exchanging = exchanging;
    this.parser = new ResponseParser(exchanging);
    this.request = request;
    if (this.socket) {
      // At the turn's end: a server that has closed it meanwhile is heard before, and not asked in vain. And a turn's requests are made
      // first and then written, which costs less than one after the other.
      setImmediate(this.write);
      return;
    }
    this.cancelOpening = this.connector.open(this.receive, (error, socket) => {
      this.cancelOpening = undefined;
      if (!socket) {
        this.fail(error);
        return;
      }
      this.adopt(socket);
      this.write();
    });
  }

  /** No further bytes for now. */
  pause(): void {
    this.socket?.pause();
  }

  resume(): void {
    this.socket?.resume();
  }

  /**
   * Waits for the next request, for as long as it may and the server says. False: it cannot be used again; it is to be
   * destroyed then.
   */
  rest(): boolean {
    const { socket, parser } = this;
    this.parser = undefined;
    this.served += 1;
    // An answer that came before its request was written: who knows what the server makes of the rest.
    if (!this.isAlive || !socket || !parser?.keepsAlive || socket.writableLength > 0) return false;
    const { keepAliveMs } = parser;
    const idleMs =
      keepAliveMs === undefined ? this.idleMs : Math.min(MOST_HINTED_MS, keepAliveMs - HINT_MARGIN_MS);
    if (idleMs <= 0) return false;
    if (socket.isPaused()) socket.resume();
    if (this.idleTimer && idleMs === this.idleTimerMs) this.idleTimer.refresh();
    else this.startIdleTimer(idleMs);
    return true;
  }

  /** It is of no use any more: who uses it, or else the owner, is told. */
  fail(thrown: unknown): void {
    if (!this.isAlive) return;
    this.isAlive = false;
    const { exchanging } = this;
    this.exchanging = undefined;
    if (exchanging) exchanging.failed(thrown);
    else this.onGone(this);
  }

  /** Closes it at once, whatever it is doing; who uses it hears no more. */
  destroy(): void {
    this.isAlive = false;
    this.exchanging = undefined;
    this.parser?.stop();
    clearTimeout(this.idleTimer);
    this.cancelOpening?.();
    this.cancelOpening = undefined;
    this.socket?.destroy();
  }

  private adopt(socket: Socket): void {
    this.socket = socket;
    this.remoteAddress = socket.remoteAddress ?? '';
    socket.on('error', (error) => this.fail(error));
    socket.on('end', () => this.finish());
    socket.on('close', () => this.fail(undefined));
  }

  private readonly write = (): void => {
    const { request } = this;
    this.request = undefined;
    if (request && this.isAlive) this.socket?.write(request);
  };

  /** What comes from the socket; the bytes are valid until it returns. */
  private readonly receive = (bytes: Buffer): void => {
    const { parser, request } = this;
    // What nobody has asked for, or not yet, could be taken for the next answer.
    if (!parser || request) {
      this.fail(undefined);
      return;
    }
    let used: number;
    try {
      used = parser.read(bytes);
    } catch (thrown) {
      this.fail(thrown);
      return;
    }
    if (!parser.isDone) return;
    if (used < bytes.length) parser.keepsAlive = false;
    this.endExchange();
  };

  /** The other side has said all that it has to say. */
  private finish(): void {
    if (this.parser?.endsWithConnection) this.endExchange();
    else this.fail(undefined);
  }

  private endExchange(): void {
    const { exchanging } = this;
    this.exchanging = undefined;
    exchanging?.end();
  }

  private startIdleTimer(idleMs: number): void {
    clearTimeout(this.idleTimer);
    this.idleTimerMs = idleMs;
    this.idleTimer = setTimeout(() => {
      // A request that has come since will set it again.
      if (!this.parser) this.fail(undefined);
    }, idleMs);
    this.idleTimer.unref();
  }
}
