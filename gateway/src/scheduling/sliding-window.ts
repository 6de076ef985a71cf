// What was used in the last minute, hour or day, in 120 slots: never more than a limit in any of them, with memory that does
// not grow with the limit. A use counts for the whole window, and for at most one slot longer. It has no clock of its own.

export const MINUTE_MS = 60_000;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;

const SLOTS_IN_WINDOW = 120;
/** And the slot that is not over yet. */
const SLOTS = SLOTS_IN_WINDOW + 1;

/** All times are in ms on one monotonic clock, and never go back. Amounts are whole numbers, so that sums stay exact. */
export class SlidingWindow {
  readonly #slotMs: number;
  /** A ring: a slot's amount stands at its number modulo the ring's length. */
  readonly #amounts = new Float64Array(SLOTS);
  /** The number of the slot that time is in. */
  #newest = 0;
  #total = 0;

  constructor(windowMs: number) {
    this.#slotMs = windowMs / SLOTS_IN_WINDOW;
  }

  /** What counts now. */
  total(now: number): number {
    this.#advance(now);
    return this.#total;
  }

  add(now: number, amount: number): void {
    this.#advance(now);
    this.#put(this.#newest, amount);
  }

  /** Undoes a part of what was added at `at`, as if it had never been. What counts no more anyway stays as it is. */
  takeBack(now: number, at: number, amount: number): void {
    this.#advance(now);
    const slot = this.#slotOf(at);
    if (slot > this.#newest - SLOTS) this.#put(slot, -Math.min(amount, this.#amounts[slot % SLOTS]!));
  }

  /** Of what was added at `at` as `added`, `actual` was used: what was too much had never been, what was too little is used now. */
  correct(now: number, at: number, added: number, actual: number): void {
    if (actual < added) this.takeBack(now, at, added - actual);
    else this.add(now, actual - added);
  }

  /** How long until `amount` more stays within the limit, in ms; 0: it does now. `amount` is at most the limit. */
  waitMs(now: number, limit: number, amount: number): number {
    let excess = this.total(now) + amount - limit;
    if (excess <= 0) return 0;
    for (let slot = this.#oldest; slot <= this.#newest; slot += 1) {
      excess -= this.#amounts[slot % SLOTS]!;
      if (excess <= 0) return this.#endOf(slot) - now;
    }
    return this.#endOf(this.#newest) - now;
  }

  /** How long until nothing counts any more, in ms. */
  emptyInMs(now: number): number {
    this.#advance(now);
    for (let slot = this.#newest; slot >= this.#oldest; slot -= 1) {
      if (this.#amounts[slot % SLOTS]! > 0) return this.#endOf(slot) - now;
    }
    return 0;
  }

  get #oldest(): number {
    return Math.max(0, this.#newest - SLOTS + 1);
  }

  #slotOf(at: number): number {
    return Math.floor(at / this.#slotMs);
  }

  /** When a slot's amount stops to count. */
  #endOf(slot: number): number {
    return (slot + SLOTS) * this.#slotMs;
  }

  #put(slot: number, amount: number): void {
    this.#amounts[slot % SLOTS]! += amount;
    this.#total += amount;
  }

  /** Forgets the slots whose places the time since then takes. */
  #advance(now: number): void {
    const current = this.#slotOf(now);
    for (let slot = Math.max(this.#newest + 1, current - SLOTS + 1); slot <= current; slot += 1) {
      this.#put(slot, -this.#amounts[slot % SLOTS]!);
    }
    this.#newest = Math.max(this.#newest, current);
  }
}
