// One request of a simulated load, from its first asking to its end: it asks the scheduler, runs on the lease that it gets,
// goes on after a preemption, leaves when its patience is over, comes back when it was told to. It stands for what clients
// and the pipeline do; what it does not do of the pipeline's work (hedging, failover, shared answers) is not simulated.
import type { Clock } from '../core/clock.ts';
import { type ErrorCode, GatewayError } from '../core/errors.ts';
import type { Ticket } from '../core/ticket.ts';
import { USUAL_OUTPUT_TOKENS } from '../scheduling/cost.ts';
import type { Lease, Scheduler } from '../scheduling/scheduler.ts';
import { BLOCK_TOKENS, type Run, type SimulatedBackend } from './simulated-backend.ts';
import type { Arrival } from './workload.ts';

/** How a request ended. Durations are in ms; times are on the simulated clock, which begins with the first request. */
export interface RequestEnd {
  readonly arrival: Arrival;
  /**
   * `late`: it had a slot, but no first token when that was due, and was ended for it, as the pipeline does. `broken`: it
   * was taken back in the middle of its answer and got no other slot.
   */
  readonly outcome: 'answered' | 'refused' | 'left' | 'late' | 'broken';
  /** How often it asked. */
  readonly asked: number;
  /** When it asked last: what follows counts from there. */
  readonly askedAtMs: number;
  /** Until it had a slot; absent: it never had one. */
  readonly queueMs?: number | undefined;
  readonly firstTokenMs?: number | undefined;
  readonly longestGapMs: number;
  /** When the scheduler expected its first token; absent: it had not measured enough. */
  readonly predictedMs?: number | undefined;
  readonly cachedTokens: number;
  /** Why its last asking was refused; absent: it was not. */
  readonly refusedAs?: ErrorCode | undefined;
  readonly endedAtMs: number;
}

export interface ClientOptions {
  readonly clock: Clock;
  readonly scheduler: Scheduler;
  readonly backends: readonly SimulatedBackend[];
  /** When the first token is due, in ms from the asking: of all classes but batch, for whom nobody waits. Infinity: of none. */
  readonly objectiveMs: number;
  /** After so long without a first token a client leaves, in ms; one of class batch does not. */
  readonly patienceMs: number;
  /** Who was refused comes back at the time that it was told, while its patience lasts. */
  readonly returns: boolean;
  /** Askings at a time that a refusal had named, and those of them that got a slot. */
  readonly returned: { asked: number; admitted: number };
}

/** What is still wanted; an answer that was interrupted counts what there is of it as prompt. */
interface Rest {
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly resumes: boolean;
}

interface Turn {
  readonly outcome: 'answered' | 'refused' | 'late' | 'broken';
  readonly retryAfterMs?: number | undefined;
}

/** What came of a lease. */
interface Computed {
  /** Tokens; fewer than wanted where the call was stopped. */
  readonly given: number;
  readonly isLate: boolean;
}

/** The gateway's blocks are of 256 bytes: so many of a back end's, at four bytes a token. */
const BLOCKS_EACH = 256 / 4 / BLOCK_TOKENS;
/** Who has infinite patience gives up all the same. */
const MOST_ASKED = 60;

export class SimulatedClient {
  readonly #options: ClientOptions;
  readonly #arrival: Arrival;
  readonly #index: number;
  /** What the gateway sees of the prompt's blocks: the last one of each of its own stands for all that came before. */
  readonly #prefix: readonly number[];
  readonly #leaving = new AbortController();
  #calmDown = () => {};
  #asked = 0;
  #askedAt = 0;
  #queueMs: number | undefined;
  #firstTokenMs: number | undefined;
  #predictedMs: number | undefined;
  #longestGapMs = 0;
  #cachedTokens = 0;
  #refusedAs: ErrorCode | undefined;

  constructor(options: ClientOptions, arrival: Arrival, index: number) {
    this.#options = options;
    this.#arrival = arrival;
    this.#index = index;
    // A request that is like no other has no blocks.
    const blocks = Math.min(arrival.blocks.length, Math.floor(arrival.promptTokens / BLOCK_TOKENS));
    const whole = Math.floor(blocks / BLOCKS_EACH);
    this.#prefix = Array.from({ length: whole }, (_, at) => arrival.blocks[(at + 1) * BLOCKS_EACH - 1]!);
  }

  /** Carries the request through to its end, whatever that is. */
  async run(): Promise<RequestEnd> {
    const { clock, patienceMs } = this.#options;
    const arrival = this.#arrival;
    let leavesAt = Infinity;
    if (arrival.priority !== 'batch') {
      leavesAt = clock.now() + patienceMs;
      this.#calmDown = clock.after(patienceMs, () =>
        this.#leaving.abort(new GatewayError('cancelled', 'The client has left.')),
      );
    }
    const outcome = await this.#untilEnd(leavesAt);
    this.#calmDown();
    return {
      arrival,
      outcome,
      asked: this.#asked,
      askedAtMs: this.#askedAt,
      queueMs: this.#queueMs,
      firstTokenMs: this.#firstTokenMs,
      longestGapMs: this.#longestGapMs,
      predictedMs: this.#predictedMs,
      cachedTokens: this.#cachedTokens,
      refusedAs: this.#refusedAs,
      endedAtMs: clock.now(),
    };
  }

  async #untilEnd(leavesAt: number): Promise<RequestEnd['outcome']> {
    const { clock, returns, returned, objectiveMs } = this.#options;
    for (;;) {
      const { outcome, retryAfterMs } = await this.#ask();
      if (outcome !== 'answered' && this.#leaving.signal.aborted) return 'left';
      if (outcome !== 'refused' || retryAfterMs === undefined) return outcome;
      if (!returns || this.#asked >= MOST_ASKED) return 'refused';
      // Who is told a time beyond its patience, or too short before its end for a first token, does not wait for it.
      const neededMs = Number.isFinite(objectiveMs) ? objectiveMs : 0;
      if (clock.now() + retryAfterMs + neededMs >= leavesAt) return 'left';
      await new Promise<void>((resolve) => clock.after(retryAfterMs, resolve));
      returned.asked += 1;
    }
  }

  async #ask(): Promise<Turn> {
    const { clock, scheduler, returned } = this.#options;
    const { promptTokens, outputTokens } = this.#arrival;
    this.#asked += 1;
    this.#askedAt = clock.now();
    let rest: Rest = { promptTokens, outputTokens, resumes: false };
    for (;;) {
      const ticket = this.#ticket(rest);
      let lease: Lease;
      try {
        lease = await scheduler.acquire(ticket);
      } catch (thrown) {
        if (!(thrown instanceof GatewayError)) throw thrown;
        if (!this.#leaving.signal.aborted) this.#refusedAs = thrown.code;
        return rest.resumes
          ? { outcome: 'broken' }
          : { outcome: 'refused', retryAfterMs: thrown.retryAfterMs };
      }
      if (!rest.resumes) {
        this.#predictedMs = lease.predictedFirstTokenMs;
        if (this.#asked > 1) returned.admitted += 1;
      }
      this.#refusedAs = undefined;
      this.#queueMs ??= lease.queueMs;
      const { given, isLate } = await this.#compute(rest, lease, ticket.deadlineAt);
      if (isLate) return { outcome: 'late' };
      if (given === rest.outputTokens) return { outcome: 'answered' };
      if (!lease.isPreempted) return { outcome: 'broken' };
      rest = {
        promptTokens: rest.promptTokens + given,
        outputTokens: rest.outputTokens - given,
        resumes: true,
      };
    }
  }

  /** Holds the lease as long as the call computes: to its end, its deadline without a word, or the lease's own end. */
  #compute(
    { promptTokens, outputTokens, resumes }: Rest,
    lease: Lease,
    deadlineAt: number | undefined,
  ): Promise<Computed> {
    const { clock } = this.#options;
    return new Promise((resolve) => {
      let run: Run | undefined;
      let forgetDeadline = () => {};
      const end = (given: number, isLate = false) => {
        forgetDeadline();
        lease.signal.removeEventListener('abort', stop);
        this.#longestGapMs = Math.max(this.#longestGapMs, run?.longestGapMs ?? 0);
        if (isLate) lease.release('overload');
        else {
          const usage = { promptTokens, cachedTokens: run?.cachedTokens, completionTokens: given };
          lease.release(given < outputTokens ? 'ignored' : 'ok', usage);
        }
        resolve({ given, isLate });
      };
      const stop = () => end(run?.stop() ?? 0);
      if (lease.signal.aborted) return end(0);
      lease.signal.addEventListener('abort', stop);
      if (deadlineAt !== undefined) {
        forgetDeadline = clock.after(deadlineAt - clock.now(), () => end(run?.stop() ?? 0, true));
      }
      // All that the scheduler was given are of this kind.
      run = (lease.backend as SimulatedBackend).start({
        promptTokens,
        outputTokens,
        blocks: this.#arrival.blocks,
        spoke: () => {
          this.#calmDown();
          forgetDeadline();
          this.#firstTokenMs ??= clock.now() - this.#askedAt;
          lease.spoke();
        },
        ended: () => end(outputTokens),
      });
      if (!resumes) this.#cachedTokens = run.cachedTokens;
    });
  }

  #ticket({ promptTokens, outputTokens, resumes }: Rest): Ticket {
    const { backends, objectiveMs } = this.#options;
    const { tenant, priority, session, maxTokens = USUAL_OUTPUT_TOKENS } = this.#arrival;
    const isDue = priority !== 'batch' && !resumes && Number.isFinite(objectiveMs);
    const given = this.#arrival.outputTokens - outputTokens;
    return {
      id: `request-${this.#index}`,
      model: 'model',
      backends,
      // All replicas are equals.
      tiers: backends.map(() => 0),
      tenant,
      priority,
      deadlineAt: isDue ? this.#askedAt + objectiveMs : undefined,
      resumes,
      signal: this.#leaving.signal,
      cost: { promptTokens, outputTokens: Math.max(1, maxTokens - given) },
      prefix: { blocks: this.#prefix, whole: this.#index },
      session,
    };
  }
}
