// When each piece of a stream may go on. A back end that works in batches gives twenty words at once and then none for a
// while, and a reader sees jerks: here they leave evenly, at the rate at which they come. A piece that comes alone is
// never held, nor is any longer than a bound, and what is no word takes all before it along. Pure: what time it is, it is
// told.

/** No piece is held longer than this, in ms: readers notice delays of more. */
const MOST_HOLD_MS = 250;
/** What comes so soon after other pieces, in ms, is of the same burst: the network has cut it. */
const SAME_BURST_MS = 5;
/** How fast what was learned fades, in ms: a burst counts by 1/e after so long. */
const MEMORY_MS = 2_000;
/** Pieces leave a little faster than they come, so that what is held does not grow. */
const HASTE = 0.9;
/** More than any back end gives in a moment: above it all goes at once. */
const MOST_HELD = 1_024;

interface Held<T> {
  readonly piece: T;
  /** It goes at this time at the latest. */
  readonly latest: number;
}

/** Pieces in order. All times are in ms on one monotonic clock, and never go back. */
export class PacedQueue<T> {
  readonly #isWord: (piece: T) => boolean;
  #held: Held<T>[] = [];
  /** So many at the head go without any wait. */
  #hurried = 0;
  #sentAt = 0;
  /** The last burst: when it came and what it brought. Its pieces count once it is known how long they had to last. */
  #cameAt: number | undefined;
  #came = 0;
  /** What came in so many ms, in how many bursts; all three fade. */
  #pieces = 0;
  #ms = 0;
  #bursts = 0;

  /** `isWord`: what is worth to be held. */
  constructor(isWord: (piece: T) => boolean) {
    this.#isWord = isWord;
  }

  get length(): number {
    return this.#held.length;
  }

  /** Pieces that came together. */
  add(pieces: readonly T[], at: number): void {
    const words = pieces.filter(this.#isWord).length;
    if (words > 0) this.#learn(words, at);
    const latest = at + this.#holdMs;
    for (const piece of pieces) this.#held.push({ piece, latest: this.#held.length === 0 ? at : latest });
    if (words < pieces.length || this.#held.length > MOST_HELD) this.letGo();
  }

  /** All that is held may go at once. */
  letGo(): void {
    this.#hurried = this.#held.length;
  }

  /** The next piece, if it may go by now. */
  take(at: number): T | undefined {
    const { nextAt } = this;
    if (nextAt === undefined || nextAt > at) return undefined;
    this.#sentAt = at;
    this.#hurried = Math.max(0, this.#hurried - 1);
    return this.#held.shift()!.piece;
  }

  /** When the next piece may go; long ago: at once. Undefined: there is none. */
  get nextAt(): number | undefined {
    const [head] = this.#held;
    if (!head) return undefined;
    if (this.#hurried > 0) return this.#sentAt;
    // All of them must be out before the last one's time is up.
    const evenly = (this.#held.at(-1)!.latest - this.#sentAt) / this.#held.length;
    return Math.min(head.latest, this.#sentAt + Math.min(this.#spacingMs, evenly));
  }

  #learn(count: number, at: number): void {
    if (this.#cameAt !== undefined) {
      const ms = at - this.#cameAt;
      const kept = Math.exp(-ms / MEMORY_MS);
      this.#pieces = this.#pieces * kept + this.#came;
      this.#ms = this.#ms * kept + ms;
      this.#bursts = this.#bursts * kept + (ms > SAME_BURST_MS ? 1 : 0);
    }
    this.#cameAt = at;
    this.#came = count;
  }

  /** What a piece is held at most: never longer than it takes until the next burst. 0 until a second one was seen. */
  get #holdMs(): number {
    return this.#bursts === 0 ? 0 : Math.min(MOST_HOLD_MS, this.#ms / this.#bursts);
  }

  get #spacingMs(): number {
    return this.#pieces === 0 ? 0 : (HASTE * this.#ms) / this.#pieces;
  }
}
