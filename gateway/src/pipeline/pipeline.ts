// A request's life between the edge and the back ends: wait for a lease, compute into the log, release.
// It never sees HTTP and never waits for a client; a lease ends with the compute, not with the socket.
import type { Backend, CallContext } from '../core/backend.ts';
import type { ChatRequest, EventSink, Usage } from '../core/chat.ts';
import type { Clock } from '../core/clock.ts';
import { ERROR_TRAITS, GatewayError, toGatewayError } from '../core/errors.ts';
import type { RequestObserver, RequestRecord } from '../core/observer.ts';
import type { Outcome, Ticket } from '../core/ticket.ts';
import type { ServedModel } from '../core/world.ts';
import { estimateCost } from '../scheduling/cost.ts';
import type { Scheduler } from '../scheduling/scheduler.ts';
import { addUsage } from './partial.ts';
import { recorded } from './recorder.ts';
import { StreamLog } from './stream-log.ts';

/** A request as the pipeline gets it. */
export interface Job {
  /** Filled in as the request goes its way. */
  readonly record: RequestRecord;
  readonly model: ServedModel;
  /** Never empty; several share one answer, their choices numbered through. */
  readonly calls: readonly ChatRequest[];
  /** How many of the calls may run at once. */
  readonly parallel: number;
  /** The first token is due this long after `record.startedAt`, in ms. */
  readonly deadlineMs: number | undefined;
}

/** An answer in the making. */
export interface Answer {
  /** To be read by one reader. Leaving it early cancels the compute. */
  readonly log: StreamLog;
  /** Stops the compute, whatever it is at; the log fails with the reason. */
  cancel(reason: GatewayError): void;
}

export interface PipelineOptions {
  readonly scheduler: Scheduler;
  readonly observer: RequestObserver;
  readonly clock: Clock;
  /** Bound on what one answer holds that its client has not read, in bytes. */
  readonly logBytes: number;
}

export class Pipeline {
  readonly #options: PipelineOptions;

  constructor(options: PipelineOptions) {
    this.#options = options;
  }

  /** Begins at once and goes on in the background; whatever happens is told through the log. */
  start(job: Job): Answer {
    const abort = new AbortController();
    const log = new StreamLog({
      maxBytes: this.#options.logBytes,
      onAbandoned: () => cancel(new GatewayError('cancelled', 'The client left.')),
    });
    const cancel = (reason: GatewayError) => {
      log.fail(reason);
      abort.abort(reason);
    };
    void this.#run(job, log, abort).catch((thrown: unknown) => cancel(toGatewayError(thrown)));
    return { log, cancel };
  }

  /** Runs the job's calls, `parallel` at a time; the first that fails ends them all. */
  async #run(job: Job, log: StreamLog, abort: AbortController): Promise<void> {
    let next = 0;
    let total: Usage | undefined;
    let firstChoice = 0;
    const choiceOffsets = job.calls.map((call) => {
      const offset = firstChoice;
      firstChoice += call.choices;
      return offset;
    });
    const { clock, observer } = this.#options;
    const push = recorded(job.record, log, clock, observer);
    const lane = async () => {
      while (next < job.calls.length && !abort.signal.aborted) {
        const index = next++;
        const usage = await this.#call(job, index, abort, shifted(push, choiceOffsets[index]!));
        total = total === undefined ? usage : addUsage(total, usage);
      }
    };
    await Promise.all(Array.from({ length: Math.min(job.parallel, job.calls.length) }, lane));
    const usage = total ?? {};
    job.record.usage = usage;
    log.push({ type: 'finish', usage });
    log.end();
  }

  async #call(job: Job, index: number, abort: AbortController, push: EventSink): Promise<Usage> {
    const { clock, observer, scheduler } = this.#options;
    const { record } = job;
    const request = job.calls[index]!;
    // Once the answer has begun, the promise is kept: its later calls are bound by it no more.
    const isDue = job.deadlineMs !== undefined && record.firstTokenMs === undefined;
    const deadlineAt = isDue ? record.startedAt + job.deadlineMs : undefined;
    const ticket: Ticket = {
      id: record.id,
      model: job.model.id,
      backends: job.model.backends,
      tenant: record.tenant,
      priority: record.priority,
      deadlineAt,
      signal: abort.signal,
      cost: estimateCost(request),
    };
    const lease = await scheduler.acquire(ticket);
    let outcome: Outcome = 'ignored';
    try {
      if (record.backend === undefined) {
        record.backend = lease.backend.id;
        record.queueMs = lease.queueMs;
        observer.started?.(record);
      }
      const clocked = firstTokenClock(clock, deadlineAt, record, lease.signal);
      try {
        const callId = job.calls.length === 1 ? record.id : `${record.id}#${index}`;
        const context = { callId, tenant: record.tenant, signal: clocked.signal };
        const usage = await compute(lease.backend, request, context, push);
        outcome = 'ok';
        return usage;
      } finally {
        clocked.stop();
      }
    } catch (thrown) {
      const error = toGatewayError(thrown);
      // Before the release: the slot must not go to a sibling that is about to be ended too.
      abort.abort(error);
      if (ERROR_TRAITS[error.code].shrinksLimit) outcome = 'overload';
      throw error;
    } finally {
      lease.release(outcome);
    }
  }
}

/** Runs one call and keeps back ends to their contract: exactly one `finish`, which is taken out for its usage. */
async function compute(
  backend: Backend,
  request: ChatRequest,
  context: CallContext,
  push: EventSink,
): Promise<Usage> {
  let usage: Usage | undefined;
  await backend.chat(request, context, (event) => {
    if (event.type === 'finish') usage = event.usage;
    else push(event);
  });
  if (!usage) throw new GatewayError('backend_failed', 'The back end ended its answer in the middle.');
  return usage;
}

/** A signal that also aborts when the answer's first token does not come in time. */
function firstTokenClock(clock: Clock, due: number | undefined, record: RequestRecord, signal: AbortSignal) {
  if (due === undefined) return { signal, stop: () => {} };
  const late = new AbortController();
  const stop = clock.after(Math.max(0, due - clock.now()), () => {
    if (record.firstTokenMs !== undefined) return;
    late.abort(new GatewayError('deadline_exceeded', 'The first token did not come before the deadline.'));
  });
  return { signal: AbortSignal.any([signal, late.signal]), stop };
}

/** Numbers a call's choices on from those of the calls before it. */
function shifted(push: EventSink, offset: number): EventSink {
  if (offset === 0) return push;
  return (event) => push('choice' in event ? { ...event, choice: event.choice + offset } : event);
}
