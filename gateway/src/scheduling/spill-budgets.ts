// What may be spent on calls that go elsewhere because a model's own back ends have no room: so much money for each model in
// any 24 hours. In memory, of one process. A call takes beforehand what it may cost at most, and gives back what it did not.
import type { Usage } from '../core/chat.ts';
import type { Clock } from '../core/clock.ts';
import { BILLIONTHS, billionthsOf } from '../core/price.ts';
import type { Cost } from '../core/ticket.ts';
import type { SpillPolicy } from '../core/world.ts';
import { DAY_MS, SlidingWindow } from './sliding-window.ts';

/** What a call has taken. Ended once, by one of the two, or it stays as it was estimated. */
export interface Spending {
  /** What it really was. */
  settle(usage: Usage): void;
  /** It was not spent. */
  cancel(): void;
}

export class SpillBudgets {
  readonly #clock: Clock;
  /** By the model's id: there are as many as are configured. */
  readonly #spent = new Map<string, SlidingWindow>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Undefined: so much is not left of the day's money. */
  take(model: string, { price, budgetPerDay }: SpillPolicy, cost: Cost): Spending | undefined {
    const at = this.#clock.now();
    const spent = this.#spentFor(model);
    const { promptTokens, outputTokens: completionTokens } = cost;
    const estimated = billionthsOf(price, { promptTokens, completionTokens });
    if (spent.total(at) + estimated > budgetPerDay * BILLIONTHS) return undefined;
    spent.add(at, estimated);
    const correct = (actual: number) => spent.correct(this.#clock.now(), at, estimated, actual);
    return { settle: (usage) => correct(billionthsOf(price, usage)), cancel: () => correct(0) };
  }

  #spentFor(model: string): SlidingWindow {
    let spent = this.#spent.get(model);
    if (!spent) {
      spent = new SlidingWindow(DAY_MS);
      this.#spent.set(model, spent);
    }
    return spent;
  }
}
