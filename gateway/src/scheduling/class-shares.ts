// Which class a back end serves next: the highest that waits, but each lower one gets its share of the tokens while it
// waits, so that nothing starves. A class that waits earns its share of all that is served meanwhile, and goes before the
// others once that pays for its next call (deficit round robin, Shreedhar and Varghese, SIGCOMM 1995, with priorities).
import { PRIORITIES, type Priority } from '../core/priority.ts';

/** The part, 0 to 1, of the tokens that a class gets at least, as long as it waits. The highest has what is left. */
export interface Shares {
  readonly standard: number;
  readonly batch: number;
}

export const USUAL_SHARES: Shares = { standard: 0.2, batch: 0.05 };

/** What the next call of each class costs, in tokens; absent: none of it waits. */
export type Heads = Readonly<Partial<Record<Priority, number>>>;

/** Whose turn it is. */
export interface Turn {
  readonly priority: Priority;
  /** It has earned it before a higher class that waits. */
  readonly isEarned: boolean;
}

/** A call that costs more than this is earned by this much, and owes the rest. */
const MOST_CREDIT = 32_768;
const LOWER = ['standard', 'batch'] as const satisfies readonly Priority[];

export class ClassShares {
  readonly #shares: Shares;
  /** In tokens; below 0: it owes. */
  readonly #credits = { standard: 0, batch: 0 };

  constructor(shares: Shares) {
    this.#shares = shares;
  }

  /** Undefined: nobody waits. */
  next(heads: Heads): Turn | undefined {
    const highest = PRIORITIES.find((priority) => heads[priority] !== undefined);
    if (!highest) return undefined;
    for (const priority of LOWER) {
      const cost = heads[priority];
      if (cost === undefined || priority === highest) continue;
      if (this.#credits[priority] >= Math.min(cost, MOST_CREDIT)) return { priority, isEarned: true };
    }
    return { priority: highest, isEarned: false };
  }

  /** A call that costs `tokens` was served; `heads`: what waited then, itself included. */
  served({ priority, isEarned }: Turn, tokens: number, heads: Heads): void {
    const highest = PRIORITIES.find((one) => heads[one] !== undefined);
    for (const lower of LOWER) {
      // Who does not wait, or has nobody above it, saves nothing up; what it owes it pays all the same.
      const isHeldUp = heads[lower] !== undefined && lower !== highest;
      const earned = this.#credits[lower] + this.#shares[lower] * tokens;
      const spent = isEarned && lower === priority ? tokens : 0;
      this.#credits[lower] = Math.min(earned, isHeldUp ? MOST_CREDIT : 0) - spent;
    }
  }
}
