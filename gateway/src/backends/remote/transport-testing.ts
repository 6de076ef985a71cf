// For tests only: a server on loopback that answers byte by byte as a test likes, and a reader that keeps what came.
// It must never be part of the product: nothing but tests may import it.
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import type { UpstreamRequest } from './transport.ts';
import type { UpstreamHeaders, UpstreamReader } from './upstream-reader.ts';

/** A request as the server read it. */
export interface SeenRequest {
  readonly socket: Socket;
  /** Of the server's connections, counted from 1. */
  readonly connection: number;
  /** Of the requests on its connection, counted from 1. */
  readonly turn: number;
  /** Head and body, as they came. */
  readonly text: string;
}

export interface LoopbackServer {
  readonly origin: string;
  readonly port: number;
  readonly requests: SeenRequest[];
  /** All there ever were, in order. */
  readonly sockets: Socket[];
  /** Ends the listener and all sockets. */
  stop(): Promise<void>;
}

export interface ServerOptions {
  readonly host?: string;
  /** 0: any that is free. */
  readonly port?: number;
  readonly onConnection?: (socket: Socket) => void;
}

/** Calls `answer` for every whole request; ends with the test. */
export async function startServer(
  t: TestContext,
  answer: (request: SeenRequest) => void,
  { host = '127.0.0.1', port = 0, onConnection }: ServerOptions = {},
): Promise<LoopbackServer> {
  const requests: SeenRequest[] = [];
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    const connection = sockets.push(socket);
    let turn = 0;
    let text = '';
    socket.on('error', () => {});
    onConnection?.(socket);
    socket.on('data', (bytes) => {
      text += bytes.toString('latin1');
      for (let length = lengthOf(text); length !== undefined; length = lengthOf(text)) {
        turn += 1;
        const request = { socket, connection, turn, text: text.slice(0, length) };
        text = text.slice(length);
        requests.push(request);
        answer(request);
      }
    });
  });
  server.listen(port, host);
  await once(server, 'listening');
  const stop = async () => {
    for (const socket of sockets) socket.destroy();
    if (!server.listening) return;
    server.close();
    await once(server, 'close');
  };
  t.after(stop);
  const bound = (server.address() as AddressInfo).port;
  return { origin: `http://${host}:${bound}`, port: bound, requests, sockets, stop };
}

/** Of the first request in a text; undefined while it is not whole. */
function lengthOf(text: string): number | undefined {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const length = end + 4 + Number(/^content-length: (\d+)/im.exec(text.slice(0, end))?.[1] ?? 0);
  return text.length >= length ? length : undefined;
}

/** A whole answer with its length. */
export function plainAnswer(body: string, ...headers: string[]): string {
  return ['HTTP/1.1 200 OK', ...headers, `content-length: ${Buffer.byteLength(body)}`, '', body].join('\r\n');
}

/** Resolves when the other side has closed this socket. */
export function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) resolve();
    else socket.once('close', () => resolve());
  });
}

/** What came of an answer; `onData` is called for every piece. */
export class Kept implements UpstreamReader {
  status = 0;
  headers: UpstreamHeaders = {};
  bytes = 0;
  text = '';
  private readonly onData: (() => void) | undefined;
  private readonly decoder = new TextDecoder();

  constructor(onData?: () => void) {
    this.onData = onData;
  }

  head(status: number, headers: UpstreamHeaders): void {
    this.status = status;
    this.headers = headers;
  }

  data(bytes: Buffer): void {
    this.bytes += bytes.length;
    this.text += this.decoder.decode(bytes, { stream: true });
    this.onData?.();
  }
}

export const post = (
  path: string,
  body: string,
  signal: AbortSignal = new AbortController().signal,
): UpstreamRequest => ({
  method: 'POST',
  path,
  headers: { 'content-type': 'application/json', authorization: 'Bearer key' },
  body,
  signal,
});
