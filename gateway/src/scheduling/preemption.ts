// Who makes way where somebody waits for a first word, and no slot is free: work that nobody waits for, what began last first.
import type { RunningCall } from './seat.ts';

/** One of `calls` for each who waits, those that are on their way already counted. */
export function makeWay(calls: readonly RunningCall[], waiting: number): void {
  const onTheirWay = calls.filter(({ isPreempted }) => isPreempted).length;
  const latest = calls
    .filter(({ isPreempted, isPreemptible }) => isPreemptible && !isPreempted)
    .sort((a, b) => b.startedAt - a.startedAt);
  for (const call of latest.slice(0, Math.max(0, waiting - onTheirWay))) call.preempt();
}
