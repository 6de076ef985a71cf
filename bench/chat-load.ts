// Chat requests as people make them, and what their readers see: the first word, the silences, the speed.
// A connection a request: some servers say keep-alive and close all the same.
import { request } from 'node:http';
import { median, quantile, rounded } from '../gateway/src/figures/statistics.ts';
import { AnswerReader, longestGap } from './answer-reader.ts';
import { KEY } from './servers.ts';

export interface Chat {
  readonly system: string;
  readonly user: string;
  readonly maxTokens: number;
  /** More fields of the body. */
  readonly extra?: object | undefined;
}

/** What one reader saw; durations in ms. */
export interface Seen {
  readonly firstMs: number;
  readonly totalMs: number;
  readonly longestGapMs: number;
  /** When each piece with words came, by `performance.now()`. */
  readonly wordsAt: readonly number[];
  readonly tokens: number;
  readonly promptTokens: number;
  readonly cachedTokens: number | undefined;
}

/** The server said no before it answered a word. */
export class Refusal extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

function refusalIn(status: number, body: string): Refusal {
  try {
    return new Refusal(status, JSON.parse(body).error.message);
  } catch {
    return new Refusal(status, body);
  }
}

const SILENCE_LIMIT_MS = 300_000;

/**
 * Rejects with `Refusal` when the server refuses, and with another error when the answer is no stream that ends well.
 * `onFirst` is called when the first word comes.
 */
export function ask(
  port: number,
  { system, user, maxTokens, extra }: Chat,
  onFirst?: () => void,
): Promise<Seen> {
  const body = JSON.stringify({
    model: 'deepseek-r1',
    messages: [
      { role: 'system', content: system },
      { role: 'user', content: user },
    ],
    max_tokens: maxTokens,
    temperature: 0,
    stream: true,
    stream_options: { include_usage: true },
    ...extra,
  });
  const options = {
    host: '127.0.0.1',
    port,
    path: '/v1/chat/completions',
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${KEY}` },
    agent: false,
    timeout: SILENCE_LIMIT_MS,
  };
  return new Promise((resolve, reject) => {
    const startedAt = performance.now();
    const reader = new AnswerReader();
    const fail = (error: Error) => {
      reject(error);
      sent.destroy();
    };
    const sent = request(options, (response) => {
      let refusal = '';
      response.setEncoding('utf8');
      response.on('error', reject);
      response.on('data', (text: string) => {
        if (response.statusCode !== 200) {
          refusal += text;
          return;
        }
        const hadWords = reader.wordsAt.length > 0;
        try {
          reader.take(text, performance.now());
        } catch (error) {
          fail(error as Error);
          return;
        }
        if (!hadWords && reader.wordsAt.length > 0) onFirst?.();
      });
      response.on('end', () => {
        const { wordsAt, usage, error, isDone } = reader;
        if (response.statusCode !== 200) return reject(refusalIn(response.statusCode!, refusal));
        if (error !== undefined) return reject(new Error(error));
        const [firstAt] = wordsAt;
        if (firstAt === undefined || usage === undefined || !isDone) {
          return reject(new Error('The answer ended without its words, its usage or its end.'));
        }
        resolve({
          ...usage,
          wordsAt,
          firstMs: firstAt - startedAt,
          totalMs: performance.now() - startedAt,
          longestGapMs: longestGap(wordsAt),
        });
      });
    });
    sent.on('timeout', () => fail(new Error(`Nothing came for ${SILENCE_LIMIT_MS / 1000} s.`)));
    sent.on('error', reject);
    sent.end(body);
  });
}

/** What a server did under a load. */
export interface Load {
  readonly seen: readonly Seen[];
  readonly seconds: number;
}

/** `clients` at once, each asking again as soon as it has its answer. */
export async function closedLoop(port: number, clients: readonly (readonly Chat[])[]): Promise<Load> {
  const startedAt = performance.now();
  const seen = await Promise.all(
    clients.map(async (chats) => {
      const own: Seen[] = [];
      for (const chat of chats) own.push(await ask(port, chat));
      return own;
    }),
  );
  return { seen: seen.flat(), seconds: (performance.now() - startedAt) / 1000 };
}

export interface Arrival {
  /** From the start of the load. */
  readonly atMs: number;
  readonly chat: Chat;
}

/** Each chat at its own time, whoever is still being answered. */
export async function openLoop(port: number, arrivals: readonly Arrival[]): Promise<Load> {
  const startedAt = performance.now();
  const seen = await Promise.all(
    arrivals.map(async ({ atMs, chat }) => {
      await new Promise((resolve) => setTimeout(resolve, atMs));
      return ask(port, chat);
    }),
  );
  return { seen, seconds: (performance.now() - startedAt) / 1000 };
}

/** When they come who know nothing of each other: `ratePerSecond` on the average; the same for the same seed. */
export function poissonArrivals(seed: number, ratePerSecond: number, chats: readonly Chat[]): Arrival[] {
  const random = randomFrom(seed);
  let atMs = 0;
  return chats.map((chat) => {
    atMs += (-Math.log(1 - random()) / ratePerSecond) * 1000;
    return { atMs, chat };
  });
}

export interface LoadFigures {
  readonly requests: number;
  readonly promptTokens: number;
  /** Of all answers together, as the server counts them. */
  readonly newTokens: number;
  /** Of the shortest answer: the length asked for, if every answer was as long as wanted. */
  readonly fewestNewTokens: number;
  readonly tokensPerSecond: number;
  readonly firstP50Ms: number;
  readonly firstP99Ms: number;
  readonly longestGapMs: number;
  readonly totalP99Ms: number;
}

export function figuresOf({ seen, seconds }: Load): LoadFigures {
  const of = (pick: (one: Seen) => number) => seen.map(pick);
  const firsts = of((one) => one.firstMs);
  const totals = of((one) => one.totalMs);
  const newTokens = of((one) => one.tokens).reduce((sum, tokens) => sum + tokens, 0);
  return {
    requests: seen.length,
    promptTokens: Math.round(median(of((one) => one.promptTokens))),
    newTokens,
    fewestNewTokens: Math.min(...of((one) => one.tokens)),
    tokensPerSecond: rounded(newTokens / seconds, 1),
    firstP50Ms: Math.round(median(firsts)),
    firstP99Ms: Math.round(quantile(firsts, 0.99)),
    longestGapMs: Math.round(Math.max(...of((one) => one.longestGapMs))),
    totalP99Ms: Math.round(quantile(totals, 0.99)),
  };
}

/** Uniform between 0 and 1, the same for the same seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
