// A load over its time: what was sent and how it ended, second by second, or in longer steps where it took long.
// Pure.
import { quantile, rounded } from '../figures/statistics.ts';
import type { Attempt, LoadRecord } from './load-record.ts';

/** Of one step; counts are a second's on the average. */
export interface SeriesStep {
  /** Where it begins, in s from the start. */
  readonly second: number;
  readonly sent: number;
  readonly complete: number;
  readonly refused: number;
  /** Gave up, lost or failed. */
  readonly unhappy: number;
  readonly pieces: number;
  /** At its beginning. */
  readonly inFlight: number;
  /** Of the complete answers that fell due in it, in ms; null: there was none. */
  readonly firstP50Ms: number | null;
  readonly firstP99Ms: number | null;
}

const MOST_STEPS = 600;
const COUNTS = ['sent', 'complete', 'refused', 'unhappy', 'pieces'] as const;

export function timeSeries({
  seconds,
  attempts,
}: Pick<LoadRecord, 'seconds' | 'attempts'>): readonly SeriesStep[] {
  const width = Math.max(1, Math.ceil(seconds.length / MOST_STEPS));
  const steps = Math.ceil(seconds.length / width);
  const stepOf = (ms: number) => Math.min(steps - 1, Math.max(0, Math.floor(ms / 1000 / width)));
  const firsts: number[][] = Array.from({ length: steps }, () => []);
  for (const { ending, firstMs, dueMs } of attempts)
    if (ending === 'complete' && firstMs !== undefined) firsts[stepOf(dueMs)]?.push(firstMs);
  const inFlight = inFlightAtSteps(attempts, steps, width);
  return firsts.map((values, step) => {
    const own = seconds.slice(step * width, (step + 1) * width);
    const counts = COUNTS.map((name) => [
      name,
      rounded(own.reduce((sum, second) => sum + second[name], 0) / own.length),
    ]);
    return {
      second: step * width,
      ...(Object.fromEntries(counts) as Record<(typeof COUNTS)[number], number>),
      inFlight: inFlight[step]!,
      firstP50Ms: values.length > 0 ? rounded(quantile(values, 0.5)) : null,
      firstP99Ms: values.length > 0 ? rounded(quantile(values, 0.99)) : null,
    };
  });
}

/** Requests that were sent before a step begins and end after it. */
function inFlightAtSteps(attempts: readonly Attempt[], steps: number, width: number): number[] {
  const changes = new Array<number>(steps + 1).fill(0);
  const stepBehind = (ms: number) => Math.min(steps, Math.max(0, Math.ceil(ms / 1000 / width)));
  for (const { dueMs, lateMs, endMs } of attempts) {
    changes[stepBehind(dueMs + lateMs)]! += 1;
    changes[stepBehind(dueMs + endMs)]! -= 1;
  }
  let running = 0;
  return changes.slice(0, steps).map((change) => {
    running += change;
    return running;
  });
}
