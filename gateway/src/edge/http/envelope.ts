// What a request says beside its body, and what its answer will say beside its text, however both travel: a request of HTTP
// (exchange.ts), or a call on a socket (socket/). All that understanding a request takes; no connection is in it.

export interface Envelope {
  readonly id: string;
  /** Of the route, as it came, without the query. */
  readonly path: string;
  /** A header that the client sent once, by its name in lower case; undefined if absent or empty. */
  header(name: string): string | undefined;
  /** A header for whatever the answer will be. */
  setHeader(name: string, value: string): void;
}
