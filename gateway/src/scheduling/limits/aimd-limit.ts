// A limit that learns from refusals alone: additive increase, multiplicative decrease, as TCP's congestion window (Chiu and
// Jain, "Analysis of the Increase and Decrease Algorithms for Congestion Avoidance", 1989). For servers that say when they
// have too much: clouds, with 429 and 503.
// It must never read a clock: times are passed in. Pure.
import type { ConcurrencyLimit, LimitSample } from './concurrency-limit.ts';

export interface AimdOptions {
  /** What it begins with, and never goes above. */
  readonly most: number;
}

/** What is kept at an overload, as in CUBIC (RFC 9438): a half would waste more than the overload costs. */
const KEPT = 0.7;

export class AimdLimit implements ConcurrencyLimit {
  readonly #most: number;
  #value: number;
  /** Calls that went well since the last step, all while as many ran as may. */
  #well = 0;
  #decreasedAt = Number.NEGATIVE_INFINITY;

  constructor({ most }: AimdOptions) {
    this.#most = Math.max(1, Math.floor(most));
    this.#value = this.#most;
  }

  get value(): number {
    return this.#value;
  }

  sampled({ startedAt, at, running, outcome }: LimitSample): void {
    // What was under way at the last decrease says what was known then: one step for all of it.
    if (startedAt <= this.#decreasedAt || outcome === 'ignored') return;
    if (outcome === 'overload') {
      // What really ran was too much, not what might have.
      this.#value = Math.max(1, Math.floor(Math.min(this.#value, running) * KEPT));
      this.#decreasedAt = at;
      this.#well = 0;
      return;
    }
    // A limit that nobody reaches has proved nothing.
    if (running < this.#value || this.#value >= this.#most) return;
    this.#well += 1;
    if (this.#well < this.#value) return;
    this.#value += 1;
    this.#well = 0;
  }
}
