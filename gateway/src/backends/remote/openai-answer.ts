// Reads an answer in OpenAI's dialects, chat and text completions, as many servers write them.
// It must never pass a server's event on as it is: what is not understood is left out, and what is no JSON is a failure.
import type { Usage } from '../../core/chat.ts';
import { isAnswerError, statusOfError } from './answer-error.ts';
import { AnswerParts, tokenCount } from './answer-parts.ts';
import type { ChoiceParts } from './choice-parts.ts';
import { EventTemplate } from './event-template.ts';
import type { AnswerOptions, UpstreamAnswer } from './upstream-answer.ts';
import { upstreamCalls } from './upstream-calls.ts';
import { itemsOf, type Members, membersOf, parseExactly, parseUpstream } from './upstream-json.ts';

const OPENING_BRACE = 0x7b;
const DONE = '[DONE]';

/** A template is worth its proof if so many events are of it. Where so many in a row were not, no more are looked for. */
const LEAST_USES = 4;
const MOST_FRUITLESS = 8;

/** A piece of text, shown or thought, that came with nothing else. */
interface LonePiece {
  /** Of its choice. */
  readonly number: unknown;
  readonly isThought: boolean;
  readonly text: string;
}

export class OpenAiAnswer implements UpstreamAnswer {
  readonly #parts: AnswerParts;
  readonly #failure: AnswerOptions['failure'];
  readonly #hasLogprobs: boolean;
  /** As it came last: totals are cumulative. */
  #usage: unknown;
  /** Of the last event that brought a piece of text and nothing else, and what is done with the pieces of others like it. */
  #template: EventTemplate | undefined;
  #takeText = (_text: string): void => {};
  #fruitless = 0;

  constructor(options: AnswerOptions) {
    this.#parts = new AnswerParts(options);
    this.#failure = options.failure;
    this.#hasLogprobs = options.request.logprobs !== undefined;
  }

  get isOver(): boolean {
    return this.#parts.isOver;
  }

  get isStopped(): boolean {
    return this.#parts.isStopped;
  }

  get isWhole(): boolean {
    return this.#parts.isWhole;
  }

  data(text: string, event = ''): void {
    if (this.#parts.isOver) return;
    if (event === 'error') throw this.#failure(statusOfError(readable(text)), text);
    if (text.charCodeAt(0) !== OPENING_BRACE) {
      const trimmed = text.trim();
      if (trimmed === DONE) this.#parts.done(usageOf(this.#usage));
      if (trimmed === DONE || trimmed === '') return;
    }
    const chunk = this.#parse(text, event);
    if (!chunk) return;
    this.#take(chunk, text, false);
    if (this.#fruitless < MOST_FRUITLESS && !this.#hasLogprobs) this.#findTemplate(chunk, text);
  }

  known(bytes: Buffer, at: number): number {
    const template = this.#template;
    if (!template || this.#parts.isOver) return at;
    const next = template.read(bytes, at);
    if (next > at) {
      this.#takeText(template.text);
      this.#finishIfStopped();
    }
    return next;
  }

  whole(text: string): void {
    if (this.#parts.isOver || text.trim() === '') {
      this.end();
      return;
    }
    this.#take(membersOf(parseUpstream(text)), text, true);
    this.#parts.done(usageOf(this.#usage));
  }

  end(): void {
    this.#parts.end(usageOf(this.#usage));
  }

  /** Undefined: what it says does not matter. */
  #parse(text: string, event: string): Members | undefined {
    try {
      return membersOf(parseUpstream(text));
    } catch (error) {
      // Events of other names are not ours to judge, and a whole answer is not lost by what comes behind it.
      if ((event === '' || event === 'message') && !this.#parts.isWhole) throw error;
      return undefined;
    }
  }

  #take(chunk: Members, text: string, isWhole: boolean): void {
    if (isAnswerError(chunk)) throw this.#failure(statusOfError(chunk), text);
    const choices = itemsOf(chunk.choices);
    if (choices.length > 0) this.#parts.start(chunk.model);
    for (let at = 0; at < choices.length; at += 1) this.#choice(membersOf(choices[at]), at, text, isWhole);
    if (chunk.usage) this.#usage = chunk.usage;
    this.#finishIfStopped();
  }

  #finishIfStopped(): void {
    if (this.#parts.isStopped) this.#parts.finish(usageOf(this.#usage));
  }

  /** For the events that come next, most of which are like this one. */
  #findTemplate(chunk: Members, data: string): void {
    const piece = lonePieceOf(chunk);
    if (!piece) return;
    this.#fruitless = this.#template && this.#template.uses >= LEAST_USES ? 0 : this.#fruitless + 1;
    const { number, isThought, text } = piece;
    const template = EventTemplate.around(text, data, (other) => {
      const read = lonePieceOf(membersOf(parseUpstream(other)));
      return read?.isThought === isThought ? read.text : undefined;
    });
    if (!template) return;
    const parts = this.#parts.choice(number);
    this.#template = template;
    this.#takeText = isThought ? (thought) => parts.reasoning(thought) : (shown) => parts.text(shown);
  }

  /** `at`: the choice's place in its event's `text`. */
  #choice(choice: Members, at: number, text: string, isWhole: boolean): void {
    const parts = this.#parts.choice(choice.index ?? at);
    const message = messageOf(choice);
    const isMessage = message === choice.message;
    // Some servers end a stream with the whole message once more.
    if (isWhole || !isMessage || !parts.hasContent) {
      const isReasoned = takeReasoning(parts, message);
      const { content = message.text } = message;
      const logprobs = this.#hasLogprobs && !isReasoned ? choice.logprobs : undefined;
      if (typeof content === 'string') {
        if (content !== '' || logprobs) parts.text(content, logprobs);
      } else if (content) takeParts(parts, content);
      if (message.refusal) takeText(parts, message.refusal);
      if (message.tool_calls || message.function_call) {
        const exactly = () =>
          callsOf(messageOf(membersOf(itemsOf(membersOf(parseExactly(text)).choices)[at])));
        for (const call of upstreamCalls(callsOf(message), isMessage, exactly)) parts.call(call);
      }
    }
    // vLLM's and our own word for the stop string that was met, and SGLang's; for both it may be a token's number.
    parts.ended(choice.finish_reason, choice.stop_reason ?? choice.matched_stop);
    // Here one vendor tells its usage.
    if (choice.usage) this.#usage = choice.usage;
  }
}

/** Undefined: there is something else in it. */
function lonePieceOf(chunk: Members): LonePiece | undefined {
  const choices = itemsOf(chunk.choices);
  const choice = membersOf(choices[0]);
  const message = messageOf(choice);
  const {
    content = message.text,
    reasoning_content,
    reasoning,
    refusal,
    tool_calls,
    function_call,
  } = message;
  const thought = reasoning_content || reasoning;
  const isOther =
    choices.length !== 1 || choice.message || refusal || tool_calls || function_call || (thought && content);
  const isEnd = choice.finish_reason || choice.stop_reason || choice.matched_stop;
  const text = thought || content;
  if (isOther || isEnd || chunk.usage || choice.usage || typeof text !== 'string' || text === '')
    return undefined;
  return { number: choice.index, isThought: Boolean(thought), text };
}

/** Of a stream, of a whole answer, or of a text completion, whose choices are their own message. */
function messageOf(choice: Members): Members {
  const message = choice.delta ?? choice.message;
  return message === undefined || message === null ? choice : membersOf(message);
}

/** What was one call before there were several is a list of one. */
function callsOf({ tool_calls, function_call }: Members): readonly unknown[] {
  return tool_calls ? itemsOf(tool_calls) : [{ function: function_call }];
}

/** Whoever sends both fields sends the same text in both. */
function takeReasoning(parts: ChoiceParts, { reasoning_content, reasoning }: Members): boolean {
  const text = reasoning_content || reasoning;
  if (typeof text !== 'string' || text === '') return false;
  parts.reasoning(text);
  return true;
}

function takeText(parts: ChoiceParts, text: unknown): void {
  if (typeof text === 'string' && text !== '') parts.text(text);
}

/** Content in parts: texts, and thinking where a vendor has it there. */
function takeParts(parts: ChoiceParts, content: unknown): void {
  for (const part of itemsOf(content)) {
    const { text, thinking } = membersOf(part);
    for (const thought of typeof thinking === 'string' ? [{ text: thinking }] : itemsOf(thinking)) {
      takeReasoning(parts, { reasoning: membersOf(thought).text });
    }
    takeText(parts, text);
  }
}

/** What can be read of an error's JSON. */
function readable(text: string): Members {
  try {
    return membersOf(parseUpstream(text));
  } catch {
    return {};
  }
}

function usageOf(value: unknown): Usage {
  const usage = membersOf(value);
  const prompt = membersOf(usage.prompt_tokens_details);
  const completion = membersOf(usage.completion_tokens_details);
  return {
    promptTokens: tokenCount(usage.prompt_tokens),
    cachedTokens:
      tokenCount(prompt.cached_tokens) ??
      tokenCount(usage.prompt_cache_hit_tokens) ??
      tokenCount(usage.cached_tokens),
    completionTokens: tokenCount(usage.completion_tokens),
    reasoningTokens: tokenCount(completion.reasoning_tokens),
  };
}
