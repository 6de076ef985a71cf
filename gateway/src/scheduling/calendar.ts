// How much of the time to come is given away beforehand, by quarters of a second. Whoever takes more than is left of one takes
// the rest from those behind it.
import type { Clock } from '../core/clock.ts';

const QUARTER_MS = 250;
/** Two minutes and more: whoever begins within one, and takes up to another. What would lie behind that is not counted. */
const QUARTERS = 512;

export class Calendar {
  readonly #clock: Clock;
  /** Of each quarter, in ms; a ring, by the quarters' numbers since the clock's 0. */
  readonly #takenMs = new Float64Array(QUARTERS);
  /** The number of the first that still counts. */
  #first: number;
  /** The number behind the last of which anything was taken. */
  #end = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#first = quarterOf(clock.now());
  }

  /** Nothing to come is taken. */
  get isFree(): boolean {
    return this.#end <= quarterOf(this.#clock.now());
  }

  /** Something is left of the quarter of a second around `at`, on the clock. */
  hasRoomAt(at: number): boolean {
    this.#turn();
    const number = quarterOf(at);
    return number < this.#first + QUARTERS && this.#takenMs[number % QUARTERS]! < QUARTER_MS;
  }

  /** Takes `ms` from then on, as much of each quarter as nobody has. */
  take(at: number, ms: number): void {
    this.#turn();
    let restMs = ms;
    for (let number = quarterOf(at); restMs > 0 && number < this.#first + QUARTERS; number += 1) {
      const index = number % QUARTERS;
      const takenMs = Math.min(restMs, QUARTER_MS - this.#takenMs[index]!);
      this.#takenMs[index]! += takenMs;
      restMs -= takenMs;
      this.#end = Math.max(this.#end, number + 1);
    }
  }

  /** What is over is free for what is to come. */
  #turn(): void {
    const first = quarterOf(this.#clock.now());
    const over = Math.min(first - this.#first, QUARTERS);
    for (let number = this.#first; number < this.#first + over; number += 1)
      this.#takenMs[number % QUARTERS] = 0;
    this.#first = first;
  }
}

/** The number of the quarter of a second around `at`, since the clock's 0. */
export function quarterOf(at: number): number {
  return Math.floor(at / QUARTER_MS);
}
