// Chat requests as people make them, and what their readers see: the first word, the silences, the speed. It is the
// load generator of `sluice bench`, but for scenarios that are to end when a single answer does not end well.
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../gateway/src/core/clock.ts';
import { median, quantile, rounded } from '../gateway/src/figures/statistics.ts';
import { longestGap } from '../gateway/src/load/answer-reader.ts';
import { steadyArrivals } from '../gateway/src/load/arrivals.ts';
import { seededRandom } from '../gateway/src/load/seeded-random.ts';
import { Endpoint } from '../gateway/src/load/streamed-request.ts';
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

const SILENCE_LIMIT_MS = 300_000;

/**
 * Rejects with `Refusal` when the server refuses, and with another error when the answer is no stream that ends well.
 * `onFirst` is called when the first word comes. Durations count from `dueAt`, by `performance.now()`; default: now.
 */
export async function ask(
  port: number,
  { system, user, maxTokens, extra }: Chat,
  onFirst?: () => void,
  dueAt = systemClock.now(),
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
  const url = new URL(`http://127.0.0.1:${port}/v1/chat/completions`);
  let isFirst = true;
  const heard = await new Endpoint({ url, headers: {}, clock: systemClock }).ask({
    body,
    key: KEY,
    patienceMs: SILENCE_LIMIT_MS,
    since: dueAt,
    onWord: () => {
      if (isFirst) onFirst?.();
      isFirst = false;
    },
  });
  const { ending, status, reason, message, wordsAt, usage, endedAt } = heard;
  if (ending !== 'complete') {
    if (status !== 200 && status !== 0) throw new Refusal(status, message ?? '');
    throw new Error(`The answer ended badly (${ending}: ${reason}${message ? `: ${message}` : ''}).`);
  }
  const [firstAt] = wordsAt;
  if (firstAt === undefined || usage?.tokens === undefined || usage.promptTokens === undefined)
    throw new Error('The answer ended without its words or its usage.');
  return {
    tokens: usage.tokens,
    promptTokens: usage.promptTokens,
    cachedTokens: usage.cachedTokens,
    wordsAt,
    firstMs: firstAt - dueAt,
    totalMs: endedAt - dueAt,
    longestGapMs: longestGap(wordsAt),
  };
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

/** Each chat at its own time, whoever is still being answered; durations count from that time, sent late or not. */
export async function openLoop(port: number, arrivals: readonly Arrival[]): Promise<Load> {
  const startedAt = performance.now();
  const seen = await Promise.all(
    arrivals.map(async ({ atMs, chat }) => {
      await sleep(atMs);
      return ask(port, chat, undefined, startedAt + atMs);
    }),
  );
  return { seen, seconds: (performance.now() - startedAt) / 1000 };
}

/** When they come who know nothing of each other: `ratePerSecond` on the average; the same for the same seed. */
export function poissonArrivals(seed: number, ratePerSecond: number, chats: readonly Chat[]): Arrival[] {
  const random = seededRandom(seed);
  const { atMs } = steadyArrivals({ random, ratePerSecond, burstiness: 1, requests: chats.length });
  return chats.map((chat, index) => ({ atMs: atMs[index]!, chat }));
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
