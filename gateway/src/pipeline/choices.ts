// A request's calls, one after the other: several answers to one prompt become calls of one choice each, unless every
// back end of the model answers several at once. It must never hold all of them: there can be 131,072.
// Not every back end that may run a call can do more, and which one will is known only with the lease.
import type { Backend } from '../core/backend.ts';
import type { ChatRequest, Usage } from '../core/chat.ts';
import { addUsage } from './partial.ts';

export interface PlannedCall {
  readonly request: ChatRequest;
  /** Unique within the request's calls; undefined: it is the only one. */
  readonly number: number | undefined;
  /** Its choices are numbered on from this one. */
  readonly firstChoice: number;
  /** Which of the prompts it answers. */
  readonly prompt: number;
}

/** How many calls `planCalls` gives. */
export function countCalls(calls: readonly ChatRequest[], backends: readonly Backend[]): number {
  const several = answerSeveral(backends);
  return calls.reduce((sum, call) => sum + partsOf(call, several), 0);
}

/** Choices are numbered through in the order of the calls. */
export function* planCalls(
  calls: readonly ChatRequest[],
  backends: readonly Backend[],
): Generator<PlannedCall, undefined> {
  const several = answerSeveral(backends);
  const isOnly = countCalls(calls, backends) === 1;
  let number = 0;
  let firstChoice = 0;
  for (const [prompt, call] of calls.entries()) {
    const parts = partsOf(call, several);
    for (let choice = 0; choice < parts; choice++) {
      const request = parts === 1 ? call : oneChoice(call, choice);
      yield { request, number: isOnly ? undefined : number, firstChoice, prompt };
      number += 1;
      firstChoice += request.choices;
    }
  }
  return undefined;
}

/** The usage of two answers to one prompt: it counts once, and as cached only what neither had to compute. */
export function addChoice(a: Usage | undefined, b: Usage): Usage {
  if (a === undefined) return b;
  const { cachedTokens } = a;
  return {
    ...addUsage(a, b),
    promptTokens: a.promptTokens ?? b.promptTokens,
    cachedTokens:
      cachedTokens === undefined || b.cachedTokens === undefined
        ? undefined
        : Math.min(cachedTokens, b.cachedTokens),
  };
}

/** What goes on from a beginning is one choice. */
function partsOf({ choices, continueFrom }: ChatRequest, several: boolean): number {
  return several && !continueFrom ? 1 : choices;
}

function answerSeveral(backends: readonly Backend[]): boolean {
  return backends.every(({ answersSeveral }) => answersSeveral === true);
}

/** With one seed all answers would be one; with seeds in a row they differ, and the same request gives the same again. */
function oneChoice(call: ChatRequest, choice: number): ChatRequest {
  const { seed } = call.sampling;
  // The seed's digits, where a client sent more than a number holds, are those of the first.
  const { seed: _digits, ...extra } = call.extra;
  return {
    ...call,
    choices: 1,
    sampling: seed === undefined ? call.sampling : { ...call.sampling, seed: seedAfter(seed, choice) },
    extra: choice === 0 ? call.extra : extra,
  };
}

/** Above 2^53 a number plus one may be the same number; seeds are taken modulo 2^32 at the latest by who samples. */
function seedAfter(seed: number, steps: number): number {
  return Number.isSafeInteger(seed + steps) || steps === 0 ? seed + steps : (seed % 2 ** 32) + steps;
}
