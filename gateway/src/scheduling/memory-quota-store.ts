// What keys have used, in the memory of one process: gone when it ends. Its memory grows with the keys, and with nothing else.
import type { Clock } from '../core/clock.ts';
import {
  type Amounts,
  type Holding,
  type Hurdle,
  LIMITS,
  type Limit,
  type LimitName,
  type QuotaLimits,
  type QuotaStore,
  type WindowState,
} from './quota-store.ts';
import { SlidingWindow } from './sliding-window.ts';

/** What was counted for one key. */
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

/** When a call of the key may have ended is not known: its client asks again after this. */
const PARALLEL_RETRY_MS = 1_000;

export class MemoryQuotaStore implements QuotaStore {
  readonly #clock: Clock;
  /** Who holds nothing any more is forgotten when a new one comes. */
  readonly #accounts = new Map<string, Account>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  take(id: string, limits: QuotaLimits, wanted: Amounts, parallel: number): Holding | Hurdle {
    const account = this.#accountOf(id);
    const now = this.#clock.now();
    const { maxParallel = Infinity } = limits;
    const shares: Share[] = [];
    let hurdle: Hurdle | undefined;
    const meet = (limit: string, waitMs: number) => {
      if (waitMs > (hurdle?.waitMs ?? 0)) hurdle = { kind: 'hurdle', limit, waitMs };
    };
    for (const limit of LIMITS) {
      const most = mostOf(limit, limits);
      if (most === undefined) continue;
      const window = windowOf(account, limit);
      const amount = Math.min(wanted[limit.counts], most);
      shares.push({ window, counts: limit.counts, amount });
      meet(`${limit.text}: ${limits[limit.name]})`, window.waitMs(now, most, amount));
    }
    if (account.running >= maxParallel) meet(`parallel requests (${maxParallel})`, PARALLEL_RETRY_MS);
    if (hurdle) return hurdle;
    return new MemoryHolding(account, shares, Math.min(parallel, maxParallel - account.running), this.#clock);
  }

  standing(id: string, limits: QuotaLimits): readonly WindowState[] {
    const now = this.#clock.now();
    const windows = this.#accounts.get(id)?.windows;
    return LIMITS.filter((limit) => mostOf(limit, limits) !== undefined).map(({ name }) => {
      const window = windows?.get(name);
      return { name, used: window?.total(now) ?? 0, resetMs: window?.emptyInMs(now) ?? 0 };
    });
  }

  get running(): number {
    let sum = 0;
    for (const { running } of this.#accounts.values()) sum += running;
    return sum;
  }

  #accountOf(id: string): Account {
    let account = this.#accounts.get(id);
    if (!account) {
      this.#forgetIdle();
      account = { running: 0, windows: new Map() };
      this.#accounts.set(id, account);
    }
    return account;
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
  readonly #account: Account;
  readonly #shares: readonly Share[];
  readonly #clock: Clock;
  readonly #at: number;
  #isCounted = false;
  #isHeld = true;

  constructor(account: Account, shares: readonly Share[], parallel: number, clock: Clock) {
    this.parallel = parallel;
    this.#account = account;
    this.#shares = shares;
    this.#clock = clock;
    this.#at = clock.now();
    account.running += parallel;
    for (const { window, amount } of shares) window.add(this.#at, amount);
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
    this.#account.running -= this.parallel;
  }

  #correct(actual: Amounts): void {
    if (this.#isCounted) return;
    this.#isCounted = true;
    const now = this.#clock.now();
    for (const { window, counts, amount } of this.#shares) {
      window.correct(now, this.#at, amount, actual[counts]);
    }
  }
}

/** In amounts. */
function mostOf({ name, unit }: Limit, limits: QuotaLimits): number | undefined {
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
