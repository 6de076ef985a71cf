// Time that passes only from one event to the next: an hour of waiting costs nothing. What happens at one moment happens
// in the order in which it was asked for, and everything that an event sets going in promises is over before the next,
// so a run is the same each time.
import type { Clock } from '../core/clock.ts';

interface Event {
  readonly at: number;
  /** Of two at one moment, the one that was asked for first. */
  readonly order: number;
  /** Undefined: taken back. */
  callback: (() => void) | undefined;
}

export class VirtualClock implements Clock {
  /** A binary heap: each event is due no sooner than the one at half its index. */
  readonly #events: Event[] = [];
  #now = 0;
  #order = 0;

  now(): number {
    return this.#now;
  }

  after(ms: number, callback: () => void): () => void {
    const event: Event = { at: this.#now + Math.max(0, ms), order: this.#order, callback };
    this.#order += 1;
    this.#push(event);
    return () => {
      event.callback = undefined;
    };
  }

  /** Lets events happen until `isOver` says so, or until there are none. */
  async run(isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      const event = this.#pop();
      if (event === undefined) return;
      const { callback } = event;
      if (callback === undefined) continue;
      event.callback = undefined;
      this.#now = event.at;
      callback();
      await settled();
    }
  }

  #push(event: Event): void {
    const events = this.#events;
    let index = events.length;
    events.push(event);
    while (index > 0) {
      const above = (index - 1) >> 1;
      if (!isBefore(event, events[above]!)) break;
      events[index] = events[above]!;
      index = above;
    }
    events[index] = event;
  }

  #pop(): Event | undefined {
    const events = this.#events;
    const [first] = events;
    const last = events.pop();
    if (last === undefined || first === last) return last;
    let index = 0;
    for (;;) {
      let below = 2 * index + 1;
      if (below >= events.length) break;
      if (below + 1 < events.length && isBefore(events[below + 1]!, events[below]!)) below += 1;
      if (!isBefore(events[below]!, last)) break;
      events[index] = events[below]!;
      index = below;
    }
    events[index] = last;
    return first;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

/** Node looks at what waits for the next tick only when no promise has anything left to do. */
function settled(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}
