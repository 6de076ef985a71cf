// May it? The limits of a key: requests and tokens in any minute, and calls at once; in memory, on one node. Decided at once,
// never waited for. What is refused takes nothing, and what is taken is a reservation that ends with its scope, whatever
// the ending. Limits come with each question, so a reload changes them without losing what was counted.
import type { Usage } from '../core/chat.ts';
import type { Clock } from '../core/clock.ts';
import { GatewayError } from '../core/errors.ts';
import type { Cost } from '../core/ticket.ts';
import type { AccessKey } from '../core/world.ts';
import { SlidingWindow } from './sliding-window.ts';

/** What a request would take. */
export interface Demand {
  /** Calls that it would run at once, at least 1. */
  readonly parallel: number;
  /** Of all its calls, estimated. */
  readonly cost: Cost;
}

/** What a request has taken. Of `settle` and `cancel` the first call counts, of `release` too. */
export interface Reservation {
  /** Calls that it may run at once: at least 1, at most what it wanted. */
  readonly parallel: number;
  /** Puts the true tokens in place of the estimate; what is unknown stays estimated. */
  settle(usage: Usage): void;
  /** Nothing was done for it: its request and its tokens are as if they had never been. */
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

/** How a key stands; absent: it has no such limit. */
export interface Standing {
  readonly requests: LimitState | undefined;
  readonly tokens: LimitState | undefined;
}

/** What was counted for one key. */
interface Account {
  running: number;
  readonly requests: SlidingWindow;
  readonly tokens: SlidingWindow;
}

interface Hurdle {
  readonly waitMs: number;
  readonly limit: string;
}

const UNLIMITED: Standing = { requests: undefined, tokens: undefined };
/** When a call of the key may have ended is not known: its client asks again after this. */
const PARALLEL_RETRY_MS = 1_000;

export class KeyQuotas {
  readonly #clock: Clock;
  /** By the hash of the key. Who has used nothing for a minute is forgotten when the next one comes. */
  readonly #accounts = new Map<string, Account>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Throws `rate_limited`, which names the limit that will hold longest and says when to ask again. */
  admit(key: AccessKey, demand: Demand): Reservation {
    if (!isLimited(key)) return new Unlimited(demand.parallel);
    const account = this.#accountOf(key);
    const now = this.#clock.now();
    const tokens = tokensOf(demand.cost, key);
    refuse(hurdles(key, account, now, tokens));
    const free = (key.maxParallel ?? Infinity) - account.running;
    const { parallel, cost } = demand;
    return new Taken(account, this.#clock, { parallel: Math.min(parallel, free), tokens, cost });
  }

  /** For headers: how the key stands now. */
  standing(key: AccessKey): Standing {
    if (!isLimited(key)) return UNLIMITED;
    const account = this.#accounts.get(idOf(key));
    const now = this.#clock.now();
    return {
      requests: stateOf(key.rpm, account?.requests, now),
      tokens: stateOf(key.tpm, account?.tokens, now),
    };
  }

  /** Calls that reservations hold. */
  get running(): number {
    let sum = 0;
    for (const { running } of this.#accounts.values()) sum += running;
    return sum;
  }

  #accountOf(key: AccessKey): Account {
    const id = idOf(key);
    let account = this.#accounts.get(id);
    if (!account) {
      this.#forgetIdle();
      account = { running: 0, requests: new SlidingWindow(), tokens: new SlidingWindow() };
      this.#accounts.set(id, account);
    }
    return account;
  }

  /** An account that holds nothing says no more than a new one. */
  #forgetIdle(): void {
    const now = this.#clock.now();
    for (const [id, { running, requests, tokens }] of this.#accounts) {
      if (running === 0 && requests.total(now) === 0 && tokens.total(now) === 0) this.#accounts.delete(id);
    }
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

interface Take {
  readonly parallel: number;
  /** Counted against the limit. */
  readonly tokens: number;
  readonly cost: Cost;
}

class Taken implements Reservation {
  readonly parallel: number;
  readonly #account: Account;
  readonly #clock: Clock;
  readonly #take: Take;
  readonly #at: number;
  #isCounted = false;
  #isHeld = true;

  constructor(account: Account, clock: Clock, take: Take) {
    this.parallel = take.parallel;
    this.#account = account;
    this.#clock = clock;
    this.#take = take;
    this.#at = clock.now();
    account.running += take.parallel;
    account.requests.add(this.#at, 1);
    account.tokens.add(this.#at, take.tokens);
  }

  settle({ promptTokens, completionTokens }: Usage): void {
    const { cost } = this.#take;
    this.#correctTokens((promptTokens ?? cost.promptTokens) + (completionTokens ?? cost.outputTokens));
  }

  cancel(): void {
    if (this.#isCounted) return;
    this.#account.requests.takeBack(this.#clock.now(), this.#at, 1);
    this.#correctTokens(0);
  }

  release(): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    this.#account.running -= this.parallel;
  }

  /** What was estimated too high had never been; what was too low is used now. */
  #correctTokens(actual: number): void {
    if (this.#isCounted) return;
    this.#isCounted = true;
    const { tokens } = this.#take;
    const now = this.#clock.now();
    if (actual < tokens) this.#account.tokens.takeBack(now, this.#at, tokens - actual);
    else this.#account.tokens.add(now, actual - tokens);
  }
}

/** What stands in the way of one more request. */
function hurdles(key: AccessKey, account: Account, now: number, tokens: number): Hurdle[] {
  const { rpm, tpm, maxParallel } = key;
  const found: Hurdle[] = [];
  if (rpm !== undefined) {
    const waitMs = account.requests.waitMs(now, rpm, 1);
    if (waitMs > 0) found.push({ waitMs, limit: `requests a minute (RPM: ${rpm})` });
  }
  if (tpm !== undefined) {
    const waitMs = account.tokens.waitMs(now, tpm, tokens);
    if (waitMs > 0) found.push({ waitMs, limit: `tokens a minute (TPM: ${tpm})` });
  }
  if (maxParallel !== undefined && account.running >= maxParallel) {
    found.push({ waitMs: PARALLEL_RETRY_MS, limit: `parallel requests (${maxParallel})` });
  }
  return found;
}

function refuse(found: readonly Hurdle[]): void {
  const [first, ...others] = found;
  if (!first) return;
  const { waitMs, limit } = others.reduce((a, b) => (b.waitMs > a.waitMs ? b : a), first);
  throw new GatewayError('rate_limited', `This API key has reached its limit of ${limit}.`, {
    retryAfterMs: waitMs,
  });
}

/** A request that is larger than the whole limit passes when nothing else counts: it could not pass at any other time. */
function tokensOf({ promptTokens, outputTokens }: Cost, { tpm = 0 }: AccessKey): number {
  return Math.min(promptTokens + outputTokens, tpm);
}

function stateOf(
  limit: number | undefined,
  window: SlidingWindow | undefined,
  now: number,
): LimitState | undefined {
  if (limit === undefined) return undefined;
  if (!window) return { limit, remaining: limit, resetMs: 0 };
  return { limit, remaining: Math.max(0, limit - window.total(now)), resetMs: window.emptyInMs(now) };
}

function isLimited({ maxParallel, rpm, tpm }: AccessKey): boolean {
  return maxParallel !== undefined || rpm !== undefined || tpm !== undefined;
}

function idOf({ digest }: AccessKey): string {
  return digest.toString('base64');
}
