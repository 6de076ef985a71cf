// Sends one request and hears its streamed answer to the end, as one client of a load. A connection a request: some
// servers say keep-alive and close all the same, and people of a surge come on connections of their own.
// It must never take for complete what was cut: an answer ends with a finish reason and [DONE], or it is lost.
// It runs for every chunk of every stream, so no promise, stream or closure is made for a chunk.
import { StringDecoder } from 'node:string_decoder';
import { buildConnector, Client, type Dispatcher } from 'undici';
import type { Clock } from '../core/clock.ts';
import { AnswerReader, type AnswerUsage } from './answer-reader.ts';

/**
 * How a request ended. `refused`: 429 or 503 before a word. `gave-up`: no word for too long, so the client left. `lost`:
 * the stream ended without its finish reason or [DONE]. `stopped`: we were told to stop. `failed`: anything else.
 */
export type Ending = 'complete' | 'refused' | 'gave-up' | 'lost' | 'failed' | 'stopped';

/** What a client heard. Times are the clock's. */
export interface Heard {
  readonly ending: Ending;
  /** Why, where it is not complete: `http 500`, `overloaded`, `ECONNRESET`, `error in the stream`, and their like. */
  readonly reason: string | undefined;
  /** What the server said of it, for people. */
  readonly message: string | undefined;
  /** 0: no answer came. */
  readonly status: number;
  /** When the server said to come again, in ms from the end. */
  readonly retryAfterMs: number | undefined;
  /** Which back end answered, where a gateway tells it (`x-sluice-backend`). */
  readonly backend: string | undefined;
  readonly sentAt: number;
  readonly endedAt: number;
  /** Of each piece with words. */
  readonly wordsAt: readonly number[];
  readonly usage: AnswerUsage | undefined;
}

export interface EndpointOptions {
  readonly url: URL;
  /** Sent with every request; names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly clock: Clock;
}

export interface Asked {
  readonly body: string;
  readonly key: string | undefined;
  /** The client leaves when no word comes for so long, in ms: the first from `since`, or the next. */
  readonly patienceMs: number;
  readonly since: number;
  readonly signal?: AbortSignal | undefined;
  /** For each piece with words. */
  readonly onWord?: ((at: number) => void) | undefined;
}

type Headers = Readonly<Record<string, string | string[] | undefined>>;

const CONNECT_LIMIT_MS = 10_000;
/** Of a body that is no stream: enough to tell what the server says. */
const MOST_TOLD = 16_384;

/** The server under load. */
export class Endpoint {
  readonly clock: Clock;
  private readonly url: URL;
  private readonly headers: Readonly<Record<string, string>>;
  /** One for all, so that TLS sessions are taken up again. */
  private readonly connect = buildConnector({ timeout: CONNECT_LIMIT_MS });

  constructor({ url, headers, clock }: EndpointOptions) {
    this.url = url;
    this.headers = { 'content-type': 'application/json', 'accept-encoding': 'identity', ...headers };
    this.clock = clock;
  }

  /** Resolves however it ends, and never rejects. */
  ask(asked: Asked): Promise<Heard> {
    return new Promise((resolve) => {
      const client = new Client(this.url.origin, {
        pipelining: 0,
        allowH2: false,
        headersTimeout: 0,
        bodyTimeout: 0,
        connect: this.connect,
      });
      const headers = asked.key ? { ...this.headers, authorization: `Bearer ${asked.key}` } : this.headers;
      const path = this.url.pathname + this.url.search;
      new Exchange(client, asked, this.clock, resolve).send({
        path,
        method: 'POST',
        headers,
        body: asked.body,
      });
    });
  }
}

/** One request and its answer: undici's handler. Once it is settled, whatever else undici says means nothing. */
class Exchange implements Dispatcher.DispatchHandler {
  private readonly client: Client;
  private readonly asked: Asked;
  private readonly clock: Clock;
  private readonly resolve: (heard: Heard) => void;
  private readonly reader = new AnswerReader();
  private readonly decoder = new StringDecoder('utf8');
  private readonly sentAt: number;
  private heardAt: number;
  private stopWaiting: () => void = () => {};
  private status = 0;
  private headers: Headers = {};
  /** The body of what is no stream. */
  private told = '';
  private isSettled = false;

  constructor(client: Client, asked: Asked, clock: Clock, resolve: (heard: Heard) => void) {
    this.client = client;
    this.asked = asked;
    this.clock = clock;
    this.resolve = resolve;
    this.sentAt = clock.now();
    this.heardAt = asked.since;
  }

  send(options: Dispatcher.DispatchOptions): void {
    const { signal } = this.asked;
    if (signal?.aborted) {
      this.settle('stopped');
      return;
    }
    signal?.addEventListener('abort', this.onAbort);
    this.waitForWord();
    this.client.dispatch(options, this);
  }

  /** undici insists on it. */
  onRequestStart(): void {}

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    if (status < 200) return;
    this.status = status;
    this.headers = headers;
  }

  onResponseData(_controller: Dispatcher.DispatchController, bytes: Buffer): void {
    if (this.isSettled) return;
    const text = this.decoder.write(bytes);
    if (this.status !== 200) {
      if (this.told.length < MOST_TOLD) this.told += text;
      return;
    }
    const { reader } = this;
    const before = reader.wordsAt.length;
    const now = this.clock.now();
    try {
      reader.take(text, now);
    } catch (thrown) {
      this.settle('failed', 'no valid stream', (thrown as Error).message);
      return;
    }
    const more = reader.wordsAt.length - before;
    if (more === 0) return;
    this.heardAt = now;
    for (let count = 0; count < more; count += 1) this.asked.onWord?.(now);
  }

  onResponseEnd(): void {
    const { status, reader } = this;
    if (status !== 200) this.settleUnanswered();
    else if (reader.error !== undefined) this.settle('failed', 'error in the stream', reader.error);
    else if (!reader.isDone) this.settle('lost', 'no [DONE]');
    else if (reader.finishReason === undefined) this.settle('lost', 'no finish reason');
    else this.settle('complete');
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    const { status, reader } = this;
    // Some servers close the socket instead of ending the body; what they had to say, they had said.
    if (status !== 200 && status !== 0) this.settleUnanswered();
    else if (status === 200 && (reader.error !== undefined || reader.isDone)) this.onResponseEnd();
    else this.settle(status === 200 ? 'lost' : 'failed', codeOf(error), error.message);
  }

  private settleUnanswered(): void {
    const { code, message } = errorIn(this.told);
    const isRefusal = this.status === 429 || this.status === 503;
    this.settle(isRefusal ? 'refused' : 'failed', (isRefusal && code) || `http ${this.status}`, message);
  }

  /** One timer, set anew only when it ends: words do not touch it. */
  private waitForWord(): void {
    const leftMs = this.heardAt + this.asked.patienceMs - this.clock.now();
    this.stopWaiting = this.clock.after(Math.max(0, leftMs), () => {
      const isLate = this.clock.now() - this.heardAt >= this.asked.patienceMs;
      if (isLate) this.settle('gave-up', this.reader.wordsAt.length > 0 ? 'a silence' : 'no first word');
      else this.waitForWord();
    });
  }

  private readonly onAbort = (): void => this.settle('stopped');

  private settle(ending: Ending, reason?: string, message?: string): void {
    if (this.isSettled) return;
    this.isSettled = true;
    this.stopWaiting();
    this.asked.signal?.removeEventListener('abort', this.onAbort);
    // Closes the socket, whatever it is doing.
    void this.client.destroy();
    const backend = this.headers['x-sluice-backend'];
    this.resolve({
      ending,
      reason,
      message,
      status: this.status,
      retryAfterMs: ending === 'refused' ? retryAfterIn(this.headers) : undefined,
      backend: typeof backend === 'string' ? backend : undefined,
      sentAt: this.sentAt,
      endedAt: this.clock.now(),
      wordsAt: this.reader.wordsAt,
      usage: this.reader.usage,
    });
  }
}

/** By `retry-after-ms`, which OpenAI's clients prefer too, else by `retry-after` in seconds. A date is not read. */
export function retryAfterIn(headers: Headers): number | undefined {
  const inMs = numberIn(headers['retry-after-ms']);
  if (inMs !== undefined) return inMs;
  const seconds = numberIn(headers['retry-after']);
  return seconds === undefined ? undefined : seconds * 1000;
}

function numberIn(header: string | string[] | undefined): number | undefined {
  return typeof header === 'string' && /^\d{1,9}(\.\d+)?$/.test(header) ? Number(header) : undefined;
}

function errorIn(body: string): { readonly code?: string; readonly message: string } {
  try {
    const { error } = JSON.parse(body) as { error?: { code?: unknown; message?: unknown } };
    if (typeof error?.message === 'string') {
      return { message: error.message, ...(typeof error.code === 'string' && { code: error.code }) };
    }
  } catch {
    // Not JSON: the body as it is has to do.
  }
  return { message: body.slice(0, 300) };
}

function codeOf(error: Error): string {
  return (error as NodeJS.ErrnoException).code ?? error.name;
}
