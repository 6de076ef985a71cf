// A request's life between the edge and the back ends: wait for a lease, compute into the log, release.
// It never sees HTTP and never waits for a client; a lease ends with the compute, not with the socket.
import type { ChatRequest, EventSink, Usage } from '../core/chat.ts';
import type { Clock } from '../core/clock.ts';
import { GatewayError, toGatewayError } from '../core/errors.ts';
import type { RequestObserver, RequestRecord } from '../core/observer.ts';
import type { Ticket } from '../core/ticket.ts';
import type { ServedModel } from '../core/world.ts';
import { estimateCost } from '../scheduling/cost.ts';
import type { Scheduler } from '../scheduling/scheduler.ts';
import { AttemptBudget } from './attempt-budget.ts';
import { runCall } from './attempts.ts';
import { addChoice, countCalls, type PlannedCall, planCalls } from './choices.ts';
import { type HedgeAfter, Hedging } from './hedging.ts';
import { addUsage } from './partial.ts';
import { recorded } from './recorder.ts';
import type { Run } from './shared-answer.ts';
import { SharedAnswers } from './shared-answers.ts';
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
  /** False: its client wants it computed for itself alone, and nothing of it kept. Default true. */
  readonly mayShare?: boolean | undefined;
  /** Gateways that the request passed before this one, by their ids. */
  readonly hops?: readonly string[] | undefined;
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
  /** When a call without a first word is sent to a second back end too; absent: never. */
  readonly hedgeAfter?: HedgeAfter | undefined;
  /** By which other gateways know this one, so that no request comes back to it; absent: it is not told. */
  readonly instanceId?: string | undefined;
}

/** Attempts after "busy" and "too slow": a tenth of the calls, and a burst of ten. */
const RETRY_BUDGET = { callsAnAttempt: 10, most: 10, atFirst: 10 };

export class Pipeline {
  readonly #options: PipelineOptions;
  readonly #retries = new AttemptBudget(RETRY_BUDGET);
  readonly #hedging: Hedging | undefined;
  readonly #shared: SharedAnswers;

  constructor(options: PipelineOptions) {
    this.#options = options;
    this.#hedging = options.hedgeAfter === undefined ? undefined : new Hedging(options.hedgeAfter);
    this.#shared = new SharedAnswers(options);
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
        const reader = { log, push: shifted(push, call.firstChoice) };
        const usage = await this.#answer(job, call, abort, reader);
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

  /** From another one's compute or from what was kept, where that may be; else it is computed. */
  async #answer(job: Job, call: PlannedCall, abort: AbortController, { log, push }: Reader): Promise<Usage> {
    const { record, model, deadlineMs, failover = true, mayShare = true } = job;
    const onFailed = (error: GatewayError) => abort.abort(error);
    const run = { record, push, signal: abort.signal, onFailed };
    const compute = (own: Run) => this.#compute(job, call, own);
    if (!mayShare) return await compute(run);
    return await this.#shared.answer({
      ...run,
      model,
      request: call.request,
      log,
      terms: `${record.priority} ${deadlineMs} ${failover}`,
      mayGoOn: failover && (this.#options.continuation ?? true),
      compute,
    });
  }

  async #compute(job: Job, { request, number }: PlannedCall, run: Run): Promise<Usage> {
    const { clock, observer, scheduler, continuation = true, instanceId } = this.#options;
    const { model, failover = true, hops = [] } = job;
    const { record, signal, standing, onFailed } = run;
    this.#retries.earn();
    this.#hedging?.earn();
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
      signal,
      cost: estimateCost(request),
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
        hedging: this.#hedging,
        mayFailOver: failover,
        mayGoOn: continuation && failover,
        resumeLimitMs: job.deadlineMs,
        standing,
        onFailed,
      },
      run.push,
    );
  }
}

/** Where a call's events go. */
interface Reader {
  readonly log: StreamLog;
  readonly push: EventSink;
}

/** Numbers a call's choices on from those of the calls before it. */
function shifted(push: EventSink, offset: number): EventSink {
  if (offset === 0) return push;
  return (event) => push('choice' in event ? { ...event, choice: event.choice + offset } : event);
}
