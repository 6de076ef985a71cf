// When and where a call runs. Calls wait here, not in a back end: who runs next is chosen when a slot frees, so a slow back
// end holds up nobody who could run elsewhere. Calls that lost their back end go first; then the classes by their shares,
// tenants by what they were served, deadlines. Nobody waits for a back end that is busy or cannot be reached.
// There is no await between choosing a slot and taking it, so there are no locks.
import type { Backend } from '../core/backend.ts';
import type { Clock } from '../core/clock.ts';
import type { GatewayError } from '../core/errors.ts';
import type { Ticket } from '../core/ticket.ts';
import { Admission, type Applicant } from './admission.ts';
import { type Shares, USUAL_SHARES } from './class-shares.ts';
import type { Lease } from './lease.ts';
import { type Choice, nextCall } from './next-call.ts';
import { candidatesOf, lookAt, type Placement, prospectsOf, route } from './placement.ts';
import { type Pool, pressingFrom, type Waiter } from './pool.ts';
import { Pools } from './pools.ts';
import { makeWay } from './preemption.ts';
import { RecentMean } from './recent-mean.ts';
import { LEAST_RETRY_MS, MOST_RETRY_MS, refusalOf } from './refusal.ts';
import { type RoutingWeights, USUAL_WEIGHTS } from './router.ts';
import { Seat } from './seat.ts';
import { SessionHomes } from './session-homes.ts';

export type { Lease } from './lease.ts';

export interface SchedulerOptions {
  readonly clock: Clock;
  /**
   * Expected tokens (prompt and output) of one class that may wait at once for the same back ends. A call that finds none
   * of its class waiting may always wait.
   */
  readonly maxWaitingTokens: number;
  /** The longest that a call waits, in ms. */
  readonly maxWaitMs: number;
  /** What the lower classes are guaranteed. */
  readonly shares?: Shares | undefined;
  /** What counts when a call could go to several back ends. */
  readonly routing?: RoutingWeights | undefined;
  /** From 0 to below 1: which of equals is taken. */
  readonly random?: (() => number) | undefined;
}

export interface SchedulerSnapshot {
  readonly waiting: number;
  readonly running: number;
}

/** A call that is to run, and what is known of it. */
interface Start {
  readonly ticket: Ticket;
  readonly tokens: number;
  readonly since: number;
  readonly predictedFirstTokenMs: number | undefined;
}

/** A call that has to wait for that. */
interface Wait extends Start {
  readonly pool: Pool;
  readonly isPromised: boolean;
  /** When it gives up. */
  readonly dueAt: number;
  /** From then on it goes before all, if a place was kept for it. */
  readonly pressesAt: number;
}

/** A call that comes, and where it could go. */
interface Arrival extends Applicant {
  readonly free: Placement | undefined;
}

/** What has a usual value where the options do not say. */
interface Chosen {
  readonly shares: Shares;
  readonly routing: RoutingWeights;
  readonly random: () => number;
}

export class Scheduler {
  readonly #options: SchedulerOptions & Chosen;
  readonly #admission: Admission;
  readonly #seats = new Map<Backend, Seat>();
  readonly #pools: Pools;
  readonly #homes = new SessionHomes();
  /** Where there may be a slot that there was not before. */
  readonly #changed = new Set<Seat>();
  #isAtWork = false;
  #seatsMade = 0;
  #running = 0;
  /** How long calls lately had their slots, in ms. */
  readonly #hold = new RecentMean(1_000);

  constructor(options: SchedulerOptions) {
    const { clock, maxWaitingTokens } = options;
    const { shares = USUAL_SHARES, routing = USUAL_WEIGHTS, random = Math.random } = options;
    this.#options = { ...options, shares, routing, random };
    const retryAfterMs = () => this.retryAfterMs();
    const usualHoldMs = () => this.#hold.value;
    this.#pools = new Pools(clock, shares);
    this.#admission = new Admission({ clock, maxWaitingTokens, shares, retryAfterMs, usualHoldMs });
  }

  /**
   * Resolves when the call may run. Rejects with `overloaded` at once if the queue is full or the first token would come after
   * the ticket's deadline, `queue_timeout` if no slot came in time, `backend_busy` if every back end that could run it is
   * down or wants to be left alone, `not_ready` if none of them can be reached or will come back, or the ticket's own abort
   * reason.
   */
  acquire(ticket: Ticket): Promise<Lease> {
    if (ticket.signal.aborted) return Promise.reject(ticket.signal.reason);
    return this.#atWork(() => {
      const refusal = this.#refusalOf(candidatesOf(ticket));
      return refusal ? Promise.reject(refusal) : this.#admit(ticket);
    });
  }

  /** A lease if there is a slot that nobody waits for; undefined: there is none. It never waits, and tries nobody who is down. */
  tryAcquire(ticket: Ticket): Lease | undefined {
    if (ticket.signal.aborted) return undefined;
    return this.#atWork(() => {
      const placements = this.#lookAt(ticket);
      const free = this.#route(ticket, placements);
      if (!free || free.seat.pools.size > 0) return undefined;
      const tokens = this.#admission.tokensOf(ticket);
      const since = this.#options.clock.now();
      return this.#start(free.seat, { ticket, tokens, since, predictedFirstTokenMs: undefined });
    });
  }

  /**
   * When the call's first token would come at the latest, in 99 of 100 cases, if it were acquired now, in ms; undefined: not
   * enough was measured yet.
   */
  predictedFirstTokenMs(ticket: Ticket): number | undefined {
    return this.#atWork(() => {
      const prediction = this.#admission.predict(this.#arrivalOf(ticket));
      return prediction && prediction.ms + prediction.marginMs;
    });
  }

  snapshot(): SchedulerSnapshot {
    return { waiting: this.#pools.waiting, running: this.#running };
  }

  /** Calls that run on one back end. */
  runningOn(backend: Backend): number {
    return this.#seats.get(backend)?.running ?? 0;
  }

  /** Calls that a back end is given at once now: the least of its slots and of what its limit has found out. */
  placesOn(backend: Backend): number {
    return this.#seatOf(backend).places(backend.load());
  }

  /** When a call that is refused now could have its turn, in ms: what waits, times what a call lately took. */
  retryAfterMs(): number {
    let slots = 0;
    for (const { backend } of this.#seats.values()) slots += backend.load().slots;
    const estimate = ((this.#pools.waiting + 1) * this.#hold.value) / Math.max(1, slots);
    return Math.round(Math.min(MOST_RETRY_MS, Math.max(LEAST_RETRY_MS, estimate)));
  }

  /** What happens while it is at work (a back end calls back when it is looked at) is seen to afterwards. */
  #atWork<T>(action: () => T): T {
    if (this.#isAtWork) return action();
    this.#isAtWork = true;
    try {
      const result = action();
      for (const seat of this.#changed) {
        this.#changed.delete(seat);
        this.#assign(seat);
      }
      return result;
    } finally {
      this.#isAtWork = false;
    }
  }

  #admit(ticket: Ticket): Promise<Lease> {
    const since = this.#options.clock.now();
    const arrival = this.#arrivalOf(ticket);
    const { pool, tokens, free } = arrival;
    const isFresh = !ticket.resumes && !ticket.wasPreempted;
    if (isFresh) pool.arrived(ticket);
    const isPromised = isFresh && this.#admission.claim(ticket, pool);
    const prediction = this.#admission.predict(arrival, isPromised || ticket.resumes);
    if (isFresh && !isPromised) {
      const refusal = this.#admission.refusalOf(arrival, prediction, free === undefined);
      if (refusal) {
        const { backends } = pool;
        for (const one of backends) this.#seats.get(one)?.refused.add(ticket.priority, 1 / backends.length);
        return Promise.reject(refusal);
      }
    }
    const start: Start = { ticket, tokens, since, predictedFirstTokenMs: prediction?.ms };
    if (free && free.seat.pools.size === 0) return Promise.resolve(this.#start(free.seat, start));
    const { deadlineAt = Infinity } = ticket;
    const givesUpAt = since + this.#options.maxWaitMs;
    const neededMs = prediction ? prediction.ms - prediction.queueMs : 0;
    const latestStartAt = Math.min(givesUpAt, deadlineAt - neededMs);
    // After that it would compute in vain. A promise is not broken for what is only likely.
    const dueAt = isPromised ? Math.min(givesUpAt, deadlineAt) : latestStartAt;
    const pressesAt = pressingFrom(ticket, since, latestStartAt);
    const wait: Wait = { ...start, pool, isPromised, dueAt, pressesAt };
    return new Promise((resolve, reject) => this.#wait(wait, resolve, reject));
  }

  #arrivalOf(ticket: Ticket): Arrival {
    const placements = this.#lookAt(ticket);
    const pool = this.#pools.of(placements.map(({ seat }) => seat));
    const rivals = new Set<Pool>();
    for (const { seat } of placements) for (const other of seat.pools) if (other !== pool) rivals.add(other);
    const free = this.#route(ticket, placements);
    const prospects = prospectsOf(placements, ticket, free);
    return { ticket, tokens: this.#admission.tokensOf(ticket), pool, rivals, prospects, free };
  }

  #wait(wait: Wait, resolve: (lease: Lease) => void, reject: (error: Error) => void): void {
    const { clock } = this.#options;
    const { pool, ticket, since, dueAt } = wait;
    const end = () => {
      cancelTimer();
      ticket.signal.removeEventListener('abort', onAbort);
      if (pool.size === 0) this.#nobodyWaitsFor(pool);
    };
    const waiter: Waiter = {
      ...wait,
      tenant: ticket.tenant,
      weight: ticket.weight ?? 1,
      isDue: ticket.deadlineAt !== undefined,
      place: undefined,
      heapIndex: -1,
      isGone: false,
      give: (lease) => {
        end();
        resolve(lease);
      },
      refuse: (error) => {
        if (waiter.isGone) return;
        pool.remove(waiter);
        end();
        reject(error);
      },
      expire: () =>
        this.#atWork(() => {
          const waitedMs = clock.now() - since;
          waiter.refuse(this.#admission.timeout(this.#arrivalOf(ticket), waitedMs));
        }),
    };
    const onAbort = () => waiter.refuse(ticket.signal.reason);
    const cancelTimer = clock.after(Math.max(0, dueAt - since), waiter.expire);
    ticket.signal.addEventListener('abort', onAbort);
    this.#push(waiter, pool);
  }

  #push(waiter: Waiter, pool: Pool): void {
    pool.push(waiter, this.#pools.waitedFor);
    this.#pools.waitedFor.add(pool);
    for (const backend of pool.backends) {
      const seat = this.#seats.get(backend);
      seat?.pools.add(pool);
      if (seat) this.#changed.add(seat);
    }
  }

  #nobodyWaitsFor(pool: Pool): void {
    this.#pools.waitedFor.delete(pool);
    for (const backend of pool.backends) this.#seats.get(backend)?.nobodyWaitsIn(pool);
  }

  #seeTo(seat: Seat): void {
    this.#atWork(() => this.#changed.add(seat));
  }

  /** Gives a back end's free slots to those who wait for it. */
  #assign(seat: Seat): void {
    for (const pool of seat.pools) {
      const refusal = this.#refusalOf(pool.backends);
      if (refusal) for (const waiter of pool) waiter.refuse(refusal);
    }
    while (seat.pools.size > 0 && seat.running < seat.places(seat.backend.load())) {
      const choice = nextCall(seat, this.#options.clock.now());
      if (!choice) break;
      const { pool, waiter, turn, heads } = choice;
      if (seat.running >= seat.placesFor(waiter.ticket, seat.backend.load())) break;
      const refusal = this.#secondThought(seat, waiter);
      if (refusal) {
        waiter.refuse(refusal);
        continue;
      }
      pool.take(waiter);
      seat.shares.served(turn, waiter.tokens, heads);
      waiter.give(this.#start(seat, waiter, choice));
    }
    for (const pool of seat.pools) this.#preemptFor(pool);
    if (seat.pools.size > 0) seat.wakeWhenReady(() => this.#seeTo(seat));
  }

  /**
   * A call that was let in when nothing could be said yet may be refused by what is known now that it could begin here. Still too
   * little to tell, but enough to see that it would come too late for certain, sends it away as well: it would only be in the
   * way of others.
   */
  #secondThought(
    seat: Seat,
    { ticket, since, predictedFirstTokenMs, isPromised }: Waiter,
  ): GatewayError | undefined {
    const { deadlineAt } = ticket;
    if (predictedFirstTokenMs !== undefined || deadlineAt === undefined) return undefined;
    if (isPromised || ticket.resumes || ticket.wasPreempted) return undefined;
    const arrival = this.#arrivalOf(ticket);
    const refusal = this.#admission.refusalOf(arrival, this.#admission.predict(arrival, true), false);
    if (refusal) return refusal;
    const now = this.#options.clock.now();
    const { service } = seat;
    // Who finds a back end idle would gain nothing by waiting, whatever the few before it took.
    if (service.running === 0) return undefined;
    const guessMs = service.guessFirstTokenMs(
      service.promptTokens + ticket.cost.promptTokens,
      service.decoding,
    );
    return now + guessMs > deadlineAt ? this.#admission.timeout(arrival, now - since) : undefined;
  }

  #preemptFor({ queues, backends }: Pool): void {
    const waiting = queues.interactive.size;
    if (waiting === 0) return;
    const calls = backends.flatMap((backend) => this.#seats.get(backend)?.calls.items ?? []);
    makeWay(calls, waiting);
  }

  #start(seat: Seat, start: Start, choice?: Choice): Lease {
    const { ticket } = start;
    const { tenant, session } = ticket;
    if (session !== undefined) this.#homes.ran(tenant, session, seat.backend.id);
    this.#running += 1;
    return seat.begin({
      ...start,
      isEarned: choice?.turn.isEarned ?? false,
      onSpoke: () => this.#seeTo(seat),
      onReleased: (call, outcome, usage) => {
        this.#running -= 1;
        this.#hold.add(this.#options.clock.now() - call.startedAt);
        const output = usage?.completionTokens;
        if (outcome === 'ok' && output !== undefined) this.#admission.answered(ticket, output);
        choice?.pool.settle(choice.waiter, call.tokensUsed(usage));
        this.#forgetIfGone(seat);
        this.#seeTo(seat);
      },
    });
  }

  /** Why a call is not to wait for these back ends. One that may be tried, where there is no other, is seen to. */
  #refusalOf(backends: readonly Backend[]): GatewayError | undefined {
    const refusal = refusalOf(backends);
    if (!refusal) return undefined;
    const tried = backends.find((backend) => backend.tryNow?.() === true);
    if (!tried) return refusal;
    this.#changed.add(this.#seatOf(tried));
    return undefined;
  }

  #lookAt(ticket: Ticket): Placement[] {
    return lookAt(ticket, (backend) => this.#seatOf(backend));
  }

  #route(ticket: Ticket, placements: readonly Placement[]): Placement | undefined {
    const { routing: weights, random } = this.#options;
    const { tenant, session, deadlineAt = Infinity } = ticket;
    const home = session === undefined ? undefined : this.#homes.homeOf(tenant, session);
    const withinMs = Math.max(0, deadlineAt - this.#options.clock.now());
    return route(placements, ticket, { weights, random, home, withinMs });
  }

  #seatOf(backend: Backend): Seat {
    let seat = this.#seats.get(backend);
    if (!seat) {
      const { clock, shares } = this.#options;
      const made = new Seat({ backend, number: this.#seatsMade++, clock, shares });
      made.unsubscribe = backend.onLoadChange(() => {
        this.#seeTo(made);
        this.#forgetIfGone(made);
      });
      seat = made;
      this.#seats.set(backend, seat);
    }
    return seat;
  }

  #forgetIfGone(seat: Seat): void {
    const { backend } = seat;
    if (seat.running > 0 || backend.load().state !== 'closed') return;
    seat.close();
    this.#seats.delete(backend);
    this.#pools.forget(backend);
  }
}
