// One choice of an answer: its text, thinking and tool calls as they come, and how it ended.
// It must never give out empty pieces, nor anything behind a stop string, and ends exactly once.
import type { ChatRequest, EventSink, FinishReason } from '../../core/chat.ts';
import { HERMES } from '../llama/call-form.ts';
import type { ToolCallsOptions } from '../llama/tool-calls.ts';
import { CallNumbers, type UpstreamCall } from './call-numbers.ts';
import { ChoiceText, type ChoiceTextOptions, type ThinkingForm } from './choice-text.ts';
import { finishReasonOf } from './finish-reason.ts';
import type { AnswerOptions } from './upstream-answer.ts';
import { membersOf } from './upstream-json.ts';
import { type ReadToken, readLogprobs } from './upstream-logprobs.ts';
import { WholeCharacters } from './whole-characters.ts';

/** What a piece of a call takes of an answer's bound besides its text. */
const CALL_LENGTH = 64;
const NO_ARGUMENTS = '{}';
const NO_TOKENS: readonly ReadToken[] = [];

export class ChoiceParts {
  /** As the server told it. */
  reason: FinishReason | undefined;
  /** Anything came that a model made. */
  hasContent = false;
  readonly #number: number;
  readonly #sink: EventSink;
  readonly #grow: (length: number) => void;
  readonly #topLogprobs: number;
  readonly #stops: readonly string[];
  /** The stop string that the server says it has met. */
  #toldStop: string | undefined;
  readonly #calls: CallNumbers;
  /** Absent: text is shown as it comes. */
  readonly #text: ChoiceText | undefined;
  readonly #characters = new WholeCharacters();
  readonly #thoughts = new WholeCharacters();

  /** `grow` is told of each piece's length, and throws when that is too much. */
  constructor(number: number, options: AnswerOptions, grow: (length: number) => void) {
    this.#number = number;
    this.#sink = options.sink;
    this.#grow = grow;
    this.#topLogprobs = options.request.logprobs ?? 0;
    this.#stops = options.request.stop;
    this.#calls = new CallNumbers(options.newId);
    const looked = textOptions(number, options);
    this.#text =
      looked &&
      new ChoiceText(looked, {
        text: (text, logprobs) =>
          this.#sink({ type: 'text-delta', choice: number, text, ...(logprobs && { logprobs }) }),
        reasoning: (text) => this.#sink({ type: 'reasoning-delta', choice: number, text }),
        call: ({ id, name, text }) => this.#call({ id, name, arguments: text, isWhole: id !== undefined }),
      });
  }

  get isStopped(): boolean {
    return this.#text?.isStopped ?? false;
  }

  /** `logprobs`: the choice's own, as they came with this text; undefined: not asked for. */
  text(piece: string, logprobs?: unknown): void {
    if (piece !== '') this.hasContent = true;
    this.#grow(piece.length);
    const text = this.#characters.push(piece);
    if (this.#text) {
      if (this.#text.isStopped) return;
      this.#text.push(text, logprobs ? readLogprobs(logprobs, this.#topLogprobs) : NO_TOKENS);
    } else if (text !== '') this.#sink({ type: 'text-delta', choice: this.#number, text });
  }

  /** Thinking that the server has told apart. */
  reasoning(piece: string): void {
    this.hasContent = true;
    this.#grow(piece.length);
    this.#text?.separated();
    const text = this.#thoughts.push(piece);
    if (text === '' || this.isStopped) return;
    this.#sink({ type: 'reasoning-delta', choice: this.#number, text });
  }

  call(piece: UpstreamCall): void {
    this.hasContent = true;
    if (!this.isStopped) this.#call(piece);
  }

  /**
   * `reason`: as the server wrote it; `stop`: what it says that it has stopped at, a stop string or anything else. Throws
   * `backend_failed` where it says that it gave up.
   */
  ended(reason: unknown, stop?: unknown): void {
    if (this.isStopped) return;
    this.#toldStop = this.#stops.find((one) => one === stop) ?? this.#toldStop;
    const told = finishReasonOf(reason);
    // Some say `stop` before or after what really ended it.
    if (told !== undefined && (this.reason === undefined || this.reason === 'stop')) this.reason = told;
  }

  /** Gives out what was held back, and the end. Call once. */
  close(): void {
    if (!this.isStopped) {
      const thought = this.#thoughts.flush();
      if (thought !== '') this.#sink({ type: 'reasoning-delta', choice: this.#number, text: thought });
      this.text(this.#characters.flush());
      this.#text?.flush();
    }
    const reason = this.#finalReason();
    // A model that has nothing to say to a call sends nothing: clients would parse it.
    if (reason === 'tool_calls') {
      for (const index of this.#calls.withoutArguments()) {
        this.#sink({ type: 'tool-call-delta', choice: this.#number, index, arguments: NO_ARGUMENTS });
      }
    }
    const stop = reason === 'stop' ? (this.#text?.stop ?? this.#toldStop) : undefined;
    this.#sink({ type: 'choice-end', choice: this.#number, reason, ...(stop !== undefined && { stop }) });
  }

  #finalReason(): FinishReason {
    const told = this.isStopped ? 'stop' : (this.reason ?? 'stop');
    if (told !== 'stop' && told !== 'tool_calls') return told;
    return this.#calls.hasCalls ? 'tool_calls' : 'stop';
  }

  #call(piece: UpstreamCall): void {
    this.#grow(CALL_LENGTH + piece.arguments.length + (typeof piece.id === 'string' ? piece.id.length : 0));
    const numbered = this.#calls.take(piece);
    if (numbered) this.#sink({ type: 'tool-call-delta', choice: this.#number, ...numbered });
  }
}

/** Undefined: nothing is looked for in the text. */
function textOptions(number: number, options: AnswerOptions): ChoiceTextOptions | undefined {
  const { request } = options;
  const form: ChoiceTextOptions = {
    thinking: thinkingOf(options),
    splicer: number === 0 ? options.splicer : undefined,
    calls: callsOf(options),
    stop: request.stop,
    before: request.continueFrom?.choices[0]?.text ?? '',
    hasLogprobs: request.logprobs !== undefined,
  };
  const isLooked = form.thinking || form.splicer || form.calls || form.stop.length > 0 || form.hasLogprobs;
  return isLooked ? form : undefined;
}

function thinkingOf({ traits, request }: AnswerOptions): ThinkingForm | undefined {
  if (!traits.thinkTags) return undefined;
  const before = request.continueFrom?.choices[0];
  // Its thinking is behind it.
  if (before && before.text !== '') return undefined;
  const continues = before !== undefined && before.reasoning !== '';
  const beginsInReasoning =
    request.prompt.kind === 'text'
      ? endsInThought(request.prompt.text)
      : traits.beginsInReasoning && !isThinkingOff(request.extra);
  const mayBeJson = request.responseFormat !== undefined && request.responseFormat.kind !== 'text';
  return { beginsInReasoning, continues, mayBeJson };
}

/** A text that is gone on with as it stands was rendered by the client. */
function endsInThought(prompt: string): boolean {
  return prompt.trimEnd().endsWith('<think>');
}

/** In the words of any vendor: with no thinking, no tag closes it. */
function isThinkingOff({ enable_thinking, thinking, chat_template_kwargs }: ChatRequest['extra']): boolean {
  const inner = membersOf(chat_template_kwargs);
  return (
    enable_thinking === false ||
    thinking === false ||
    membersOf(thinking).type === 'disabled' ||
    inner.enable_thinking === false ||
    inner.thinking === false
  );
}

function callsOf({ traits, request, newId }: AnswerOptions): ToolCallsOptions | undefined {
  const { tools, toolChoice, parallelToolCalls, prompt } = request;
  const isOffered = tools !== undefined && toolChoice !== 'none' && prompt.kind === 'messages';
  if (traits.toolMarkup !== 'qwen' || !isOffered) return undefined;
  return { form: HERMES, isSingle: parallelToolCalls === false || typeof toolChoice === 'object', newId };
}
