// A client that can leave, stop reading, and say when each byte came: by node:http, which sends what it is given.
// It must never judge an answer: that is for `answer.ts` and `expectations.ts`.
import { request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { waitUntil } from '../e2e/harness.ts';
import { bodyTextOf, type CaseRequest } from './cases.ts';

/** A piece of an answer as one read brought it. */
export interface Read {
  /** Where it ends in the answer's text. */
  readonly end: number;
  /** On the monotonic clock, in ms. */
  readonly at: number;
}

export interface RawAnswer {
  readonly status: number;
  /** Lower-case names. */
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  readonly reads: readonly Read[];
  /** When the request was sent and the answer's head was there, on the monotonic clock, in ms. */
  readonly sentAt: number;
  readonly headAt: number;
}

/** A request under way. */
export interface Asked {
  /** Rejects when the answer breaks, and when this client leaves. */
  readonly answer: Promise<RawAnswer>;
  /** Resolves when something that a model said is there; rejects if the answer ends without, or after 10 s. */
  firstToken(): Promise<void>;
  /** Resolves when any byte of the body is there; rejects after 10 s. */
  firstByte(): Promise<void>;
  /** Leaves. */
  drop(): void;
  /** Stops reading. */
  pause(): void;
}

const LIMIT_MS = 10_000;
/** An answer that has not ended by then has failed its case. */
const ANSWER_LIMIT_MS = 60_000;
const TOKEN = /"(?:content|reasoning_content|text|delta|thinking)":"[^"]/;

/** Sends a request on a connection of its own. */
export function ask(port: number, request: CaseRequest): Asked {
  const { promise, resolve, reject } = Promise.withResolvers<RawAnswer>();
  promise.catch(() => {});
  const reads: Read[] = [];
  let text = '';
  let incoming: IncomingMessage | undefined;
  let isOver = false;
  const sentAt = performance.now();
  const { method, path, headers } = request;
  const body = bodyTextOf(request);
  const outgoing = httpRequest({
    host: '127.0.0.1',
    port,
    method,
    path,
    headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
    agent: false,
  });
  const timer = setTimeout(() => outgoing.destroy(new Error('The answer did not end.')), ANSWER_LIMIT_MS);
  const fail = (error: Error) => {
    isOver = true;
    clearTimeout(timer);
    reject(error);
  };
  outgoing.on('error', fail).on('response', (response) => {
    incoming = response;
    const headAt = performance.now();
    response.setEncoding('utf8');
    response.on('data', (piece: string) => {
      text += piece;
      reads.push({ end: text.length, at: performance.now() });
    });
    response.on('error', fail).on('end', () => {
      isOver = true;
      clearTimeout(timer);
      resolve({ status: response.statusCode ?? 0, headers: response.headers, text, reads, sentAt, headAt });
    });
  });
  outgoing.end(body);
  const seen = (isSeen: () => boolean, what: string) =>
    waitUntil(
      () => {
        if (!isSeen() && isOver) throw new Error(`The answer ended without ${what}: ${text}`);
        return isSeen();
      },
      LIMIT_MS,
      () => `no ${what} came`,
    );
  return {
    answer: promise,
    firstToken: () => seen(() => TOKEN.test(text), 'a token'),
    firstByte: () => seen(() => text !== '', 'a byte'),
    drop: () => void outgoing.destroy(),
    pause: () => void incoming?.pause(),
  };
}
