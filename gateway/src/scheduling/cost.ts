// What a call will cost, guessed from its size alone: good enough to bound a queue, never a reason to refuse a prompt.
import { type ChatRequest, promptUnits } from '../core/chat.ts';
import type { Cost } from '../core/ticket.ts';

/** UTF-16 units a token: English has about 4, Chinese about 1.5; a queue's bound would rather guess too high. */
export const UNITS_PER_TOKEN = 3;
/** What an answer takes when the request does not say. */
export const USUAL_OUTPUT_TOKENS = 512;
/** A bound on the guess: clients send a `max_tokens` of 10^18 and mean "as it comes". */
const MOST_OUTPUT_TOKENS = 4096;

export function estimateCost(request: ChatRequest): Cost {
  return {
    promptTokens: Math.ceil(promptLength(request) / UNITS_PER_TOKEN),
    outputTokens: Math.min(request.maxTokens ?? USUAL_OUTPUT_TOKENS, MOST_OUTPUT_TOKENS) * request.choices,
  };
}

/** With what is to be gone on from, which is evaluated like a prompt. */
function promptLength({ prompt, continueFrom }: ChatRequest): number {
  const begun = continueFrom?.choices[0];
  return promptUnits(prompt) + (begun === undefined ? 0 : begun.text.length + begun.reasoning.length);
}
