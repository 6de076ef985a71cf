// A choice's text on its way from a server to what is shown: thinking apart from answer, what was said before taken out,
// tool calls apart from text, and an end before a stop string.
// It must never look for tags in text whose thinking the server has told apart, and never lose text at the end.
// Pure.
import type { TokenLogprob } from '../../core/chat.ts';
import { StopStrings } from '../../wire/stop-strings.ts';
import { type ThinkPiece, ThinkTags, type ThinkTagsOptions } from '../../wire/think-tags.ts';
import { type CallPiece, ToolCalls, type ToolCallsOptions } from '../llama/tool-calls.ts';
import { ShownLogprobs } from './shown-logprobs.ts';
import type { TextSplicer } from './upstream-answer.ts';
import type { ReadToken } from './upstream-logprobs.ts';

export interface ThinkingForm extends ThinkTagsOptions {
  /** An answer of JSON was asked for, which may have left no room for thinking: its first character tells. */
  readonly mayBeJson: boolean;
}

export interface ChoiceTextOptions {
  /** Absent: tags in it are text. */
  readonly thinking: ThinkingForm | undefined;
  readonly splicer: TextSplicer | undefined;
  /** Absent: calls in it are text. */
  readonly calls: ToolCallsOptions | undefined;
  readonly stop: readonly string[];
  /** The text that it goes on from. */
  readonly before: string;
  readonly hasLogprobs: boolean;
}

export interface ChoiceTextSink {
  text(text: string, logprobs: readonly TokenLogprob[] | undefined): void;
  reasoning(text: string): void;
  call(piece: Extract<CallPiece, { kind: 'tool-call' }>): void;
}

/** No thinking begins like this. */
const JSON_BEGINNING = /^[{["]/;

export class ChoiceText {
  /** A stop string was met, or the only call is complete: nothing is shown any more. */
  isStopped = false;
  /** The stop string that was met. */
  stop: string | undefined;
  readonly #sink: ChoiceTextSink;
  readonly #stops: StopStrings;
  readonly #splicer: TextSplicer | undefined;
  readonly #calls: ToolCalls | undefined;
  readonly #logprobs: ShownLogprobs | undefined;
  #tags: ThinkTags | undefined;
  /** Set until it is known whether the answer begins with thinking. */
  #undecided: ThinkingForm | undefined;
  #opening = '';

  constructor(options: ChoiceTextOptions, sink: ChoiceTextSink) {
    const { thinking, calls } = options;
    this.#sink = sink;
    this.#stops = new StopStrings(options.stop, options.before);
    this.#splicer = options.splicer;
    this.#calls = calls && new ToolCalls(calls);
    this.#logprobs = options.hasLogprobs ? new ShownLogprobs(options.before) : undefined;
    if (thinking?.beginsInReasoning && thinking.mayBeJson && !thinking.continues) this.#undecided = thinking;
    else this.#tags = thinking && new ThinkTags(thinking);
  }

  /** `tokens`: those that the server told with it. */
  push(piece: string, tokens: readonly ReadToken[]): void {
    this.#logprobs?.took(tokens, piece);
    this.#split(piece);
    if (this.#tags?.inReasoning) this.#logprobs?.thought();
  }

  /** The server tells thinking apart itself: what was held back is what it is, and no tag is looked for any more. */
  separated(): void {
    if (!this.#tags && !this.#undecided) return;
    this.#endThinking();
    this.#tags = undefined;
    this.#undecided = undefined;
  }

  /** Shows all that was held back. Call once, at the end of a whole answer. Throws where the splicer does. */
  flush(): void {
    this.#endThinking();
    const rest = this.#splicer?.end() ?? '';
    if (rest !== '') this.#findCalls(rest);
    if (this.#calls && !this.isStopped) this.#sort(this.#calls.flush());
    if (!this.isStopped) this.#show(this.#stops.flush());
  }

  #split(piece: string): void {
    if (this.#undecided) this.#decide(piece);
    else if (this.#tags) this.#tell(this.#tags.push(piece));
    else this.#answer(piece);
  }

  #decide(piece: string): void {
    this.#opening += piece;
    const beginning = this.#opening.trimStart();
    if (beginning === '') return;
    const { beginsInReasoning } = this.#undecided!;
    this.#undecided = undefined;
    this.#tags = new ThinkTags({ beginsInReasoning: beginsInReasoning && !JSON_BEGINNING.test(beginning) });
    this.#tell(this.#tags.push(this.#opening));
  }

  #endThinking(): void {
    if (this.#undecided) this.#answer(this.#opening);
    else if (this.#tags) this.#tell(this.#tags.flush());
  }

  #tell(pieces: readonly ThinkPiece[]): void {
    for (const { kind, text } of pieces) {
      if (kind === 'reasoning') this.#sink.reasoning(text);
      else this.#answer(text);
    }
  }

  #answer(text: string): void {
    if (text === '') return;
    this.#logprobs?.answered(text);
    const fresh = this.#splicer ? this.#splicer.push(text) : text;
    if (fresh !== '') this.#findCalls(fresh);
  }

  #findCalls(text: string): void {
    if (this.#calls) this.#sort(this.#calls.push(text));
    else this.#stop(text);
  }

  #sort(pieces: readonly CallPiece[]): void {
    for (const piece of pieces) {
      if (this.isStopped) return;
      if (piece.kind === 'text') this.#stop(piece.text);
      else this.#sink.call(piece);
    }
    if (this.#calls?.isOver) this.isStopped = true;
  }

  #stop(piece: string): void {
    if (this.isStopped) return;
    const { text, stop } = this.#stops.push(piece);
    this.#show(text);
    this.stop = stop;
    this.isStopped = stop !== undefined;
  }

  #show(text: string): void {
    if (text === '') return;
    // What a token shows behind a call cannot be told: the call's own tokens are shown nowhere.
    const logprobs = this.#calls?.hasCalls ? undefined : this.#logprobs?.showed(text);
    this.#sink.text(text, logprobs);
  }
}
