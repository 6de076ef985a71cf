// What was used in the last minute, in slots of half a second: never more than a limit in any minute, with memory that does
// not grow with the limit. A use counts for a minute, and for at most one slot longer. It has no clock of its own.

const SLOT_MS = 500;
/** A minute, and the slot that is not over yet. */
const SLOTS = 121;

/** All times are in ms on one monotonic clock, and never go back. */
export class SlidingWindow {
  /** A ring: a slot's amount stands at its number modulo the ring's length. */
  readonly #amounts = new Float64Array(SLOTS);
  /** The number of the slot that time is in. */
  #newest = 0;
  #total = 0;

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
    const slot = Math.floor(at / SLOT_MS);
    if (slot > this.#newest - SLOTS) this.#put(slot, -Math.min(amount, this.#amounts[slot % SLOTS]!));
  }

  /** How long until `amount` more stays within the limit, in ms; 0: it does now. `amount` is at most the limit. */
  waitMs(now: number, limit: number, amount: number): number {
    let excess = this.total(now) + amount - limit;
    if (excess <= 0) return 0;
    for (let slot = this.#oldest; slot <= this.#newest; slot += 1) {
      excess -= this.#amounts[slot % SLOTS]!;
      if (excess <= 0) return endOf(slot) - now;
    }
    return endOf(this.#newest) - now;
  }

  /** How long until nothing counts any more, in ms. */
  emptyInMs(now: number): number {
    this.#advance(now);
    for (let slot = this.#newest; slot >= this.#oldest; slot -= 1) {
      if (this.#amounts[slot % SLOTS]! > 0) return endOf(slot) - now;
    }
    return 0;
  }

  get #oldest(): number {
    return Math.max(0, this.#newest - SLOTS + 1);
  }

  #put(slot: number, amount: number): void {
    this.#amounts[slot % SLOTS]! += amount;
    this.#total += amount;
  }

  /** Forgets the slots whose places the time since then takes. */
  #advance(now: number): void {
    const current = Math.floor(now / SLOT_MS);
    for (let slot = Math.max(this.#newest + 1, current - SLOTS + 1); slot <= current; slot += 1) {
      this.#put(slot, -this.#amounts[slot % SLOTS]!);
    }
    this.#newest = Math.max(this.#newest, current);
  }
}

/** When a slot's amount stops to count. */
function endOf(slot: number): number {
  return (slot + SLOTS) * SLOT_MS;
}
