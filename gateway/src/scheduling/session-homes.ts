// On which back end a client's session ran last, for clients that name their sessions. Bounded: the one that was longest
// without a call is forgotten first.

/** A conversation that is longer silent than ten thousand others is computed anew. */
const MOST_SESSIONS = 10_000;

export class SessionHomes {
  readonly #mostSessions: number;
  /** Ids of back ends, by tenant and session; longest unused first. */
  readonly #homes = new Map<string, string>();

  constructor(mostSessions = MOST_SESSIONS) {
    this.#mostSessions = mostSessions;
  }

  /** The id of the back end; undefined: not known. */
  homeOf(tenant: string, session: string): string | undefined {
    return this.#homes.get(keyOf(tenant, session));
  }

  /** A call of the session runs there. */
  ran(tenant: string, session: string, backendId: string): void {
    const key = keyOf(tenant, session);
    this.#homes.delete(key);
    this.#homes.set(key, backendId);
    if (this.#homes.size <= this.#mostSessions) return;
    const [oldest] = this.#homes.keys();
    this.#homes.delete(oldest!);
  }
}

/** Two tenants may call their sessions alike. */
function keyOf(tenant: string, session: string): string {
  return JSON.stringify([tenant, session]);
}
