// May it? The limits of a key: requests, tokens and money in any minute, hour or day, and calls at once. What is refused takes
// nothing, and what is taken is a reservation that ends with its scope, whatever the ending. Where it is counted is the
// store's concern.
import type { Usage } from '../core/chat.ts';
import { GatewayError } from '../core/errors.ts';
import { billionthsOf, type Price } from '../core/price.ts';
import type { Cost } from '../core/ticket.ts';
import type { AccessKey } from '../core/world.ts';
import {
  type Amounts,
  type Holding,
  type Hurdle,
  LIMITS,
  type LimitName,
  type QuotaStore,
  type WindowState,
} from './quota-store.ts';

/** What a request would take. */
export interface Demand {
  /** Calls that it would run at once, at least 1. */
  readonly parallel: number;
  /** Of all its calls, estimated. */
  readonly cost: Cost;
  /** The dearest that it may have to be computed for; absent: it costs no money. */
  readonly price?: Price | undefined;
}

/** What a request has taken. Of `settle` and `cancel` the first call counts, of `release` too. */
export interface Reservation {
  /** Calls that it may run at once: at least 1, at most what it wanted. */
  readonly parallel: number;
  /**
   * Puts the true tokens, and what they cost at the price of who computed them, in place of the estimate; what is unknown
   * stays estimated.
   */
  settle(usage: Usage, price?: Price): void;
  /** Nothing was done for it: all that it took is as if it had never been. */
  cancel(): void;
  /** Gives its calls back; what was neither settled nor cancelled stays as it was estimated. */
  release(): void;
}

/** How a key stands with one of its limits. */
export interface LimitState {
  readonly limit: number;
  /** Never negative. */
  readonly remaining: number;
  /** Until all of it is there again, in ms. */
  readonly resetMs: number;
}

/** How a key stands with the shortest of its limits of either kind; absent: it has no such limit. */
export interface Standing {
  readonly requests: LimitState | undefined;
  readonly tokens: LimitState | undefined;
  /** In the operator's currency. */
  readonly spending: LimitState | undefined;
}

const UNLIMITED: Standing = { requests: undefined, tokens: undefined, spending: undefined };
const DURATION_UNITS: readonly [unit: string, ms: number][] = [
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1_000],
];

export class KeyQuotas {
  readonly #store: QuotaStore;

  constructor(store: QuotaStore) {
    this.#store = store;
  }

  /**
   * Throws, or rejects with, `rate_limited`, which names the limit that will hold longest and says when to ask again. Answers by
   * a promise where the store does, and never else.
   */
  admit(key: AccessKey, demand: Demand): Reservation | Promise<Reservation> {
    if (!isLimited(key)) return new Unlimited(demand.parallel);
    const { cost, price, parallel } = demand;
    const wanted = amountsOf({ promptTokens: cost.promptTokens, completionTokens: cost.outputTokens }, price);
    const taken = this.#store.take(idOf(key), key, wanted, parallel);
    return taken instanceof Promise
      ? taken.then((answer) => reservationOf(answer, cost))
      : reservationOf(taken, cost);
  }

  /** For headers: how the key stands now. */
  standing(key: AccessKey): Standing {
    if (!isLimited(key)) return UNLIMITED;
    const states = this.#store.standing(idOf(key), key);
    return {
      requests: shortest(key, states, ['rpm', 'rph', 'rpd']),
      tokens: shortest(key, states, ['tpm', 'tpd']),
      spending: shortest(key, states, ['dailyBudget']),
    };
  }

  /** Calls that reservations hold. */
  get running(): number {
    return this.#store.running;
  }
}

class Unlimited implements Reservation {
  readonly parallel: number;

  constructor(parallel: number) {
    this.parallel = parallel;
  }

  settle(): void {}
  cancel(): void {}
  release(): void {}
}

/** Throws `rate_limited`. */
function reservationOf(taken: Holding | Hurdle, cost: Cost): Reservation {
  if (taken.kind === 'hurdle') {
    const { limit, waitMs } = taken;
    const message = `This API key has reached its limit of ${limit}. Ask again in ${durationText(waitMs)}.`;
    throw new GatewayError('rate_limited', message, { retryAfterMs: waitMs });
  }
  return {
    parallel: taken.parallel,
    settle: (usage, price) => {
      const { promptTokens = cost.promptTokens, completionTokens = cost.outputTokens } = usage;
      taken.settle(amountsOf({ ...usage, promptTokens, completionTokens }, price));
    },
    cancel: () => taken.cancel(),
    release: () => taken.release(),
  };
}

function amountsOf(usage: Usage, price: Price | undefined): Amounts {
  const { promptTokens = 0, completionTokens = 0 } = usage;
  const spending = price === undefined ? 0 : billionthsOf(price, usage);
  return { requests: 1, tokens: promptTokens + completionTokens, spending };
}

function shortest(
  key: AccessKey,
  states: readonly WindowState[],
  names: readonly LimitName[],
): LimitState | undefined {
  const state = states.find(({ name }) => names.includes(name));
  const limit = state && key[state.name];
  if (state === undefined || limit === undefined) return undefined;
  const { unit } = LIMITS.find(({ name }) => name === state.name)!;
  return { limit, remaining: Math.max(0, limit - state.used / unit), resetMs: state.resetMs };
}

/** In its two largest units: "23 h 12 min", "45 s". */
function durationText(ms: number): string {
  let rest = Math.ceil(ms / 1000) * 1000;
  const parts: string[] = [];
  for (const [unit, unitMs] of DURATION_UNITS) {
    const count = Math.floor(rest / unitMs);
    rest -= count * unitMs;
    if (count > 0) parts.push(`${count} ${unit}`);
  }
  return parts.slice(0, 2).join(' ');
}

function isLimited(key: AccessKey): boolean {
  return key.maxParallel !== undefined || LIMITS.some(({ name }) => key[name] !== undefined);
}

function idOf({ digest }: AccessKey): string {
  return digest.toString('base64');
}
