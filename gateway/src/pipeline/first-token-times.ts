// When a back end's first token is late, by what that back end itself did lately: the 95th percentile of its newest times.
// It must never hold more than those, and never sort them for every call.
// Pure.

/**
 * Times that are looked at: enough that a heap of late ones does not look like one call in 20, few enough that what was an hour
 * ago is forgotten.
 */
const NEWEST = 1_024;
/** Fewer say nothing of a tail. */
const FEWEST = 40;
/** New times between two sortings. */
const SORT_EVERY = 32;
const QUANTILE = 0.95;

export class FirstTokenTimes {
  readonly #newest: number[] = [];
  #next = 0;
  #sinceSorted = 0;
  #late: number | undefined;

  /** A first token came after so many ms, or had not come by then. */
  add(ms: number): void {
    this.#newest[this.#next] = ms;
    this.#next = (this.#next + 1) % NEWEST;
    this.#sinceSorted += 1;
    if (this.#newest.length < FEWEST) return;
    if (this.#late !== undefined && this.#sinceSorted < SORT_EVERY) return;
    const sorted = [...this.#newest].sort((a, b) => a - b);
    this.#late = sorted[Math.ceil(sorted.length * QUANTILE) - 1]!;
    this.#sinceSorted = 0;
  }

  /** After so many ms 95 of 100 first tokens were there; undefined while too few were seen. */
  get lateMs(): number | undefined {
    return this.#late;
  }
}
