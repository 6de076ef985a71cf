// What a server with limits by time lets us have until they begin anew, as the headers of its answers say it
// (`x-ratelimit-remaining-requests` and their kin): so that it is left alone before it has to refuse.
// It must never look at a clock of its own: `now` is given, in ms. What it says is bounded: no server can make us wait for more
// than an hour.
import type { CallBudget } from '../../core/backend.ts';
import { countOf, resetOf } from './retry-after.ts';
import type { UpstreamHeaders } from './upstream-reader.ts';

/** What is left of one limit, and when that is over. */
interface Allowance {
  left: number;
  readonly until: number;
}

/** Where a limit is told, by the names of its headers. */
interface LimitHeaders {
  readonly remaining: string;
  readonly reset: string;
}

/** The first that is there counts. */
const OF_REQUESTS: readonly LimitHeaders[] = [
  { remaining: 'x-ratelimit-remaining-requests', reset: 'x-ratelimit-reset-requests' },
  { remaining: 'x-ratelimit-remaining', reset: 'x-ratelimit-reset' },
  { remaining: 'ratelimit-remaining', reset: 'ratelimit-reset' },
];
const OF_TOKENS: readonly LimitHeaders[] = [
  { remaining: 'x-ratelimit-remaining-tokens', reset: 'x-ratelimit-reset-tokens' },
];

/** A call is on its way. Takes the status and headers of its answer, or nothing where none came; only the first call counts. */
export type Answered = (status?: number, headers?: UpstreamHeaders) => void;

export class RateBudget {
  /** Monotonic. */
  readonly #now: () => number;
  /** Ms since the epoch, for servers that name a point in time. */
  readonly #wallNow: () => number;
  #requests: Allowance | undefined;
  #tokens: Allowance | undefined;
  /** Calls whose answer has not begun: what they take, no header has told yet. */
  #underWay = 0;

  constructor(now: () => number, wallNow: () => number) {
    this.#now = now;
    this.#wallNow = wallNow;
  }

  /** A call goes out. */
  sent(): Answered {
    this.#underWay += 1;
    if (this.#requests) this.#requests.left = Math.max(0, this.#requests.left - 1);
    let isOpen = true;
    return (status, headers) => {
      if (!isOpen) return;
      isOpen = false;
      this.#underWay -= 1;
      if (status === undefined || headers === undefined) return;
      // A refusal says itself when it is over.
      if (status === 429 || status === 503) this.#forget();
      else this.#read(headers);
    };
  }

  /** What is left; undefined: nothing is known, or no longer. */
  get current(): CallBudget | undefined {
    const requests = this.#valid(this.#requests);
    const tokens = this.#valid(this.#tokens);
    if (!requests && !tokens) return undefined;
    const all = [requests, tokens].filter((one) => one !== undefined);
    const usedUp = all.filter(({ left }) => left < 1);
    // Where two are used up, both must have begun anew; where none is, the first makes a difference.
    const until =
      usedUp.length > 0
        ? Math.max(...usedUp.map((one) => one.until))
        : Math.min(...all.map((one) => one.until));
    return { requests: requests?.left, tokens: tokens?.left, resetMs: until - this.#now() };
  }

  /** Whether it would refuse a call: it said so, and nothing is under way whose answer may say better. */
  get isUsedUp(): boolean {
    const { requests = 1, tokens = 1 } = this.current ?? {};
    return this.#underWay === 0 && (requests < 1 || tokens < 1);
  }

  #valid(allowance: Allowance | undefined): Allowance | undefined {
    return allowance && allowance.until > this.#now() ? allowance : undefined;
  }

  #forget(): void {
    this.#requests = undefined;
    this.#tokens = undefined;
  }

  /** Without a header this keeps what the last answer said: not every answer has them. */
  #read(headers: UpstreamHeaders): void {
    const requests = this.#allowance(headers, OF_REQUESTS);
    // Some of those under way may be counted already. The last of them to be answered puts it right.
    if (requests) this.#requests = { ...requests, left: Math.max(0, requests.left - this.#underWay) };
    this.#tokens = this.#allowance(headers, OF_TOKENS) ?? this.#tokens;
  }

  /** Of one limit; nothing where the headers do not say when it begins anew, for then nothing could be waited for. */
  #allowance(headers: UpstreamHeaders, names: readonly LimitHeaders[]): Allowance | undefined {
    for (const { remaining, reset } of names) {
      const left = countOf(headers[remaining]);
      const resetMs = left === undefined ? undefined : resetOf(headers[reset], this.#wallNow());
      if (left !== undefined && resetMs !== undefined) return { left, until: this.#now() + resetMs };
    }
    return undefined;
  }
}
