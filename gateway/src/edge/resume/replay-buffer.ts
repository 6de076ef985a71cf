// The newest events of one stream, as the bytes that are sent, for readers who come again: encoded once, and written to each
// reader without being made anew. Bounded in bytes: the oldest go first, whole and some at a time. It knows no readers: who
// asks for what is no longer here is told so.

/** Memory that all buffers share, in bytes. */
export interface SharedMemory {
  /** Whether there is room for as many more; what nobody reads may be given up for it. */
  hasFor(bytes: number): boolean;
  /** So much more is held now, or less where it is negative. */
  add(bytes: number): void;
}

/** Some events in a row. */
export interface Batch {
  readonly bytes: Buffer;
  /** The number of the event that follows them. */
  readonly next: number;
}

/** A piece of memory, filled from its beginning with whole events. */
interface Slab {
  /** The number of its first event. */
  readonly first: number;
  readonly memory: Buffer;
  /** Where each of its events ends. Never empty. */
  readonly ends: number[];
}

/** An idle stream takes little; a long one few slabs. */
const FIRST_SLAB_BYTES = 4 * 1024;
/** So much of the bound goes at once when the oldest go. */
const SLAB_PART = 1 / 16;

export class ReplayBuffer {
  readonly #maxBytes: number;
  readonly #shared: SharedMemory;
  readonly #slabs: Slab[] = [];
  #next = 1;
  #bytes = 0;

  /** `maxBytes`: of this one; a single event may be larger. */
  constructor(maxBytes: number, shared: SharedMemory) {
    this.#maxBytes = maxBytes;
    this.#shared = shared;
  }

  /** The number of the oldest event that is kept; that of the next one where none is. */
  get first(): number {
    return this.#slabs[0]?.first ?? this.#next;
  }

  /** The number that the next event will have. */
  get next(): number {
    return this.#next;
  }

  /** Held memory. */
  get bytes(): number {
    return this.#bytes;
  }

  /** What is added together stays together, whatever the bound: who reads along has not had it yet. */
  add(events: readonly string[]): void {
    const first = this.#next;
    for (const event of events) this.#push(event, first);
  }

  /**
   * Events from number `from` on, as many as lie together; undefined where there are none yet. `from` is at least `first`: what
   * is older is gone.
   */
  read(from: number): Batch | undefined {
    const slab = this.#slabs.findLast(({ first }) => first <= from);
    if (!slab || from >= this.#next) return undefined;
    const start = from === slab.first ? 0 : slab.ends[from - slab.first - 1]!;
    return { bytes: slab.memory.subarray(start, slab.ends.at(-1)), next: slab.first + slab.ends.length };
  }

  /** Gives all of its memory back. */
  clear(): void {
    this.#slabs.length = 0;
    this.#hold(-this.#bytes);
  }

  /** `keepFrom`: the number of the first event that must stay. */
  #push(event: string, keepFrom: number): void {
    const length = Buffer.byteLength(event);
    const { memory, ends } = this.#slabWith(length, keepFrom);
    const start = ends.at(-1) ?? 0;
    memory.write(event, start);
    ends.push(start + length);
    this.#next += 1;
  }

  #slabWith(bytes: number, keepFrom: number): Slab {
    const newest = this.#slabs.at(-1);
    if (newest && newest.ends.at(-1)! + bytes <= newest.memory.length) return newest;
    this.#makeRoom(this.#sizeOfNext(bytes), keepFrom);
    const size = this.#sizeOfNext(bytes);
    const slab: Slab = { first: this.#next, memory: Buffer.allocUnsafeSlow(size), ends: [] };
    this.#slabs.push(slab);
    this.#hold(size);
    return slab;
  }

  /** Twice that of the one before, up to a part of the bound; never less than what has to be in it. */
  #sizeOfNext(bytes: number): number {
    const before = this.#slabs.at(-1)?.memory.length;
    const usual = before === undefined ? FIRST_SLAB_BYTES : 2 * before;
    return Math.max(bytes, Math.min(usual, Math.floor(this.#maxBytes * SLAB_PART)));
  }

  #makeRoom(bytes: number, keepFrom: number): void {
    while (this.#bytes + bytes > this.#maxBytes || !this.#shared.hasFor(bytes)) {
      const oldest = this.#slabs[0];
      if (!oldest || oldest.first + oldest.ends.length > keepFrom) return;
      this.#slabs.shift();
      this.#hold(-oldest.memory.length);
    }
  }

  #hold(bytes: number): void {
    this.#bytes += bytes;
    this.#shared.add(bytes);
  }
}
