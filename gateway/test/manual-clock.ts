// A clock that stands still until a test moves it: what depends on time is tested without waiting for any.
import type { Clock } from '../src/core/clock.ts';
import { Heap, type HeapItem } from '../src/scheduling/heap.ts';

interface Timer extends HeapItem {
  readonly at: number;
  /** Of two that are due at once the one that was set first runs first. */
  readonly number: number;
  readonly callback: () => void;
}

export class ManualClock implements Clock {
  #now: number;
  #made = 0;
  readonly #timers = new Heap<Timer>((a, b) => (a.at === b.at ? a.number < b.number : a.at < b.at));

  constructor(now = 0) {
    this.#now = now;
  }

  /** Timers that have neither run nor been taken back: what leaks shows here. */
  get pendingTimers(): number {
    return this.#timers.size;
  }

  now(): number {
    return this.#now;
  }

  after(ms: number, callback: () => void): () => void {
    const timer: Timer = { at: this.#now + ms, number: this.#made++, callback, heapIndex: -1 };
    this.#timers.push(timer);
    return () => this.#timers.remove(timer);
  }

  /** Lets time pass; what falls due on the way runs in order, each at its own time. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (let next = this.#timers.first; next && next.at <= end; next = this.#timers.first) {
      this.#timers.remove(next);
      this.#now = Math.max(this.#now, next.at);
      next.callback();
    }
    this.#now = end;
  }
}
