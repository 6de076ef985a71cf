// Time that passes only from one event to the next: an hour of waiting costs nothing. What happens at one moment happens
// in the order in which it was asked for, and everything that an event sets going in promises is over before the next,
// so a run is the same each time.
import type { Clock } from '../core/clock.ts';
import { Heap, type HeapItem } from '../scheduling/heap.ts';

interface Event extends HeapItem {
  readonly at: number;
  /** Of two at one moment, the one that was asked for first. */
  readonly order: number;
  readonly callback: () => void;
}

export class VirtualClock implements Clock {
  readonly #events = new Heap<Event>(isBefore);
  #now = 0;
  #order = 0;

  now(): number {
    return this.#now;
  }

  after(ms: number, callback: () => void): () => void {
    const at = this.#now + Math.max(0, ms);
    const event: Event = { at, order: this.#order, callback, heapIndex: -1 };
    this.#order += 1;
    this.#events.push(event);
    return () => this.#events.remove(event);
  }

  /** Lets events happen until `isOver` says so, or until there are none. */
  async run(isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      const event = this.#events.first;
      if (event === undefined) return;
      this.#events.remove(event);
      this.#now = event.at;
      event.callback();
      await settled();
    }
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.at === b.at ? a.order < b.order : a.at < b.at;
}

/** Node looks at what waits for the next tick only when no promise has anything left to do. */
function settled(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}
