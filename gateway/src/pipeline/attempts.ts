// One call's attempts: a lease, the compute, and where the back end is lost in the middle, another attempt that goes on
// from what was given. Nothing is ever given twice: what cannot be gone on from has failed.
// It never starts an answer anew once a word of it was given.
import { type ChatRequest, type EventSink, isDelta, type PartialAnswer, type Usage } from '../core/chat.ts';
import type { Clock } from '../core/clock.ts';
import { ERROR_TRAITS, GatewayError, toGatewayError } from '../core/errors.ts';
import type { RequestObserver, RequestRecord } from '../core/observer.ts';
import type { Outcome, Ticket } from '../core/ticket.ts';
import type { Lease, Scheduler } from '../scheduling/scheduler.ts';
import { AnswerFold } from './partial.ts';

/** A prompt that kills every engine must not take down more of them than this. */
const MOST_ATTEMPTS = 4;

export interface CallOptions {
  readonly scheduler: Scheduler;
  readonly observer: RequestObserver;
  readonly clock: Clock;
  readonly record: RequestRecord;
  readonly callId: string;
  readonly request: ChatRequest;
  /** The first attempt's; its signal ends them all. */
  readonly ticket: Ticket;
  /** False: the first loss of a back end is the end. */
  readonly mayGoOn: boolean;
  /** How long its client waits for the next word after its back end was lost, in ms; absent: as the scheduler lets it. */
  readonly resumeLimitMs: number | undefined;
  /** The call has failed for good. Called while it still holds its slot, which must not go to one that is ended too. */
  readonly onFailed: (error: GatewayError) => void;
}

/** Runs a call to its end and resolves to its usage; `push` gets its events but for `finish`. Rejects with a GatewayError. */
export async function runCall(options: CallOptions, push: EventSink): Promise<Usage> {
  const { ticket, record, observer } = options;
  let fold: AnswerFold | undefined;
  let lost: GatewayError | undefined;
  let from: PartialAnswer | undefined;
  for (let attempt = 1; ; attempt += 1) {
    const asked = lost ? resumed(options) : ticket;
    const lease = await acquire(options, asked, lost);
    if (from && from.choices.length > 0) {
      record.continued += 1;
      observer.continued?.(record, 'ids');
    }
    // Where nothing could go on from it, an answer need not be remembered.
    if (options.mayGoOn && lease.backend.continues) fold ??= new AnswerFold();
    let outcome: Outcome = 'ignored';
    try {
      const request = from ? { ...options.request, continueFrom: from } : options.request;
      const usage = await runAttempt(options, { lease, request, deadlineAt: asked.deadlineAt }, (event) => {
        fold?.add(event);
        push(event);
      });
      outcome = 'ok';
      return usage;
    } catch (thrown) {
      const error = toGatewayError(thrown);
      if (ERROR_TRAITS[error.code].shrinksLimit) outcome = 'overload';
      from = fold?.answer();
      if (!from || attempt >= MOST_ATTEMPTS || !goesOn(error, lease, from)) {
        options.onFailed(error);
        throw error;
      }
      lost = error;
    } finally {
      lease.release(outcome);
    }
  }
}

/** The ticket of who lost its back end: its client waits for the next word as it did for the first. */
function resumed({ ticket, clock, resumeLimitMs }: CallOptions): Ticket {
  const deadlineAt = resumeLimitMs === undefined ? undefined : clock.now() + resumeLimitMs;
  return { ...ticket, resumes: true, deadlineAt };
}

/** A wait that ends without a slot is, for who was in the middle of an answer, still the loss of the back end. */
async function acquire({ scheduler }: CallOptions, ticket: Ticket, lost?: GatewayError): Promise<Lease> {
  if (!lost) return await scheduler.acquire(ticket);
  try {
    return await scheduler.acquire(ticket);
  } catch (thrown) {
    ticket.signal.throwIfAborted();
    const { message } = toGatewayError(thrown);
    throw new GatewayError('backend_failed', `${lost.message} The answer could not go on: ${message}`, {
      cause: lost,
    });
  }
}

interface Attempt {
  readonly lease: Lease;
  readonly request: ChatRequest;
  readonly deadlineAt: number | undefined;
}

/** Runs one attempt and keeps back ends to their contract: exactly one `finish`, which is taken out for its usage. */
async function runAttempt(options: CallOptions, attempt: Attempt, push: EventSink): Promise<Usage> {
  const { record, observer, clock, callId } = options;
  const { lease, request, deadlineAt } = attempt;
  if (record.backend === undefined) {
    record.backend = lease.backend.id;
    record.queueMs = lease.queueMs;
    observer.started?.(record);
  }
  let spoke = false;
  let usage: Usage | undefined;
  // Once any call of an answer has spoken, its first token has come; who goes on owes a word of its own.
  const hasSpoken = () => (request.continueFrom ? spoke : record.firstTokenMs !== undefined);
  const clocked = firstTokenClock(clock, deadlineAt, lease.signal, hasSpoken);
  try {
    const context = { callId, tenant: record.tenant, signal: clocked.signal };
    await lease.backend.chat(request, context, (event) => {
      if (event.type === 'finish') {
        usage = event.usage;
        return;
      }
      spoke ||= isDelta(event);
      push(event);
    });
    if (!usage) throw new GatewayError('backend_failed', 'The back end ended its answer in the middle.');
    return usage;
  } finally {
    clocked.stop();
  }
}

/** Whether another attempt can go on from what was given. */
function goesOn(error: GatewayError, { backend, signal }: Lease, answer: PartialAnswer): boolean {
  if (error.code !== 'backend_failed' || backend.continues === undefined || signal.aborted) return false;
  return answer.choices.length <= 1 && answer.choices.every((choice) => choice.tokens && !choice.reason);
}

/** A signal that also aborts when the attempt's first token does not come in time. */
function firstTokenClock(
  clock: Clock,
  due: number | undefined,
  signal: AbortSignal,
  hasSpoken: () => boolean,
): { readonly signal: AbortSignal; readonly stop: () => void } {
  if (due === undefined) return { signal, stop: () => {} };
  const late = new AbortController();
  const stop = clock.after(Math.max(0, due - clock.now()), () => {
    if (hasSpoken()) return;
    late.abort(new GatewayError('deadline_exceeded', 'The first token did not come before the deadline.'));
  });
  return { signal: AbortSignal.any([signal, late.signal]), stop };
}
