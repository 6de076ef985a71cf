// Things that come and go with the requests, in no order. A Set would do but for V8: each time it grows it leaves its old table
// behind, which holds what was in it then, and points to the new one. One that became old keeps all later ones and theirs alive
// until a full collection: measured, a third of all requests, with all that they point to.
// Pure.

/** A thing's place in a bag. */
export interface Held<T> {
  readonly item: T;
  /** Below 0: it is in no bag. */
  place: number;
}

export class Bag<T> {
  readonly #held: Held<T>[] = [];

  get size(): number {
    return this.#held.length;
  }

  /** What is returned takes it out again. */
  add(item: T): Held<T> {
    const held: Held<T> = { item, place: this.#held.length };
    this.#held.push(held);
    return held;
  }

  /** Takes it out; only the first time counts. */
  remove(held: Held<T>): void {
    if (held.place < 0) return;
    const last = this.#held.pop()!;
    if (last !== held) {
      this.#held[held.place] = last;
      last.place = held.place;
    }
    held.place = -1;
  }

  /** A copy: who looks may take things out. */
  get items(): readonly T[] {
    return this.#held.map(({ item }) => item);
  }
}
