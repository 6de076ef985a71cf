// The sets of back ends that calls wait for, each found again by who is in it, whatever their order.
import type { Backend } from '../core/backend.ts';
import type { Clock } from '../core/clock.ts';
import type { Shares } from './class-shares.ts';
import { Pool } from './pool.ts';
import type { Seat } from './seat.ts';

/** Sets that nobody waits for are forgotten above this: calls exclude back ends, and configurations change. */
const MOST_IDLE = 256;

export class Pools {
  readonly #clock: Clock;
  readonly #shares: Shares;
  readonly #pools = new Map<string, Pool>();
  /** Those in which somebody waits. */
  readonly waitedFor = new Set<Pool>();

  constructor(clock: Clock, shares: Shares) {
    this.#clock = clock;
    this.#shares = shares;
  }

  /** Calls that wait. */
  get waiting(): number {
    let sum = 0;
    for (const { size } of this.waitedFor) sum += size;
    return sum;
  }

  of(seats: readonly Seat[]): Pool {
    const key = seats
      .map(({ number }) => number)
      .sort((a, b) => a - b)
      .join();
    let pool = this.#pools.get(key);
    if (!pool) {
      if (this.#pools.size >= MOST_IDLE) this.#forgetIdle();
      const backends = seats.map(({ backend }) => backend);
      pool = new Pool(backends, this.#clock, this.#shares);
      this.#pools.set(key, pool);
    }
    return pool;
  }

  /** Nobody will ask for it any more. */
  forget(backend: Backend): void {
    for (const [key, pool] of this.#pools) if (pool.backends.includes(backend)) this.#pools.delete(key);
  }

  #forgetIdle(): void {
    for (const [key, pool] of this.#pools) {
      if (pool.size === 0 && pool.promised.size === 0) this.#pools.delete(key);
    }
  }
}
