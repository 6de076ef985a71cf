// What another attempt can do for a call whose back end was lost: make the answer from its beginning, where nothing of it
// was given; go on with it, by its tokens or its text; think again unseen; or nothing.
// It must never allow an attempt that gives the client something twice or leaves something out.
// Pure.
import type { Backend } from '../core/backend.ts';
import type { ChatRequest, PartialAnswer, PartialChoice, Usage } from '../core/chat.ts';
import type { ContinuationKind } from '../core/observer.ts';

/** `anew`: the request as it came. The others: the client has a part of the answer already. */
export type Way = 'anew' | ContinuationKind;

/** A call as it stood when its back end was lost. */
export interface Begun {
  /** Its client has something of the answer. */
  readonly isGiven: boolean;
  /** The answer so far, what the client itself had begun included; absent: it was not kept. */
  readonly answer: PartialAnswer | undefined;
  /** Whose attempt it was: the answer's ids are its own. */
  readonly by: Backend;
}

/** What the back end can do for the call; undefined: nothing. `begun` is absent at the first attempt. */
export function wayOn(request: ChatRequest, begun: Begun | undefined, backend: Backend): Way | undefined {
  const canBegin = request.continueFrom === undefined || backend.continues !== undefined;
  if (!begun?.isGiven) return canBegin ? 'anew' : undefined;
  const choice = onlyChoice(request, begun.answer);
  if (!choice) return undefined;
  if (choice.tokens && backend === begun.by && backend.continues === 'ids') return 'ids';
  // The rest of a call would have to fit what its client holds to the letter, and no text can tell a model that.
  if (choice.toolCalls.length > 0) return undefined;
  const keepsForm = !hasForm(request) || backend.continuesForm === true;
  const goesOn = backend.continues !== undefined && keepsForm;
  if (choice.text !== '') return goesOn && request.logprobs === undefined ? 'text' : undefined;
  if (goesOn && backend.continuesThought) return 'text';
  return canBegin ? 'rethink' : undefined;
}

/** Whether an answer has to be kept while it is made: some back end could go on with it. */
export function isWorthKeeping({ choices }: ChatRequest, backends: readonly Backend[]): boolean {
  return choices === 1 && (backends.length > 1 || backends[0]?.continues === 'ids');
}

/** What there is of the answer for the client, where the next attempt begins. */
export function answerSoFar(
  way: Way,
  request: ChatRequest,
  begun: Begun | undefined,
): PartialAnswer | undefined {
  if (way === 'anew' || !begun?.answer) return request.continueFrom;
  return way === 'ids' ? begun.answer : withoutIds(begun.answer);
}

/**
 * The usage of the whole answer: `last` is that of its last attempt, which began where `soFar` ends. What was given
 * before counts by its pieces, and not as the prompt that it then was.
 */
export function wholeUsage(way: Way, soFar: PartialAnswer | undefined, last: Usage, backend: Backend): Usage {
  const choice = soFar?.choices[0];
  if (way === 'anew' || way === 'ids' || !choice) return last;
  const { pieces = 0, reasoningPieces = 0 } = choice;
  const sent = way === 'rethink' ? 0 : pieces - (backend.continuesThought ? 0 : reasoningPieces);
  const promptTokens = plus(last.promptTokens, -sent);
  return {
    promptTokens,
    cachedTokens:
      last.cachedTokens === undefined || promptTokens === undefined
        ? last.cachedTokens
        : Math.min(last.cachedTokens, promptTokens),
    completionTokens: plus(last.completionTokens, pieces),
    reasoningTokens: plus(last.reasoningTokens, reasoningPieces),
  };
}

/** Of an answer of several choices, or one that has ended, nothing can go on. */
function onlyChoice({ choices }: ChatRequest, answer: PartialAnswer | undefined): PartialChoice | undefined {
  if (choices > 1 || !answer || answer.choices.length > 1) return undefined;
  const choice = answer.choices[0];
  return choice?.reason === undefined ? choice : undefined;
}

function hasForm({ responseFormat }: ChatRequest): boolean {
  return responseFormat !== undefined && responseFormat.kind !== 'text';
}

/** Another back end would take them for tokens of its own. */
function withoutIds(answer: PartialAnswer): PartialAnswer {
  return { ...answer, choices: answer.choices.map((choice) => ({ ...choice, tokens: undefined })) };
}

/** Pieces only estimate tokens: no count gets below 0 by them. */
function plus(count: number | undefined, more: number): number | undefined {
  return count === undefined ? undefined : Math.max(0, count + more);
}
