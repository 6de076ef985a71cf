// In which forms a call can be answered: as it was asked, and with something of it given up, as its model allows. The order
// is the rule: a later step is taken only where all before it, also together, do not help, and none that is not needed.
// It decides nothing of when. Pure.
import type { Backend } from '../core/backend.ts';
import type { ChatRequest } from '../core/chat.ts';
import type { DegradeStep } from '../core/observer.ts';
import type { ServedModel, SpillPolicy, TrimPolicy } from '../core/world.ts';
import { estimateCost } from '../scheduling/cost.ts';
import { trimmedPrompt } from './trim-history.ts';

/** A way to answer a call. */
export interface Form {
  readonly request: ChatRequest;
  /** Whose back ends compute it. */
  readonly model: ServedModel;
  /** What is given up, in order; empty: nothing. */
  readonly steps: readonly DegradeStep[];
  /** It costs money that there is a budget for. */
  readonly spill?: SpillPolicy | undefined;
}

/** The same with one thing more given up; undefined: that changes nothing, or cannot be. */
type Step = (form: Form) => Form | undefined;

/** The form that is tried first. `mayDegrade`: its client does not mind. */
export function formAsAsked(model: ServedModel, request: ChatRequest, mayDegrade: boolean): Form {
  const form: Form = { request, model, steps: [] };
  const isTrimmed = mayDegrade && model.trim?.always === true;
  return (isTrimmed && trim(model.trim)(form)) || form;
}

/** Whether there may be any other form. */
export function mayBeDegraded({ model: { trim, degrade } }: Form): boolean {
  return trim?.always === false || degrade !== undefined;
}

/** All others, mildest first; made as they are asked for. */
export function* degradedForms(asked: Form): Generator<Form, undefined> {
  const steps = stepsOf(asked.model);
  // As binary numbers count: 1, 2, 1 and 2, 3, 1 and 3, and so on.
  for (let chosen = 1; chosen < 2 ** steps.length; chosen += 1) {
    let form: Form | undefined = asked;
    for (const [place, step] of steps.entries()) {
      if (form && chosen & (1 << place)) form = step(form);
    }
    if (form) yield form;
  }
  return undefined;
}

function stepsOf({ trim: trimming, degrade = {} }: ServedModel): Step[] {
  const steps: Step[] = [];
  if (trimming?.always === false) steps.push(trim(trimming));
  if (degrade.smallerModel) steps.push(goSmaller(degrade.smallerModel));
  if (degrade.shorterTokens !== undefined) steps.push(shorten(degrade.shorterTokens));
  if (degrade.spill) steps.push(spillTo(degrade.spill));
  return steps;
}

function trim({ maxTokens }: TrimPolicy): Step {
  return (form) => {
    const prompt = trimmedPrompt(form.request.prompt, maxTokens);
    return prompt && { ...form, request: { ...form.request, prompt }, steps: [...form.steps, 'trimmed'] };
  };
}

function goSmaller(model: ServedModel): Step {
  return ({ request, steps }) => {
    const isTooLong = estimateCost(request).promptTokens >= (model.contextWindow ?? Infinity);
    if (isTooLong || !canAnswer(model.backends, request)) return undefined;
    return { request: { ...request, model: model.id }, model, steps: [...steps, 'smaller-model'] };
  };
}

function shorten(maxTokens: number): Step {
  return (form) => {
    const { request, steps } = form;
    if ((request.maxTokens ?? Infinity) <= maxTokens) return undefined;
    return { ...form, request: { ...request, maxTokens }, steps: [...steps, 'shorter'] };
  };
}

/** What others have paid for is the model that was asked for, not a smaller one. */
function spillTo(spill: SpillPolicy): Step {
  return (form) => {
    const { request, model, steps } = form;
    if (steps.includes('smaller-model') || !canAnswer(spill.backends, request)) return undefined;
    const elsewhere = { ...model, backends: spill.backends, tiers: undefined };
    return { request, model: elsewhere, steps: [...steps, 'spill'], spill };
  };
}

/** A call of several choices goes only to who answers them at once: the others had it as several calls. */
function canAnswer(backends: readonly Backend[], { choices }: ChatRequest): boolean {
  return choices === 1 || backends.every(({ answersSeveral }) => answersSeveral === true);
}
