// What is computed whole, without a stream: a lease, the compute, and where the back end fails, another one. Its first token is
// its end, so a deadline is one for the whole of it.
// It must never ask a back end twice for what it has failed at, and never hide a loss behind the wait that follows.
import type { Backend, CallContext } from '../core/backend.ts';
import type { Usage } from '../core/chat.ts';
import type { Clock } from '../core/clock.ts';
import { ERROR_TRAITS, type GatewayError, toGatewayError } from '../core/errors.ts';
import type { RequestObserver, RequestRecord } from '../core/observer.ts';
import type { Cost, Ticket } from '../core/ticket.ts';
import type { ServedModel } from '../core/world.ts';
import type { Lease } from '../scheduling/lease.ts';
import type { Scheduler } from '../scheduling/scheduler.ts';
import { comesBack } from './attempt.ts';
import type { AttemptBudget } from './attempt-budget.ts';
import { isPaid, MOST_ATTEMPTS } from './attempts.ts';
import { contextOf, dueSignal } from './call-context.ts';
import { firstTicket } from './first-ticket.ts';

export interface WholeJob<Answer extends WholeAnswer> {
  /** Filled in as the request goes its way. */
  readonly record: RequestRecord;
  /** Unique in this process. */
  readonly callId: string;
  /** Its back ends can all do it. */
  readonly model: ServedModel;
  readonly cost: Cost;
  /** The answer is due this long after `record.startedAt`, in ms. */
  readonly deadlineMs: number | undefined;
  /** False: where its back end fails, its client wants the error. Default true. */
  readonly failover?: boolean | undefined;
  readonly hops: readonly string[];
  /** Its tenant's share against the others'; absent: 1. */
  readonly weight?: number | undefined;
  readonly signal: AbortSignal;
  /** `model`: as the back end calls it. */
  readonly compute: (backend: Backend, model: string, context: CallContext) => Promise<Answer>;
}

export interface WholeAnswer {
  readonly speaker: string;
  readonly usage: Usage;
}

export interface WholeComputeOptions {
  readonly scheduler: Pick<Scheduler, 'acquire'>;
  readonly observer: RequestObserver;
  readonly clock: Clock;
  /** Pays for attempts after "busy" and "too slow". */
  readonly retries: AttemptBudget;
  /** By which other gateways know this one; absent: it is not told. */
  readonly instanceId?: string | undefined;
}

/** How the last attempt ended. */
interface Loss {
  readonly by: Backend;
  readonly error: GatewayError;
  /** The slot was taken back for a more urgent call, and nobody has failed. */
  readonly isPreempted: boolean;
}

/** Rejects with a GatewayError: the last back end's, the scheduler's refusal, or the signal's reason. */
export async function computeWhole<Answer extends WholeAnswer>(
  job: WholeJob<Answer>,
  options: WholeComputeOptions,
): Promise<Answer> {
  const { record, signal } = job;
  const { observer, retries } = options;
  const failed = new Set<Backend>();
  /** What it failed by, if it has. */
  let error: GatewayError | undefined;
  let loss: Loss | undefined;
  let attempts = 0;
  for (;;) {
    const ticket = ticketOf(job, failed, loss);
    const lease = await options.scheduler.acquire(ticket).catch((refusal: unknown) => {
      signal.throwIfAborted();
      throw error ?? refusal;
    });
    if (!loss) retries.earn();
    tell(job, lease, loss, observer);
    const ending = await attempt(job, ticket, lease, options);
    if (!('by' in ending)) return ending;
    loss = ending;
    if (loss.isPreempted) {
      record.preempted += 1;
      observer.preempted?.(record);
      continue;
    }
    error = loss.error;
    attempts += 1;
    if (!comesBack(loss)) failed.add(loss.by);
    if (attempts >= MOST_ATTEMPTS || !mayTryAgain(job, failed, error, retries)) throw error;
  }
}

/** Gives its lease back, however it ends. Never rejects. */
async function attempt<Answer extends WholeAnswer>(
  job: WholeJob<Answer>,
  ticket: Ticket,
  lease: Lease,
  { clock, instanceId }: WholeComputeOptions,
): Promise<Answer | Loss> {
  const { model, record, callId, signal } = job;
  const { backend } = lease;
  const hops = instanceId === undefined ? job.hops : [...job.hops, instanceId];
  const message = 'The answer did not come before the deadline.';
  const due = dueSignal({ clock, at: ticket.deadlineAt, hasCome: () => false, message }, lease.signal);
  try {
    const context = contextOf({ record, clock, callId, hops }, ticket, due.signal);
    const answer = await job.compute(backend, model.names?.get(backend.id) ?? model.id, context);
    record.speaker ??= answer.speaker;
    lease.spoke();
    lease.release('ok', answer.usage);
    return answer;
  } catch (thrown) {
    const error = toGatewayError(thrown);
    const isPreempted = lease.isPreempted && !signal.aborted;
    lease.release(!isPreempted && ERROR_TRAITS[error.code].shrinksLimit ? 'overload' : 'ignored');
    return { by: backend, error, isPreempted };
  } finally {
    due.stop();
  }
}

function ticketOf(job: WholeJob<WholeAnswer>, failed: ReadonlySet<Backend>, loss: Loss | undefined): Ticket {
  return {
    ...firstTicket(job),
    excluded: new Set(failed),
    resumes: loss !== undefined && !loss.isPreempted,
    wasPreempted: loss?.isPreempted,
  };
}

function mayTryAgain(
  { model, failover = true, signal }: WholeJob<WholeAnswer>,
  failed: ReadonlySet<Backend>,
  error: GatewayError,
  retries: AttemptBudget,
): boolean {
  if (signal.aborted || !failover || !ERROR_TRAITS[error.code].elsewhere) return false;
  return model.backends.some((one) => !failed.has(one)) && isPaid(error, retries);
}

/** Of a request in several pieces it is told once that it began, and by whom: where that one fails, by who takes its place. */
function tell(
  { record }: WholeJob<WholeAnswer>,
  { backend, queueMs }: Lease,
  loss: Loss | undefined,
  observer: RequestObserver,
): void {
  if (record.backend === undefined) {
    record.backend = backend.id;
    record.queueMs = queueMs;
    observer.started?.(record);
  }
  if (!loss) return;
  if (record.backend === loss.by.id) record.backend = backend.id;
  if (loss.isPreempted) return;
  record.failovers += 1;
  observer.failedOver?.(record, loss.error.code);
}
