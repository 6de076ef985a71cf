// One back end as the scheduler counts it: what runs there and how much that is, how many calls it may be given, how fast it
// was, what it has computed, and which class has its turn. It hears of each call what its parts need to hear.
import type { Backend, BackendLoad } from '../core/backend.ts';
import { Bag, type Held } from '../core/bag.ts';
import type { Usage } from '../core/chat.ts';
import type { Clock } from '../core/clock.ts';
import { GatewayError } from '../core/errors.ts';
import { isAbove, type Priority } from '../core/priority.ts';
import type { Outcome, Ticket } from '../core/ticket.ts';
import { ClassShares, type Shares } from './class-shares.ts';
import type { Lease } from './lease.ts';
import type { ConcurrencyLimit } from './limits/concurrency-limit.ts';
import { makeLimit } from './limits/make-limit.ts';
import type { Pool } from './pool.ts';
import { PrefixIndex } from './prefix-index.ts';
import { RefusedDemand } from './refused-demand.ts';
import { type BegunCall, ServiceModel } from './service-model.ts';

/** A call that begins. */
export interface Beginning {
  readonly ticket: Ticket;
  /** What it is expected to cost. */
  readonly tokens: number;
  /** When it came. */
  readonly since: number;
  readonly predictedFirstTokenMs: number | undefined;
  /** It was its class's turn before higher ones: what it was guaranteed is not taken back. */
  readonly isEarned: boolean;
  /** It has spoken, and its limit may have changed by that. */
  readonly onSpoke: () => void;
  /** Its slot is free again. */
  readonly onReleased: (call: RunningCall, outcome: Outcome, usage: Usage | undefined) => void;
}

export interface SeatOptions {
  readonly backend: Backend;
  /** Unique among a scheduler's seats. */
  readonly number: number;
  readonly clock: Clock;
  readonly shares: Shares;
}

/** Past the moment itself, so that it is over for certain. */
const WAKE_MS = 1;

export class Seat {
  readonly backend: Backend;
  readonly number: number;
  readonly shares: ClassShares;
  readonly limit: ConcurrencyLimit;
  readonly service: ServiceModel;
  readonly prefixes = new PrefixIndex();
  readonly refused: RefusedDemand;
  /** Where a call waits that could run here. */
  readonly pools = new Set<Pool>();
  readonly calls = new Bag<RunningCall>();
  /** Ends listening to the back end. */
  unsubscribe: () => void = () => {};
  readonly #clock: Clock;
  #outstandingTokens = 0;
  #cancelWake: (() => void) | undefined;
  #wakesAt = 0;

  constructor({ backend, number, clock, shares }: SeatOptions) {
    this.backend = backend;
    this.number = number;
    this.shares = new ClassShares(shares);
    this.limit = makeLimit(backend.limit);
    this.service = new ServiceModel(clock);
    this.refused = new RefusedDemand(clock);
    this.#clock = clock;
  }

  /** Calls that may run at once, by what it says of itself; 0: it is not ready. */
  places({ state, slots }: BackendLoad): number {
    return state === 'ready' ? Math.min(slots, this.limit.value) : 0;
  }

  /**
   * The same for one call: if its first token is due, no more than a back end of which too little is known may be tried with.
   * It waits for the first tokens of those, and is refused by what is known then.
   */
  placesFor({ deadlineAt }: Ticket, load: BackendLoad): number {
    const places = this.places(load);
    return deadlineAt === undefined ? places : Math.min(places, this.service.mostTried);
  }

  /** The class that its free slots are kept for; undefined: whoever comes may have them. */
  get keptFor(): Priority | undefined {
    const { free } = this;
    return free > 0 ? this.refused.keeps(free) : undefined;
  }

  /** What is free is not for this call: it can wait, and calls of a class above it were refused because they could not. */
  isKeptFrom({ priority, deadlineAt }: Ticket): boolean {
    if (deadlineAt !== undefined) return false;
    const { keptFor } = this;
    return keptFor !== undefined && isAbove(keptFor, priority);
  }

  /** Slots that nobody has. */
  get free(): number {
    return this.places(this.backend.load()) - this.running;
  }

  get running(): number {
    return this.calls.size;
  }

  /** What the calls that run still have before them, in tokens. */
  get outstandingTokens(): number {
    return this.#outstandingTokens;
  }

  /** 0 to 1: the part of the call's prompt that lies there. */
  prefixShareOf({ prefix }: Ticket): number {
    return prefix ? this.prefixes.shareOf(prefix) : 0;
  }

  begin(beginning: Beginning): RunningCall {
    return new RunningCall(this, this.#clock, beginning);
  }

  /** For its calls: so many of the tokens that it was given are done. */
  did(tokens: number): void {
    this.#outstandingTokens -= tokens;
    if (this.calls.size === 0) this.#outstandingTokens = 0;
  }

  nobodyWaitsIn(pool: Pool): void {
    this.pools.delete(pool);
    if (this.pools.size === 0) this.#stopWaiting();
  }

  /** Where it is to rest for a while and will not tell when that is over, or keeps slots for a while: calls back then. */
  wakeWhenReady(wake: () => void): void {
    const waitMs = this.#untilReadyMs();
    if (waitMs === undefined) return;
    const at = this.#clock.now() + waitMs;
    if (this.#cancelWake && this.#wakesAt <= at) return;
    this.#stopWaiting();
    this.#wakesAt = at;
    this.#cancelWake = this.#clock.after(waitMs, () => {
      this.#cancelWake = undefined;
      wake();
    });
  }

  close(): void {
    this.#stopWaiting();
    this.unsubscribe();
  }

  /** Undefined: it is ready, or tells. */
  #untilReadyMs(): number | undefined {
    const { state, retryAfterMs } = this.backend.load();
    if (state === 'busy' || state === 'down') return retryAfterMs;
    return this.keptFor && this.refused.keptMs(this.free) + WAKE_MS;
  }

  #stopWaiting(): void {
    this.#cancelWake?.();
    this.#cancelWake = undefined;
  }
}

/** A call that holds one of a back end's slots. */
export class RunningCall implements Lease {
  readonly backend: Backend;
  readonly queueMs: number;
  readonly predictedFirstTokenMs: number | undefined;
  readonly signal: AbortSignal;
  readonly ticket: Ticket;
  readonly tokens: number;
  readonly startedAt: number;
  readonly #seat: Seat;
  readonly #clock: Clock;
  readonly #onSpoke: () => void;
  readonly #onReleased: Beginning['onReleased'];
  readonly #begun: BegunCall;
  /** Absent: it need not make way. */
  readonly #preemption: AbortController | undefined;
  readonly #prefixShare: number;
  readonly #held: Held<RunningCall>;
  #outstandingTokens: number;
  #hasSpoken = false;
  #isHeld = true;

  constructor(seat: Seat, clock: Clock, beginning: Beginning) {
    const { ticket, tokens, since, predictedFirstTokenMs, isEarned, onSpoke, onReleased } = beginning;
    const { backend } = seat;
    this.backend = backend;
    this.ticket = ticket;
    this.tokens = tokens;
    this.startedAt = clock.now();
    this.queueMs = this.startedAt - since;
    this.predictedFirstTokenMs = predictedFirstTokenMs;
    const isPreemptible = ticket.priority === 'batch' && backend.continues === 'ids' && !isEarned;
    this.#preemption = isPreemptible ? new AbortController() : undefined;
    this.signal = this.#preemption
      ? AbortSignal.any([ticket.signal, this.#preemption.signal])
      : ticket.signal;
    this.#seat = seat;
    this.#clock = clock;
    this.#onSpoke = onSpoke;
    this.#onReleased = onReleased;
    this.#prefixShare = seat.prefixShareOf(ticket);
    const promptTokens = ticket.cost.promptTokens * (1 - this.#prefixShare);
    const limit = Math.max(seat.places(backend.load()), seat.running + 1);
    this.#begun = seat.service.began({ promptTokens, costTokens: tokens }, limit);
    this.#outstandingTokens = tokens - ticket.cost.promptTokens + promptTokens;
    seat.did(-this.#outstandingTokens);
    if (ticket.prefix) seat.prefixes.saw(ticket.prefix);
    this.#held = seat.calls.add(this);
  }

  get isPreempted(): boolean {
    return this.#preemption?.signal.aborted ?? false;
  }

  /** It can make way: nobody waits for its answer, its back end can take it up again, and nothing has stopped it yet. */
  get isPreemptible(): boolean {
    return this.#preemption !== undefined && !this.signal.aborted;
  }

  preempt(): void {
    const message = 'A more urgent call took its slot; it goes on when there is one again.';
    this.#preemption?.abort(new GatewayError('overloaded', message));
  }

  /** What its tenant is to be charged for it, in tokens. */
  tokensUsed(usage: Usage | undefined): number {
    const { cost } = this.ticket;
    // A call that made way is charged when it has its next turn; of others what is unknown is what was expected.
    if (!usage) return this.isPreempted ? 0 : this.tokens;
    const { promptTokens = cost.promptTokens, cachedTokens = 0, completionTokens } = usage;
    return promptTokens - cachedTokens + (completionTokens ?? this.tokens - cost.promptTokens);
  }

  spoke(): void {
    if (this.#hasSpoken || !this.#isHeld) return;
    this.#hasSpoken = true;
    this.#begun.spoke();
    this.#tellLimit('ok');
    const promptTokens = this.ticket.cost.promptTokens * (1 - this.#prefixShare);
    this.#did(promptTokens);
    this.#onSpoke();
  }

  release(outcome: Outcome, usage?: Usage): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    const { prefix } = this.ticket;
    if (!this.#hasSpoken || outcome === 'overload') this.#tellLimit(outcome);
    this.#begun.ended();
    if (prefix && outcome === 'ok' && usage) this.#seat.prefixes.answered(prefix, this.#prefixShare, usage);
    this.#seat.calls.remove(this.#held);
    this.#did(this.#outstandingTokens);
    this.#onReleased(this, outcome, usage);
  }

  #did(tokens: number): void {
    this.#outstandingTokens -= tokens;
    this.#seat.did(tokens);
  }

  #tellLimit(outcome: Outcome): void {
    const at = this.#clock.now();
    this.#seat.limit.sampled({
      startedAt: this.startedAt,
      at,
      firstTokenMs: this.#hasSpoken ? at - this.startedAt : undefined,
      running: this.#seat.running,
      outcome,
    });
  }
}
