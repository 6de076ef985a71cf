// A server with continuous batching as far as times go, in virtual time: in steps, each a slice of prompts and a token for every
// running stream. For tests of what measures and predicts.
import type { Clock } from '../src/core/clock.ts';

/** What a step costs and how prompts share it. */
export interface Shape {
  /** Prompt tokens of one step, at most. */
  readonly slice: number;
  /** Many prompts may share a slice; else each step computes a part of one. */
  readonly isShared: boolean;
  /** Calls at once. */
  readonly limit: number;
  stepMs(promptTokens: number, decoding: number): number;
}

/** One prompt after the other on a CPU: what the embedded engine and llama.cpp's server are like. */
export const ONE_BY_ONE: Shape = {
  slice: 128,
  isShared: false,
  limit: 8,
  stepMs: (promptTokens, decoding) => 3 + promptTokens * 1.2 + (decoding === 0 ? 0 : 6 + 7 * decoding),
};

/** Many at once, each step nearly alike: what vLLM on a GPU is like. */
export const TOGETHER: Shape = {
  slice: 2_048,
  isShared: true,
  limit: 64,
  stepMs: (promptTokens, decoding) => 12 + promptTokens * 0.06 + decoding * 0.15,
};

export interface Job {
  readonly arrivesAt: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
}

/** What looks on; the clock stands at the moment of each. */
export interface Watcher {
  spoke(): void;
  ended(): void;
}

interface Running {
  promptLeft: number;
  outputLeft: number;
  readonly watcher: Watcher;
}

/** A clock that the server moves. */
export class SteppedClock implements Clock {
  #now = 0;

  now(): number {
    return this.#now;
  }

  after(): () => void {
    throw new Error('nothing here waits for a time');
  }

  set(now: number): void {
    this.#now = Math.max(this.#now, now);
  }
}

/**
 * Runs jobs in their order to their end. `began` is called when one has got a place; until then it waits, in order. `arrived`
 * is called before that, with those that it stands behind.
 */
export function serve(
  shape: Shape,
  clock: SteppedClock,
  jobs: readonly Job[],
  began: (job: Job) => Watcher,
  arrived: (job: Job, waiting: readonly Job[]) => void = () => {},
): void {
  const waiting: Job[] = [];
  const running: Running[] = [];
  let next = 0;
  const fill = () => {
    while (running.length < shape.limit && waiting.length > 0) {
      const job = waiting.shift()!;
      running.push({ promptLeft: job.promptTokens, outputLeft: job.outputTokens, watcher: began(job) });
    }
  };
  const arriveUntil = (end: number) => {
    for (; next < jobs.length && jobs[next]!.arrivesAt <= end; next += 1) {
      clock.set(jobs[next]!.arrivesAt);
      arrived(jobs[next]!, waiting);
      waiting.push(jobs[next]!);
      fill();
    }
    clock.set(end);
  };
  while (next < jobs.length || running.length > 0) {
    if (running.length === 0) arriveUntil(jobs[next]!.arrivesAt);
    const inStep = [...running];
    const decoding = inStep.filter(({ promptLeft }) => promptLeft === 0).length;
    const sliced = slicesOf(shape, inStep);
    const promptTokens = sliced.reduce((sum, tokens) => sum + tokens, 0);
    arriveUntil(clock.now() + shape.stepMs(promptTokens, decoding));
    for (const [index, call] of inStep.entries()) {
      const wasSilent = call.promptLeft > 0;
      call.promptLeft -= sliced[index]!;
      if (call.promptLeft > 0) continue;
      if (wasSilent) call.watcher.spoke();
      call.outputLeft -= 1;
      if (call.outputLeft > 0) continue;
      running.splice(running.indexOf(call), 1);
      call.watcher.ended();
    }
    fill();
  }
}

/** How many prompt tokens of each call a step computes. */
function slicesOf({ slice, isShared }: Shape, calls: readonly Running[]): number[] {
  let rest = slice;
  return calls.map(({ promptLeft }) => {
    const tokens = Math.min(promptLeft, rest);
    if (tokens > 0) rest = isShared ? rest - tokens : 0;
    return tokens;
  });
}

/** Jobs that come at random times, `perSecond` of them on the average, with prompts and answers of random lengths. */
export function randomJobs(
  count: number,
  perSecond: number,
  random: () => number,
  lengths: { readonly prompt: readonly [number, number]; readonly output: readonly [number, number] },
): Job[] {
  const between = ([least, most]: readonly [number, number]) => Math.round(least + (most - least) * random());
  let at = 0;
  return Array.from({ length: count }, () => {
    at += (-Math.log(1 - random()) * 1000) / perSecond;
    return { arrivesAt: at, promptTokens: between(lengths.prompt), outputTokens: between(lengths.output) };
  });
}
