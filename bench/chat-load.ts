// Chat requests as people make them, and what their readers see: the first word, the silences, the speed.
// A connection a request: some servers say keep-alive and close all the same.
import { request } from 'node:http';
import { KEY } from './servers.ts';
import { quantile, rounded } from './statistics.ts';

export interface Chat {
  readonly system: string;
  readonly user: string;
  readonly maxTokens: number;
  /** More fields of the body. */
  readonly extra?: object | undefined;
}

/** What one reader saw; times in ms. */
export interface Seen {
  readonly firstMs: number;
  readonly totalMs: number;
  readonly longestGapMs: number;
  readonly tokens: number;
  readonly promptTokens: number;
  readonly cachedTokens: number | undefined;
  readonly text: string;
}

const REQUEST_LIMIT_MS = 300_000;

/** Rejects when the answer is no stream that ends well. */
export function ask(port: number, { system, user, maxTokens, extra }: Chat): Promise<Seen> {
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
  return new Promise((resolve, reject) => {
    const startedAt = performance.now();
    let firstAt: number | undefined;
    let lastAt = 0;
    let longestGapMs = 0;
    let text = '';
    let usage: { prompt_tokens: number; completion_tokens: number; cached: number | undefined } | undefined;
    const onEvent = (line: string) => {
      if (!line.startsWith('data: {')) return;
      const event = JSON.parse(line.slice(6));
      if (event.error) return reject(new Error(event.error.message));
      if (event.usage) {
        const cached = event.usage.prompt_tokens_details?.cached_tokens;
        usage = { ...event.usage, cached };
      }
      const words = event.choices?.[0]?.delta?.content;
      if (!words) return;
      const at = performance.now();
      if (firstAt === undefined) firstAt = at;
      else longestGapMs = Math.max(longestGapMs, at - lastAt);
      lastAt = at;
      text += words;
    };
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${KEY}` };
    const options = {
      host: '127.0.0.1',
      port,
      path: '/v1/chat/completions',
      method: 'POST',
      headers,
      agent: false,
    };
    const sent = request({ ...options, timeout: REQUEST_LIMIT_MS }, (response) => {
      let rest = '';
      response.setEncoding('utf8');
      response.on('data', (data: string) => {
        const lines = (rest + data).split('\n');
        rest = lines.pop()!;
        for (const line of lines) onEvent(line);
      });
      response.on('error', reject);
      response.on('end', () => {
        if (response.statusCode !== 200 || firstAt === undefined || usage === undefined) {
          return reject(new Error(`status ${response.statusCode}: ${rest || 'no whole answer'}`));
        }
        resolve({
          firstMs: firstAt - startedAt,
          totalMs: performance.now() - startedAt,
          longestGapMs,
          tokens: usage.completion_tokens,
          promptTokens: usage.prompt_tokens,
          cachedTokens: usage.cached,
          text,
        });
      });
    });
    sent.on('timeout', () => sent.destroy(new Error('no answer in time')));
    sent.on('error', reject);
    sent.end(body);
  });
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

/** Each chat at its own time, in ms from the start, whoever is still being answered. */
export async function openLoop(
  port: number,
  arrivals: readonly { readonly atMs: number; readonly chat: Chat }[],
): Promise<Load> {
  const startedAt = performance.now();
  const seen = await Promise.all(
    arrivals.map(async ({ atMs, chat }) => {
      await new Promise((resolve) => setTimeout(resolve, atMs));
      return ask(port, chat);
    }),
  );
  return { seen, seconds: (performance.now() - startedAt) / 1000 };
}

export interface Load {
  readonly seen: readonly Seen[];
  readonly seconds: number;
}

export interface LoadFigures {
  readonly requests: number;
  readonly promptTokens: number;
  readonly newTokens: number;
  readonly tokensPerSecond: number;
  readonly firstP50Ms: number;
  readonly firstP99Ms: number;
  readonly longestGapMs: number;
  readonly totalP99Ms: number;
}

export function figuresOf({ seen, seconds }: Load): LoadFigures {
  const newTokens = seen.reduce((sum, one) => sum + one.tokens, 0);
  const firsts = seen.map((one) => one.firstMs);
  return {
    requests: seen.length,
    promptTokens: Math.round(
      quantile(
        seen.map((one) => one.promptTokens),
        0.5,
      ),
    ),
    newTokens,
    tokensPerSecond: rounded(newTokens / seconds, 1),
    firstP50Ms: Math.round(quantile(firsts, 0.5)),
    firstP99Ms: Math.round(quantile(firsts, 0.99)),
    longestGapMs: Math.round(Math.max(...seen.map((one) => one.longestGapMs))),
    totalP99Ms: Math.round(
      quantile(
        seen.map((one) => one.totalMs),
        0.99,
      ),
    ),
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
