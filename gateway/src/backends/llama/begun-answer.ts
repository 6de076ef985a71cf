// What there is of an answer, behind its prompt: which tokens it is, what they count as, and how much may come after them.
// Words are written as the model would have: a thought between its tags, as the templates of thinking models write it, and
// then the text.
// It must never mix up the tags, which are ours, with the words between them, which anybody may have written.
// Pure.
import { GatewayError } from '../../core/errors.ts';
import type { Span } from './control-texts.ts';
import type { BegunAnswer } from './messages.ts';

const OPEN = '<think>\n';
const CLOSE = '</think>\n\n';

export interface WrittenAnswer {
  readonly written: string;
  /** Where in it the answer's own words stand. */
  readonly words: readonly Span[];
}

/** `thinking`: absent where the model does not think aloud, and then a thought is of no use to it. */
export function writtenAnswer(
  { text, reasoning }: { readonly text: string; readonly reasoning: string },
  thinking: { readonly beginsInReasoning: boolean } | undefined,
): WrittenAnswer {
  if (thinking === undefined) return { written: text, words: [{ start: 0, end: text.length }] };
  const opening = reasoning === '' || thinking.beginsInReasoning ? '' : OPEN;
  const thought = opening + reasoning;
  const isOpen = thought !== '' || thinking.beginsInReasoning;
  const closing = !isOpen || text === '' ? '' : `${reasoning.endsWith('\n') ? '' : '\n'}${CLOSE}`;
  const textStart = thought.length + closing.length;
  return {
    written: thought + closing + text,
    words: [
      { start: opening.length, end: thought.length },
      { start: textStart, end: textStart + text.length },
    ],
  };
}

export interface ContinuationOptions {
  readonly begun: BegunAnswer | undefined;
  /** Of the prompt alone; less than the window. */
  readonly promptTokens: number;
  readonly contextTokens: number;
  /** Of the whole answer; absent: as the window allows. */
  readonly maxTokens: number | undefined;
  readonly tokenize: (words: { readonly text: string; readonly reasoning: string }) => readonly number[];
}

export interface Continuation {
  /** Behind the prompt. */
  readonly continued: readonly number[];
  /** They count as prompt, not as the answer's. */
  readonly isPrompt: boolean;
  /** Of the answer, with what is counted of `continued`. */
  readonly maxTokens: number;
  /** The answer has all that it may have. */
  readonly isSpent: boolean;
}

/** Throws `context_length_exceeded` where the client's own beginning leaves no room. */
export function planContinuation(options: ContinuationOptions): Continuation {
  const { begun, promptTokens, contextTokens, maxTokens = Number.POSITIVE_INFINITY, tokenize } = options;
  const left = contextTokens - promptTokens;
  const most = Math.floor(maxTokens);
  if (begun?.kind !== 'words') {
    const continued = begun?.tokens ?? [];
    const limit = Math.max(1, Math.min(left, most));
    return { continued, isPrompt: false, maxTokens: limit, isSpent: continued.length >= limit };
  }
  const continued = tokenize(begun);
  if (begun.pieces === 0 && continued.length >= left) {
    throw new GatewayError(
      'context_length_exceeded',
      `This prompt has ${promptTokens + continued.length} tokens with the answer's beginning; the context window is ${contextTokens} tokens and must also hold the rest.`,
      { param: 'messages' },
    );
  }
  const limit = Math.min(left - continued.length, most - begun.pieces);
  return { continued, isPrompt: true, maxTokens: limit, isSpent: limit <= 0 };
}
