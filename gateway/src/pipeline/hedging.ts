// Whether a call whose first word is late may be sent to a second back end, and when that is: the policy of hedging, after
// Dean and Barroso, "The Tail at Scale" (2013). A hedge is paid twice, so a bucket bounds them to a twentieth of the calls.
// It must never see an answer: `hedged-attempt.ts` runs the two.
import type { Backend } from '../core/backend.ts';
import { AttemptBudget } from './attempt-budget.ts';
import { FirstTokenTimes } from './first-token-times.ts';

/** Ms without a first token, or `auto`: later than 95 of 100 of that back end's own. */
export type HedgeAfter = number | 'auto';

/** One hedge for every 20 calls that run; one at first, and at most ten that are saved up. */
const BUDGET = { callsAnAttempt: 20, most: 10, atFirst: 1 };

export class Hedging {
  readonly #afterMs: HedgeAfter;
  readonly #budget = new AttemptBudget(BUDGET);
  readonly #times = new WeakMap<Backend, FirstTokenTimes>();

  constructor(afterMs: HedgeAfter) {
    this.#afterMs = afterMs;
  }

  /** A call runs. */
  earn(): void {
    this.#budget.earn();
  }

  /**
   * How long the back end's first word is waited for, in ms; undefined: it is not known yet when it is late. By itself 5 of 100
   * calls would be late and take the whole budget, and the slowest would find none: so the less of it there is, the longer.
   */
  delayMs(backend: Backend): number | undefined {
    if (this.#afterMs !== 'auto') return this.#afterMs;
    const lateMs = this.#times.get(backend)?.lateMs;
    return lateMs === undefined ? undefined : lateMs * (2 - this.#budget.fill);
  }

  /** Whether there is a hedge left to pay with. */
  get mayHedge(): boolean {
    return this.#budget.hasOne;
  }

  /** A hedge began. */
  pay(): void {
    this.#budget.take();
  }

  /**
   * The back end's first word came after so many ms, or had not come when it was given up for another's: without those the
   * late ones would be missing, and the limit would creep down.
   */
  heard(backend: Backend, ms: number): void {
    if (this.#afterMs !== 'auto') return;
    let times = this.#times.get(backend);
    if (!times) {
      times = new FirstTokenTimes();
      this.#times.set(backend, times);
    }
    times.add(ms);
  }
}
