// Calls that wait for the same back ends, whichever of these is free first. In it each class has its own queue; calls that
// lost their back end go before all, and then those for whom a place was kept, once they press.
import type { Backend } from '../core/backend.ts';
import type { Clock } from '../core/clock.ts';
import { PRIORITIES, type Priority } from '../core/priority.ts';
import type { Ticket } from '../core/ticket.ts';
import { ArrivalList } from './arrival-list.ts';
import { Burstiness } from './burstiness.ts';
import type { Shares } from './class-shares.ts';
import { FairQueue, type OverloadTest, type Place, type Waiting } from './fair-queue.ts';
import { Heap, type HeapItem } from './heap.ts';
import type { Lease } from './lease.ts';
import { PromisedPlaces } from './promised-places.ts';

/** A call that waits. */
export interface Waiter extends Waiting, HeapItem {
  readonly ticket: Ticket;
  readonly predictedFirstTokenMs: number | undefined;
  /** From then on it goes before all, if a place was kept for it. */
  readonly pressesAt: number;
  /** Where it waits; undefined: among those that lost their back end. */
  place: Place<Waiter> | undefined;
  isGone: boolean;
  /** It has its slot, and leaves the queue. */
  give(lease: Lease): void;
  /** It waits no longer. */
  refuse(error: Error): void;
  /** It has waited as long as it may. */
  expire(): void;
}

/**
 * When a class is overloaded. CoDel's target is a delay that nobody minds, and its interval the time in which a burst is
 * served: for packets 5 and 100 ms. Here a slot is free again after seconds. Somebody who waits for the first word should
 * have it within half a second, so a queue whose oldest has waited half of that, all of a second long, is not going to be
 * served in order in time. Who waits for a whole answer minds ten times that. Where nobody waits for the answer, a queue
 * that stands is how it should be.
 */
const OVERLOAD: Readonly<Record<Priority, OverloadTest | undefined>> = {
  interactive: { targetMs: 250, intervalMs: 1_000 },
  standard: { targetMs: 2_500, intervalMs: 10_000 },
  batch: undefined,
};

/** Longer than a slot takes to come free. */
const PRESSING_MS = 2_500;

/**
 * From when on one who came back for a place that was kept for it goes before all: a little before its latest start. Whoever
 * can wait longer has its tenant's turn meanwhile: a flood is promised places as well, and its neighbours are not to wait for
 * all of those that came together. Batch work goes at once: its places were spread evenly, and what waited would come in heaps.
 */
export function pressingFrom({ priority }: Ticket, since: number, latestStartAt: number): number {
  return priority === 'batch' ? since : latestStartAt - PRESSING_MS;
}

export class Pool {
  /** Any of them can run these calls. */
  readonly backends: readonly Backend[];
  /** To those who were refused. */
  readonly promised: PromisedPlaces;
  readonly arrivals = new Burstiness();
  /** Tokens that each class was served, on the scale of the other pools. */
  readonly served: Record<Priority, number> = { interactive: 0, standard: 0, batch: 0 };
  readonly queues: Readonly<Record<Priority, FairQueue<Waiter>>>;
  /** What those of each class are expected to cost who came back for their places and pressed from the first. */
  readonly backTokens: Record<Priority, number> = { interactive: 0, standard: 0, batch: 0 };
  readonly #clock: Clock;
  readonly #resuming = new ArrivalList<Waiter>();
  /** They are in their queues, too: what they cost is charged there. */
  readonly #back = new Heap<Waiter>((a, b) => a.pressesAt < b.pressesAt);

  constructor(backends: readonly Backend[], clock: Clock, shares: Shares) {
    this.backends = backends;
    this.#clock = clock;
    this.promised = new PromisedPlaces(clock, shares);
    const queueOf = (priority: Priority) => new FairQueue<Waiter>({ clock, overload: OVERLOAD[priority] });
    this.queues = {
      interactive: queueOf('interactive'),
      standard: queueOf('standard'),
      batch: queueOf('batch'),
    };
  }

  get size(): number {
    const { interactive, standard, batch } = this.queues;
    return this.#resuming.size + interactive.size + standard.size + batch.size;
  }

  /** Of those that lost their back end, the one that did so first. */
  get resuming(): Waiter | undefined {
    return this.#resuming.oldest;
  }

  /**
   * Of those who came back for their places and press by now, the one that has done so for longest, of whatever class and tenant:
   * the places were divided between those when they were promised.
   */
  pressing(now: number): Waiter | undefined {
    const { first } = this.#back;
    return first && first.pressesAt <= now ? first : undefined;
  }

  /** Somebody comes who was not here before. */
  arrived({ priority, tenant, weight = 1 }: Ticket): void {
    this.arrivals.arrived(this.#clock.now());
    this.promised.seen({ priority, tenant, weight });
  }

  /** `others`: where somebody waits. A pool that was empty joins them as the one that was served least: it saves up no turns. */
  push(waiter: Waiter, others: Iterable<Pool>): void {
    const { ticket } = waiter;
    if (ticket.resumes) {
      this.#resuming.push(waiter);
      return;
    }
    const { priority } = ticket;
    const queue = this.queues[priority];
    if (queue.size === 0) this.#join(priority, others);
    waiter.place = queue.push(waiter);
    if (!waiter.isPromised) return;
    this.#back.push(waiter);
    if (pressesAtOnce(waiter)) this.backTokens[priority] += waiter.tokens;
  }

  /** Takes out one that is not served. */
  remove(waiter: Waiter): void {
    waiter.isGone = true;
    this.#waitsNoMore(waiter);
    if (waiter.place) this.queues[waiter.ticket.priority].remove(waiter.place);
    else this.#resuming.left();
  }

  /** Takes out one that is served. */
  take(waiter: Waiter): void {
    waiter.isGone = true;
    this.#waitsNoMore(waiter);
    if (!waiter.place) {
      this.#resuming.left();
      return;
    }
    const { priority } = waiter.ticket;
    this.queues[priority].take(waiter.place);
    this.served[priority] += waiter.tokens;
  }

  /** What one that was taken did cost. */
  settle({ ticket, place }: Waiter, tokens: number): void {
    if (place) this.queues[ticket.priority].settle(place, tokens);
  }

  /** Those who would be next, but have waited as long as they may, wait no longer. */
  expire(now: number): void {
    while (this.resuming && this.resuming.dueAt <= now) this.resuming.expire();
    for (let { first } = this.#back; first && first.dueAt <= now; first = this.#back.first) first.expire();
    for (const priority of PRIORITIES) {
      const queue = this.queues[priority];
      for (let head = queue.next; head && head.item.dueAt <= now; head = queue.next) head.item.expire();
    }
  }

  /** All that wait, in no order. */
  *[Symbol.iterator](): Generator<Waiter> {
    yield* this.#resuming;
    for (const priority of PRIORITIES) yield* this.queues[priority];
  }

  /** As one who came back. */
  #waitsNoMore(waiter: Waiter): void {
    if (waiter.heapIndex < 0) return;
    this.#back.remove(waiter);
    const { priority } = waiter.ticket;
    if (pressesAtOnce(waiter)) this.backTokens[priority] -= waiter.tokens;
    if (this.#back.size === 0) this.backTokens[priority] = 0;
  }

  #join(priority: Priority, others: Iterable<Pool>): void {
    let least = Infinity;
    for (const { queues, served } of others) {
      if (queues[priority].size > 0) least = Math.min(least, served[priority]);
    }
    if (least < Infinity) this.served[priority] = Math.max(this.served[priority], least);
  }
}

function pressesAtOnce({ since, pressesAt }: Waiter): boolean {
  return pressesAt <= since;
}
