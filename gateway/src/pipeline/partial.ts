// Folds an answer's events into the answer so far: what a client gets that did not ask for a stream, and what a back
// end would be given to go on from. Bounded, because a mad back end could send anything; order is not checked.
import type { FinishReason, PartialAnswer, TokenEvent, TokenIds, TokenLogprob, Usage } from '../core/chat.ts';
import { GatewayError } from '../core/errors.ts';

interface Choice {
  text: string;
  reasoning: string;
  toolCalls: { id: string | undefined; name: string | undefined; arguments: string }[];
  tokens: number[] | undefined;
  logprobs?: TokenLogprob[];
  reason: FinishReason | undefined;
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

  /** Throws `backend_failed` when the answer grows past any reason. */
  add(event: TokenEvent): void {
    switch (event.type) {
      case 'start':
        this.#speaker = event.speaker;
        return;
      case 'text-delta':
        this.#grow(event.text);
        this.#choice(event.choice).text += event.text;
        this.#addTokens(event.choice, event.tokens);
        if (event.logprobs) this.#addLogprobs(event.choice, event.logprobs);
        return;
      case 'reasoning-delta':
        this.#grow(event.text);
        this.#choice(event.choice).reasoning += event.text;
        this.#addTokens(event.choice, event.tokens);
        return;
      case 'tool-call-delta': {
        this.#grow(event.arguments);
        this.#addTokens(event.choice, event.tokens);
        const calls = this.#choice(event.choice).toolCalls;
        refuseMadNumber(event.index);
        while (calls.length <= event.index) calls.push({ id: undefined, name: undefined, arguments: '' });
        const call = calls[event.index]!;
        call.id ??= event.id;
        call.name ??= event.name;
        call.arguments += event.arguments;
        return;
      }
      case 'choice-end':
        this.#choice(event.choice).reason = event.reason;
        return;
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
      this.#choices.push({ text: '', reasoning: '', toolCalls: [], tokens: [], reason: undefined });
    }
    return this.#choices[number]!;
  }

  #addTokens(number: number, tokens: TokenIds | undefined): void {
    const choice = this.#choice(number);
    if (tokens === undefined) choice.tokens = undefined;
    else choice.tokens?.push(...tokens);
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
