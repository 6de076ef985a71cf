// What a simulated load came to, in figures: how long people waited, how many had a good answer, who was refused, whether
// tenants were served alike, what it cost, and how far the scheduler's predictions were from what came.
// Pure.
import { STUTTER_MS } from '../core/observer.ts';
import { PRIORITIES } from '../core/priority.ts';
import { quantile, rounded } from '../figures/statistics.ts';
import type { Simulation, SimulationOptions } from './simulate.ts';
import type { RequestEnd } from './simulated-client.ts';

/** Two of a distribution; null: there are no samples. */
export interface Quantiles {
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
}

/** Parts are from 0 to 1. */
export interface Report {
  readonly requests: number;
  readonly answered: number;
  readonly refused: number;
  readonly left: number;
  readonly late: number;
  readonly broken: number;
  /** How many requests were refused in the end, or were left after a refusal, by its code. */
  readonly refusals: Readonly<Record<string, number>>;
  /** Answers that had their first token within the objective (batch has none), no gap over 500 ms, and ended. */
  readonly good: number;
  readonly goodPerSecond: number;
  readonly seconds: number;
  /** Of the answered, from their last asking on. */
  readonly firstToken: Quantiles;
  /** Of every token of every answer. */
  readonly interToken: Quantiles & { readonly longestMs: number };
  readonly outputTokensPerSecond: number;
  /** Of the prompts of the answered: tokens that a back end had already. */
  readonly cachedPart: number;
  /** Of those who came back when they had been told to: how many asked, and the part that got a slot. */
  readonly returned: { readonly asked: number; readonly admittedPart: number | null };
  readonly classes: readonly GroupReport[];
  readonly tenants: readonly GroupReport[];
  /**
   * Jain's index (Jain, Chiu, Hawe, 1984) of what each tenant was served, against its max-min fair part of all that was
   * served: 1 is fair, 1/n is one tenant alone.
   */
  readonly fairness: number;
  /** Of the replicas' time: computing at all, steps with prompts in them, and all slots taken. */
  readonly busyPart: number;
  readonly promptsPart: number;
  readonly fullPart: number;
  readonly replicaHours: number;
  readonly cost: number;
  /** Of one million tokens of good answers; null: there are none. */
  readonly costPerMillionGoodTokens: number | null;
  /** Absent where the scheduler predicts nothing. */
  readonly prediction?: PredictionReport | undefined;
}

/** A class or a tenant. */
export interface GroupReport {
  readonly name: string;
  readonly requests: number;
  readonly answered: number;
  readonly refused: number;
  readonly left: number;
  readonly late: number;
  readonly broken: number;
  readonly good: number;
  readonly queue: Quantiles;
  readonly firstToken: Quantiles;
}

/** Of the calls that had a first token and a prediction of it. */
export interface PredictionReport {
  readonly calls: number;
  /** Real less predicted: the middle should be near 0, the others say how far off it may be. */
  readonly error: { readonly p1Ms: number; readonly p50Ms: number; readonly p99Ms: number };
}

/** A request's own time to first token against what was predicted, in ms. */
export interface PredictedPair {
  readonly predictedMs: number;
  readonly firstTokenMs: number;
}

const MS_PER_HOUR = 3_600_000;

export function report(
  simulation: Simulation,
  options: SimulationOptions,
  pricePerReplicaHour: number,
): Report {
  const { ends, gaps, busy, returned, lastedMs } = simulation;
  const { replicas, objectiveMs } = options;
  const answered = ends.filter(({ outcome }) => outcome === 'answered');
  const good = answered.filter((end) => isGood(end, objectiveMs));
  const seconds = lastedMs / 1000;
  const replicaMs = Math.max(1, lastedMs * replicas);
  const partOfTime = (ms: number) => rounded(ms / replicaMs, 4);
  const busySum = (pick: (one: (typeof busy)[number]) => number) => sum(busy.map(pick));
  const promptTokens = sum(answered.map(({ arrival }) => arrival.promptTokens));
  const outputTokens = sum(answered.map(({ arrival }) => arrival.outputTokens));
  const goodTokens = sum(good.map(({ arrival }) => arrival.outputTokens));
  const replicaHours = replicaMs / MS_PER_HOUR;
  const cost = replicaHours * pricePerReplicaHour;
  const groups = (nameOf: (end: RequestEnd) => string, names: readonly string[]) =>
    names.map((name) =>
      group(
        name,
        ends.filter((end) => nameOf(end) === name),
        objectiveMs,
      ),
    );
  const tenants = [...new Set(ends.map(({ arrival }) => arrival.tenant))].sort(byNumber);
  return {
    ...counts(ends),
    refusals: refusals(ends),
    good: good.length,
    goodPerSecond: rounded(good.length / Math.max(seconds, 1e-3), 3),
    seconds: rounded(seconds, 1),
    firstToken: quantiles(answered.map(({ firstTokenMs }) => firstTokenMs)),
    interToken: {
      p50Ms: gaps.count > 0 ? rounded(gaps.quantile(0.5), 1) : null,
      p99Ms: gaps.count > 0 ? rounded(gaps.quantile(0.99), 1) : null,
      longestMs: rounded(gaps.most, 1),
    },
    outputTokensPerSecond: rounded(outputTokens / Math.max(seconds, 1e-3), 1),
    cachedPart: rounded(sum(answered.map(({ cachedTokens }) => cachedTokens)) / Math.max(1, promptTokens), 4),
    returned: {
      asked: returned.asked,
      admittedPart: returned.asked > 0 ? rounded(returned.admitted / returned.asked, 4) : null,
    },
    classes: groups(
      ({ arrival }) => arrival.priority,
      PRIORITIES.filter((name) => ends.some(({ arrival }) => arrival.priority === name)),
    ),
    tenants: groups(({ arrival }) => arrival.tenant, tenants),
    fairness: rounded(fairness(ends), 4),
    busyPart: partOfTime(busySum(({ promptsMs, answersMs }) => promptsMs + answersMs)),
    promptsPart: partOfTime(busySum(({ promptsMs }) => promptsMs)),
    fullPart: partOfTime(busySum(({ fullMs }) => fullMs)),
    replicaHours: rounded(replicaHours, 4),
    cost: rounded(cost, 4),
    costPerMillionGoodTokens: goodTokens > 0 ? rounded((cost * 1e6) / goodTokens, 4) : null,
    prediction: prediction(predictedPairs(ends)),
  };
}

export function isGood(
  { arrival, outcome, firstTokenMs, longestGapMs }: RequestEnd,
  objectiveMs: number,
): boolean {
  const isInTime = arrival.priority === 'batch' || (firstTokenMs ?? Infinity) <= objectiveMs;
  return outcome === 'answered' && isInTime && longestGapMs <= STUTTER_MS;
}

export function predictedPairs(ends: readonly RequestEnd[]): PredictedPair[] {
  return ends.flatMap(({ predictedMs, firstTokenMs }) =>
    predictedMs === undefined || firstTokenMs === undefined ? [] : [{ predictedMs, firstTokenMs }],
  );
}

function group(name: string, ends: readonly RequestEnd[], objectiveMs: number): GroupReport {
  const answered = ends.filter(({ outcome }) => outcome === 'answered');
  return {
    name,
    ...counts(ends),
    good: answered.filter((end) => isGood(end, objectiveMs)).length,
    queue: quantiles(answered.map(({ queueMs }) => queueMs)),
    firstToken: quantiles(answered.map(({ firstTokenMs }) => firstTokenMs)),
  };
}

function counts(ends: readonly RequestEnd[]) {
  const count = (wanted: RequestEnd['outcome']) => ends.filter(({ outcome }) => outcome === wanted).length;
  return {
    requests: ends.length,
    answered: count('answered'),
    refused: count('refused'),
    left: count('left'),
    late: count('late'),
    broken: count('broken'),
  };
}

function refusals(ends: readonly RequestEnd[]): Record<string, number> {
  const byCode: Record<string, number> = {};
  for (const { refusedAs } of ends) if (refusedAs) byCode[refusedAs] = (byCode[refusedAs] ?? 0) + 1;
  return byCode;
}

function prediction(pairs: readonly PredictedPair[]): PredictionReport | undefined {
  if (pairs.length === 0) return undefined;
  const errors = pairs.map(({ predictedMs, firstTokenMs }) => firstTokenMs - predictedMs);
  const error = (part: number) => rounded(quantile(errors, part), 1);
  return { calls: pairs.length, error: { p1Ms: error(0.01), p50Ms: error(0.5), p99Ms: error(0.99) } };
}

function fairness(ends: readonly RequestEnd[]): number {
  const wanted = new Map<string, number>();
  const served = new Map<string, number>();
  for (const { arrival, outcome } of ends) {
    const { tenant, promptTokens, outputTokens } = arrival;
    const tokens = promptTokens + outputTokens;
    wanted.set(tenant, (wanted.get(tenant) ?? 0) + tokens);
    if (outcome === 'answered') served.set(tenant, (served.get(tenant) ?? 0) + tokens);
  }
  if (served.size === 0) return 1;
  const parts = maxMinFair([...wanted.values()], sum([...served.values()]));
  return jainsIndex([...wanted.keys()].map((tenant, index) => (served.get(tenant) ?? 0) / parts[index]!));
}

/** What each of `wanted` gets of `total`: as much as it wants where that is less than an equal part, else an equal part of the rest. */
export function maxMinFair(wanted: readonly number[], total: number): number[] {
  const parts = wanted.map(() => 0);
  let left = total;
  const rising = wanted.map((_, index) => index).sort((a, b) => wanted[a]! - wanted[b]!);
  for (const [done, index] of rising.entries()) {
    const part = Math.min(wanted[index]!, left / (rising.length - done));
    parts[index] = part;
    left -= part;
  }
  return parts;
}

/** 1 where all are equal, 1/n where one has it all; 1 where nobody has anything. */
export function jainsIndex(values: readonly number[]): number {
  const squares = sum(values.map((value) => value ** 2));
  return squares > 0 ? sum(values) ** 2 / (values.length * squares) : 1;
}

function quantiles(values: readonly (number | undefined)[]): Quantiles {
  const known = values.filter((value) => value !== undefined);
  if (known.length === 0) return { p50Ms: null, p99Ms: null };
  return { p50Ms: rounded(quantile(known, 0.5), 1), p99Ms: rounded(quantile(known, 0.99), 1) };
}

/** `tenant-2` before `tenant-10`. */
function byNumber(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true });
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
