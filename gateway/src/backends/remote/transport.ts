// HTTP to one back end: a request goes out, its answer is pushed to a reader as it comes, and whatever ends the exchange
// ends it at once: a client's leaving closes the socket, for HTTP/1.1 knows no other way to stop an answer.
// It runs for every chunk of every stream, so no promise, stream or closure is made for a chunk.
// A request is sent twice only when a used connection broke before a byte of an answer, and redirects are not followed.
import type { Brake } from './brake.ts';
import type { Connection, Exchanging } from './connection.ts';
import { Connections } from './connections.ts';
import { Connector } from './connector.ts';
import { type Lookup, lookupBySystem } from './name-addresses.ts';
import type { Environment } from './proxy.ts';
import { RequestWriter } from './request-writer.ts';
import { exchangeError, isBrokenConnection, transportError } from './transport-error.ts';
import { type Packing, packingOf, Unpacker } from './unpacker.ts';
import type { UpstreamHeaders, UpstreamReader } from './upstream-reader.ts';

export interface UpstreamRequest {
  readonly method: 'GET' | 'POST';
  /** With the query, from the origin on. */
  readonly path: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  /** Aborted when nobody wants the answer any more. */
  readonly signal: AbortSignal;
  /** Ends it from our side; absent: nothing does. */
  readonly brake?: Brake | undefined;
}

export interface TransportOptions {
  /** Scheme, host and port: `https://host:8443`. */
  readonly origin: string;
  /** Names the proxies, in HTTP_PROXY, HTTPS_PROXY and NO_PROXY; what is on this machine is reached without. */
  readonly env: Environment;
  /**
   * Certificates in PEM to trust beside Node's own. Those of NODE_EXTRA_CA_CERTS are among Node's own: it reads that
   * variable of the process when it starts, and `env` has no part in it.
   */
  readonly ca?: string | undefined;
  /** How long an answer about the host's name holds, in ms; default 20,000. */
  readonly lookupTtlMs?: number | undefined;
  /** For name, proxy, connection and handshake together, in ms; default 10,000. */
  readonly connectTimeoutMs?: number | undefined;
  /** How long an idle connection is kept where the server does not say, in ms. Default 4,000: most close after 5,000. */
  readonly idleMs?: number | undefined;
  /** Default: the system's. */
  readonly lookup?: Lookup | undefined;
  /** The clock of look-ups, monotonic, in ms; default: the system's. */
  readonly now?: (() => number) | undefined;
}

/** Answers are to come plain: packing costs time at both ends, and holds words back. */
const OWN_HEADERS = { 'user-agent': 'sluice', 'accept-encoding': 'identity' };

export class Transport {
  private readonly connections: Connections;
  private readonly writer: RequestWriter;
  private isClosed = false;

  /** Throws `backend_failed` where the environment's proxy is none, and TypeError where the origin is no URL. */
  constructor(options: TransportOptions) {
    const url = new URL(options.origin);
    const connector = new Connector({
      origin: url,
      env: options.env,
      ca: options.ca,
      lookup: options.lookup ?? lookupBySystem,
      lookupTtlMs: options.lookupTtlMs ?? 20_000,
      now: options.now ?? (() => performance.now()),
      connectTimeoutMs: options.connectTimeoutMs ?? 10_000,
    });
    const proxy = connector.forwardingProxy;
    this.writer = new RequestWriter({
      host: url.host,
      // A proxy wants the whole URL.
      pathPrefix: proxy ? url.origin : '',
      headers: proxy?.authorization
        ? { ...OWN_HEADERS, 'proxy-authorization': proxy.authorization }
        : OWN_HEADERS,
    });
    this.connections = new Connections(connector, options.idleMs ?? 4_000);
  }

  /**
   * Resolves when the answer, unpacked where it came packed, has come to its clean end, whatever its status. Rejects with
   * `backend_failed` when it does not, or is a redirect, with the signal's or the brake's reason as soon as there is one, or
   * with what the reader threw.
   */
  exchange(request: UpstreamRequest, reader: UpstreamReader): Promise<void> {
    const { signal, brake } = request;
    if (this.isClosed) return Promise.reject(transportError('closed'));
    if (signal.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve, reject) => {
      const bytes = this.writer.write(request);
      new Exchange(this.connections, bytes, signal, reader, resolve, reject).start(brake);
    });
  }

  /** Closes all connections; exchanges that run are rejected with `backend_failed`. Safe to call twice. */
  close(): void {
    this.isClosed = true;
    this.connections.close(transportError('closed'));
  }
}

/** One request and its answer. Once it is settled, whatever else comes means nothing. */
class Exchange implements Exchanging {
  private readonly connections: Connections;
  private readonly request: Buffer;
  private readonly signal: AbortSignal;
  private readonly reader: UpstreamReader;
  private readonly resolve: () => void;
  private readonly reject: (reason: unknown) => void;
  /** Ours until the answer's end. */
  private connection: Connection | undefined;
  private unpacker: Unpacker | undefined;
  private hasHead = false;
  private isSettled = false;

  constructor(
    connections: Connections,
    request: Buffer,
    signal: AbortSignal,
    reader: UpstreamReader,
    resolve: () => void,
    reject: (reason: unknown) => void,
  ) {
    this.connections = connections;
    this.request = request;
    this.signal = signal;
    this.reader = reader;
    this.resolve = resolve;
    this.reject = reject;
  }

  start(brake: Brake | undefined): void {
    this.signal.addEventListener('abort', this.onAbort);
    brake?.connect((reason) => this.fail(reason));
    if (!this.isSettled) this.send(this.connections.take());
  }

  head(status: number, headers: UpstreamHeaders): void {
    this.hasHead = true;
    if (status < 400 && status >= 300) {
      this.fail(transportError('redirect'));
      return;
    }
    // Only a proxy says this, and the client cannot mend it.
    if (status === 407) {
      this.fail(transportError('proxy-refused'));
      return;
    }
    try {
      const packing = packingOf(headers['content-encoding']);
      if (packing === undefined) this.reader.head(status, headers);
      else {
        this.unpacker = this.unpack(packing);
        // They are of the packed form.
        this.reader.head(status, {
          ...headers,
          'content-encoding': undefined,
          'content-length': undefined,
        });
      }
    } catch (thrown) {
      this.fail(thrown);
    }
  }

  data(bytes: Buffer): void {
    if (!this.unpacker) this.read(bytes);
    // It works on them when they are no longer ours.
    else if (!this.unpacker.write(Buffer.from(bytes))) this.connection?.pause();
  }

  end(): void {
    const { connection } = this;
    if (!connection) return;
    this.connection = undefined;
    this.connections.release(connection);
    if (this.unpacker) this.unpacker.end();
    else this.succeed();
  }

  failed(thrown: unknown): void {
    const { connection } = this;
    if (!connection) return;
    if (!connection.hasBegun && connection.served > 0 && isBrokenConnection(thrown)) {
      this.connections.discard(connection);
      this.connections.discardIdle();
      // It has served nobody yet: so there is no third time.
      this.send(this.connections.open());
      return;
    }
    this.fail(exchangeError(thrown, this.hasHead));
  }

  private send(connection: Connection): void {
    this.connection = connection;
    connection.send(this.request, this);
  }

  private read(bytes: Buffer): void {
    if (this.isSettled) return;
    try {
      this.reader.data(bytes);
    } catch (thrown) {
      this.fail(thrown);
    }
  }

  private unpack(packing: Packing): Unpacker {
    return new Unpacker(packing, {
      data: (bytes) => this.read(bytes),
      drain: () => this.connection?.resume(),
      end: () => this.succeed(),
      fail: (error) => this.fail(error),
    });
  }

  private readonly onAbort = (): void => this.fail(this.signal.reason);

  private succeed(): void {
    if (this.isSettled) return;
    this.isSettled = true;
    this.signal.removeEventListener('abort', this.onAbort);
    this.resolve();
  }

  private fail(reason: unknown): void {
    if (this.isSettled) return;
    this.isSettled = true;
    this.signal.removeEventListener('abort', this.onAbort);
    this.unpacker?.destroy();
    if (this.connection) this.connections.discard(this.connection);
    this.connection = undefined;
    this.reject(reason);
  }
}
