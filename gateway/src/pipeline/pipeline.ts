// A request's life between the edge and the back ends: wait for a lease, compute into the log, release.
// It never sees HTTP and never waits for a client; a lease ends with the compute, not with the socket.
import type { EventSink, Usage } from '../core/chat.ts';
import { GatewayError, toGatewayError } from '../core/errors.ts';
import { SpillBudgets } from '../scheduling/spill-budgets.ts';
import { CallRunner, type CallRunnerOptions, type Run } from './call-runner.ts';
import { addChoice, countCalls, type PlannedCall, planCalls } from './choices.ts';
import { type FormRun, runMildest } from './degrade.ts';
import { type Form, formAsAsked } from './degraded-forms.ts';
import type { Job } from './job.ts';
import { inLanes } from './lanes.ts';
import { addUsage } from './partial.ts';
import { recorded } from './recorder.ts';
import { SharedAnswers, sharesAnswers } from './shared-answers.ts';
import { StreamLog } from './stream-log.ts';
import { computeWhole, type WholeAnswer, type WholeJob } from './whole-compute.ts';

export type { Job } from './job.ts';

/** An answer in the making. */
export interface Answer {
  /** To be read by one reader. Leaving it early cancels the compute. */
  readonly log: StreamLog;
  /** Stops the compute, whatever it is at; the log fails with the reason. */
  cancel(reason: GatewayError): void;
}

export interface PipelineOptions extends CallRunnerOptions {
  /** Bound on what one answer holds that its client has not read, in bytes. */
  readonly logBytes: number;
}

/** A job under way. */
interface Course {
  readonly job: Job;
  readonly log: StreamLog;
  readonly abort: AbortController;
}

export class Pipeline {
  readonly #options: PipelineOptions;
  readonly #runner: CallRunner;
  readonly #shared: SharedAnswers;
  readonly #spillBudgets: SpillBudgets;

  constructor(options: PipelineOptions) {
    this.#options = options;
    this.#runner = new CallRunner(options);
    this.#shared = new SharedAnswers(options);
    this.#spillBudgets = new SpillBudgets(options.clock);
  }

  /** Begins at once and goes on in the background; whatever happens is told through the log. */
  start(job: Job): Answer {
    const abort = new AbortController();
    const log = new StreamLog({
      maxBytes: this.#options.logBytes,
      clock: this.#options.clock,
      onAbandoned: () => cancel(new GatewayError('cancelled', 'The client left.')),
    });
    const cancel = (reason: GatewayError) => {
      log.fail(reason);
      abort.abort(reason);
    };
    void this.#run({ job, log, abort }).catch((thrown: unknown) => cancel(toGatewayError(thrown)));
    return { log, cancel };
  }

  /** What is computed whole, and is no stream. Rejects with a GatewayError. */
  computeWhole<Answer extends WholeAnswer>(job: WholeJob<Answer>): Promise<Answer> {
    return computeWhole(job, { ...this.#options, retries: this.#runner.retries });
  }

  /** Runs the job's calls, `parallel` at a time; the first that fails ends them all. */
  async #run(course: Course): Promise<void> {
    const { job, log, abort } = course;
    const { backends } = job.model;
    const calls = planCalls(job.calls, backends);
    const usages: Usage[] = [];
    const { clock, observer } = this.#options;
    const push = recorded(job.record, log, clock, observer);
    const lanes = Math.min(job.parallel, countCalls(job.calls, backends));
    await inLanes(calls, lanes, abort.signal, async (call) => {
      const usage = await this.#call(course, call, shifted(push, call.firstChoice));
      usages[call.prompt] = addChoice(usages[call.prompt], usage);
    });
    const usage = usages.length === 0 ? {} : usages.reduce(addUsage);
    job.record.usage = usage;
    log.push({ type: 'finish', usage });
    log.end();
  }

  /** Answers a call as it was asked, or else in the mildest form for which there is room. */
  #call(course: Course, call: PlannedCall, push: EventSink): Promise<Usage> {
    const { job, abort } = course;
    const { mayDegrade = true, model, record } = job;
    return runMildest(formAsAsked(model, call.request, mayDegrade), {
      record,
      budgets: this.#spillBudgets,
      mayDegrade,
      signal: abort.signal,
      run: (form, how) => this.#form(course, call, form, how),
      push,
      onFailed: (error) => abort.abort(error),
    });
  }

  /** Answers a call in one of its forms: by another one's compute, by what was kept of one, or by its own. */
  #form(course: Course, call: PlannedCall, form: Form, how: FormRun): Promise<Usage> {
    const { job, log, abort } = course;
    const { record, deadlineMs, failover = true, mayShare = true, mayDegrade = true } = job;
    const { isTrial, push, onFailed } = how;
    const asked = { job, number: call.number, form, isTrial };
    const run = { record, push, signal: abort.signal, onFailed };
    const compute = (own: Run) => this.#runner.run(asked, own);
    // Of an answer in several calls a part could come from elsewhere, and its head could not tell which.
    const isOnlyCall = call.number === undefined;
    if (!mayShare || !mayDegrade || !isOnlyCall || !sharesAnswers(form.model)) return compute(run);
    return this.#shared.answer({
      ...run,
      model: form.model,
      request: form.request,
      log,
      terms: `${record.priority} ${deadlineMs} ${failover} ${isTrial}`,
      mayGoOn: this.#runner.mayGoOn(job),
      compute,
    });
  }
}

/** Numbers a call's choices on from those of the calls before it. */
function shifted(push: EventSink, offset: number): EventSink {
  if (offset === 0) return push;
  return (event) => push('choice' in event ? { ...event, choice: event.choice + offset } : event);
}
