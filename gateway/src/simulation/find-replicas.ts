// How many replicas an objective takes: the fewest with which a simulated load holds it, by doubling and then halving the
// range (a search that trusts that more replicas are never worse), and what bounds it with one fewer.
import type { Priority } from '../core/priority.ts';
import { type StepCurve, stepMs } from '../core/step-curve.ts';
import { quantile } from '../figures/statistics.ts';
import type { Report } from './report.ts';
import type { Arrival } from './workload.ts';

export interface Objective {
  /** P99 of the first token of all classes but batch, in ms. */
  readonly firstTokenMs: number;
  /** Of the requests, the part that may go without an answer; 0 to 1. */
  readonly unansweredPart: number;
}

export interface Trial {
  readonly replicas: number;
  readonly report: Report;
  /** What of the objective is not held, a sentence each; empty: it is held. */
  readonly misses: readonly string[];
}

export interface FoundReplicas {
  /** Undefined: not even the most that were allowed hold it. */
  readonly replicas: number | undefined;
  /** By replicas, rising. */
  readonly trials: readonly Trial[];
  /** What stands in the way with one fewer, or at all. */
  readonly boundBy: readonly string[];
}

export async function findReplicas(
  run: (replicas: number) => Promise<Report>,
  objective: Objective,
  most: number,
): Promise<FoundReplicas> {
  const trials = new Map<number, Trial>();
  const holds = async (replicas: number) => {
    const report = await run(replicas);
    const misses = missesOf(report, objective);
    trials.set(replicas, { replicas, report, misses });
    return misses.length === 0;
  };
  let tooFew = 0;
  let enough = 1;
  while (!(await holds(enough))) {
    tooFew = enough;
    if (enough === most) break;
    enough = Math.min(most, enough * 2);
  }
  const isFound = tooFew < enough;
  while (isFound && enough - tooFew > 1) {
    const middle = Math.floor((tooFew + enough) / 2);
    if (await holds(middle)) enough = middle;
    else tooFew = middle;
  }
  const last = trials.get(tooFew);
  return {
    replicas: isFound ? enough : undefined,
    trials: [...trials.values()].sort((a, b) => a.replicas - b.replicas),
    boundBy: last ? [...last.misses, resourceOf(last.report)] : [],
  };
}

/**
 * Why no number of replicas would do, as a sentence: the longest prompts take longer than the objective on an idle one.
 * Undefined: nothing of that kind.
 */
export function hopelessReason(
  arrivals: readonly Arrival[],
  curve: StepCurve,
  { firstTokenMs }: Objective,
): string | undefined {
  const awaited = arrivals.filter(({ priority }) => priority !== ('batch' satisfies Priority));
  if (awaited.length === 0) return undefined;
  const tokens = Math.round(
    quantile(
      awaited.map(({ promptTokens }) => promptTokens),
      0.99,
    ),
  );
  const aloneMs = Math.round(loneFirstTokenMs(curve, tokens));
  if (aloneMs <= firstTokenMs) return undefined;
  return `a prompt of ${tokens} tokens (P99) takes ${aloneMs} ms on an idle replica, if nothing of it is cached`;
}

/** The first token of a call that has an idle replica to itself, in ms. */
export function loneFirstTokenMs(curve: StepCurve, promptTokens: number): number {
  const whole = Math.floor(promptTokens / curve.sliceTokens);
  const rest = promptTokens - whole * curve.sliceTokens;
  return whole * stepMs(curve, 0, curve.sliceTokens) + stepMs(curve, 0, rest);
}

function missesOf({ classes, requests, answered }: Report, objective: Objective): string[] {
  const misses: string[] = [];
  for (const { name, firstToken } of classes) {
    if (name === 'batch' || firstToken.p99Ms === null || firstToken.p99Ms <= objective.firstTokenMs) continue;
    misses.push(`${name}: P99 to the first token is ${Math.round(firstToken.p99Ms)} ms`);
  }
  const unanswered = (requests - answered) / Math.max(1, requests);
  if (unanswered > objective.unansweredPart) {
    misses.push(`${(unanswered * 100).toFixed(1)} % of the requests had no answer`);
  }
  return misses;
}

function resourceOf({ busyPart, promptsPart, fullPart }: Report): string {
  const percent = (part: number) => `${Math.round(part * 100)} %`;
  return `replicas computed ${percent(busyPart)} of the time, ${percent(promptsPart)} with prompts, and had all slots taken ${percent(fullPart)}`;
}
