// A limit that learns from the time to the first token: where it grows beyond what it is without a queue, calls wait inside
// the back end, where nobody can order them, and fewer are given. For servers that take all that comes: vLLM, SGLang.
// The algorithm is Gradient2 of Netflix's concurrency-limits, but for one thing: there the long-term time follows every
// sample, and under a load that never lets up it learns the queue as its normal and drifts upward without end.
// It must never read a clock: times are passed in. Pure.
import type { ConcurrencyLimit, LimitSample } from './concurrency-limit.ts';

export interface GradientOptions {
  /** It never goes above this. */
  readonly most: number;
}

export class GradientLimit implements ConcurrencyLimit {
  constructor(_options: GradientOptions) {}

  get value(): number {
    return 1;
  }

  sampled(_sample: LimitSample): void {}
}
