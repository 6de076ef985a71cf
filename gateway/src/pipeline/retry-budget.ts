// How many attempts may be made on top of the calls that came: where back ends have too much to do, or are too slow,
// every further attempt makes that worse. A token bucket: each call puts a tenth of an attempt in.
// It must never read a clock: an idle server earns nothing.
// Pure.

const ATTEMPT_TENTHS = 10;
/** What the bucket holds, and begins with: ten attempts. */
const MOST_TENTHS = 10 * ATTEMPT_TENTHS;

export class RetryBudget {
  #tenths = MOST_TENTHS;

  /** A call came. */
  earn(): void {
    if (this.#tenths < MOST_TENTHS) this.#tenths += 1;
  }

  /** Whether one more attempt may be made. If so, it is paid for. */
  take(): boolean {
    if (this.#tenths < ATTEMPT_TENTHS) return false;
    this.#tenths -= ATTEMPT_TENTHS;
    return true;
  }
}
