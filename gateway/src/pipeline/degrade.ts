// Degrade before refusing: a call that its model has no room for in time is answered in the mildest form for which there is
// some, if its model and its client allow it. Whether there is room only the scheduler knows, so each form asks it; what a
// form is refused is no news to the client, and the refusal in the end is that of the call as it was asked.
// It must never change an answer that has begun.
import type { EventSink, Usage } from '../core/chat.ts';
import { ERROR_TRAITS, type ErrorCode, type GatewayError, toGatewayError } from '../core/errors.ts';
import { noteDegraded, type RequestRecord } from '../core/observer.ts';
import { estimateCost } from '../scheduling/cost.ts';
import type { SpillBudgets } from '../scheduling/spill-budgets.ts';
import { degradedForms, type Form, mayBeDegraded } from './degraded-forms.ts';

/** How a form is run. */
export interface FormRun {
  /** There are other forms: a refusal books no place. */
  readonly isTrial: boolean;
  readonly push: EventSink;
  /** The call has failed for good, while it still holds its slot. */
  readonly onFailed: (error: GatewayError) => void;
}

export interface DegradeOptions extends Omit<FormRun, 'isTrial'> {
  readonly record: RequestRecord;
  readonly budgets: SpillBudgets;
  /** False: its client wants the answer as it asked for it, or none. */
  readonly mayDegrade: boolean;
  readonly signal: AbortSignal;
  /** Runs the call in one form to its end; rejects with a GatewayError. */
  readonly run: (form: Form, how: FormRun) => Promise<Usage>;
}

/** How far a form had come when it failed. */
interface Progress {
  /** It had a slot. */
  hasRun: boolean;
  /** The client has something of its answer. */
  isGiven: boolean;
}

/** The model's back ends have more to do than they can. */
const PRESSURE: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['overloaded', 'backend_busy']);
/** Beside what another back end may do better: what may be true of a form and not of the call. */
const OF_THE_FORM: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'overloaded',
  'not_ready',
  'invalid_request',
  'context_length_exceeded',
  'backend_refused',
]);

/** Runs a call as it was asked, or else in the mildest form that is taken. Rejects as the call itself would be. */
export async function runMildest(asked: Form, options: DegradeOptions): Promise<Usage> {
  const { mayDegrade, run, onFailed } = options;
  const runLast = () => run(asked, { isTrial: false, push: noting(asked, options), onFailed });
  if (!mayDegrade || !mayBeDegraded(asked)) return await runLast();
  let usage = await runTrial(asked, options, newProgress(), isPressed);
  if (usage) return usage;
  for (const form of degradedForms(asked)) {
    usage = await runWithin(form, options);
    if (usage) return usage;
  }
  return await runLast();
}

/** A degraded form, if its money lasts. Undefined: the next form is to be tried. */
async function runWithin(form: Form, options: DegradeOptions): Promise<Usage | undefined> {
  const { spill, model, request } = form;
  const progress = newProgress();
  if (!spill) return await runTrial(form, options, progress, isOfTheForm);
  const spending = options.budgets.take(model.id, spill, estimateCost(request));
  if (!spending) return undefined;
  let usage: Usage | undefined;
  try {
    usage = await runTrial(form, options, progress, isOfTheForm);
    return usage;
  } finally {
    // Of an answer that was cut nobody told the tokens: they stay estimated.
    if (usage) spending.settle(usage);
    else if (!progress.hasRun) spending.cancel();
  }
}

/** Undefined: it failed by what leads on to another form. */
async function runTrial(
  form: Form,
  options: DegradeOptions,
  progress: Progress,
  leadsOn: (error: GatewayError, progress: Progress) => boolean,
): Promise<Usage | undefined> {
  const { record, signal } = options;
  const { backend, queueMs, predictedFirstTokenMs } = record;
  const isOver = (error: GatewayError) => signal.aborted || !leadsOn(error, progress);
  const push = noting(form, options);
  try {
    return await options.run(form, {
      isTrial: true,
      push: (event) => {
        progress.hasRun = true;
        progress.isGiven ||= event.type !== 'start';
        push(event);
      },
      onFailed: (error) => {
        progress.hasRun = true;
        if (isOver(error)) options.onFailed(error);
      },
    });
  } catch (thrown) {
    if (isOver(toGatewayError(thrown))) throw thrown;
    // Who announced itself and then said nothing is not who speaks; where it had a slot, nothing is told of it.
    if (record.firstTokenMs === undefined) {
      record.speaker = undefined;
      record.backend = backend;
      record.queueMs = queueMs;
      record.predictedFirstTokenMs = predictedFirstTokenMs;
    }
    return undefined;
  }
}

function newProgress(): Progress {
  return { hasRun: false, isGiven: false };
}

/** The call as it was asked found no room. */
function isPressed({ code }: GatewayError, { hasRun }: Progress): boolean {
  return !hasRun && PRESSURE.has(code);
}

/** The fault may be the form's alone: its client never asked for a smaller model that knows no tools. */
function isOfTheForm({ code }: GatewayError, { isGiven }: Progress): boolean {
  return !isGiven && (ERROR_TRAITS[code].elsewhere || OF_THE_FORM.has(code));
}

/** Writes down what was given up once there is something of the answer: before it, another form may still give it. */
function noting({ steps }: Form, { record, push }: DegradeOptions): EventSink {
  if (steps.length === 0) return push;
  let isNoted = false;
  return (event) => {
    if (!isNoted && event.type !== 'start') {
      isNoted = true;
      for (const step of steps) noteDegraded(record, step);
    }
    push(event);
  };
}
