// The places that are promised to those who were refused, as they may be divided: each class has those of its own part of what
// the back ends get done, and in it each tenant no more than its own. Else one who floods would have itself promised what
// there is, and everybody else would come too late.
// It must never promise more in all than can be kept (`bookings.ts` sees to that, class by class).
import type { Clock } from '../core/clock.ts';
import { PRIORITIES, type Priority } from '../core/priority.ts';
import { Bookings } from './bookings.ts';
import { Calendar } from './calendar.ts';
import type { Shares } from './class-shares.ts';

/** Whose place it is to be. */
export interface Claimant {
  readonly priority: Priority;
  readonly tenant: string;
  readonly weight: number;
}

export interface PlaceRequest extends Claimant {
  /** By which the call is known when it comes back. */
  readonly key: string;
  /** Cost of the call. */
  readonly tokens: number;
  /** When it could be served if nothing was promised to anybody, on the clock. */
  readonly earliestAt: number;
  /** What the back ends get done, of all classes and tenants. */
  readonly tokensPerMs: number;
}

interface Tenant {
  weight: number;
  seenAt: number;
  /** What it was promised of its part; absent: nothing yet. */
  calendar?: Calendar;
}

interface ClassPlaces {
  readonly bookings: Bookings;
  /** Those who were there lately, or have places. */
  readonly tenants: Map<string, Tenant>;
}

/** Who has sent nothing for so long needs no part kept free. */
const PRESENT_MS = 10_000;
/** From one look for those who have gone to the next. */
const SWEEP_MS = 1_000;

export class PromisedPlaces {
  readonly #clock: Clock;
  readonly #shares: Readonly<Record<Priority, number>>;
  readonly #classes: Readonly<Record<Priority, ClassPlaces>>;
  #sweptAt = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock, shares: Shares) {
    this.#clock = clock;
    this.#shares = { ...shares, interactive: 1 - shares.standard - shares.batch };
    const placesOf = (): ClassPlaces => ({ bookings: new Bookings(clock), tenants: new Map() });
    this.#classes = { interactive: placesOf(), standard: placesOf(), batch: placesOf() };
  }

  /** Places that are promised and neither claimed nor over. */
  get size(): number {
    return PRIORITIES.reduce((sum, priority) => sum + this.#classes[priority].bookings.size, 0);
  }

  /** Somebody is there who may want a part. */
  seen({ priority, tenant, weight }: Claimant): void {
    this.#sweep();
    const { tenants } = this.#classes[priority];
    const seenAt = this.#clock.now();
    const known = tenants.get(tenant);
    if (known) {
      known.weight = weight;
      known.seenAt = seenAt;
    } else tenants.set(tenant, { weight, seenAt });
  }

  /** When to come back, on the clock; undefined: there is no place for it within a minute. */
  book({ priority, tenant, weight, key, tokens, earliestAt, tokensPerMs }: PlaceRequest): number | undefined {
    this.seen({ priority, tenant, weight });
    const { bookings, tenants } = this.#classes[priority];
    const own = tenants.get(tenant)!;
    const classRate = tokensPerMs * this.#partOf(priority);
    let weights = 0;
    for (const one of tenants.values()) weights += one.weight;
    own.calendar ??= new Calendar(this.#clock);
    return bookings.book({
      key,
      tokens,
      earliestAt,
      tokensPerMs: classRate,
      own: { calendar: own.calendar, tokensPerMs: (classRate * weight) / weights },
    });
  }

  /** Whether a call has a place for which it comes at its time; then that is used up. */
  claim(priority: Priority, key: string): boolean {
    const { bookings } = this.#classes[priority];
    return bookings.size > 0 && bookings.claim(key, this.#clock.now());
  }

  /** Tokens of those who go before a call of this class that comes fresh, if it has its slot at `at`. */
  tokensDueBefore(priority: Priority, at: number): number {
    let tokens = 0;
    for (const one of PRIORITIES) {
      tokens += this.#classes[one].bookings.tokensDueBefore(at);
      if (one === priority) break;
    }
    return tokens;
  }

  /** 0 to 1: what of all that is served a class can count on. Those above it take all they want but its share. */
  #partOf(priority: Priority): number {
    const at = PRIORITIES.indexOf(priority);
    const isPresent = (one: Priority) => this.#classes[one].tenants.size > 0;
    if (PRIORITIES.slice(0, at).some(isPresent)) return this.#shares[priority];
    const below = PRIORITIES.slice(at + 1).filter(isPresent);
    return below.reduce((part, one) => part - this.#shares[one], 1);
  }

  #sweep(): void {
    const now = this.#clock.now();
    if (now - this.#sweptAt < SWEEP_MS) return;
    this.#sweptAt = now;
    for (const { tenants } of Object.values(this.#classes)) {
      for (const [name, { seenAt, calendar }] of tenants) {
        if (now - seenAt > PRESENT_MS && (calendar?.isFree ?? true)) tenants.delete(name);
      }
    }
  }
}
