// An upstream in this process whose answers a benchmark writes by hand, with the moment of everything that happens. It never
// answers by itself, but for the list of models.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

/** A POST that waits for its answer. Times are on the monotonic clock, in ms. */
export interface AskedUpstream {
  /** When its last byte was there. */
  readonly at: number;
  readonly body: { readonly stream?: boolean; readonly messages: readonly { readonly content: string }[] };
  readonly response: ServerResponse;
  /** Resolves to when the peer closed the connection. */
  readonly left: Promise<number>;
}

const MODELS = JSON.stringify({ object: 'list', data: [{ id: 'case', object: 'model' }] });

export class HandUpstream {
  readonly #server: Server;
  readonly #port: number;
  /** What becomes of the next POSTs. */
  answer: (asked: AskedUpstream) => void = () => {};

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.#port = port;
    server.on('request', (request, response) => void this.#handle(request, response).catch(() => {}));
  }

  /** `port`: default any free one. */
  static async start(port = 0): Promise<HandUpstream> {
    const server = createServer({ noDelay: true, keepAliveTimeout: 0 });
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return new HandUpstream(server, (server.address() as AddressInfo).port);
  }

  get port(): number {
    return this.#port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}/v1`;
  }

  /** From now on connections are refused, and those that were open are closed. */
  async close(): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method !== 'POST') {
      response.setHeader('content-type', 'application/json');
      response.end(MODELS);
      return;
    }
    const pieces: Buffer[] = [];
    for await (const piece of request as AsyncIterable<Buffer>) pieces.push(piece);
    const at = performance.now();
    const left = new Promise<number>((resolve) => onPeerGone(request.socket, response, resolve));
    this.answer({ at, body: JSON.parse(Buffer.concat(pieces).toString()), response, left });
  }
}

/** `end` comes at once; `close` may wait for a write. An answer that has ended leaves nothing on a kept connection. */
function onPeerGone(socket: Socket, response: ServerResponse, tell: (at: number) => void): void {
  const onGone = () => tell(performance.now());
  socket.once('end', onGone).once('close', onGone);
  response.once('finish', () => socket.off('end', onGone).off('close', onGone));
}

/** An event of OpenAI's chat dialect. */
export function event(delta: object, finish: string | null = null): string {
  const choices = [{ index: 0, delta, finish_reason: finish }];
  const chunk = { id: 'c-1', object: 'chat.completion.chunk', created: 1, model: 'case', choices };
  return `data: ${JSON.stringify(chunk)}\n\n`;
}

/** Sends the head of a stream, and these texts an event each. */
export function say(response: ServerResponse, texts: readonly string[]): void {
  if (!response.headersSent) response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.flushHeaders();
  for (const content of texts) response.write(event({ content }));
}

/** The texts, and the end of the answer. */
export function sayAll(response: ServerResponse, texts: readonly string[]): void {
  say(response, texts);
  response.end(`${event({}, 'stop')}data: [DONE]\n\n`);
}
