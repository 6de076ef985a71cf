// What is computed whole, without a stream: a lease, the compute, and where the back end fails, another one. Its first token is
// its end, so a deadline is one for the whole of it.
// It must never ask a back end twice for what it has failed at.
import type { Backend, CallContext } from '../core/backend.ts';
import type { Usage } from '../core/chat.ts';
import type { Clock } from '../core/clock.ts';
import { ERROR_TRAITS, GatewayError, toGatewayError } from '../core/errors.ts';
import type { RequestObserver, RequestRecord } from '../core/observer.ts';
import type { Cost, Ticket } from '../core/ticket.ts';
import type { ServedModel } from '../core/world.ts';
import type { Lease } from '../scheduling/lease.ts';
import type { Scheduler } from '../scheduling/scheduler.ts';

export interface WholeJob<Answer extends WholeAnswer> {
  /** Filled in as the request goes its way. */
  readonly record: RequestRecord;
  /** Its back ends can all do it. */
  readonly model: ServedModel;
  readonly cost: Cost;
  /** The answer is due this long after `record.startedAt`, in ms. */
  readonly deadlineMs: number | undefined;
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
  /** By which other gateways know this one; absent: it is not told. */
  readonly instanceId?: string | undefined;
}

/** A request that fails every back end must not be tried on all of them. */
const MOST_ATTEMPTS = 4;

/** Rejects with a GatewayError: the last back end's, the scheduler's refusal, or the signal's reason. */
export async function computeWhole<Answer extends WholeAnswer>(
  job: WholeJob<Answer>,
  options: WholeComputeOptions,
): Promise<Answer> {
  const { model, record } = job;
  const excluded = new Set<Backend>();
  for (let attempt = 1; ; attempt += 1) {
    const lease = await options.scheduler.acquire(ticketOf(job, excluded));
    tell(job, lease, options);
    try {
      return await onLease(job, lease, options);
    } catch (thrown) {
      const error = toGatewayError(thrown);
      const isPreempted = lease.isPreempted && !job.signal.aborted;
      lease.release(!isPreempted && ERROR_TRAITS[error.code].shrinksLimit ? 'overload' : 'ignored');
      if (isPreempted) {
        record.preempted += 1;
        options.observer.preempted?.(record);
        continue;
      }
      excluded.add(lease.backend);
      const isLast = attempt >= MOST_ATTEMPTS || model.backends.every((one) => excluded.has(one));
      if (isLast || job.signal.aborted || !ERROR_TRAITS[error.code].elsewhere) throw error;
      record.failovers += 1;
      options.observer.failedOver?.(record, error.code);
    }
  }
}

async function onLease<Answer extends WholeAnswer>(
  job: WholeJob<Answer>,
  lease: Lease,
  { clock, instanceId }: WholeComputeOptions,
): Promise<Answer> {
  const { model, record, hops, deadlineMs } = job;
  const { backend } = lease;
  const late = new AbortController();
  const leftMs = deadlineMs && Math.max(0, record.startedAt + deadlineMs - clock.now());
  const stop =
    leftMs === undefined
      ? undefined
      : clock.after(leftMs, () =>
          late.abort(new GatewayError('deadline_exceeded', 'The answer did not come before the deadline.')),
        );
  try {
    const answer = await job.compute(backend, model.names?.get(backend.id) ?? model.id, {
      callId: record.id,
      tenant: record.tenant,
      signal: AbortSignal.any([lease.signal, late.signal]),
      origin: {
        requestId: record.id,
        priority: record.priority,
        deadlineMs: leftMs,
        hops: instanceId === undefined ? hops : [...hops, instanceId],
      },
    });
    record.firstTokenMs ??= clock.now() - record.startedAt;
    record.firstAnswerMs ??= record.firstTokenMs;
    record.speaker ??= answer.speaker;
    lease.spoke();
    lease.release('ok', answer.usage);
    return answer;
  } finally {
    stop?.();
  }
}

function ticketOf(
  { record, model, cost, deadlineMs, weight, signal }: WholeJob<WholeAnswer>,
  excluded: ReadonlySet<Backend>,
): Ticket {
  return {
    id: record.id,
    model: model.id,
    backends: model.backends,
    tiers: model.tiers,
    excluded: new Set(excluded),
    tenant: record.tenant,
    priority: record.priority,
    deadlineAt: deadlineMs === undefined ? undefined : record.startedAt + deadlineMs,
    resumes: excluded.size > 0,
    signal,
    cost,
    prices: model.prices,
    weight,
  };
}

/** Of a request in several pieces, the first one's. */
function tell({ record }: WholeJob<WholeAnswer>, lease: Lease, { observer }: WholeComputeOptions): void {
  if (record.backend !== undefined) return;
  record.backend = lease.backend.id;
  record.queueMs = lease.queueMs;
  observer.started?.(record);
}
