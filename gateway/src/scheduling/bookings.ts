// The queue of those who were refused: each is told when to come back, and by then there is a place for it. Without it fresh
// arrivals take every place that gets free, and one common time to come back makes a herd.
// It must never promise what there is no room for: who gets no place is not told a time.
import type { Clock } from '../core/clock.ts';
import { Calendar, quarterOf } from './calendar.ts';

export interface BookingRequest {
  /** By which the client is known again: two bookings of one key are two places. */
  readonly key: string;
  /** Cost of the call. */
  readonly tokens: number;
  /** When it could be served if nobody had booked before it, on the clock. */
  readonly earliestAt: number;
  /** The rate at which the back ends get through such tokens. */
  readonly tokensPerMs: number;
  /** What its tenant may have of that, and has; absent: all of it. */
  readonly own?: { readonly calendar: Calendar; readonly tokensPerMs: number } | undefined;
}

interface Booking {
  readonly key: string;
  readonly dueAt: number;
  readonly tokens: number;
  readonly quarter: Quarter;
}

/** Who is due in a quarter of a second. */
interface Quarter {
  /** Of those who have not come yet. */
  tokens: number;
  readonly bookings: Set<Booking>;
}

const SECOND_MS = 1_000;
/** A little less than the second, so that whoever rounds the rest of it up does not make it one more. */
const ROUNDING_MS = 1;
/** Further ahead nobody is told to come back: OpenAI's clients take a longer `Retry-After` for a mistake. */
const HORIZON_MS = 60_000;
/** A client's clock, and the way here, may be a little quicker than was thought. */
const EARLY_MS = 250;
const LATE_MS = 5_000;
/** Who has not come so long after its time has most likely gone: no place is kept free for it any more. */
const KEPT_MS = 500;
const MOST_BOOKINGS = 10_000;
/**
 * How much of the rate is given away beforehand. Calls take longer than was thought and come together by chance, and a queue
 * that is full to the brim never gets shorter again. Nothing is lost by it: the rest goes to those who come meanwhile.
 */
const BOOKED_SHARE = 0.85;

/** One for each set of back ends that are waited for alike. In memory of one process; bounded in number and time. */
export class Bookings {
  readonly #clock: Clock;
  readonly #calendar: Calendar;
  /** By the key, in the order of their times. */
  readonly #byKey = new Map<string, Booking[]>();
  /** By their numbers; those that are over are swept out when the next one is looked at. */
  readonly #quarters = new Map<number, Quarter>();
  #oldest = 0;
  #size = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#calendar = new Calendar(clock);
  }

  /** Places that are booked and neither claimed nor over. */
  get size(): number {
    this.#sweep();
    return this.#size;
  }

  /**
   * Books the first place from `earliestAt` on that nobody has, and that its tenant may have, and returns its time on the clock:
   * whole seconds from now, because that is when clients come back. Undefined: there is none within a minute, or too many are
   * booked already; those keep theirs.
   */
  book({ key, tokens, earliestAt, tokensPerMs, own }: BookingRequest): number | undefined {
    this.#sweep();
    if (this.#size >= MOST_BOOKINGS || !(tokensPerMs > 0)) return undefined;
    const dueAt = this.#firstWithRoom(earliestAt, own?.calendar);
    if (dueAt === undefined) return undefined;
    this.#calendar.take(dueAt, tokens / (tokensPerMs * BOOKED_SHARE));
    own?.calendar.take(dueAt, tokens / own.tokensPerMs);
    const quarter = this.#quarter(quarterOf(dueAt));
    const booking: Booking = { key, dueAt, tokens, quarter };
    quarter.tokens += tokens;
    quarter.bookings.add(booking);
    const same = this.#byKey.get(key) ?? [];
    same.push(booking);
    same.sort((one, other) => one.dueAt - other.dueAt);
    this.#byKey.set(key, same);
    this.#size += 1;
    return dueAt;
  }

  /** Whether `key` has a place for which it comes at its time; then that place is used up. */
  claim(key: string, at: number): boolean {
    this.#sweep();
    const booking = this.#byKey
      .get(key)
      ?.find(({ dueAt }) => at >= dueAt - EARLY_MS && at <= dueAt + LATE_MS);
    if (!booking) return false;
    this.#forget(booking);
    return true;
  }

  /**
   * Of those who are due by then and have not come yet, to the quarter of a second: they go before fresh arrivals. Who is
   * late may still come, but nothing is kept free for it any more. To look half of a fresh call's own time ahead is enough:
   * who is due later than that finds that much of the work done.
   */
  tokensDueBefore(at: number): number {
    this.#sweep();
    const first = quarterOf(this.#clock.now() - KEPT_MS);
    const last = quarterOf(Math.min(at, this.#clock.now() + HORIZON_MS));
    let tokens = 0;
    for (let number = first; number <= last; number += 1) tokens += this.#quarters.get(number)?.tokens ?? 0;
    return tokens;
  }

  /** The first time, in whole seconds from now, at which something is left. */
  #firstWithRoom(earliestAt: number, own: Calendar | undefined): number | undefined {
    const now = this.#clock.now();
    const first = Math.max(1, Math.ceil((earliestAt - now) / SECOND_MS));
    for (let seconds = first; seconds * SECOND_MS <= HORIZON_MS; seconds += 1) {
      const dueAt = now + seconds * SECOND_MS - ROUNDING_MS;
      if (this.#calendar.hasRoomAt(dueAt) && (own?.hasRoomAt(dueAt) ?? true)) return dueAt;
    }
    return undefined;
  }

  #quarter(number: number): Quarter {
    let quarter = this.#quarters.get(number);
    if (!quarter) {
      quarter = { tokens: 0, bookings: new Set() };
      this.#quarters.set(number, quarter);
    }
    return quarter;
  }

  #forget(booking: Booking): void {
    const { key, quarter, tokens } = booking;
    if (!quarter.bookings.delete(booking)) return;
    quarter.tokens = quarter.bookings.size === 0 ? 0 : quarter.tokens - tokens;
    const rest = this.#byKey.get(key)!.filter((one) => one !== booking);
    if (rest.length > 0) this.#byKey.set(key, rest);
    else this.#byKey.delete(key);
    this.#size -= 1;
  }

  /** Forgets those who did not come. */
  #sweep(): void {
    if (this.#quarters.size === 0) return;
    const oldest = quarterOf(this.#clock.now() - LATE_MS);
    if (oldest === this.#oldest) return;
    this.#oldest = oldest;
    for (const [number, quarter] of this.#quarters) {
      if (number >= oldest) continue;
      for (const booking of quarter.bookings) this.#forget(booking);
      this.#quarters.delete(number);
    }
  }
}
