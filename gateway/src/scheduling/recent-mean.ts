// The mean of what came lately: the first values count alike, later ones fade geometrically. Pure.

/** How much a new value counts once there are many. */
const SMOOTHING = 0.1;

export class RecentMean {
  #value: number;
  #count = 0;

  /** `guess`: before the first value. */
  constructor(guess: number) {
    this.#value = guess;
  }

  get value(): number {
    return this.#value;
  }

  add(value: number): void {
    this.#count += 1;
    this.#value += Math.max(SMOOTHING, 1 / this.#count) * (value - this.#value);
  }
}
