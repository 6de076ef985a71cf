// A request's life between the edge and the back ends: wait for a lease, compute into the log, release.
// It never sees HTTP and never waits for a client; a lease ends with the compute, not with the socket.
import type { ChatRequest, EventSink, Usage } from '../core/chat.ts';
import type { Clock } from '../core/clock.ts';
import { GatewayError, toGatewayError } from '../core/errors.ts';
import type { RequestObserver, RequestRecord } from '../core/observer.ts';
import type { Ticket } from '../core/ticket.ts';
import type { ServedModel } from '../core/world.ts';
import { estimateCost } from '../scheduling/cost.ts';
import { promptPrefix } from '../scheduling/prompt-prefix.ts';
import type { Scheduler } from '../scheduling/scheduler.ts';
import { runCall } from './attempts.ts';
import { addChoice, countCalls, type PlannedCall, planCalls } from './choices.ts';
import { addUsage } from './partial.ts';
import { recorded } from './recorder.ts';
import { RetryBudget } from './retry-budget.ts';
import { StreamLog } from './stream-log.ts';

/** A request as the pipeline gets it. */
export interface Job {
  /** Filled in as the request goes its way. */
  readonly record: RequestRecord;
  readonly model: ServedModel;
  /** One for each prompt, never empty; several share one answer, their choices numbered through. */
  readonly calls: readonly ChatRequest[];
  /** How many calls may run at once: a call of several choices can become as many. */
  readonly parallel: number;
  /** The first token is due this long after `record.startedAt`, in ms. */
  readonly deadlineMs: number | undefined;
  /** False: where its back end is lost, its client wants the error. Default true. */
  readonly failover?: boolean | undefined;
  /** What its client calls the conversation that it belongs to. */
  readonly session?: string | undefined;
  /** Gateways that the request passed before this one, by their ids. */
  readonly hops?: readonly string[] | undefined;
  /** Its tenant's share against the others'; absent: 1. */
  readonly weight?: number | undefined;
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
  /** Whether answers that lose their back end in the middle go on. Default true. */
  readonly continuation?: boolean | undefined;
  /** By which other gateways know this one, so that no request comes back to it; absent: it is not told. */
  readonly instanceId?: string | undefined;
}

export class Pipeline {
  readonly #options: PipelineOptions;
  readonly #retries = new RetryBudget();

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
    const { backends } = job.model;
    const calls = planCalls(job.calls, backends);
    const usages: Usage[] = [];
    const { clock, observer } = this.#options;
    const push = recorded(job.record, log, clock, observer);
    const lane = async () => {
      // One generator for all lanes: whoever is free takes the next call.
      for (const call of calls) {
        if (abort.signal.aborted) return;
        const usage = await this.#call(job, call, abort, shifted(push, call.firstChoice));
        usages[call.prompt] = addChoice(usages[call.prompt], usage);
      }
    };
    const lanes = Math.min(job.parallel, countCalls(job.calls, backends));
    await Promise.all(Array.from({ length: lanes }, lane));
    const usage = usages.length === 0 ? {} : usages.reduce(addUsage);
    job.record.usage = usage;
    log.push({ type: 'finish', usage });
    log.end();
  }

  async #call(job: Job, call: PlannedCall, abort: AbortController, push: EventSink): Promise<Usage> {
    const { clock, observer, scheduler, continuation = true, instanceId } = this.#options;
    const { record, model, failover = true, session, hops = [] } = job;
    const { request, number } = call;
    this.#retries.earn();
    // Once the answer has begun, the promise is kept: its later calls are bound by it no more.
    const isDue = job.deadlineMs !== undefined && record.firstTokenMs === undefined;
    const deadlineAt = isDue ? record.startedAt + job.deadlineMs : undefined;
    const ticket: Ticket = {
      id: record.id,
      model: model.id,
      backends: model.backends,
      tiers: model.tiers,
      tenant: record.tenant,
      priority: record.priority,
      deadlineAt,
      resumes: false,
      signal: abort.signal,
      cost: estimateCost(request),
      prefix: promptPrefix(request, `${record.tenant} ${model.id}`),
      session,
      weight: job.weight,
      prices: model.prices,
    };
    return await runCall(
      {
        scheduler,
        observer,
        clock,
        record,
        callId: number === undefined ? record.id : `${record.id}#${number}`,
        request,
        ticket,
        names: model.names,
        hops: instanceId === undefined ? hops : [...hops, instanceId],
        retries: this.#retries,
        mayFailOver: failover,
        mayGoOn: continuation && failover,
        resumeLimitMs: job.deadlineMs,
        onFailed: (error) => abort.abort(error),
      },
      push,
    );
  }
}

/** Numbers a call's choices on from those of the calls before it. */
function shifted(push: EventSink, offset: number): EventSink {
  if (offset === 0) return push;
  return (event) => push('choice' in event ? { ...event, choice: event.choice + offset } : event);
}
