// May it wait? A call is told at once where the queue has no room for it, or where its first token would come too late; and
// with that a time at which there will be room: a place that is kept for it.
// It must never refuse who comes at the time that it was told.
import type { Clock } from '../core/clock.ts';
import { GatewayError } from '../core/errors.ts';
import type { Priority } from '../core/priority.ts';
import type { Ticket } from '../core/ticket.ts';
import type { Shares } from './class-shares.ts';
import { OutputEstimates } from './output-estimate.ts';
import type { Pool } from './pool.ts';
import {
  drainPerMs,
  explainPrediction,
  latenessMs,
  type Prediction,
  type Prospect,
  predictFirstToken,
  tokensAheadOf,
} from './prediction.ts';

export interface AdmissionOptions {
  readonly clock: Clock;
  /** Expected tokens that may wait, in each class of a pool. A call that finds none of its class may always wait. */
  readonly maxWaitingTokens: number;
  readonly shares: Shares;
  /** When to come again where no place can be booked, in ms. */
  readonly retryAfterMs: () => number;
  /** How long calls lately had their slots, in ms: a guess where nothing was measured. */
  readonly usualHoldMs: () => number;
}

/** A call that asks, and what it stands before. */
export interface Applicant {
  readonly ticket: Ticket;
  /** What it is expected to cost. */
  readonly tokens: number;
  readonly pool: Pool;
  /** Others who wait for some of the same back ends. */
  readonly rivals: Iterable<Pool>;
  readonly prospects: readonly Prospect[];
}

interface Refusal {
  readonly code: 'overloaded' | 'queue_timeout';
  readonly message: string;
  /** When there is room for the call, if nobody comes in between. */
  readonly afterMs: number;
  /** When its first token has to be there, if that was promised. */
  readonly withinMs?: number | undefined;
}

const ABOVE: Readonly<Record<Priority, readonly Priority[]>> = {
  interactive: [],
  standard: ['interactive'],
  batch: ['interactive', 'standard'],
};
const BELOW: Readonly<Record<Priority, readonly ('standard' | 'batch')[]>> = {
  interactive: ['standard', 'batch'],
  standard: ['batch'],
  batch: [],
};

/** How often a prediction is made anew with those who come back meanwhile. */
const MOST_LOOKS = 4;

export class Admission {
  readonly #options: AdmissionOptions;
  readonly #outputs = new OutputEstimates();

  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  /** What a call is expected to cost, in tokens: its prompt, and an answer as long as the last ones were. */
  tokensOf({ model, tenant, cost }: Ticket): number {
    return Math.max(1, cost.promptTokens + this.#outputs.expected(model, tenant, cost.outputTokens));
  }

  /** A call has ended in a whole answer. */
  answered({ model, tenant }: Ticket, outputTokens: number): void {
    this.#outputs.finished(model, tenant, outputTokens);
  }

  /** Undefined: not enough was measured yet. `goesFirst`: it waits behind nobody of its class. */
  predict(applicant: Applicant, goesFirst = false): Prediction | undefined {
    const { ticket, pool, prospects } = applicant;
    if (prospects.length === 0) return undefined;
    const arrivalVariation = pool.arrivals.variation;
    const predict = (tokensAhead: number) => predictFirstToken({ prospects, tokensAhead, arrivalVariation });
    if (goesFirst) return predict(0);
    const waiting = this.#waitingAhead(applicant);
    let prediction = predict(waiting);
    if (!prediction || pool.promised.size === 0) return prediction;
    // Those who come back while it waits go before it, so it waits longer, while more of them come back. The slot that it takes
    // is not there for who comes until the next one frees.
    const departureMs = departureMsOf(prospects);
    for (let look = 0, promised = 0; look < MOST_LOOKS; look += 1) {
      const at = this.#options.clock.now() + prediction.queueMs + departureMs;
      const tokens = pool.promised.tokensDueBefore(ticket.priority, at);
      if (tokens === promised) break;
      promised = tokens;
      prediction = predict(waiting + promised) ?? prediction;
    }
    return prediction;
  }

  /** The call comes back at the time that it was told: it is to be admitted, before what else its tenant has waiting. */
  claim({ tenant, priority, prefix }: Ticket, { promised }: Pool): boolean {
    // Without any there is no need to look at the whole prompt.
    if (!prefix || promised.size === 0) return false;
    return promised.claim(priority, keyOf(tenant, prefix.whole));
  }

  /** Why the call is turned away, if it is. `mustWait`: no slot is free for it. */
  refusalOf(
    applicant: Applicant,
    prediction: Prediction | undefined,
    mustWait: boolean,
  ): GatewayError | undefined {
    const { clock } = this.#options;
    // A queue before other back ends refuses nobody who would not have to wait in it.
    const excess = mustWait ? this.#excessTokens(applicant) : 0;
    if (excess > 0) {
      const message = 'The queue is full: the server has more to do than it can promise to do.';
      const afterMs = this.#drainMs(applicant, excess);
      return this.#refuse(applicant, { code: 'overloaded', message, afterMs });
    }
    const { deadlineAt } = applicant.ticket;
    if (deadlineAt === undefined || !prediction) return undefined;
    const withinMs = Math.max(0, deadlineAt - clock.now());
    const lateMs = latenessMs(prediction, withinMs);
    if (lateMs <= 0) return undefined;
    const message = `The first token is due in ${Math.round(withinMs)} ms and could come ${Math.ceil(lateMs)} ms later: ${explainPrediction(prediction)}, and ${Math.round(prediction.caution * prediction.marginMs)} ms to be sure.`;
    return this.#refuse(applicant, { code: 'overloaded', message, afterMs: lateMs, withinMs });
  }

  /** The call has waited as long as it may: after so long nothing else is tried for it. */
  timeout(applicant: Applicant, waitedMs: number): GatewayError {
    const message = `No slot became free in ${Math.round(waitedMs)} ms; nothing was computed.`;
    const afterMs = this.#drainMs(applicant, this.#waitingAhead(applicant));
    const last = { ...applicant, ticket: { ...applicant.ticket, isTrial: false } };
    return this.#refuse(last, { code: 'queue_timeout', message, afterMs });
  }

  #refuse({ ticket, tokens, pool, prospects }: Applicant, refusal: Refusal): GatewayError {
    const { clock } = this.#options;
    const { tenant, priority, weight = 1, prefix, isTrial = false } = ticket;
    const { code, message, afterMs, withinMs } = refusal;
    const usualMs = this.#options.retryAfterMs();
    if (!prefix || isTrial) return new GatewayError(code, message, { retryAfterMs: usualMs });
    const key = keyOf(tenant, prefix.whole);
    const measured = drainPerMs(prospects, withinMs);
    // Before anything was measured places are given by what calls lately took: promises, too. Where a first token is due one at a
    // time on each back end: nobody knows how many more would keep it waiting.
    const atOnce = prospects.reduce((sum, { limit }) => sum + (withinMs === undefined ? limit : 1), 0);
    const tokensPerMs = measured ?? (tokens * Math.max(1, atOnce)) / this.#options.usualHoldMs();
    const earliestAt = clock.now() + (measured === undefined ? usualMs : afterMs);
    const dueAt = pool.promised.book({ priority, tenant, weight, key, tokens, earliestAt, tokensPerMs });
    if (dueAt !== undefined) return new GatewayError(code, message, { retryAfterMs: dueAt - clock.now() });
    const full = `${message} Every place of the next minute is promised to others.`;
    return new GatewayError(code, full, { retryAfterMs: Infinity });
  }

  /** How long so many tokens take, in ms; 0: nothing was measured. */
  #drainMs({ prospects }: Applicant, tokens: number): number {
    const tokensPerMs = drainPerMs(prospects);
    return tokensPerMs === undefined ? 0 : tokens / tokensPerMs;
  }

  /**
   * By how much the call would be too much for its class's queue. What a tenant has waiting within its own part of the bound
   * is never too much, whatever others have: so one who floods is refused, and nobody beside it.
   */
  #excessTokens({ ticket, tokens, pool }: Applicant): number {
    const { priority, tenant, weight = 1 } = ticket;
    const { maxWaitingTokens } = this.#options;
    const queue = pool.queues[priority];
    if (queue.size === 0) return 0;
    const part = (maxWaitingTokens * weight) / queue.activeWeightWith({ tenant, weight });
    if (queue.tokensOf(tenant) + tokens <= part) return 0;
    return Math.max(0, queue.tokens + tokens - maxWaitingTokens);
  }

  /** Tokens that are served before a call that comes now. */
  #waitingAhead({ ticket, tokens, pool, rivals }: Applicant): number {
    const { priority, tenant, weight = 1 } = ticket;
    const queue = pool.queues[priority];
    const inClass = queue.tokensBefore({ tenant, weight });
    let aboveTokens = tokensIn(pool, ABOVE[priority]);
    for (const rival of rivals) {
      // Pools take turns: until its own turn comes, another one is served as much as its own is.
      const turns = Math.min(rival.queues[priority].tokens, inClass + tokens);
      aboveTokens += turns + tokensIn(rival, ABOVE[priority]);
    }
    for (const one of [priority, ...BELOW[priority]]) aboveTokens += pool.backTokens[one];
    return tokensAheadOf({
      aboveTokens,
      classTokens: inClass,
      ownTokens: tokens,
      share: this.#shareOf(priority),
      lowerShare: this.#waitingShareOf(pool, BELOW[priority]),
    });
  }

  #shareOf(priority: Priority): number {
    return priority === 'interactive' ? 0 : this.#options.shares[priority];
  }

  #waitingShareOf({ queues }: Pool, priorities: readonly ('standard' | 'batch')[]): number {
    let share = 0;
    for (const priority of priorities) if (queues[priority].size > 0) share += this.#options.shares[priority];
    return share;
  }
}

function tokensIn({ queues }: Pool, priorities: readonly Priority[]): number {
  let tokens = 0;
  for (const priority of priorities) tokens += queues[priority].tokens;
  return tokens;
}

/** While all slots are taken one gets free so often, in ms; 0: nothing was measured. */
function departureMsOf(prospects: readonly Prospect[]): number {
  let callsPerMs = 0;
  for (const { service, limit } of prospects) callsPerMs += limit / (service.meanHoldMs ?? Infinity);
  return callsPerMs > 0 ? 1 / callsPerMs : 0;
}

function keyOf(tenant: string, whole: number): string {
  return `${tenant}\n${whole}`;
}
