// Folds an answer's events into the answer so far: what a client gets that did not ask for a stream, and what a back
// end would be given to go on from. Bounded, because a mad back end could send anything; order is not checked.
import type {
  FinishReason,
  PartialAnswer,
  PartialChoice,
  TokenEvent,
  TokenIds,
  TokenLogprob,
  Usage,
} from '../core/chat.ts';
import { GatewayError } from '../core/errors.ts';

interface Choice {
  text: string;
  reasoning: string;
  toolCalls: { id: string | undefined; name: string | undefined; arguments: string }[];
  tokens: number[] | undefined;
  pieces: number;
  reasoningPieces: number;
  logprobs?: TokenLogprob[];
  reason: FinishReason | undefined;
  stop?: string;
}

/** UTF-16 units of one answer: far above any model's window, and a bound on what a mad back end can make us hold. */
const MAX_LENGTH = 32 * 1024 * 1024;
/** What a token's or a candidate's probability takes of that bound. */
const LOGPROB_LENGTH = 16;
/** Choices of an answer (a request may ask for 1024 times 128), and tool calls of a choice. */
const MAX_PARTS = 131_072;

export class AnswerFold {
  readonly #choices: Choice[] = [];
  #speaker: string | undefined;
  #usage: Usage | undefined;
  #length = 0;

  /** `begun`: what there is of the answer already; it is copied. */
  constructor(begun?: PartialAnswer) {
    this.#speaker = begun?.speaker;
    for (const choice of begun?.choices ?? []) {
      this.#add(lengthOf(choice));
      this.#choices.push(copied(choice));
    }
  }

  /** Throws `backend_failed` when the answer grows past any reason. */
  add(event: TokenEvent): void {
    switch (event.type) {
      case 'start':
        this.#speaker = event.speaker;
        return;
      case 'text-delta':
        this.#grow(event.text);
        this.#piece(event.choice, event.tokens).text += event.text;
        if (event.logprobs) this.#addLogprobs(event.choice, event.logprobs);
        return;
      case 'reasoning-delta': {
        this.#grow(event.text);
        const choice = this.#piece(event.choice, event.tokens);
        choice.reasoning += event.text;
        choice.reasoningPieces += 1;
        return;
      }
      case 'tool-call-delta': {
        this.#grow(event.arguments);
        const calls = this.#piece(event.choice, event.tokens).toolCalls;
        refuseMadNumber(event.index);
        while (calls.length <= event.index) calls.push({ id: undefined, name: undefined, arguments: '' });
        const call = calls[event.index]!;
        call.id ??= event.id;
        call.name ??= event.name;
        call.arguments += event.arguments;
        return;
      }
      case 'choice-end': {
        const choice = this.#choice(event.choice);
        choice.reason = event.reason;
        if (event.stop !== undefined) choice.stop = event.stop;
        return;
      }
      case 'finish':
        this.#usage = event.usage;
    }
  }

  answer(): PartialAnswer {
    return { speaker: this.#speaker, choices: this.#choices, usage: this.#usage };
  }

  #choice(number: number): Choice {
    refuseMadNumber(number);
    while (this.#choices.length <= number) {
      this.#choices.push(copied(EMPTY));
    }
    return this.#choices[number]!;
  }

  /** The choice that a delta belongs to, with the delta counted. */
  #piece(number: number, tokens: TokenIds | undefined): Choice {
    const choice = this.#choice(number);
    choice.pieces += 1;
    if (tokens === undefined) choice.tokens = undefined;
    else choice.tokens?.push(...tokens);
    return choice;
  }

  #addLogprobs(number: number, logprobs: readonly TokenLogprob[]): void {
    const choice = this.#choice(number);
    choice.logprobs ??= [];
    for (const one of logprobs) {
      this.#add(LOGPROB_LENGTH * (1 + one.top.length));
      choice.logprobs.push(one);
    }
  }

  #grow(text: string): void {
    this.#add(text.length);
  }

  #add(length: number): void {
    this.#length += length;
    if (this.#length > MAX_LENGTH) {
      throw new GatewayError('backend_failed', 'The back end sent more text than any answer can have.');
    }
  }
}

const EMPTY: PartialChoice = { text: '', reasoning: '', toolCalls: [], tokens: [], reason: undefined };

function copied(choice: PartialChoice): Choice {
  const { text, reasoning, toolCalls, tokens, pieces = 0, reasoningPieces = 0, logprobs, reason } = choice;
  return {
    text,
    reasoning,
    toolCalls: toolCalls.map((call) => ({ ...call })),
    tokens: tokens && [...tokens],
    pieces,
    reasoningPieces,
    ...(logprobs && { logprobs: [...logprobs] }),
    reason,
  };
}

function lengthOf({ text, reasoning, toolCalls, logprobs = [] }: PartialChoice): number {
  let length = text.length + reasoning.length;
  for (const call of toolCalls) length += call.arguments.length;
  for (const { top } of logprobs) length += LOGPROB_LENGTH * (1 + top.length);
  return length;
}

function refuseMadNumber(number: number): void {
  if (number >= 0 && number < MAX_PARTS) return;
  throw new GatewayError('backend_failed', 'The back end numbered a part of its answer beyond all reason.');
}

/** The usage of several calls as that of one answer. What one call does not know, the sum does not know. */
export function addUsage(a: Usage, b: Usage): Usage {
  return {
    promptTokens: sum(a.promptTokens, b.promptTokens),
    cachedTokens: sum(a.cachedTokens, b.cachedTokens),
    completionTokens: sum(a.completionTokens, b.completionTokens),
    reasoningTokens: sum(a.reasoningTokens, b.reasoningTokens),
  };
}

function sum(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : a + b;
}
