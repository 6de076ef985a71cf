// The connections to one back end: idle ones are used again, the one that was used last first.
// A connection belongs to one exchange at a time. One that broke takes all idle ones with it, for they are as old as it.
import { Connection } from './connection.ts';
import type { Connector } from './connector.ts';

/** More idle ones than this are closed: far above the calls that a gateway has at once. */
const MOST_IDLE = 1_024;

export class Connections {
  private readonly connector: Connector;
  private readonly idleMs: number;
  private readonly all = new Set<Connection>();
  /** The one that became idle last stands last. */
  private readonly idle: Connection[] = [];

  /** `idleMs`: how long one may be idle where the server does not say. */
  constructor(connector: Connector, idleMs: number) {
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
      if (leads) return last;
      this.discard(last);
    }
    return this.open();
  }

  /** A connection that nobody has used. */
  open(): Connection {
    const connection = new Connection(this.connector, this.idleMs, this.forgetIdle);
    this.all.add(connection);
    return connection;
  }

  /** Gives back a connection whose exchange came to its clean end. */
  release(connection: Connection): void {
    const isKept = connection.rest() && this.idle.length < MOST_IDLE && this.all.has(connection);
    if (isKept) this.idle.push(connection);
    else this.discard(connection);
  }

  /** Closes a connection at once. */
  discard(connection: Connection): void {
    this.all.delete(connection);
    connection.destroy();
  }

  /** One of them was dead without our knowing it: the idle ones may be too. */
  discardIdle(): void {
    for (const connection of this.idle.splice(0)) this.discard(connection);
  }

  /** Closes all; what runs on them fails with `reason`. */
  close(reason: Error): void {
    const all = [...this.all];
    this.all.clear();
    this.idle.length = 0;
    for (const connection of all) connection.fail(reason);
  }

  private readonly forgetIdle = (connection: Connection): void => {
    const at = this.idle.indexOf(connection);
    if (at >= 0) this.idle.splice(at, 1);
    this.discard(connection);
  };
}
