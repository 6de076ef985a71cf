// Who was refused lately is demand as well, though nobody of it waits: it could not, because its first token is due. Else the
// classes below it, which can, would hold every slot. So few slots are kept free for it, as trunks are reserved in telephone
// networks for the calls that are worth most (Key, "Optimal control and trunk reservation in loss networks", 1990).
// It must never keep more than would have been taken, and fades: a slot that nobody comes for is given away.
import type { Clock } from '../core/clock.ts';
import { PRIORITIES, type Priority } from '../core/priority.ts';

/** Longer than a back end's bad moments: what comes between two of them would be in the way at the next. */
const HALF_LIFE_MS = 3_000;
/** From there on a part of a call counts for one. */
const LEAST_PART = 0.5;

/** One for each back end. */
export class RefusedDemand {
  readonly #clock: Clock;
  /** Decayed counts of calls, as they were at `#countedAt`. */
  readonly #calls: Record<Priority, number> = { interactive: 0, standard: 0, batch: 0 };
  #countedAt = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** `part`, 0 to 1, of a call was refused here: it could have run on others as well. */
  add(priority: Priority, part: number): void {
    this.#fade();
    this.#calls[priority] += part;
  }

  /** 0 to 1; 0: nobody was refused lately. */
  get pressure(): number {
    this.#fade();
    return Math.min(
      1,
      PRIORITIES.reduce((sum, priority) => sum + this.#calls[priority], 0),
    );
  }

  /** The highest class that would have taken all of so many free slots lately; undefined: none would have. */
  keeps(free: number): Priority | undefined {
    this.#fade();
    return PRIORITIES.find((priority) => this.#calls[priority] > free - LEAST_PART);
  }

  /** Until that is over, in ms, if nobody is refused meanwhile. `free`: 1 or more. */
  keptMs(free: number): number {
    this.#fade();
    const most = Math.max(...PRIORITIES.map((priority) => this.#calls[priority]));
    return Math.max(0, HALF_LIFE_MS * Math.log2(most / (free - LEAST_PART)));
  }

  #fade(): void {
    const now = this.#clock.now();
    const part = 0.5 ** ((now - this.#countedAt) / HALF_LIFE_MS);
    for (const priority of PRIORITIES) this.#calls[priority] *= part;
    this.#countedAt = now;
  }
}
