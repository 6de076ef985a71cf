// What was used, in the memory of one process: gone when it ends. Its memory grows with the keys and models that have limits,
// and with nothing else.
import type { Clock } from '../core/clock.ts';
import type { UsageLimits } from '../core/world.ts';
import {
  type AccountState,
  type Amounts,
  type Holding,
  type Hurdle,
  LIMITS,
  type Limit,
  type LimitName,
  type Quota,
  type QuotaStore,
} from './quota-store.ts';
import { SlidingWindow } from './sliding-window.ts';

/** What was counted together. */
interface Account {
  running: number;
  /** Of each limit that it had when it asked. */
  readonly windows: Map<LimitName, SlidingWindow>;
}

/** What was taken of one window. */
interface Share {
  readonly window: SlidingWindow;
  readonly counts: keyof Amounts;
  readonly amount: number;
}

/** What a request has taken, and when. */
interface Taken {
  readonly parallel: number;
  readonly shares: readonly Share[];
  readonly at: number;
  readonly clock: Clock;
  readonly giveBack: () => void;
}

/** When a call may have ended is not known: its client asks again after this. */
const PARALLEL_RETRY_MS = 1_000;

export class MemoryQuotaStore implements QuotaStore {
  readonly #clock: Clock;
  /** Who holds nothing any more is forgotten when a new one comes. */
  readonly #accounts = new Map<string, Account>();
  #running = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  take(quotas: readonly Quota[], wanted: Amounts, parallel: number): Holding | Hurdle {
    const now = this.#clock.now();
    const accounts = this.#accountsOf(quotas);
    const shares: Share[] = [];
    let lanes = parallel;
    let hurdle: Hurdle | undefined;
    for (const [index, { account, limits }] of quotas.entries()) {
      const counted = accounts[index]!;
      const meet = (limit: string, waitMs: number) => {
        if (waitMs > (hurdle?.waitMs ?? 0)) hurdle = { kind: 'hurdle', account, limit, waitMs };
      };
      for (const limit of LIMITS) {
        const most = mostOf(limit, limits);
        if (most === undefined) continue;
        const window = windowOf(counted, limit);
        const amount = Math.min(wanted[limit.counts], most);
        shares.push({ window, counts: limit.counts, amount });
        meet(`${limit.text} (${limit.label}: ${limits[limit.name]})`, window.waitMs(now, most, amount));
      }
      const { maxParallel = Infinity } = limits;
      if (counted.running >= maxParallel) meet(`parallel requests (${maxParallel})`, PARALLEL_RETRY_MS);
      lanes = Math.min(lanes, maxParallel - counted.running);
    }
    if (hurdle) return hurdle;
    for (const { window, amount } of shares) window.add(now, amount);
    this.#hold(accounts, lanes);
    const giveBack = () => this.#hold(accounts, -lanes);
    return new MemoryHolding({ parallel: lanes, shares, at: now, clock: this.#clock, giveBack });
  }

  standing({ account, limits }: Quota): AccountState {
    const now = this.#clock.now();
    const { windows, running = 0 } = this.#accounts.get(account) ?? {};
    const limited = LIMITS.filter((limit) => mostOf(limit, limits) !== undefined);
    return {
      windows: limited.map(({ name }) => {
        const window = windows?.get(name);
        return { name, used: window?.total(now) ?? 0, resetMs: window?.emptyInMs(now) ?? 0 };
      }),
      running,
    };
  }

  get running(): number {
    return this.#running;
  }

  #hold(accounts: readonly Account[], calls: number): void {
    this.#running += calls;
    for (const account of accounts) account.running += calls;
  }

  #accountsOf(quotas: readonly Quota[]): Account[] {
    // Before any is looked up: one that is made here is idle too, until something is taken.
    if (quotas.some(({ account }) => !this.#accounts.has(account))) this.#forgetIdle();
    return quotas.map(({ account: id }) => {
      let account = this.#accounts.get(id);
      if (!account) {
        account = { running: 0, windows: new Map() };
        this.#accounts.set(id, account);
      }
      return account;
    });
  }

  /** An account that holds nothing says no more than a new one. */
  #forgetIdle(): void {
    const now = this.#clock.now();
    for (const [id, { running, windows }] of this.#accounts) {
      const isIdle = running === 0 && [...windows.values()].every((window) => window.total(now) === 0);
      if (isIdle) this.#accounts.delete(id);
    }
  }
}

class MemoryHolding implements Holding {
  readonly kind = 'holding';
  readonly parallel: number;
  readonly #taken: Taken;
  #isCounted = false;
  #isHeld = true;

  constructor(taken: Taken) {
    this.parallel = taken.parallel;
    this.#taken = taken;
  }

  settle(amounts: Amounts): void {
    this.#correct(amounts);
  }

  cancel(): void {
    this.#correct({ requests: 0, tokens: 0, spending: 0 });
  }

  release(): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    this.#taken.giveBack();
  }

  #correct(actual: Amounts): void {
    if (this.#isCounted) return;
    this.#isCounted = true;
    const { shares, at, clock } = this.#taken;
    const now = clock.now();
    for (const { window, counts, amount } of shares) window.correct(now, at, amount, actual[counts]);
  }
}

/** In amounts. */
function mostOf({ name, unit }: Limit, limits: UsageLimits): number | undefined {
  const most = limits[name];
  return most === undefined ? undefined : Math.round(most * unit);
}

function windowOf({ windows }: Account, { name, windowMs }: Limit): SlidingWindow {
  let window = windows.get(name);
  if (!window) {
    window = new SlidingWindow(windowMs);
    windows.set(name, window);
  }
  return window;
}
