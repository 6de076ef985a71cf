// A limit that learns from refusals alone: additive increase, multiplicative decrease, as TCP's congestion window (Chiu and
// Jain, "Analysis of the Increase and Decrease Algorithms for Congestion Avoidance in Computer Networks", 1989). For servers
// that say when they have too much: clouds, with 429 and 503.
// It must never read a clock: times are passed in. Pure.
import type { ConcurrencyLimit, LimitSample } from './concurrency-limit.ts';

export interface AimdOptions {
  /** What it begins with, and never goes above. */
  readonly most: number;
}

/** What an overload leaves. CUBIC's (RFC 9438): halving, as TCP did, leaves more of a server idle than it spares it. */
const KEPT = 0.7;
/** What is far from being used is not what was too much: the step begins at twice of what ran, as RFC 7661 has it. */
const HEADROOM = 2;
/** An overload while so few run, or fewer, says little of how many would be too many. */
const FEW = 8;

export class AimdLimit implements ConcurrencyLimit {
  readonly #most: number;
  #value: number;
  /** Calls since the last step that went well while as many ran as may. */
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
    // What was under way at the last decrease is judged by it: a hundred refusals at once are one step.
    if (outcome === 'ignored' || startedAt <= this.#decreasedAt) return;
    if (outcome === 'overload') this.#decrease(running, at);
    // A limit that is not reached proves nothing.
    else if (running >= this.#value) this.#wentWell();
  }

  #decrease(running: number, at: number): void {
    const base = Math.min(this.#value, Math.max(running * HEADROOM, FEW));
    this.#value = Math.max(1, Math.floor(base * KEPT));
    this.#decreasedAt = at;
    this.#well = 0;
  }

  /** One more after as many good calls as may run at once. */
  #wentWell(): void {
    this.#well += 1;
    if (this.#well < this.#value) return;
    this.#value = Math.min(this.#most, this.#value + 1);
    this.#well = 0;
  }
}
