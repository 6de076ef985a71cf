// Whether a back end is worth asking: a circuit breaker over what its calls and probes came to, and the rest that it asked
// for. A refusal of a request says nothing about health; "too much to do" means busy, not dead.
// It must never look at a clock of its own: `now` is given, in ms.
import type { BackendLoad } from '../../core/backend.ts';

/** Calls of which the failures' share is looked at. */
const WINDOW = 20;
const LEAST_CALLS = 10;
const MOST_FAILED_SHARE = 0.5;
const MOST_IN_A_ROW = 5;
/** Of calls that did not even get a connection: there is nothing to wait for. */
const MOST_UNREACHABLE = 2;
const FIRST_REST_MS = 1_000;
const LONGEST_REST_MS = 30_000;
/** From a failure to a try for want of anybody else: who is really away is not asked by every call that comes. */
const LEAST_BEFORE_TRY_MS = 100;
/** A server that says only that it has too much to do. */
const USUAL_BUSY_MS = 1_000;
const LONGEST_BUSY_MS = 3_600_000;

export type HealthState = 'unknown' | 'ready' | 'busy' | 'down' | 'trial';

export interface HealthOptions {
  /** Monotonic, in ms. */
  readonly now: () => number;
  /** 0 to 1: spreads what gateways would else do at the same moment. */
  readonly random: () => number;
  /** The state is another one than before, or the same rest was begun again. */
  readonly onChange: (state: HealthState, reason: string | undefined) => void;
}

export class Health {
  readonly #options: HealthOptions;
  #state: HealthState = 'unknown';
  #reason: string | undefined;
  /** The end of `busy` or `down`. */
  #until = 0;
  #restMs = FIRST_REST_MS;
  #failuresInARow = 0;
  #unreachableInARow = 0;
  /** The last calls: true where one failed. */
  #last: boolean[] = [];
  #failedAt = Number.NEGATIVE_INFINITY;
  /** It is down for want of a connection: a try costs no time. */
  #isBroken = false;

  constructor(options: HealthOptions) {
    this.#options = options;
  }

  /**
   * As it is now. What was `busy` is ready when its time is over; what was `down` gets one call to try, but where there was
   * no connection a probe must find one first: calls are not to wait for a host that swallows them. Nobody is told of
   * what time alone has changed: who looks must be able to look at any moment.
   */
  get state(): HealthState {
    const isResting = this.#state === 'busy' || this.#state === 'down';
    if (!isResting || this.#options.now() < this.#until) return this.#state;
    if (this.#state === 'busy') return 'ready';
    return this.#isBroken ? 'down' : 'trial';
  }

  get reason(): string | undefined {
    return this.state === this.#state ? this.#reason : undefined;
  }

  /** Until it is worth asking again, in ms; 0: now. */
  get retryAfterMs(): number {
    const { state } = this;
    return state === 'busy' || state === 'down' ? Math.max(0, this.#until - this.#options.now()) : 0;
  }

  /** A call was answered, or a refusal that is the request's own fault came back. */
  succeeded(): void {
    this.#count(false);
    this.#failuresInARow = 0;
    this.#unreachableInARow = 0;
    this.#restMs = FIRST_REST_MS;
    if (this.#state !== 'busy' && this.#state !== 'ready') this.#become('ready', undefined);
  }

  /**
   * `unreachable`: there was no connection at all. `broken`: or there is none any more, so that a process may have ended,
   * and another begun. `reason`: a sentence for people.
   */
  failed(reason: string, { unreachable, broken }: { unreachable: boolean; broken: boolean }): void {
    this.#count(true);
    this.#failedAt = this.#options.now();
    this.#isBroken = broken;
    this.#failuresInARow += 1;
    this.#unreachableInARow = unreachable ? this.#unreachableInARow + 1 : 0;
    const failed = this.#last.filter(Boolean).length;
    const isBad =
      this.state === 'trial' ||
      this.#failuresInARow >= MOST_IN_A_ROW ||
      this.#unreachableInARow >= MOST_UNREACHABLE ||
      (this.#last.length >= LEAST_CALLS && failed / this.#last.length >= MOST_FAILED_SHARE);
    if (isBad) this.#rest(reason);
  }

  /** It asked to be left alone for so long. */
  busy(retryAfterMs: number | undefined, reason: string): void {
    const ms = Math.min(LONGEST_BUSY_MS, retryAfterMs ?? USUAL_BUSY_MS);
    this.#until = Math.max(this.#state === 'busy' ? this.#until : 0, this.#options.now() + ms);
    this.#become('busy', reason);
  }

  /** A probe was answered: whoever could not be reached may be tried. */
  reached(): void {
    this.#unreachableInARow = 0;
    if (this.#state === 'unknown') this.#become('ready', undefined);
    else if (this.#state === 'down') this.#become('trial', undefined);
  }

  /**
   * A call has nobody else: whether it may try one that is down before its rest is over. Nobody is told: who asks knows,
   * and what the try comes to is told.
   */
  tryNow(): boolean {
    const { state } = this;
    if (state !== 'down') return state === 'trial';
    if (!this.#isBroken || this.#options.now() - this.#failedAt < LEAST_BEFORE_TRY_MS) return false;
    this.#state = 'trial';
    this.#reason = undefined;
    return true;
  }

  /** A probe got no connection. */
  unreachable(reason: string): void {
    if (this.#state === 'busy') return;
    this.#failedAt = this.#options.now();
    this.#isBroken = true;
    this.#rest(reason);
  }

  /** Each rest is longer than the one before, and of no fixed length: many gateways must not come back at once. */
  #rest(reason: string): void {
    const { now, random } = this.#options;
    this.#until = now() + this.#restMs * (0.75 + 0.5 * random());
    this.#restMs = Math.min(LONGEST_REST_MS, this.#restMs * 2);
    this.#last = [];
    this.#become('down', reason);
  }

  #count(isFailure: boolean): void {
    this.#last.push(isFailure);
    if (this.#last.length > WINDOW) this.#last.shift();
  }

  #become(state: HealthState, reason: string | undefined): void {
    // The same rest again is another one: it ends later.
    const isNew = state !== this.#state || state === 'busy' || state === 'down';
    this.#state = state;
    this.#reason = reason;
    if (isNew) this.#options.onChange(state, reason);
  }
}

/** The state as the scheduler knows it; a trial is one call at a time. */
export function loadStateOf(state: HealthState): BackendLoad['state'] {
  if (state === 'unknown') return 'loading';
  return state === 'trial' ? 'ready' : state;
}
