// When and where a call runs. Calls wait here, not in a back end: a back end is chosen when a slot frees, so a slow
// one holds up nobody who could run elsewhere. First come, first served, but for calls that lost their back end: they go
// first. Nobody waits for a back end that is busy or cannot be reached.
// There is no await between choosing a slot and taking it, so there are no locks.
import type { Backend, BackendLoad } from '../core/backend.ts';
import type { Usage } from '../core/chat.ts';
import type { Clock } from '../core/clock.ts';
import { GatewayError } from '../core/errors.ts';
import type { Outcome, Ticket } from '../core/ticket.ts';

/** The right to run one call on one back end. It lives as long as the compute, not as long as the client's socket. */
export interface Lease {
  readonly backend: Backend;
  /** How long the call waited for it, in ms. */
  readonly queueMs: number;
  /** Aborted when the call must stop: the ticket's own signal, or the scheduler took the right back. */
  readonly signal: AbortSignal;
  /** The scheduler took the right back for a more urgent call: this one may go on later, on a lease of its own. */
  readonly isPreempted: boolean;
  /** The back end gave the call's first word. Only the first call counts. */
  spoke(): void;
  /** Gives the slot to the next; `usage` is what it really took, where known. Only the first call counts. */
  release(outcome: Outcome, usage?: Usage): void;
}

export interface SchedulerOptions {
  readonly clock: Clock;
  /** Expected tokens (prompt and output) that may wait at once. A call that finds an empty queue may always wait. */
  readonly maxWaitingTokens: number;
  /** The longest that a call waits, in ms. */
  readonly maxWaitMs: number;
}

export interface SchedulerSnapshot {
  readonly waiting: number;
  readonly running: number;
}

interface Waiter {
  readonly ticket: Ticket;
  readonly tokens: number;
  readonly since: number;
  settle(result: Lease | GatewayError): void;
}

/** A back end's slots as the scheduler counts them. */
interface Seat {
  readonly backend: Backend;
  running: number;
  readonly unsubscribe: () => void;
}

/** Weight of the newest call in the average that Retry-After is made of. */
const HOLD_SMOOTHING = 0.1;
const LEAST_RETRY_MS = 1_000;
const MOST_RETRY_MS = 60_000;

export class Scheduler {
  readonly #options: SchedulerOptions;
  #waiters: Set<Waiter> = new Set();
  readonly #seats = new Map<Backend, Seat>();
  #waitingTokens = 0;
  #running = 0;
  #averageHoldMs = 1_000;

  constructor(options: SchedulerOptions) {
    this.#options = options;
  }

  /**
   * Resolves when the call may run. Rejects with `overloaded` at once if the queue is full, `queue_timeout` if no slot
   * came in time, `backend_busy` if every back end that could run it is down or wants to be left alone, `not_ready` if
   * none of them can be reached or will come back, or the ticket's own abort reason.
   */
  acquire(ticket: Ticket): Promise<Lease> {
    if (ticket.signal.aborted) return Promise.reject(ticket.signal.reason);
    // What is closed stays closed: nobody needs to hear of it again.
    for (const backend of ticket.backends) if (backend.load().state !== 'closed') this.#seat(backend);
    const refusal = refusalOf(ticket);
    if (refusal) return Promise.reject(refusal);
    const free = this.#freeFor(ticket);
    if (free && this.#waiters.size === 0) {
      return Promise.resolve(this.#lease(free, ticket, this.#options.clock.now()));
    }
    const tokens = ticket.cost.promptTokens + ticket.cost.outputTokens;
    const isFull =
      !ticket.resumes &&
      !ticket.wasPreempted &&
      this.#waiters.size > 0 &&
      this.#waitingTokens + tokens > this.#options.maxWaitingTokens;
    // A queue before another model's back ends refuses nobody who would not have to wait in it.
    if (isFull && !free) return Promise.reject(this.#queueIsFull());
    return new Promise((resolve, reject) => this.#wait(ticket, tokens, resolve, reject));
  }

  /** A lease if there is one at once, without waiting and before nobody who waits. */
  tryAcquire(ticket: Ticket): Lease | undefined {
    if (ticket.signal.aborted || this.#waiters.size > 0) return undefined;
    const free = this.#freeFor(ticket);
    return free && this.#lease(free, ticket, this.#options.clock.now());
  }

  snapshot(): SchedulerSnapshot {
    return { waiting: this.#waiters.size, running: this.#running };
  }

  /** Calls that run on one back end. */
  runningOn(backend: Backend): number {
    return this.#seats.get(backend)?.running ?? 0;
  }

  /** When a call that is refused now could have its turn, in ms: what waits, times what a call lately took. */
  retryAfterMs(): number {
    let slots = 0;
    for (const { backend } of this.#seats.values()) slots += backend.load().slots;
    const estimate = ((this.#waiters.size + 1) * this.#averageHoldMs) / Math.max(1, slots);
    return Math.round(Math.min(MOST_RETRY_MS, Math.max(LEAST_RETRY_MS, estimate)));
  }

  #queueIsFull(): GatewayError {
    const message = 'The queue is full: the server has more to do than it can promise to do.';
    return new GatewayError('overloaded', message, { retryAfterMs: this.retryAfterMs() });
  }

  #wait(
    ticket: Ticket,
    tokens: number,
    resolve: (lease: Lease) => void,
    reject: (error: GatewayError) => void,
  ): void {
    const { clock, maxWaitMs } = this.#options;
    const since = clock.now();
    const dueMs = ticket.deadlineAt === undefined ? Infinity : ticket.deadlineAt - since;
    const onAbort = () => waiter.settle(ticket.signal.reason);
    const cancelTimer = clock.after(Math.max(0, Math.min(maxWaitMs, dueMs)), () => {
      const waitedMs = Math.round(clock.now() - since);
      waiter.settle(
        new GatewayError('queue_timeout', `No slot became free in ${waitedMs} ms; nothing was computed.`, {
          retryAfterMs: this.retryAfterMs(),
        }),
      );
    });
    const waiter: Waiter = {
      ticket,
      tokens,
      since,
      settle: (result) => {
        if (!this.#waiters.delete(waiter)) return;
        this.#waitingTokens -= tokens;
        cancelTimer();
        ticket.signal.removeEventListener('abort', onAbort);
        if (result instanceof GatewayError) reject(result);
        else resolve(result);
      },
    };
    ticket.signal.addEventListener('abort', onAbort);
    if (ticket.resumes) this.#waiters = new Set([waiter, ...this.#waiters]);
    else this.#waiters.add(waiter);
    this.#waitingTokens += tokens;
    this.#assign();
  }

  /** Gives free slots to those who wait, oldest first. A back end that calls back while it is looked at changes nothing. */
  #assign(): void {
    for (const waiter of this.#waiters) {
      const { ticket } = waiter;
      const refusal = refusalOf(ticket);
      if (refusal) {
        waiter.settle(refusal);
        continue;
      }
      const backend = this.#freeFor(ticket);
      if (backend && this.#waiters.has(waiter)) waiter.settle(this.#lease(backend, ticket, waiter.since));
    }
  }

  /** Of the call's back ends that could run it now: in the first tier that has any, the one with the least to do. */
  #freeFor({ backends, tiers, excluded }: Ticket): Backend | undefined {
    let best: Backend | undefined;
    let bestTier = 0;
    let leastShare = 1;
    for (let index = 0; index < backends.length; index += 1) {
      const tier = tiers?.[index] ?? index;
      if (best && tier > bestTier) break;
      const backend = backends[index]!;
      const { state, slots } = backend.load();
      if (state !== 'ready' || excluded?.has(backend)) continue;
      const share = this.#seat(backend).running / slots;
      // One without slots has nothing free: its share is no number, or infinite.
      if (!(share < leastShare)) continue;
      best = backend;
      bestTier = tier;
      leastShare = share;
    }
    return best;
  }

  #lease(backend: Backend, ticket: Ticket, since: number): Lease {
    const { clock } = this.#options;
    const seat = this.#seat(backend);
    const startedAt = clock.now();
    seat.running += 1;
    this.#running += 1;
    let isHeld = true;
    return {
      backend,
      queueMs: startedAt - since,
      signal: ticket.signal,
      isPreempted: false,
      spoke: () => {},
      release: () => {
        if (!isHeld) return;
        isHeld = false;
        seat.running -= 1;
        this.#running -= 1;
        this.#averageHoldMs += HOLD_SMOOTHING * (clock.now() - startedAt - this.#averageHoldMs);
        this.#forgetIfGone(seat);
        this.#assign();
      },
    };
  }

  #seat(backend: Backend): Seat {
    let seat = this.#seats.get(backend);
    if (!seat) {
      const made: Seat = {
        backend,
        running: 0,
        unsubscribe: backend.onLoadChange(() => {
          this.#assign();
          this.#forgetIfGone(made);
        }),
      };
      seat = made;
      this.#seats.set(backend, seat);
    }
    return seat;
  }

  #forgetIfGone(seat: Seat): void {
    if (seat.running > 0 || seat.backend.load().state !== 'closed') return;
    seat.unsubscribe();
    this.#seats.delete(seat.backend);
  }
}

/**
 * Why the call is not to wait: none of the back ends that may run it is ready, or on its way to be, and none of those that
 * are down may be tried.
 */
function refusalOf({ backends, excluded }: Ticket): GatewayError | undefined {
  const candidates = backends.filter((backend) => !excluded?.has(backend));
  const busy: BackendLoad[] = [];
  const away: BackendLoad[] = [];
  for (const backend of candidates) {
    const load = backend.load();
    if (load.state === 'loading' || load.state === 'ready') return undefined;
    (load.state === 'busy' ? busy : away).push(load);
  }
  if (candidates.some((backend) => backend.tryNow?.() === true)) return undefined;
  if (busy.length > 0) {
    const message = reasonOf(busy) ?? 'Every back end of this model has more to do than it can.';
    return new GatewayError('backend_busy', message, { retryAfterMs: soonest(busy) ?? LEAST_RETRY_MS });
  }
  const message = reasonOf(away) ?? 'No back end serves this model any more.';
  return new GatewayError('not_ready', message, { retryAfterMs: soonest(away) ?? MOST_RETRY_MS });
}

function reasonOf(loads: readonly BackendLoad[]): string | undefined {
  return loads.find(({ reason }) => reason !== undefined)?.reason;
}

/** When the first of them is worth asking again, in ms; undefined: none says. */
function soonest(loads: readonly BackendLoad[]): number | undefined {
  let least: number | undefined;
  for (const { retryAfterMs } of loads) {
    if (retryAfterMs !== undefined && (least === undefined || retryAfterMs < least)) least = retryAfterMs;
  }
  return least;
}
