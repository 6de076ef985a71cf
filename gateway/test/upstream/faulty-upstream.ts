// A server of OpenAI's protocol that misbehaves as it is told to: a stand-in for back ends in tests, and a program of its
// own for who wants to try a client or a gateway by hand (--help).
// It only ever listens on loopback, and it must never mend a script: what it is told to send is what it sends.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { BUILT_IN_SCRIPTS } from './built-in-scripts.ts';
import { piecesOf, readScripts, type Script } from './script.ts';

/** A POST as it came. Times are on the monotonic clock, in ms. */
export interface UpstreamRequest {
  readonly method: string;
  readonly path: string;
  /** Lower-case names. */
  readonly headers: IncomingHttpHeaders;
  /** The raw text. */
  readonly body: string;
  /** When the last byte of the body was there. */
  readonly at: number;
  /** An earlier POST came on the same connection. */
  readonly isReused: boolean;
  /** When the answer's head was sent; undefined: none was. */
  readonly answeredAt: number | undefined;
  /** When each chunk was handed to the socket. */
  readonly writtenAt: readonly number[];
  /** When the peer closed the connection before the answer had ended; undefined: it did not. */
  readonly closedByPeerAt: number | undefined;
}

/** One script for every POST; a list in turn, one a POST, the last for all that follow; or what a function says. */
export type Plan = Script | readonly Script[] | ((request: UpstreamRequest) => Script);

export interface Upstream {
  readonly port: number;
  /** Without a path. */
  readonly url: string;
  /** The POSTs so far, oldest first; at most 2,000 are kept. */
  readonly requests: readonly UpstreamRequest[];
  /** Connections that are open now. */
  readonly connections: number;
  /** From the next POST on; a list begins at its beginning. */
  play(plan: Plan): void;
  /** Ends it with all its connections. Safe to call twice. */
  close(): Promise<void>;
}

export interface UpstreamOptions {
  /** Default 127.0.0.1. */
  readonly host?: string | undefined;
  /** Default: one that is free. */
  readonly port?: number | undefined;
  /** Told what happens, in lines for people. */
  readonly tell?: ((line: string) => void) | undefined;
}

type Recorded = { -readonly [Name in keyof UpstreamRequest]: UpstreamRequest[Name] } & {
  writtenAt: number[];
};

const MOST_REQUESTS = 2_000;
const MOST_BODY_BYTES = 16 * 1024 * 1024;
/** A reset can overtake the bytes before it on their way into the peer's hands. */
const BEFORE_RESET_MS = 20;
const MODELS = { object: 'list', data: [{ id: 'case', object: 'model', created: 0, owned_by: 'upstream' }] };
const OLLAMA_MODELS = { models: [{ name: 'case', model: 'case' }] };

/** Rejects with Node's own error if the port cannot be had. It plays `good` until it is told otherwise. */
export async function startUpstream(options: UpstreamOptions = {}): Promise<Upstream> {
  const upstream = new FaultyUpstream(options.tell ?? (() => {}));
  await upstream.listen(options.host ?? '127.0.0.1', options.port ?? 0);
  return upstream;
}

class FaultyUpstream implements Upstream {
  readonly requests: Recorded[] = [];
  readonly #tell: (line: string) => void;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Sockets that have carried a POST. */
  readonly #used = new WeakSet<Socket>();
  #next: (request: UpstreamRequest) => Script = BUILT_IN_SCRIPTS.good!.make;
  #address: Pick<AddressInfo, 'address' | 'port'> = { address: '', port: 0 };
  #isClosing = false;

  constructor(tell: (line: string) => void) {
    this.#tell = tell;
    // No clocks of Node's: how long a connection lives is the script's to say.
    this.#server = createServer({ keepAliveTimeout: 0, requestTimeout: 0, noDelay: true });
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    this.#server.on('request', (request, response) => {
      // Whatever goes wrong here is a peer that left in the middle.
      this.#handle(request, response).catch(() => request.socket.destroy());
    });
  }

  async listen(host: string, port: number): Promise<void> {
    this.#server.listen(port, host);
    await once(this.#server, 'listening');
    this.#address = this.#server.address() as AddressInfo;
  }

  get port(): number {
    return this.#address.port;
  }

  get url(): string {
    return `http://${this.#address.address}:${this.#address.port}`;
  }

  get connections(): number {
    return this.#sockets.size;
  }

  play(plan: Plan): void {
    if (typeof plan === 'function') {
      this.#next = plan;
      return;
    }
    const scripts = isList(plan) ? plan : [plan];
    let turnOf = 0;
    this.#next = () => {
      const script = scripts[Math.min(turnOf, scripts.length - 1)]!;
      turnOf += 1;
      return script;
    };
  }

  async close(): Promise<void> {
    if (this.#isClosing) return;
    this.#isClosing = true;
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { socket } = request;
    socket.setTimeout(0);
    const path = request.url ?? '/';
    if (request.method !== 'POST') {
      sendProbe(response, path);
      return;
    }
    const isReused = this.#used.has(socket);
    this.#used.add(socket);
    const body = await bodyOf(request);
    const recorded: Recorded = {
      method: 'POST',
      path,
      headers: request.headers,
      body,
      at: performance.now(),
      isReused,
      answeredAt: undefined,
      writtenAt: [],
      closedByPeerAt: undefined,
    };
    this.requests.push(recorded);
    if (this.requests.length > MOST_REQUESTS) this.requests.shift();
    this.#tell(`POST ${path}, ${Buffer.byteLength(body)} bytes${isReused ? ', on a used connection' : ''}`);
    await this.#answer(recorded, this.#next(recorded), response);
  }

  async #answer(recorded: Recorded, script: Script, response: ServerResponse): Promise<void> {
    const socket = response.socket!;
    if (recorded.isReused && script.onReuse === 'reset-before-answer') {
      this.#tell('  the connection is reset before an answer');
      socket.resetAndDestroy();
      return;
    }
    const gone = new AbortController();
    const onGone = () => {
      if (!this.#isClosing && recorded.closedByPeerAt === undefined) {
        recorded.closedByPeerAt = performance.now();
        this.#tell(`  the peer left after ${Math.round(recorded.closedByPeerAt - recorded.at)} ms`);
      }
      gone.abort();
    };
    // `end` comes at once where the peer closes; `close` only when something is written to it.
    socket.once('end', onGone).once('close', onGone);
    const forget = () => socket.off('end', onGone).off('close', onGone);
    try {
      const written = await writeAnswer(recorded, script, response, gone.signal);
      const end = script.end ?? 'eof';
      if (end === 'hold') {
        await new Promise<void>((resolve) => gone.signal.addEventListener('abort', () => resolve()));
      } else if (end === 'reset') {
        await sleep(BEFORE_RESET_MS, undefined, { signal: gone.signal });
        forget();
        this.#tell('  the connection is reset');
        socket.resetAndDestroy();
      } else {
        forget();
        response.end();
        const length = script.headers?.['content-length'];
        // Who promised another length must not wait for the rest, or read the next answer into this one.
        if (length !== undefined && Number(length) !== written) socket.destroySoon();
        this.#tell('  answered');
      }
    } finally {
      forget();
    }
  }
}

/** Resolves to the bytes of the body when all are handed over; rejects when the peer has left. */
async function writeAnswer(
  recorded: Recorded,
  script: Script,
  response: ServerResponse,
  signal: AbortSignal,
): Promise<number> {
  if (script.headDelayMs) await sleep(script.headDelayMs, undefined, { signal });
  const { keepAliveMs } = script;
  response.writeHead(script.status ?? 200, { ...keepAliveHeaders(keepAliveMs), ...script.headers });
  response.flushHeaders();
  recorded.answeredAt = performance.now();
  if (keepAliveMs !== undefined) {
    const { socket } = response;
    response.once('finish', () => socket?.setTimeout(keepAliveMs));
  }
  let written = 0;
  for (const [index, chunk] of script.chunks.entries()) {
    const delayMs = script.delaysMs?.[index] ?? 0;
    if (delayMs > 0) await sleep(delayMs, undefined, { signal });
    recorded.writtenAt.push(performance.now());
    for (const piece of piecesOf(chunk)) {
      written += piece.length;
      if (!response.write(piece)) await once(response, 'drain', { signal });
      // Each write leaves alone, and a peer in this process gets its turn to read it.
      await turn(undefined, { signal });
    }
  }
  return written;
}

function keepAliveHeaders(keepAliveMs: number | undefined): Readonly<Record<string, string>> {
  if (keepAliveMs === undefined) return {};
  return { connection: 'keep-alive', 'keep-alive': `timeout=${Math.floor(keepAliveMs / 1000)}` };
}

/** What a gateway asks to see whether a server lives. */
function sendProbe(response: ServerResponse, path: string): void {
  const [route = ''] = path.split('?');
  const body = route.endsWith('/models') ? MODELS : route === '/api/tags' ? OLLAMA_MODELS : undefined;
  response.writeHead(body ? 200 : 404, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body ?? { error: { message: 'Nothing is here.' } }));
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of request as AsyncIterable<Buffer>) {
    bytes += piece.length;
    if (bytes > MOST_BODY_BYTES) throw new Error('The body is too large.');
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString();
}

function isList(plan: Script | readonly Script[]): plan is readonly Script[] {
  return Array.isArray(plan);
}

/** The command line. Throws an Error with a sentence for whoever used it wrong. */
async function runProgram(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      port: { type: 'string', default: '9000' },
      script: { type: 'string', multiple: true, default: ['good'] },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(helpText());
    return;
  }
  if (!/^\d{1,5}$/.test(values.port)) throw new Error(`--port takes a number, not "${values.port}".`);
  const scripts = values.script.flatMap(scriptsNamed);
  const upstream = await startUpstream({
    port: Number(values.port),
    tell: (line) => process.stdout.write(`${line}\n`),
  });
  upstream.play(scripts);
  process.stdout.write(`listening on ${upstream.url}/v1, playing ${values.script.join(', ')}\n`);
}

function scriptsNamed(name: string): readonly Script[] {
  const builtIn = Object.hasOwn(BUILT_IN_SCRIPTS, name) ? BUILT_IN_SCRIPTS[name] : undefined;
  if (builtIn) return [builtIn.make()];
  if (!name.endsWith('.json')) throw new Error(`There is no script "${name}": --help lists them.`);
  return readScripts(JSON.parse(readFileSync(name, 'utf8')));
}

function helpText(): string {
  const scripts = Object.entries(BUILT_IN_SCRIPTS).map(
    ([name, { about }]) => `  ${name.padEnd(16)}${about}\n`,
  );
  return `A server of OpenAI's protocol that misbehaves as it is told to.

  node gateway/test/upstream/faulty-upstream.ts [--port 9000] [--script NAME|FILE.json]...

Every POST is answered by the script; of several, each POST gets the next, and the last is for all that follow.
GET /v1/models always answers. A file holds a script, or a list of them:
  {"status": 200, "headers": {}, "chunks": ["text", {"base64": "..."}, {"repeat": "x", "times": 9}],
   "delaysMs": [0, 100], "headDelayMs": 0, "end": "eof|reset|hold", "keepAliveMs": 5000,
   "onReuse": "reset-before-answer"}

Scripts:
${scripts.join('')}`;
}

if (import.meta.main) {
  runProgram(process.argv.slice(2)).catch((thrown: Error) => {
    process.stderr.write(`faulty-upstream: ${thrown.message}\n`);
    process.exitCode = 2;
  });
}
