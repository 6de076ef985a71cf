// The load of the surge, as `sluice bench` makes it: what a server does closed and open, and through a promotion's surge.
// Clients leave when no word comes for 30 s, and who is refused does not come back.
import { systemClock } from '../gateway/src/core/clock.ts';
import { quantile, rounded } from '../gateway/src/figures/statistics.ts';
import { type Arrivals, steadyArrivals, surgeArrivals } from '../gateway/src/load/arrivals.ts';
import { isGood } from '../gateway/src/load/load-figures.ts';
import type { Attempt } from '../gateway/src/load/load-record.ts';
import { measureLoad } from '../gateway/src/load/load-result.ts';
import type { Pace } from '../gateway/src/load/load-run.ts';
import { bodyOf } from '../gateway/src/load/prompts.ts';
import { seededRandom } from '../gateway/src/load/seeded-random.ts';
import { Endpoint } from '../gateway/src/load/streamed-request.ts';
import { customersMessages } from './customer-service.ts';
import { cpuSecondsOfTree, rssOfTree } from './process-cost.ts';
import { KEY } from './servers.ts';
import type { Running } from './surge-sides.ts';

export const NEW_TOKENS = 64;
/** What an answer must keep to count as a good one. */
export const OBJECTIVES = { ttft: 500, gap: 500 } as const;
export const PATIENCE_MS = 30_000;
const MIB = 2 ** 20;

export interface Shape {
  /** Requests a second, before and after. */
  readonly steadyRps: number;
  readonly factor: number;
  readonly beforeSeconds: number;
  readonly surgeSeconds: number;
  readonly afterSeconds: number;
}

/** One load on one server; durations in ms. */
export interface LoadFigures {
  readonly requests: number;
  /** Good answers a second, of those that fell due in the surge, and in the whole load. */
  readonly goodput: number;
  readonly goodputOverall: number;
  /** Of complete answers, in the time of the surge. */
  readonly tokensPerSecond: number;
  readonly firstP50Ms: number;
  readonly firstP99Ms: number;
  readonly endP50Ms: number;
  readonly endP99Ms: number;
  readonly longestGapMs: number;
  /** Answers with a silence over 500 ms. */
  readonly stutters: number;
  /** Parts of the requests that fell due in the surge. */
  readonly refusedShare: number;
  readonly goodShare: number;
  readonly refused: number;
  readonly gaveUp: number;
  readonly lost: number;
  readonly failed: number;
  /** What was not answered, by its reason. */
  readonly reasons: Readonly<Record<string, number>>;
  readonly fewestTokens: number;
  readonly promptTokens: number;
  readonly cpuMsPerToken: number;
  readonly rssMib: number;
  /** The generator was too slow in this load: its latencies are its own in part. */
  readonly isGeneratorLate: boolean;
}

/** A moment of the surge. */
export interface Moment {
  /** From the start of the load. */
  readonly second: number;
  readonly goodput: number;
  /** Null: no answer that was asked for then got a word. */
  readonly firstP99Ms: number | null;
}

interface Taken {
  readonly attempts: readonly Attempt[];
  readonly seconds: number;
  readonly isGeneratorLate: boolean;
  readonly cpuSeconds: number;
  readonly rssBytes: number;
}

/** Makes Sluice wait with an answer as long as others do, where it is not admission that is looked at; others do not know it. */
const NO_OBJECTIVE = { 'x-sluice-deadline-ms': '600000' };

/** Requests and tokens a second with so many clients that ask again as soon as they are answered. */
export async function capacityOf(
  server: Running,
  seed: number,
  { clients, requests }: { readonly clients: number; readonly requests: number },
): Promise<{ readonly requestsPerSecond: number; readonly tokensPerSecond: number }> {
  const { attempts, seconds } = await take(server, seed, { kind: 'closed', clients, requests }, NO_OBJECTIVE);
  const complete = attempts.filter(({ ending }) => ending === 'complete');
  const tokens = complete.reduce((sum, attempt) => sum + attempt.tokens, 0);
  return {
    requestsPerSecond: rounded(complete.length / seconds, 3),
    tokensPerSecond: rounded(tokens / seconds, 1),
  };
}

/** Whether all of the requests got their answer, in time, at this rate. */
export async function sustains(
  server: Running,
  seed: number,
  { ratePerSecond, requests }: { readonly ratePerSecond: number; readonly requests: number },
): Promise<{ readonly holds: boolean; readonly firstP99Ms: number; readonly notAnswered: number }> {
  const random = seededRandom(seed);
  const { atMs } = steadyArrivals({ random, requests, ratePerSecond, burstiness: 1 });
  const { attempts } = await take(server, seed, { kind: 'open', atMs });
  const complete = attempts.filter(({ ending }) => ending === 'complete');
  const firstP99Ms = Math.round(quantile(firstsOf(complete), 0.99));
  const notAnswered = requests - complete.length;
  return { holds: notAnswered === 0 && firstP99Ms < OBJECTIVES.ttft, firstP99Ms, notAnswered };
}

/** The same seed brings the same customers at the same times. */
export async function surge(
  server: Running,
  seed: number,
  shape: Shape,
): Promise<{ readonly figures: LoadFigures; readonly moments: readonly Moment[] }> {
  const arrivals = surgeArrivals(seededRandom(seed), 1, shape, Number.POSITIVE_INFINITY);
  const taken = await take(server, seed, { kind: 'open', atMs: arrivals.atMs });
  return { figures: figuresOf(taken, arrivals, shape), moments: momentsOf(taken.attempts, shape) };
}

async function take(
  server: Running,
  seed: number,
  pace: Pace,
  headers: Readonly<Record<string, string>> = {},
): Promise<Taken> {
  const { port, model, pids } = server;
  const endpoint = new Endpoint({
    url: new URL(`http://127.0.0.1:${port}/v1/chat/completions`),
    headers,
    clock: systemClock,
  });
  const body = (customer: number) =>
    bodyOf(
      { messages: customersMessages(seed, customer), maxTokens: NEW_TOKENS },
      { model, isChat: true, ignoresEos: false, temperature: 0, extra: undefined },
    );
  const sumOf = (measure: (pid: number) => number) => pids.reduce((sum, pid) => sum + measure(pid), 0);
  const cpuBefore = sumOf(cpuSecondsOfTree);
  const { attempts, seconds, generator } = await measureLoad({
    endpoint,
    pace,
    phases: [],
    request: (customer) => ({ body: body(customer), key: KEY, tenant: 'all' }),
    patienceMs: PATIENCE_MS,
    returns: 0,
    maxConcurrency: Number.POSITIVE_INFINITY,
    signal: new AbortController().signal,
    percentiles: [],
    objectives: OBJECTIVES,
  });
  return {
    attempts,
    seconds,
    isGeneratorLate: generator.isTooSlow,
    cpuSeconds: sumOf(cpuSecondsOfTree) - cpuBefore,
    rssBytes: sumOf(rssOfTree),
  };
}

function figuresOf(taken: Taken, { phases }: Arrivals, shape: Shape): LoadFigures {
  const { attempts, isGeneratorLate, cpuSeconds, rssBytes } = taken;
  const { fromMs, toMs } = phases.find(({ name }) => name === 'surge')!;
  const inSurge = attempts.filter(({ dueMs }) => dueMs >= fromMs && dueMs < toMs);
  const complete = attempts.filter(({ ending }) => ending === 'complete');
  const begun = attempts.filter(({ firstMs }) => firstMs !== undefined);
  const good = (some: readonly Attempt[]) => some.filter((one) => isGood(one, OBJECTIVES)).length;
  const count = (ending: Attempt['ending'], some = attempts) =>
    some.filter((one) => one.ending === ending).length;
  const seconds = shape.beforeSeconds + shape.surgeSeconds + shape.afterSeconds;
  const ends = complete.map(({ endMs }) => endMs);
  const firsts = firstsOf(complete);
  const tokens = complete.reduce((sum, attempt) => sum + attempt.tokens, 0);
  const tokensInSurge = complete.reduce((sum, attempt) => sum + tokensWithin(attempt, fromMs, toMs), 0);
  const least = (values: readonly number[]) => (values.length > 0 ? Math.min(...values) : 0);
  return {
    requests: attempts.length,
    goodput: rounded(good(inSurge) / shape.surgeSeconds, 3),
    goodputOverall: rounded(good(attempts) / seconds, 3),
    tokensPerSecond: rounded((tokensInSurge * 1000) / (toMs - fromMs), 1),
    firstP50Ms: inMs(firsts, 0.5),
    firstP99Ms: inMs(firsts, 0.99),
    endP50Ms: inMs(ends, 0.5),
    endP99Ms: inMs(ends, 0.99),
    longestGapMs: Math.round(Math.max(0, ...begun.map(({ longestGapMs }) => longestGapMs))),
    stutters: begun.filter(({ stutters }) => stutters > 0).length,
    refusedShare: rounded(count('refused', inSurge) / inSurge.length),
    goodShare: rounded(good(inSurge) / inSurge.length),
    refused: count('refused'),
    gaveUp: count('gave-up'),
    lost: count('lost'),
    failed: count('failed'),
    reasons: countsOf(attempts.flatMap(({ reason }) => reason ?? [])),
    fewestTokens: least(complete.map((one) => one.tokens)),
    promptTokens: inMs(
      complete.flatMap(({ promptTokens }) => promptTokens ?? []),
      0.5,
    ),
    cpuMsPerToken: rounded((cpuSeconds * 1000) / Math.max(1, tokens), 1),
    rssMib: Math.round(rssBytes / MIB),
    isGeneratorLate,
  };
}

function countsOf(names: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

/** -1: there was none. */
function inMs(values: readonly number[], q: number): number {
  return values.length > 0 ? Math.round(quantile(values, q)) : -1;
}

function firstsOf(attempts: readonly Attempt[]): number[] {
  return attempts.flatMap(({ firstMs }) => firstMs ?? []);
}

/** As if they had come evenly from the first word to the last. */
function tokensWithin(
  { dueMs, firstMs = 0, lastMs = 0, tokens }: Attempt,
  fromMs: number,
  toMs: number,
): number {
  const [first, last] = [dueMs + firstMs, dueMs + lastMs];
  if (last <= first) return first >= fromMs && first < toMs ? tokens : 0;
  const within = Math.max(0, Math.min(last, toMs) - Math.max(first, fromMs));
  return (tokens * within) / (last - first);
}

const STEP_SECONDS = 5;

function momentsOf(attempts: readonly Attempt[], shape: Shape): Moment[] {
  const seconds = shape.beforeSeconds + shape.surgeSeconds + shape.afterSeconds;
  return Array.from({ length: Math.ceil(seconds / STEP_SECONDS) }, (_, step) => {
    const [from, to] = [step * STEP_SECONDS * 1000, (step + 1) * STEP_SECONDS * 1000];
    const own = attempts.filter(({ dueMs }) => dueMs >= from && dueMs < to);
    const firsts = firstsOf(own);
    return {
      second: (step + 0.5) * STEP_SECONDS,
      goodput: rounded(own.filter((one) => isGood(one, OBJECTIVES)).length / STEP_SECONDS),
      firstP99Ms: firsts.length > 0 ? Math.round(quantile(firsts, 0.99)) : null,
    };
  });
}
