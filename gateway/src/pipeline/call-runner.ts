// From a job's call, in the form in which it is to be answered, to its attempts: its ticket, and what pays for those that
// nobody asked for. It must never decide what form that is, nor who reads along.
import type { EventSink, Usage } from '../core/chat.ts';
import type { Clock } from '../core/clock.ts';
import type { GatewayError } from '../core/errors.ts';
import type { RequestObserver, RequestRecord } from '../core/observer.ts';
import type { Ticket } from '../core/ticket.ts';
import { estimateCost } from '../scheduling/cost.ts';
import { promptPrefix } from '../scheduling/prompt-prefix.ts';
import type { Scheduler } from '../scheduling/scheduler.ts';
import { AttemptBudget } from './attempt-budget.ts';
import { runCall } from './attempts.ts';
import type { Standing } from './call.ts';
import type { Form } from './degraded-forms.ts';
import { firstTicket } from './first-ticket.ts';
import { type HedgeAfter, Hedging } from './hedging.ts';
import type { Job } from './job.ts';

export interface CallRunnerOptions {
  readonly scheduler: Scheduler;
  readonly observer: RequestObserver;
  readonly clock: Clock;
  /** Whether answers that lose their back end in the middle go on. Default true. */
  readonly continuation?: boolean | undefined;
  /** When a call without a first word is sent to a second back end too; absent: never. */
  readonly hedgeAfter?: HedgeAfter | undefined;
  /** By which other gateways know this one, so that no request comes back to it; absent: it is not told. */
  readonly instanceId?: string | undefined;
}

/** What is to be run. */
export interface AskedCall {
  readonly job: Job;
  /** Unique within the job's calls; undefined: it is the only one. */
  readonly number: number | undefined;
  readonly form: Form;
  /** There are other forms: a refusal books no place. */
  readonly isTrial: boolean;
}

/** Where a call's story and its events go, what ends it, and how it begins. */
export interface Run {
  readonly record: RequestRecord;
  readonly push: EventSink;
  readonly signal: AbortSignal;
  /** How it stands where it begins; absent: nothing of it is there. */
  readonly standing?: Standing | undefined;
  /** It has failed for good. Called while it still holds its slot. */
  readonly onFailed: (error: GatewayError, standing: Standing) => void;
}

/** Attempts after "busy" and "too slow": a tenth of the calls, and a burst of ten. */
const RETRY_BUDGET = { callsAnAttempt: 10, most: 10, atFirst: 10 };

export class CallRunner {
  /** Pays for attempts after "busy" and "too slow", whatever kind of call they are of. */
  readonly retries = new AttemptBudget(RETRY_BUDGET);
  readonly #options: CallRunnerOptions;
  readonly #hedging: Hedging | undefined;

  constructor(options: CallRunnerOptions) {
    this.#options = options;
    this.#hedging = options.hedgeAfter === undefined ? undefined : new Hedging(options.hedgeAfter);
  }

  /** Resolves to the usage; the events but for `finish` are pushed. Rejects with a GatewayError. */
  async run({ job, number, form, isTrial }: AskedCall, run: Run): Promise<Usage> {
    const { scheduler, observer, clock, instanceId } = this.#options;
    const { failover = true, session, hops = [], deadlineMs, weight } = job;
    const { request, model } = form;
    const { record, signal, standing, onFailed } = run;
    // Once the answer has begun, the promise is kept: its later calls are bound by it no more.
    const isDue = deadlineMs !== undefined && record.firstTokenMs === undefined;
    const ticket: Ticket = {
      ...firstTicket({
        record,
        model,
        cost: estimateCost(request),
        deadlineMs: isDue ? deadlineMs : undefined,
        weight,
        signal,
      }),
      isTrial,
      prefix: promptPrefix(request, `${record.tenant} ${model.id}`),
      session,
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
        retries: this.retries,
        hedging: this.#hedging,
        mayFailOver: failover,
        mayGoOn: this.mayGoOn(job),
        resumeLimitMs: deadlineMs,
        standing,
        onFailed,
      },
      run.push,
    );
  }

  /** Whether an answer of the job that was begun may outlive its back end. */
  mayGoOn({ failover = true }: Job): boolean {
    return failover && (this.#options.continuation ?? true);
  }
}
