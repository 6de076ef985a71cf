// How fast the machine is while a test runs: a small piece of work that is always the same, timed again and again. For tests
// of promises that nobody can keep on a machine that grows slower than it was when they were made.
// It must never decide what a test shows: it says only whether one that failed had the machine that it presumes.
import type { Clock } from '../../src/core/clock.ts';

export interface SpeedWatch {
  /** What is seen while `during` goes on is what is compared with. Rejects as it does, or where it was over too soon. */
  measure<Result>(during: () => Promise<Result>): Promise<Result>;
  /** The speed of the slowest stretch since then, as a part of it; 1: it never was below it; NaN: nothing was measured. */
  slowest(): number;
  stop(): void;
}

export interface SpeedWatchOptions {
  readonly clock: Clock;
  /** Does the piece of work, and says how long that took, in ms. */
  readonly work?: (() => number) | undefined;
}

const EVERY_MS = 100;
/** Pieces of work that are one stretch: two seconds of them. One piece alone may have met with anything. */
const STRETCH = 20;
/** 16 MiB: more than most caches hold, as an engine waits for memory as much as for the processor. */
const NUMBERS = new Float64Array(2 * 2 ** 20).fill(1);

/** Begins at once, and takes a few ms in a hundred. Measure it while the machine is loaded as it will be later. */
export function watchSpeed({ clock, work = () => addNumbers(clock) }: SpeedWatchOptions): SpeedWatch {
  let seen: number[] = [];
  let usualMs = Number.NaN;
  // What is not compiled yet is slow for reasons of its own.
  for (let round = 0; round < STRETCH; round += 1) work();
  let cancel = () => {};
  const next = () => {
    cancel = clock.after(EVERY_MS, () => {
      seen.push(work());
      next();
    });
  };
  next();
  return {
    async measure(during) {
      seen = [];
      const result = await during();
      if (seen.length === 0) throw new Error('That was over before the speed of the machine was looked at.');
      usualMs = meanOf(seen);
      seen = [];
      return result;
    },
    slowest: () => Math.min(1, usualMs / slowestMeanOf(seen)),
    stop: () => cancel(),
  };
}

function addNumbers(clock: Clock): number {
  const before = clock.now();
  let sum = 0;
  for (let index = 0; index < NUMBERS.length; index += 1) sum += NUMBERS[index]!;
  if (sum !== NUMBERS.length) throw new Error('The machine cannot add.');
  return clock.now() - before;
}

/** 0 where there is less than a stretch. */
function slowestMeanOf(tookMs: readonly number[]): number {
  let slowest = 0;
  for (let end = STRETCH; end <= tookMs.length; end += 1) {
    slowest = Math.max(slowest, meanOf(tookMs.slice(end - STRETCH, end)));
  }
  return slowest;
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
