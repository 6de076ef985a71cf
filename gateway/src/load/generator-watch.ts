// Whether the load generator kept up with itself: who is late with its own work measures its own lateness.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { quantile, rounded } from '../figures/statistics.ts';
import type { Attempt } from './load-record.ts';

export interface GeneratorFigures {
  /** How much later than it was due a request was sent, in ms: what was held back on purpose is not in it. */
  readonly lateP50Ms: number;
  readonly lateP99Ms: number;
  readonly lateMostMs: number;
  /** How late the process came to read what was there, in ms. */
  readonly readingDelayP99Ms: number;
  /** Of one core. */
  readonly cpuShare: number;
  /** The latencies are not to be trusted: they are the generator's own in good part. */
  readonly isTooSlow: boolean;
}

/** P99 of either delay, in ms, above which a run is marked: a tenth of the silence that a reader feels. */
const MOST_DELAY_MS = 50;
const RESOLUTION_MS = 10;

/** Begins to watch this process; the returned function ends it and tells. */
export function watchGenerator(): (attempts: readonly Attempt[]) => GeneratorFigures {
  const delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delays.enable();
  const cpuBefore = process.cpuUsage();
  const startedAt = performance.now();
  return (attempts) => {
    delays.disable();
    const { user, system } = process.cpuUsage(cpuBefore);
    const lates = attempts.length > 0 ? attempts.map(({ lateMs }) => lateMs) : [0];
    const lateP99Ms = rounded(quantile(lates, 0.99));
    // What it measures has the pause between two looks in it.
    const readingDelayP99Ms = rounded(Math.max(0, delays.percentile(99) / 1e6 - RESOLUTION_MS));
    return {
      lateP50Ms: rounded(quantile(lates, 0.5)),
      lateP99Ms,
      lateMostMs: rounded(lates.reduce((most, late) => Math.max(most, late))),
      readingDelayP99Ms,
      cpuShare: rounded((user + system) / 1000 / (performance.now() - startedAt)),
      isTooSlow: Math.max(lateP99Ms, readingDelayP99Ms) > MOST_DELAY_MS,
    };
  };
}
