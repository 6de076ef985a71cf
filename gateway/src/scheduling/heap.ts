// A binary heap that knows where each of its items is, so that any of them can leave or move in O(log n). An item is in
// one heap at a time.

export interface HeapItem {
  /** Its place in the heap, kept by the heap; -1: it is in none. */
  heapIndex: number;
}

export class Heap<T extends HeapItem> {
  readonly #items: T[] = [];
  readonly #isBefore: (a: T, b: T) => boolean;

  constructor(isBefore: (a: T, b: T) => boolean) {
    this.#isBefore = isBefore;
  }

  get first(): T | undefined {
    return this.#items[0];
  }

  get size(): number {
    return this.#items.length;
  }

  /** The first one first, and each before those that stand far behind it; else in no order. */
  get items(): readonly T[] {
    return this.#items;
  }

  push(item: T): void {
    this.#items.push(item);
    this.#rise(item, this.#items.length - 1);
  }

  /** Does nothing to what is in no heap. */
  remove(item: T): void {
    const { heapIndex } = item;
    if (heapIndex < 0) return;
    item.heapIndex = -1;
    const last = this.#items.pop()!;
    if (last === item) return;
    this.#items[heapIndex] = last;
    last.heapIndex = heapIndex;
    this.moved(last);
  }

  clear(): void {
    for (const item of this.#items) item.heapIndex = -1;
    this.#items.length = 0;
  }

  /** The item's order has changed. */
  moved(item: T): void {
    this.#rise(item, item.heapIndex);
    this.#sink(item, item.heapIndex);
  }

  #rise(item: T, from: number): void {
    let at = from;
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = this.#items[above]!;
      if (!this.#isBefore(item, parent)) break;
      this.#put(parent, at);
      at = above;
    }
    this.#put(item, at);
  }

  #sink(item: T, from: number): void {
    const { length } = this.#items;
    let at = from;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= length) break;
      const right = below + 1;
      if (right < length && this.#isBefore(this.#items[right]!, this.#items[below]!)) below = right;
      const child = this.#items[below]!;
      if (!this.#isBefore(child, item)) break;
      this.#put(child, at);
      at = below;
    }
    this.#put(item, at);
  }

  #put(item: T, at: number): void {
    this.#items[at] = item;
    item.heapIndex = at;
  }
}
