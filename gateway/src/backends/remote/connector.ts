// Opens sockets to one back end: its name's address, a proxy's tunnel where one leads there, TLS where its address says so.
// Each step fails as itself, so that people read what is wrong. A cancelled opening leaves no socket behind.
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls, getCACertificates } from 'node:tls';
import { type Lookup, NameAddresses } from './name-addresses.ts';
import { type Environment, type HttpProxy, hostOf, portOf, proxyFor } from './proxy.ts';
import { connectError, handshakeError, transportError } from './transport-error.ts';

/** Of a proxy's answer to CONNECT, in bytes. */
const MOST_TUNNEL_HEAD = 16 * 1024;
/** First silence after which the system asks whether the other side still lives: a dead one is noticed in long silences. */
const TCP_KEEP_ALIVE_MS = 30_000;
/** Read at once from a plain socket, in bytes: as much as Node itself would. */
const READ_BYTES = 64 * 1024;

export interface ConnectorOptions {
  readonly origin: URL;
  readonly env: Environment;
  /** Certificates in PEM that are trusted beside Node's own. */
  readonly ca: string | undefined;
  readonly lookup: Lookup;
  readonly lookupTtlMs: number;
  /** Monotonic, in ms. */
  readonly now: () => number;
  /** For all steps together. */
  readonly connectTimeoutMs: number;
}

/** Called once, with a socket that is ready for HTTP/1.1 or with a GatewayError; never after a cancel. */
export type Opened = (error: Error | null, socket: Socket | null) => void;

/** Takes what comes from a socket; the bytes are valid until it returns. */
export type Receive = (bytes: Buffer) => void;

export class Connector {
  private readonly options: ConnectorOptions;
  private readonly isSecure: boolean;
  private readonly host: string;
  private readonly port: number;
  private readonly proxy: HttpProxy | undefined;
  /** Of whom we connect to, the proxy or the back end; undefined: it has an address and no name. */
  private readonly addresses: NameAddresses | undefined;
  private readonly trusted: string[] | undefined;
  /** Node would make one of this size for each chunk of each stream. What is read is used at once, so all sockets share it. */
  private readonly readBuffer = Buffer.allocUnsafeSlow(READ_BYTES);
  /** The last TLS session, which makes the next handshake shorter. */
  private session: Buffer | undefined;

  /** Throws `backend_failed` where the environment's proxy is none. */
  constructor(options: ConnectorOptions) {
    const { origin, env, ca, lookup, lookupTtlMs, now } = options;
    this.options = options;
    this.isSecure = origin.protocol === 'https:';
    this.host = hostOf(origin);
    this.port = portOf(origin);
    this.proxy = proxyFor(origin, env);
    const name = this.proxy?.host ?? this.host;
    if (isIP(name) === 0) this.addresses = new NameAddresses({ name, lookup, ttlMs: lookupTtlMs, now });
    if (ca !== undefined) this.trusted = [...getCACertificates('default'), ca];
  }

  /** A plain request through a proxy names the whole URL; what goes through a tunnel does not. */
  get forwardingProxy(): HttpProxy | undefined {
    return this.isSecure ? undefined : this.proxy;
  }

  /** Whether a connection to this address is still one to the back end; undefined: its name must be looked up first. */
  leadsTo(address: string): boolean | undefined {
    return this.addresses ? this.addresses.leadsTo(address) : true;
  }

  /** Opens a socket, whose bytes go to `receive`. The returned function cancels it at once. */
  open(receive: Receive, opened: Opened): () => void {
    const opening = new Opening();
    const timer = setTimeout(() => opening.destroy(transportError('late')), this.options.connectTimeoutMs);
    this.connect(opening, receive).then(
      (socket) => {
        clearTimeout(timer);
        if (!opening.isCancelled) opened(null, socket);
      },
      (thrown) => {
        clearTimeout(timer);
        if (opening.isCancelled) return;
        // Whatever was wrong: the address may be why.
        this.addresses?.forget();
        opening.destroy();
        opened(thrown, null);
      },
    );
    return () => {
      clearTimeout(timer);
      opening.isCancelled = true;
      opening.destroy();
    };
  }

  private async connect(opening: Opening, receive: Receive): Promise<Socket> {
    const { proxy, host, port } = this;
    if (!proxy) {
      await this.openTcp(opening, host, port, receive).catch((thrown) => {
        throw connectError(thrown);
      });
    } else {
      await this.openProxy(opening, proxy, receive).catch((thrown) => {
        throw opening.reason ?? transportError('proxy', thrown);
      });
      if (this.isSecure)
        await openTunnel(opening, `${host.includes(':') ? `[${host}]` : host}:${port}`, proxy);
    }
    if (this.isSecure) {
      await this.openTls(opening, host, true).catch((thrown) => {
        throw handshakeError(thrown);
      });
    }
    if (!this.isPlain) opening.socket.on('data', receive);
    return opening.socket;
  }

  private async openProxy(opening: Opening, proxy: HttpProxy, receive: Receive): Promise<void> {
    await this.openTcp(opening, proxy.host, proxy.port, receive);
    if (proxy.isSecure) await this.openTls(opening, proxy.host, false);
  }

  /** No layer of TLS anywhere: what the socket reads is what the back end wrote. */
  private get isPlain(): boolean {
    return !this.isSecure && this.proxy?.isSecure !== true;
  }

  private openTcp(opening: Opening, host: string, port: number, receive: Receive): Promise<void> {
    const socket = connectTcp({
      host,
      port,
      autoSelectFamily: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: TCP_KEEP_ALIVE_MS,
      ...(this.addresses && { lookup: this.addresses.lookup }),
      ...(this.isPlain && {
        onread: {
          buffer: this.readBuffer,
          callback: (length) => {
            receive(this.readBuffer.subarray(0, length));
            return true;
          },
        },
      }),
    });
    return opening.reached(socket, 'connect');
  }

  private openTls(opening: Opening, host: string, isBackend: boolean): Promise<void> {
    const socket = connectTls({
      socket: opening.socket,
      host,
      ALPNProtocols: ['http/1.1'],
      // A bare address is no server name, but the certificate must be for it all the same.
      ...(isIP(host) === 0 && { servername: host }),
      ...(this.trusted && { ca: this.trusted }),
      ...(isBackend && this.session && { session: this.session }),
    });
    if (isBackend) {
      socket.on('session', (session) => {
        this.session = session;
      });
    }
    return opening.reached(socket, 'secureConnect');
  }
}

/** One socket on its way, through all its layers. */
class Opening {
  isCancelled = false;
  /** Why we ended it ourselves. */
  reason: Error | undefined;
  private current: Socket | undefined;

  /** The outermost layer. */
  get socket(): Socket {
    return this.current!;
  }

  /** Takes the next layer; resolves when it stands, rejects when it fails or is destroyed. */
  reached(socket: Socket, event: 'connect' | 'secureConnect'): Promise<void> {
    this.current = socket;
    // An error that nobody listens to would end the process; who uses the socket later has listeners of its own.
    socket.on('error', () => {});
    return new Promise((resolve, reject) => {
      const settle = (error?: Error) => {
        socket.off(event, onEvent).off('error', settle).off('close', onClose);
        if (this.reason ?? error) reject(this.reason ?? error);
        else resolve();
      };
      const onEvent = () => settle();
      const onClose = () => settle(new Error('It was closed.'));
      socket.once(event, onEvent).once('error', settle).once('close', onClose);
    });
  }

  /** The system's own end of the attempt comes at once; whoever waits for a layer hears `reason`. */
  destroy(reason?: Error): void {
    this.reason ??= reason;
    this.current?.destroy();
  }
}

/** Asks the proxy for a way to `target`, over the socket that leads to it. */
async function openTunnel(opening: Opening, target: string, proxy: HttpProxy): Promise<void> {
  const { socket } = opening;
  const authorization = proxy.authorization ? `proxy-authorization: ${proxy.authorization}\r\n` : '';
  socket.write(`CONNECT ${target} HTTP/1.1\r\nhost: ${target}\r\n${authorization}\r\n`);
  const head = await readTunnelHead(socket);
  if (!/^HTTP\/1\.[01] 2\d\d[ \r]/.test(head)) throw opening.reason ?? transportError('proxy-refused');
}

/** The proxy's answer up to its empty line; empty where there is none, or where something follows that nobody asked for. */
function readTunnelHead(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    let head = '';
    const settle = (text: string) => {
      socket.off('data', onData).off('close', onClose).pause();
      resolve(text);
    };
    const onData = (bytes: Buffer) => {
      head += bytes.toString('latin1');
      const end = head.indexOf('\r\n\r\n');
      if (end >= 0) settle(end + 4 === head.length ? head : '');
      else if (head.length > MOST_TUNNEL_HEAD) settle('');
    };
    const onClose = () => settle('');
    socket.on('data', onData).on('close', onClose);
  });
}
