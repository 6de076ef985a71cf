// Reads an answer of Ollama's own dialect, `/api/chat` or `/api/generate`: one JSON object a line, the last of them with
// `done`.
// It must never take an answer without that last line for whole.
import type { Usage } from '../../core/chat.ts';
import { isAnswerError, statusOfError } from './answer-error.ts';
import { AnswerParts, tokenCount } from './answer-parts.ts';
import type { ChoiceParts } from './choice-parts.ts';
import type { AnswerOptions, UpstreamAnswer } from './upstream-answer.ts';
import { upstreamCalls } from './upstream-calls.ts';
import { itemsOf, type Members, membersOf, parseExactly, parseUpstream } from './upstream-json.ts';

export class OllamaAnswer implements UpstreamAnswer {
  readonly #parts: AnswerParts;
  readonly #failure: AnswerOptions['failure'];

  constructor(options: AnswerOptions) {
    this.#parts = new AnswerParts(options);
    this.#failure = options.failure;
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

  data(text: string): void {
    if (this.#parts.isOver) return;
    const line = membersOf(parseUpstream(text));
    if (isAnswerError(line)) throw this.#failure(statusOfError(line), text);
    if (line.message) this.#message(line, text);
    else if (typeof line.response === 'string') this.#words(line, line.response, line.thinking);
    if (line.done === true) {
      // Its own word for an end is often absent, and always is in older versions.
      this.#parts.start(line.model);
      this.#parts.choice(0).ended(line.done_reason ?? 'stop');
      this.#parts.finish(usageOf(line));
    } else if (this.#parts.isStopped) this.#parts.finish(usageOf(line));
  }

  /** Not streamed, it is the last line alone, with all of the message. */
  whole(text: string): void {
    if (text.trim() !== '') this.data(text);
    this.end();
  }

  end(): void {
    this.#parts.end({});
  }

  #words({ model }: Members, said: unknown, thought: unknown): ChoiceParts {
    this.#parts.start(model);
    const choice = this.#parts.choice(0);
    if (typeof thought === 'string' && thought !== '') choice.reasoning(thought);
    if (typeof said === 'string' && said !== '') choice.text(said);
    return choice;
  }

  #message(line: Members, text: string): void {
    const { thinking, content, tool_calls } = membersOf(line.message);
    const choice = this.#words(line, content, thinking);
    if (!tool_calls) return;
    const exactly = () => itemsOf(membersOf(membersOf(parseExactly(text)).message).tool_calls);
    // Each is a whole call, whatever number it has.
    for (const call of upstreamCalls(itemsOf(tool_calls), true, exactly)) choice.call(call);
  }
}

function usageOf({ prompt_eval_count, eval_count }: Members): Usage {
  return { promptTokens: tokenCount(prompt_eval_count), completionTokens: tokenCount(eval_count) };
}
