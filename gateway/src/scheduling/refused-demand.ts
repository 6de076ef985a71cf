// Who was lately turned away because no slot was free: demand as well, though nobody of it waits. Without it a class that can
// wait would hold every slot, and one that cannot, because its first token is due, would find none.
// It must never be taken for calls that are sure to come: it fades.
import type { Clock } from '../core/clock.ts';
import { PRIORITIES, type Priority } from '../core/priority.ts';

/** As long as the interval in which a queue of those who wait for a first word is tested. */
const HALF_LIFE_MS = 3_000;
/** Of a slot is none. */
const ROUNDING = 0.5;

/** One for each back end. */
export class RefusedDemand {
  readonly #clock: Clock;
  /** Calls, decayed to `#at`. */
  readonly #calls: Record<Priority, number> = { interactive: 0, standard: 0, batch: 0 };
  #at = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** `part`, 0 to 1: of a call that could have run elsewhere as well. */
  refused(priority: Priority, part: number): void {
    this.#decay();
    this.#calls[priority] += part;
  }

  /**
   * The highest class for which this many free slots are kept: no more than it would have taken lately. Undefined: for none.
   */
  keeps(free: number): Priority | undefined {
    this.#decay();
    return PRIORITIES.find((priority) => this.#calls[priority] > free - ROUNDING);
  }

  /** Until they are kept for nobody, in ms, if nobody is refused meanwhile. */
  keptMs(free: number): number {
    this.#decay();
    const most = Math.max(...Object.values(this.#calls));
    return Math.max(0, HALF_LIFE_MS * Math.log2(most / (free - ROUNDING)));
  }

  #decay(): void {
    const now = this.#clock.now();
    const decay = 0.5 ** ((now - this.#at) / HALF_LIFE_MS);
    for (const priority of PRIORITIES) this.#calls[priority] *= decay;
    this.#at = now;
  }
}
