// One call's attempts: a lease, the compute, and where the back end is lost, another attempt. Before anything was given
// that is the same call once more, on another back end; after it, one that goes on from what was given.
// It must never give anything twice, never begin an answer anew once a word of it was given, and never try again what
// would fail the same way everywhere.
import type { Backend, CallContext } from '../core/backend.ts';
import {
  type ChatRequest,
  type EventSink,
  isDelta,
  type PartialAnswer,
  type TokenEvent,
  type Usage,
} from '../core/chat.ts';
import type { Clock } from '../core/clock.ts';
import { ERROR_TRAITS, GatewayError, toGatewayError } from '../core/errors.ts';
import type { RequestObserver, RequestRecord } from '../core/observer.ts';
import type { Outcome, Ticket } from '../core/ticket.ts';
import type { Lease, Scheduler } from '../scheduling/scheduler.ts';
import { answerSoFar, type Begun, isWorthKeeping, type Way, wayOn, wholeUsage } from './going-on.ts';
import { AnswerFold } from './partial.ts';
import type { RetryBudget } from './retry-budget.ts';

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
  /** What back ends call the model, by their ids; who is not in it calls it as the request does. */
  readonly names: ReadonlyMap<string, string> | undefined;
  /** Gateways that the request has passed, this one last. */
  readonly hops: readonly string[];
  /** Pays for attempts that could make an overload worse. */
  readonly retries: RetryBudget;
  /** False: who fails before it has said anything is the last to be asked. */
  readonly mayFailOver: boolean;
  /** False: an answer that was begun ends with its back end. */
  readonly mayGoOn: boolean;
  /** How long its client waits for the next word after its back end was lost, in ms; absent: as the scheduler lets it. */
  readonly resumeLimitMs: number | undefined;
  /** The call has failed for good. Called while it still holds its slot, which must not go to one that is ended too. */
  readonly onFailed: (error: GatewayError) => void;
}

/** The attempt before, and how it failed. */
interface Loss extends Begun {
  readonly error: GatewayError;
  /** Who failed the call before it last got further: where nobody else is left, time enough has gone by to ask them again. */
  readonly earlier: ReadonlySet<Backend>;
}

interface Attempt {
  readonly lease: Lease;
  readonly way: Way;
  readonly request: ChatRequest;
  readonly deadlineAt: number | undefined;
  /** What there was of the answer when the attempt began. */
  readonly soFar: PartialAnswer | undefined;
  /** Absent: no back end could go on from it, so the answer is not kept. */
  readonly fold: AnswerFold | undefined;
}

/** How far an attempt had come when it ended, however it ended. */
interface Progress {
  /** The client has something of the answer, from this attempt or one before. */
  isGiven: boolean;
  /** This attempt gave some of it. */
  hasMoved: boolean;
  fold: AnswerFold | undefined;
}

/** Runs a call to its end and resolves to its usage; `push` gets its events but for `finish`. Rejects with a GatewayError. */
export async function runCall(options: CallOptions, push: EventSink): Promise<Usage> {
  const failed = new Set<Backend>();
  let loss: Loss | undefined;
  for (let number = 1; ; number += 1) {
    const { ticket, lease } = await nextLease(options, failed, loss);
    const progress: Progress = { isGiven: loss?.isGiven ?? false, hasMoved: false, fold: undefined };
    let outcome: Outcome = 'ignored';
    let usage: Usage | undefined;
    try {
      const attempt = beginAttempt(options, lease, ticket, loss);
      progress.fold = attempt.fold;
      usage = await runAttempt(options, attempt, progress, push);
      outcome = 'ok';
      return usage;
    } catch (thrown) {
      const error = lease.signal.aborted ? toGatewayError(thrown) : after(loss, toGatewayError(thrown));
      if (ERROR_TRAITS[error.code].shrinksLimit) outcome = 'overload';
      const earlier = new Set(progress.hasMoved ? failed : loss?.earlier);
      earlier.delete(lease.backend);
      const { isGiven, fold } = progress;
      loss = { error, by: lease.backend, isGiven, answer: fold?.answer(), earlier };
      // An engine of our own is started anew, and can take up its own tokens.
      const comesBack = lease.backend.continues === 'ids' && error.code === 'backend_failed';
      if (!comesBack) failed.add(lease.backend);
      if (number >= MOST_ATTEMPTS || lease.signal.aborted || !mayTryAgain(options, failed, loss)) {
        options.onFailed(error);
        throw error;
      }
    } finally {
      lease.release(outcome, usage);
    }
  }
}

/** From who has not failed the call; if none of them takes it, from who failed it earlier. */
async function nextLease(
  options: CallOptions,
  failed: Set<Backend>,
  loss: Loss | undefined,
): Promise<{ readonly ticket: Ticket; readonly lease: Lease }> {
  const ticket = ticketFor(options, failed, loss);
  try {
    return { ticket, lease: await options.scheduler.acquire(ticket) };
  } catch (thrown) {
    if (!loss) throw thrown;
    ticket.signal.throwIfAborted();
    const refusal = toGatewayError(thrown);
    const isWait = refusal.code === 'queue_timeout';
    if (isWait || loss.earlier.size === 0) throw notGoneOn(loss, refusal);
    for (const backend of loss.earlier) failed.delete(backend);
    return await nextLease(options, failed, { ...loss, earlier: new Set() });
  }
}

/** The next attempt's: not for those who failed, nor for those who could do nothing for the call as it stands. */
function ticketFor(options: CallOptions, failed: ReadonlySet<Backend>, loss: Loss | undefined): Ticket {
  const { ticket, request, clock, resumeLimitMs } = options;
  if (!loss && !request.continueFrom) return ticket;
  const excluded = new Set(
    ticket.backends.filter((backend) => failed.has(backend) || !wayOn(request, loss, backend)),
  );
  if (!loss) {
    if (excluded.size < ticket.backends.length) return { ...ticket, excluded };
    const message = 'No back end of this model can go on with an answer that was begun.';
    throw new GatewayError('invalid_request', message, { param: 'messages' });
  }
  if (!loss.isGiven) return { ...ticket, excluded, resumes: true };
  // Its client waits for the next word as it did for the first.
  const deadlineAt = resumeLimitMs === undefined ? undefined : clock.now() + resumeLimitMs;
  return { ...ticket, excluded, resumes: true, deadlineAt };
}

/** A wait that ends without a slot is, for a call that lost its back end, still that loss. */
function notGoneOn({ error, isGiven }: Loss, refusal: GatewayError): GatewayError {
  return isGiven
    ? like(error, `${error.message} The answer could not go on: ${refusal.message}`, error)
    : error;
}

function mayTryAgain(options: CallOptions, failed: ReadonlySet<Backend>, loss: Loss): boolean {
  const { ticket, request, mayFailOver, mayGoOn, retries } = options;
  const { code } = loss.error;
  if (!ERROR_TRAITS[code].elsewhere || !(loss.isGiven ? mayGoOn : mayFailOver)) return false;
  const mayBeAsked = (one: Backend) => !failed.has(one) || loss.earlier.has(one);
  if (!ticket.backends.some((one) => mayBeAsked(one) && wayOn(request, loss, one))) return false;
  // A connection that broke costs nobody anything; who is busy or slow, others like it may be too.
  return loss.isGiven || code === 'backend_failed' || retries.take();
}

/** The error as it is, with the one before it as its cause where it has none of its own. */
function after(loss: Loss | undefined, error: GatewayError): GatewayError {
  return !loss || error.cause !== undefined ? error : like(error, error.message, loss.error);
}

function like(error: GatewayError, message: string, cause: GatewayError): GatewayError {
  const { code, param, retryAfterMs, status, wire } = error;
  return new GatewayError(code, message, { param, retryAfterMs, status, wire, cause });
}

/** Decides what the attempt does, and tells of it. */
function beginAttempt(options: CallOptions, lease: Lease, ticket: Ticket, loss: Loss | undefined): Attempt {
  const { request, names, mayGoOn } = options;
  const { backend } = lease;
  const way = wayOn(request, loss, backend);
  if (!way) throw new GatewayError('internal', 'A call came to a back end that can do nothing for it.');
  const soFar = answerSoFar(way, request, loss);
  const model = names?.get(backend.id) ?? request.model;
  const isKept = mayGoOn && isWorthKeeping(request, ticket.backends);
  tell(options, lease, way, loss);
  return {
    lease,
    way,
    request: requestOf(request, model, way === 'rethink' ? request.continueFrom : soFar),
    soFar,
    fold: isKept ? new AnswerFold(soFar) : undefined,
    deadlineAt: ticket.deadlineAt,
  };
}

function requestOf(
  request: ChatRequest,
  model: string,
  continueFrom: PartialAnswer | undefined,
): ChatRequest {
  const isAsItCame = model === request.model && continueFrom === request.continueFrom;
  return isAsItCame ? request : { ...request, model, continueFrom };
}

function tell(
  { record, observer, clock }: CallOptions,
  lease: Lease,
  way: Way,
  loss: Loss | undefined,
): void {
  if (record.backend === undefined) {
    record.backend = lease.backend.id;
    record.queueMs = lease.queueMs;
    const acquiredMs = clock.now() - lease.queueMs - record.startedAt;
    const { predictedFirstTokenMs: predictedMs } = lease;
    record.predictedFirstTokenMs = predictedMs === undefined ? undefined : acquiredMs + predictedMs;
    observer.started?.(record);
  }
  if (!loss) return;
  if (record.backend === loss.by.id) record.backend = lease.backend.id;
  if (way !== 'anew') {
    record.continued += 1;
    observer.continued?.(record, way);
    return;
  }
  // Who announced itself and then said nothing is not who speaks.
  if (record.firstTokenMs === undefined) record.speaker = undefined;
  record.failovers += 1;
  observer.failedOver?.(record, loss.error.code);
}

/** Runs one attempt and keeps back ends to their contract: exactly one `finish`, which is taken out for its usage. */
async function runAttempt(
  options: CallOptions,
  attempt: Attempt,
  progress: Progress,
  push: EventSink,
): Promise<Usage> {
  const { record, clock } = options;
  const { lease, way, request, deadlineAt, soFar, fold } = attempt;
  let spoke = false;
  let usage: Usage | undefined;
  // Once any call of an answer has spoken, its first token has come; who goes on owes a word of its own.
  const hasSpoken = () => (way === 'anew' ? record.firstTokenMs !== undefined : spoke);
  const clocked = firstTokenClock(clock, deadlineAt, lease.signal, hasSpoken);
  try {
    await lease.backend.chat(request, contextOf(options, clocked.signal, deadlineAt), (event) => {
      if (event.type === 'finish') {
        usage = event.usage;
        return;
      }
      if (!spoke && isDelta(event)) {
        spoke = true;
        lease.spoke();
      }
      // Its client has read a thought already.
      if (way === 'rethink' && event.type === 'reasoning-delta') return;
      progress.hasMoved ||= givesSomething(event);
      progress.isGiven ||= progress.hasMoved;
      fold?.add(event);
      push(event);
    });
    if (!usage) throw new GatewayError('backend_failed', 'The back end ended its answer in the middle.');
    return wholeUsage(way, soFar, usage, lease.backend);
  } finally {
    clocked.stop();
  }
}

function contextOf(options: CallOptions, signal: AbortSignal, deadlineAt: number | undefined): CallContext {
  const { record, clock, callId, hops } = options;
  const deadlineMs = deadlineAt === undefined ? undefined : Math.max(0, deadlineAt - clock.now());
  const origin = { requestId: record.id, priority: record.priority, deadlineMs, hops };
  return { callId, tenant: record.tenant, signal, origin };
}

/** Whether the client has more than before, so that the call cannot begin anew. */
function givesSomething(event: TokenEvent): boolean {
  if (event.type === 'text-delta' || event.type === 'reasoning-delta') return event.text !== '';
  return event.type !== 'start';
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
