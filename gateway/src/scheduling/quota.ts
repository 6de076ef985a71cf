// May it? The limits of a key, of a key for a model, and of a model: requests, tokens and money in any minute, hour or day, and
// calls at once. All of them must allow it. What is refused takes nothing, and what is taken is a reservation that ends with
// its scope, whatever the ending. Where it is counted is the store's concern.
import type { Usage } from '../core/chat.ts';
import { GatewayError } from '../core/errors.ts';
import { billionthsOf, type Price } from '../core/price.ts';
import type { Cost } from '../core/ticket.ts';
import type { AccessKey, ServedModel, UsageLimits } from '../core/world.ts';
import {
  type AccountState,
  type Amounts,
  type Holding,
  type Hurdle,
  LIMITS,
  type Limit,
  type Quota,
  type QuotaStore,
} from './quota-store.ts';

/** What a limit needs to know of a model. */
export type LimitedModel = Pick<ServedModel, 'id' | 'limits'>;

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

/** How a key stands with a limit. */
export interface LimitState {
  readonly limit: number;
  /** Never negative. */
  readonly remaining: number;
  /** Until all of it is there again, in ms. */
  readonly resetMs: number;
}

/** How a key stands with the limit of each kind that leaves it least; absent: there is no such limit. */
export interface Standing {
  readonly requests: LimitState | undefined;
  readonly tokens: LimitState | undefined;
  /** In the operator's currency. */
  readonly spending: LimitState | undefined;
}

/** How much of a limit is used now, both in its own unit. */
export interface LimitUse {
  /** As the configuration has it. */
  readonly name: string;
  readonly limit: number;
  /** May be more than the limit, where that was lowered or an answer was longer than could be known. */
  readonly used: number;
}

const UNLIMITED: Standing = { requests: undefined, tokens: undefined, spending: undefined };

/** A quota, and how its refusal begins. */
interface Scope extends Quota {
  readonly whose: string;
}

/** How a key stands with one window, and what that counts. */
interface WindowStanding {
  readonly counts: Limit['counts'];
  readonly state: LimitState;
}

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
  admit(key: AccessKey, model: LimitedModel, demand: Demand): Reservation | Promise<Reservation> {
    const scopes = scopesOf(key, model);
    if (scopes.length === 0) return new Unlimited(demand.parallel);
    const { cost, price, parallel } = demand;
    const wanted = amountsOf({ promptTokens: cost.promptTokens, completionTokens: cost.outputTokens }, price);
    const taken = this.#store.take(scopes, wanted, parallel);
    return taken instanceof Promise
      ? taken.then((answer) => reservationOf(answer, scopes, cost))
      : reservationOf(taken, scopes, cost);
  }

  /** For headers: how the key stands now, and with it the model that it asks for, once that is known. */
  standing(key: AccessKey, model?: LimitedModel): Standing {
    const scopes = scopesOf(key, model);
    if (scopes.length === 0) return UNLIMITED;
    const all = scopes.flatMap((scope) => standingsOf(scope, this.#store.standing(scope)));
    return {
      requests: tightest('requests', all),
      tokens: tightest('tokens', all),
      spending: tightest('spending', all),
    };
  }

  /** For metrics: what all keys together use of a model that has limits. */
  usesOf({ id, limits = {} }: LimitedModel): readonly LimitUse[] {
    const quota = { account: accountOfModel(id), limits };
    const { windows, running } = this.#store.standing(quota);
    const uses = windows.map(({ name, used }) => {
      const { unit, label } = LIMITS.find((one) => one.name === name)!;
      return { name: label.toLowerCase(), limit: limits[name]!, used: used / unit };
    });
    const { maxParallel } = limits;
    return maxParallel === undefined
      ? uses
      : [...uses, { name: 'max_parallel', limit: maxParallel, used: running }];
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
function reservationOf(taken: Holding | Hurdle, scopes: readonly Scope[], cost: Cost): Reservation {
  if (taken.kind === 'hurdle') {
    const { account, limit, waitMs } = taken;
    const { whose } = scopes.find((scope) => scope.account === account)!;
    const message = `${whose} of ${limit}. Ask again in ${durationText(waitMs)}.`;
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

function standingsOf({ limits }: Scope, { windows }: AccountState): WindowStanding[] {
  return windows.map(({ name, used, resetMs }) => {
    const { counts, unit } = LIMITS.find((one) => one.name === name)!;
    const limit = limits[name]!;
    return { counts, state: { limit, remaining: Math.max(0, limit - used / unit), resetMs } };
  });
}

/** Of one kind, the one that leaves less; of equals the one that holds longer. */
function tightest(kind: Limit['counts'], standings: readonly WindowStanding[]): LimitState | undefined {
  const states = standings.filter(({ counts }) => counts === kind).map(({ state }) => state);
  return states.sort((a, b) => a.remaining - b.remaining || b.resetMs - a.resetMs)[0];
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

/** Those with limits only, the key's own first: of what holds equally long, that is what its client knows best. */
function scopesOf(key: AccessKey, model: LimitedModel | undefined): Scope[] {
  const scopes: Scope[] = [];
  if (isLimited(key)) {
    scopes.push({ account: accountOfKey(key), limits: key, whose: 'This API key has reached its limit' });
  }
  if (!model) return scopes;
  const { id, limits } = model;
  const ownLimits = key.modelLimits?.get(id);
  if (ownLimits && isLimited(ownLimits)) {
    const whose = `This API key has reached its limit for the model "${id}"`;
    scopes.push({ account: `${accountOfKey(key)} ${id}`, limits: ownLimits, whose });
  }
  if (limits && isLimited(limits)) {
    const whose = `The model "${id}" has reached its limit for all keys together`;
    scopes.push({ account: accountOfModel(id), limits, whose });
  }
  return scopes;
}

function accountOfKey({ digest }: AccessKey): string {
  return `key ${digest.toString('base64')}`;
}

function accountOfModel(id: string): string {
  return `model ${id}`;
}

function isLimited(limits: UsageLimits): boolean {
  return limits.maxParallel !== undefined || LIMITS.some(({ name }) => limits[name] !== undefined);
}
