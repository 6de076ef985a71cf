// Who is there, in the order in which they came: the oldest and the newest in O(1), amortised. Who leaves from the middle
// is only marked, and swept out when half of the list is marked: its size is bounded by who is there.

export interface Arrival {
  isGone: boolean;
}

/** Below this many marked ones a sweep is not worth it. */
const LEAST_SWEEP = 32;

export class ArrivalList<T extends Arrival> {
  #items: T[] = [];
  /** Before it all are gone. */
  #first = 0;
  #gone = 0;

  get size(): number {
    return this.#items.length - this.#gone;
  }

  get oldest(): T | undefined {
    while (this.#items[this.#first]?.isGone) this.#first += 1;
    return this.#items[this.#first];
  }

  get newest(): T | undefined {
    while (this.#items.at(-1)?.isGone) {
      this.#items.pop();
      this.#gone -= 1;
    }
    this.#first = Math.min(this.#first, this.#items.length);
    return this.#items.at(-1);
  }

  push(item: T): void {
    this.#items.push(item);
  }

  *[Symbol.iterator](): Generator<T> {
    for (const item of this.#items) if (!item.isGone) yield item;
  }

  /** One of its items has been marked as gone. */
  left(): void {
    this.#gone += 1;
    const isWorthIt = this.#gone >= LEAST_SWEEP && this.#gone * 2 >= this.#items.length;
    if (!isWorthIt && this.size > 0) return;
    this.#items = this.#items.filter(({ isGone }) => !isGone);
    this.#first = 0;
    this.#gone = 0;
  }
}
