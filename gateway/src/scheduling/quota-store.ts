// Where what was used is counted: the limits there are, and what is asked of whoever counts. In memory for one process
// (`memory-quota-store.ts`); for several, a shared store can take its place.
import { BILLIONTHS } from '../core/price.ts';
import type { UsageLimits } from '../core/world.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS } from './sliding-window.ts';

export type LimitName = 'rpm' | 'rph' | 'rpd' | 'tpm' | 'tpd' | 'dailyBudget';

/** What is counted together, and the limits of it. */
export interface Quota {
  readonly account: string;
  readonly limits: UsageLimits;
}

/** What a request takes, in whole numbers. */
export interface Amounts {
  readonly requests: number;
  readonly tokens: number;
  /** In billionths of the operator's currency. */
  readonly spending: number;
}

export interface Limit {
  readonly name: LimitName;
  /** For people; in small letters, for the configuration and the metrics. */
  readonly label: string;
  readonly counts: keyof Amounts;
  readonly windowMs: number;
  /** Amounts in one of the limit's own unit. */
  readonly unit: number;
  /** For people: what it limits. */
  readonly text: string;
}

/** Shorter windows first. */
export const LIMITS: readonly Limit[] = [
  { name: 'rpm', label: 'RPM', counts: 'requests', windowMs: MINUTE_MS, unit: 1, text: 'requests a minute' },
  { name: 'rph', label: 'RPH', counts: 'requests', windowMs: HOUR_MS, unit: 1, text: 'requests an hour' },
  { name: 'rpd', label: 'RPD', counts: 'requests', windowMs: DAY_MS, unit: 1, text: 'requests a day' },
  { name: 'tpm', label: 'TPM', counts: 'tokens', windowMs: MINUTE_MS, unit: 1, text: 'tokens a minute' },
  { name: 'tpd', label: 'TPD', counts: 'tokens', windowMs: DAY_MS, unit: 1, text: 'tokens a day' },
  {
    name: 'dailyBudget',
    label: 'daily_budget',
    counts: 'spending',
    windowMs: DAY_MS,
    unit: BILLIONTHS,
    text: 'spending a day',
  },
];

/** What was taken for a request. Of `settle` and `cancel` the first call counts, of `release` too; none is waited for. */
export interface Holding {
  readonly kind: 'holding';
  /** Calls that it may run at once: at least 1, at most what it wanted. */
  readonly parallel: number;
  /** Puts what was really used in place of what was taken. */
  settle(amounts: Amounts): void;
  /** All of it is as if it had never been. */
  cancel(): void;
  /** Gives its calls back. */
  release(): void;
}

/** Why nothing was taken. */
export interface Hurdle {
  readonly kind: 'hurdle';
  /** Whose limit it is. */
  readonly account: string;
  /** The limit that holds longest, for people: "requests a minute (RPM: 10)". */
  readonly limit: string;
  /** Until it lets the request through, in ms. */
  readonly waitMs: number;
}

/** How an account stands with one of its limits, in amounts. */
export interface WindowState {
  readonly name: LimitName;
  readonly used: number;
  /** Until nothing of it is used any more, in ms. */
  readonly resetMs: number;
}

export interface AccountState {
  /** One for each limit that the quota has. */
  readonly windows: readonly WindowState[];
  /** Calls that are held of it. */
  readonly running: number;
}

export interface QuotaStore {
  /**
   * Takes of every quota or of none, in one step: of several limits that are reached, the answer names the one that holds
   * longest, of equals the first.
   * A request that is larger than a whole limit is counted as large as that: it passes when nothing else counts.
   *
   * A store on this machine answers at once, so that a request does not wait for a promise; one that many share answers by a
   * promise, after one script that looks at every window and takes. Limits come with each question: a reload changes
   * them without losing what was counted.
   */
  take(
    quotas: readonly Quota[],
    wanted: Amounts,
    parallel: number,
  ): Holding | Hurdle | Promise<Holding | Hurdle>;
  /** Of the quota's limits, for headers and metrics: never waited for, so a shared store tells what it heard last. */
  standing(quota: Quota): AccountState;
  /** Calls that are held. */
  readonly running: number;
}
