// The connections to one back end: idle ones are used again, the one that was used last first.
// A connection belongs to one exchange at a time. One that broke takes all idle ones with it, for they are as old as it.
import type { Socket } from 'node:net';
import { Client } from 'undici';
import type { Connector } from './connector.ts';

/** More idle ones than this are closed: far above the calls that a gateway has at once. */
const MOST_IDLE = 1_024;
/** How much sooner than a server's own hint an idle connection is closed: the time that a last request needs to get there. */
const HINT_MARGIN_MS = 1_000;

/** undici's client of one socket at a time, and the socket itself. */
export class Connection {
  readonly client: Client;
  /** Exchanges that the present socket has served to their end. */
  served = 0;
  /** The present socket failed. */
  isBroken = false;
  private socket: Socket | undefined;
  private remoteAddress = '';
  private cancelOpening: (() => void) | undefined;

  /** `onGone`: its socket is closed. Connects when the first request comes. */
  constructor(origin: string, connector: Connector, idleMs: number, onGone: (gone: Connection) => void) {
    this.client = new Client(origin, {
      pipelining: 1,
      allowH2: false,
      // The clocks are those of who calls.
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: idleMs,
      keepAliveMaxTimeout: idleMs,
      keepAliveTimeoutThreshold: HINT_MARGIN_MS,
      connect: (_options, callback) => {
        this.cancelOpening = connector.open((error, socket) => {
          this.cancelOpening = undefined;
          if (socket) {
            this.adopt(socket);
            callback(null, socket);
          } else {
            callback(error!, null);
          }
        });
      },
    });
    this.client.on('disconnect', () => onGone(this));
  }

  get isAlive(): boolean {
    return this.socket?.destroyed === false;
  }

  /** Of who is at the other end; empty while there is no socket. */
  get address(): string {
    return this.remoteAddress;
  }

  /** Closes its socket at once, whatever it is doing; what it does fails with `reason`. Resolves when all is closed. */
  destroy(reason?: Error): Promise<void> {
    this.cancelOpening?.();
    this.cancelOpening = undefined;
    const closed = this.client.destroy(reason ?? null);
    this.socket?.destroy();
    return closed;
  }

  private adopt(socket: Socket): void {
    this.socket = socket;
    this.remoteAddress = socket.remoteAddress ?? '';
    this.served = 0;
    this.isBroken = false;
    // undici takes some breaks for the end of a body that has no other.
    socket.on('error', () => {
      this.isBroken = true;
    });
  }
}

export class Connections {
  private readonly origin: string;
  private readonly connector: Connector;
  private readonly idleMs: number;
  private readonly all = new Set<Connection>();
  /** The one that became idle last stands last. */
  private readonly idle: Connection[] = [];

  /** `idleMs`: how long one may be idle at most, less where the server asks for it. */
  constructor(origin: string, connector: Connector, idleMs: number) {
    this.origin = origin;
    this.connector = connector;
    this.idleMs = idleMs;
  }

  /** An idle connection, else a new one. It belongs to the caller until `release` or `discard`. */
  take(): Connection {
    for (let last = this.idle.at(-1); last; last = this.idle.at(-1)) {
      const leads = this.connector.leadsTo(last.address);
      // The look-up that a new one begins with tells whether the idle ones are still good.
      if (leads === undefined) break;
      this.idle.pop();
      if (leads && last.isAlive) return last;
      this.discard(last);
    }
    return this.open();
  }

  /** A connection that nobody has used. */
  open(): Connection {
    const connection = new Connection(this.origin, this.connector, this.idleMs, (gone) =>
      this.forgetIdle(gone),
    );
    this.all.add(connection);
    return connection;
  }

  /** Gives back a connection whose exchange came to its clean end. */
  release(connection: Connection): void {
    connection.served += 1;
    if (connection.isAlive && this.idle.length < MOST_IDLE && this.all.has(connection))
      this.idle.push(connection);
    else this.discard(connection);
  }

  /** Closes a connection at once. */
  discard(connection: Connection): void {
    this.all.delete(connection);
    void connection.destroy();
  }

  /** One of them was dead without our knowing it: the idle ones may be too. */
  discardIdle(): void {
    for (const connection of this.idle.splice(0)) this.discard(connection);
  }

  /** Closes all; what runs on them fails with `reason`. */
  async close(reason: Error): Promise<void> {
    const all = [...this.all];
    this.all.clear();
    this.idle.length = 0;
    await Promise.all(all.map((connection) => connection.destroy(reason)));
  }

  private forgetIdle(connection: Connection): void {
    const at = this.idle.indexOf(connection);
    if (at < 0) return;
    this.idle.splice(at, 1);
    this.discard(connection);
  }
}
