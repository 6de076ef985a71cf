// HTTP to one back end: a request goes out, its answer is pushed to a reader as it comes, and whatever ends the exchange
// ends it at once: a client's leaving closes the socket, for HTTP/1.1 knows no other way to stop an answer.
// It runs for every chunk of every stream, so no promise, stream or closure is made for a chunk.
// A request is sent twice only when a used connection broke before a byte of an answer, and redirects are not followed.
import type { Dispatcher } from 'undici';
import type { Brake } from './brake.ts';
import { type Connection, Connections } from './connections.ts';
import { Connector } from './connector.ts';
import { type Lookup, lookupBySystem } from './name-addresses.ts';
import type { Environment } from './proxy.ts';
import { exchangeError, isBrokenConnection, transportError } from './transport-error.ts';
import { type Packing, packingOf, Unpacker } from './unpacker.ts';

/** Names in lower case. */
export type UpstreamHeaders = Readonly<Record<string, string | string[] | undefined>>;

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

/** Takes an answer as it comes. What it throws ends the exchange, which rejects with it. */
export interface UpstreamReader {
  /** Once, before any data. The status is at least 200 and no redirect's; what was packed comes unpacked. */
  head(status: number, headers: UpstreamHeaders): void;
  /** The bytes are the reader's to keep. */
  data(bytes: Buffer): void;
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
  /** How long an idle connection is kept, in ms; less where the server says so. Default 4,000: most servers close after 5,000. */
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
  /** What every request begins with; and before each path, where a proxy wants the whole URL. */
  private readonly headers: Readonly<Record<string, string>>;
  private readonly pathPrefix: string;
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
    this.pathPrefix = proxy ? url.origin : '';
    this.headers = proxy?.authorization
      ? { ...OWN_HEADERS, 'proxy-authorization': proxy.authorization }
      : OWN_HEADERS;
    this.connections = new Connections(url.origin, connector, options.idleMs ?? 4_000);
  }

  /**
   * Resolves when the answer has come to its clean end, whatever its status. Rejects with `backend_failed` when it does
   * not, with the signal's or the brake's reason as soon as there is one, or with what the reader threw.
   */
  exchange(request: UpstreamRequest, reader: UpstreamReader): Promise<void> {
    if (this.isClosed) return Promise.reject(transportError('closed'));
    if (request.signal.aborted) return Promise.reject(request.signal.reason);
    return new Promise((resolve, reject) => {
      const options = {
        path: this.pathPrefix + request.path,
        method: request.method,
        headers: { ...this.headers, ...request.headers },
        body: request.body ?? null,
      };
      new Exchange(this.connections, options, request.signal, reader, resolve, reject).start(request.brake);
    });
  }

  /** Closes all connections; exchanges that run are rejected with `backend_failed`. Safe to call twice. */
  async close(): Promise<void> {
    this.isClosed = true;
    await this.connections.close(transportError('closed'));
  }
}

/** One request and its answer: undici's handler. Once it is settled, whatever else undici says means nothing. */
class Exchange implements Dispatcher.DispatchHandler {
  private readonly connections: Connections;
  private readonly options: Dispatcher.DispatchOptions;
  private readonly signal: AbortSignal;
  private readonly reader: UpstreamReader;
  private readonly resolve: () => void;
  private readonly reject: (reason: unknown) => void;
  /** Ours until the answer's end. */
  private connection: Connection | undefined;
  private unpacker: Unpacker | undefined;
  /** A byte of an answer came. */
  private hasBegun = false;
  private hasHead = false;
  private isSettled = false;

  constructor(
    connections: Connections,
    options: Dispatcher.DispatchOptions,
    signal: AbortSignal,
    reader: UpstreamReader,
    resolve: () => void,
    reject: (reason: unknown) => void,
  ) {
    this.connections = connections;
    this.options = options;
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

  /** undici insists on it. */
  onRequestStart(): void {}

  onResponseStarted(): void {
    this.hasBegun = true;
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    // Early hints and their like come before the answer.
    if (this.isSettled || status < 200) return;
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
      if (packing !== undefined) {
        this.unpacker = this.unpack(packing, controller);
        // They are of the packed form.
        delete headers['content-encoding'];
        delete headers['content-length'];
      }
      this.reader.head(status, headers);
    } catch (thrown) {
      this.fail(thrown);
    }
  }

  onResponseData(controller: Dispatcher.DispatchController, bytes: Buffer): void {
    if (this.isSettled) return;
    if (this.unpacker) {
      if (!this.unpacker.write(bytes)) controller.pause();
      return;
    }
    try {
      this.reader.data(bytes);
    } catch (thrown) {
      this.fail(thrown);
    }
  }

  onResponseEnd(): void {
    const { connection } = this;
    if (this.isSettled || !connection) return;
    if (connection.isBroken) {
      this.fail(transportError('cut'));
      return;
    }
    this.connection = undefined;
    this.connections.release(connection);
    if (this.unpacker) this.unpacker.end();
    else this.succeed();
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    const { connection } = this;
    if (this.isSettled || !connection) return;
    if (!this.hasBegun && connection.served > 0 && isBrokenConnection(error)) {
      this.connections.discard(connection);
      this.connections.discardIdle();
      // It has served nobody yet: so there is no third time.
      this.send(this.connections.open());
      return;
    }
    this.fail(exchangeError(error, this.hasHead));
  }

  private send(connection: Connection): void {
    this.connection = connection;
    connection.client.dispatch(this.options, this);
  }

  private unpack(packing: Packing, controller: Dispatcher.DispatchController): Unpacker {
    return new Unpacker(packing, {
      data: (bytes) => {
        if (this.isSettled) return;
        try {
          this.reader.data(bytes);
        } catch (thrown) {
          this.fail(thrown);
        }
      },
      drain: () => controller.resume(),
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
