// From what a load brought to the figures that tell it. Latencies are of complete answers, and of the time from when a
// request was due; what did not end well is counted by how it ended, and never left out.
// Pure.
import { quantile, rounded } from '../figures/statistics.ts';
import type { Attempt, GapHistogram } from './load-record.ts';

/** What an answer must keep to be a good one, in ms; `vllm bench serve`'s names, and `gap`, the longest silence. */
export type Objective = 'ttft' | 'tpot' | 'e2el' | 'gap';
export type Objectives = Readonly<Partial<Record<Objective, number>>>;

/** In ms; null: there was nothing to measure. */
export interface Distribution {
  readonly mean: number | null;
  readonly std: number | null;
  /** By the percentile as text: `"99.9"`. */
  readonly percentiles: Readonly<Record<string, number | null>>;
  readonly most: number | null;
}

export interface GroupFigures {
  /** All requests, those of who came back included. */
  readonly requests: number;
  readonly complete: number;
  /** With a time to come again, and without. */
  readonly refused: { readonly withRetryAfter: number; readonly without: number };
  readonly gaveUp: number;
  readonly lost: number;
  readonly failed: number;
  /** What is not complete, by its reason. */
  readonly reasons: Readonly<Record<string, number>>;
  /** Of visitors who were refused with a time. */
  readonly cameBack: { readonly visitors: number; readonly complete: number; readonly refusedAgain: number };
  readonly outputTokens: number;
  readonly promptTokens: number;
  /** Of prompts of which the server says it; null: it says nothing. */
  readonly cachedShare: number | null;
  readonly seconds: number;
  readonly requestsPerSecond: number;
  readonly goodputPerSecond: number;
  readonly outputTokensPerSecond: number;
  /** From when it was due to its first word. */
  readonly ttft: Distribution;
  /** From the first word to the last, over the tokens after the first. */
  readonly tpot: Distribution;
  /** Between two pieces, of all answers that were begun; exact to a hundredth. */
  readonly itl: Distribution;
  /** From when it was due to its end. */
  readonly e2el: Distribution;
  /** Of each answer that was begun. */
  readonly longestGap: Distribution;
  /** From when it was due to the refusal. */
  readonly refusal: Distribution;
  /** Silences over 500 ms, and the answers that had one. */
  readonly stutters: { readonly count: number; readonly answers: number };
}

export interface FiguresOptions {
  readonly percentiles: readonly number[];
  readonly objectives: Objectives;
}

/** Of all requests, or of one group's: `attempts` are those of it, `seconds` the time that they fell due in. */
export function figuresOf(
  attempts: readonly Attempt[],
  gaps: GapHistogram | undefined,
  seconds: number,
  { percentiles, objectives }: FiguresOptions,
): GroupFigures {
  const complete = attempts.filter(({ ending }) => ending === 'complete');
  const refused = attempts.filter(({ ending }) => ending === 'refused');
  const begun = attempts.filter(({ firstMs }) => firstMs !== undefined);
  const withRetryAfter = refused.filter(({ retryAfterMs }) => retryAfterMs !== undefined).length;
  const count = (ending: Attempt['ending']) => attempts.filter((one) => one.ending === ending).length;
  const over = (some: readonly Attempt[], pick: (one: Attempt) => number | undefined) =>
    distribution(
      some.map(pick).filter((value) => value !== undefined),
      percentiles,
    );
  const sum = (pick: (one: Attempt) => number | undefined) =>
    complete.reduce((total, one) => total + (pick(one) ?? 0), 0);
  const outputTokens = sum(({ tokens }) => tokens);
  const counted = complete.filter(({ cachedTokens }) => cachedTokens !== undefined);
  const countedTokens = counted.reduce((total, { promptTokens = 0 }) => total + promptTokens, 0);
  const perSecond = (value: number) => rounded(value / Math.max(seconds, 1e-3));
  return {
    requests: attempts.length,
    complete: complete.length,
    refused: { withRetryAfter, without: refused.length - withRetryAfter },
    gaveUp: count('gave-up'),
    lost: count('lost'),
    failed: count('failed'),
    reasons: reasonsOf(attempts),
    cameBack: cameBackOf(attempts),
    outputTokens,
    promptTokens: sum(({ promptTokens }) => promptTokens),
    cachedShare:
      countedTokens > 0 ? rounded(sum(({ cachedTokens }) => cachedTokens) / countedTokens, 4) : null,
    seconds: rounded(seconds),
    requestsPerSecond: perSecond(complete.length),
    goodputPerSecond: perSecond(complete.filter((one) => isGood(one, objectives)).length),
    outputTokensPerSecond: perSecond(outputTokens),
    ttft: over(complete, ({ firstMs }) => firstMs),
    tpot: over(complete, timePerToken),
    itl: gapDistribution(gaps, percentiles),
    e2el: over(complete, ({ endMs }) => endMs),
    longestGap: over(begun, ({ longestGapMs }) => longestGapMs),
    refusal: over(refused, ({ endMs }) => endMs),
    stutters: {
      count: begun.reduce((total, { stutters }) => total + stutters, 0),
      answers: begun.filter(({ stutters }) => stutters > 0).length,
    },
  };
}

/** What was turned away, with a time to come again or without. */
export function refusedIn({ refused }: GroupFigures): number {
  return refused.withRetryAfter + refused.without;
}

/** Whether a complete answer kept all that was asked of it. */
export function isGood(attempt: Attempt, { ttft, tpot, e2el, gap }: Objectives): boolean {
  const within = (value: number | undefined, limit: number | undefined) =>
    limit === undefined || (value ?? 0) <= limit;
  return (
    attempt.ending === 'complete' &&
    within(attempt.firstMs, ttft) &&
    within(timePerToken(attempt), tpot) &&
    within(attempt.endMs, e2el) &&
    within(attempt.longestGapMs, gap)
  );
}

/** Of an answer of one token there is none. */
function timePerToken({ firstMs, lastMs, tokens }: Attempt): number | undefined {
  if (firstMs === undefined || lastMs === undefined || tokens < 2) return undefined;
  return (lastMs - firstMs) / (tokens - 1);
}

/** More kinds than these are told together: what a server writes has no bound. */
const MOST_REASONS = 40;

function reasonsOf(attempts: readonly Attempt[]): Record<string, number> {
  const counts: Record<string, number> = Object.create(null);
  let kinds = 0;
  for (const { reason } of attempts) {
    if (reason === undefined) continue;
    const name = reason in counts || kinds < MOST_REASONS ? reason : 'other';
    if (!(name in counts)) kinds += 1;
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return { ...counts };
}

/** By visitor: one who came back twice was let in once, or never. */
function cameBackOf(attempts: readonly Attempt[]): GroupFigures['cameBack'] {
  const last = new Map<number, Attempt>();
  for (const attempt of attempts)
    if (attempt.number > 1 && attempt.number > (last.get(attempt.visitor)?.number ?? 0))
      last.set(attempt.visitor, attempt);
  const endings = [...last.values()].map(({ ending }) => ending);
  return {
    visitors: endings.length,
    complete: endings.filter((ending) => ending === 'complete').length,
    refusedAgain: endings.filter((ending) => ending === 'refused').length,
  };
}

function distribution(values: readonly number[], percentiles: readonly number[]): Distribution {
  if (values.length === 0) return nothing(percentiles);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return {
    mean: rounded(mean),
    std: rounded(Math.sqrt(squares / values.length)),
    percentiles: byName(percentiles, (percentile) => rounded(quantile(values, percentile / 100))),
    most: rounded(values.reduce((most, value) => Math.max(most, value))),
  };
}

function gapDistribution(gaps: GapHistogram | undefined, percentiles: readonly number[]): Distribution {
  if (!gaps) return nothing(percentiles);
  const inMs = (micros: number) => rounded(micros / 1000);
  return {
    mean: inMs(gaps.mean),
    std: inMs(gaps.stddev),
    percentiles: byName(percentiles, (percentile) => inMs(gaps.percentile(percentile))),
    most: inMs(gaps.max),
  };
}

function nothing(percentiles: readonly number[]): Distribution {
  return { mean: null, std: null, percentiles: byName(percentiles, () => null), most: null };
}

function byName(
  percentiles: readonly number[],
  read: (percentile: number) => number | null,
): Record<string, number | null> {
  return Object.fromEntries(percentiles.map((percentile) => [String(percentile), read(percentile)]));
}
