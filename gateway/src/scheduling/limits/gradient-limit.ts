// A limit that learns from the time to the first token: where that is longer than without a queue, calls wait inside the
// back end, where nobody can order them, and fewer are given. For servers that take all that comes: vLLM, SGLang.
// The algorithm is Gradient2 of Netflix's concurrency-limits, with another long-term time. There it follows every sample,
// and under a load that never lets up it learns the queue as its normal: the limit drifts up without end. Here it is made of
// quiet times, and of what is still slow with half as much to do. What that cannot tell: first tokens that take twice as long
// by themselves, as with longer prompts, can hold the limit too low (at 16 or so) until the load lets up.
// It must never read a clock: times are passed in. Pure.
import { median } from '../../figures/statistics.ts';
import type { ConcurrencyLimit, LimitSample } from './concurrency-limit.ts';

export interface GradientOptions {
  /** It never goes above this. */
  readonly most: number;
}

/** Netflix's first limit. */
const FIRST = 20;
/** Times that make a step: their median, for one long prompt among short ones must not count. */
const WINDOW = 10;
/** How much longer than without a queue a first token may take. Prompts differ in length: less would follow the noise. */
const TOLERANCE = 1.5;
/** No step takes more than a half, and none is made whole: of one window's verdict a fifth counts. */
const LEAST_GRADIENT = 0.5;
const SMOOTHING = 0.2;
/** While no more than this part of the limit runs, nothing waits, even where the limit is far above the knee. */
const QUIET = 0.25;
/** Of one time of a quiet back end in the long-term one. */
const LONG_WEIGHT = 0.1;
/** An overload that is told, as in aimd-limit.ts. */
const KEPT = 0.7;
/** A queue of half the length takes about half the time; what is above this was no queue. */
const NO_RELIEF = 0.75;
/** What medians of ten times differ by without a cause is less. */
const WORSE = 1.25;
/** A limit that in so many steps has not come down by so much is where it belongs. */
const REST_STEPS = 10;
const LOWER = 0.95;

/** What is remembered of the moment from which first tokens were late, to see whether a lower limit relieves them. */
interface Late {
  readonly limit: number;
  readonly firstTokenMs: number;
  /** Of the limit since then. */
  lowest: number;
  /** Since it was that low. */
  steps: number;
}

export class GradientLimit implements ConcurrencyLimit {
  readonly #most: number;
  /** The limit with its fraction. */
  #estimate: number;
  /** To the first token without a queue, in ms. */
  #longMs: number | undefined;
  #window: number[] = [];
  #steppedAt = Number.NEGATIVE_INFINITY;
  /** Since when first tokens are late, or the limit had fallen by half; undefined: they are not. */
  #late: Late | undefined;

  constructor({ most }: GradientOptions) {
    this.#most = Math.max(1, Math.floor(most));
    this.#estimate = Math.min(FIRST, this.#most);
  }

  get value(): number {
    return Math.floor(this.#estimate);
  }

  sampled({ startedAt, at, firstTokenMs, running, outcome }: LimitSample): void {
    // Each step is judged by calls that began after it.
    if (outcome === 'ignored' || startedAt <= this.#steppedAt) return;
    if (outcome === 'overload') this.#stepTo(this.#estimate * KEPT, at);
    else if (firstTokenMs === undefined) return;
    else if (running < this.#estimate / 2) {
      // Neither raised nor lowered is a limit of which not half is used.
      if (running <= Math.max(1, this.#estimate * QUIET)) this.#wasQuiet(firstTokenMs);
    } else {
      this.#window.push(firstTokenMs);
      if (this.#window.length >= WINDOW) this.#judge(median(this.#window), at);
    }
  }

  #wasQuiet(firstTokenMs: number): void {
    this.#longMs ??= firstTokenMs;
    this.#longMs += LONG_WEIGHT * (firstTokenMs - this.#longMs);
  }

  #judge(shortMs: number, at: number): void {
    const longMs = this.#longAfter(shortMs);
    this.#longMs = longMs;
    const gradient = Math.min(1, Math.max(LEAST_GRADIENT, (TOLERANCE * longMs) / shortMs));
    // What may queue, so that the back end never runs dry, and that there is something to be seen of the knee.
    const target = this.#estimate * gradient + Math.sqrt(this.#estimate);
    this.#stepTo(this.#estimate + SMOOTHING * (target - this.#estimate), at);
  }

  /** The long-term time, once this one is known. */
  #longAfter(shortMs: number): number {
    const longMs = this.#longMs ?? shortMs;
    if (shortMs <= longMs * TOLERANCE) {
      this.#late = undefined;
      // Faster under load than it ever was without: it is another back end by now.
      return shortMs * TOLERANCE < longMs ? shortMs : longMs;
    }
    const late = this.#late;
    if (!late || shortMs > late.firstTokenMs * WORSE || this.#isAtRest(late)) {
      this.#late = this.#lateSince(shortMs);
      return longMs;
    }
    if (this.#estimate > late.limit / 2) return longMs;
    const isRelieved = shortMs < late.firstTokenMs * NO_RELIEF;
    this.#late = isRelieved ? this.#lateSince(shortMs) : undefined;
    return isRelieved ? longMs : shortMs;
  }

  #lateSince(firstTokenMs: number): Late {
    return { limit: this.#estimate, firstTokenMs, lowest: this.#estimate, steps: 0 };
  }

  /** The limit falls no more: what comes later has another cause. */
  #isAtRest(late: Late): boolean {
    late.steps += 1;
    if (this.#estimate < late.lowest * LOWER) {
      late.lowest = this.#estimate;
      late.steps = 0;
    }
    return late.steps > REST_STEPS;
  }

  #stepTo(limit: number, at: number): void {
    this.#estimate = Math.min(this.#most, Math.max(1, limit));
    this.#steppedAt = at;
    this.#window = [];
  }
}
