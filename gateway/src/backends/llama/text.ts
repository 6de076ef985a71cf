// From tokens to what is shown: whole characters only, thinking apart from answer, cut before a stop string.
// It must never emit a part of a character or of a stop string, and never lose text at the end.
// Pure: the detokenizer is passed in.
import type { TokenLogprob } from '../../core/chat.ts';
import { StopStrings } from '../../wire/stop-strings.ts';
import { type ThinkPiece, ThinkTags } from '../../wire/think-tags.ts';
import { AnswerLogprobs } from './answer-logprobs.ts';
import type { SampledToken } from './messages.ts';
import type { SingleToken } from './token-text.ts';
import { type CallPiece, ToolCalls, type ToolCallsOptions } from './tool-calls.ts';

/** The text of `tokens`, given the tokens before them; an incomplete character at an end reads as one U+FFFD. */
export type Detokenize = (tokens: readonly number[], before: readonly number[]) => string;

const INCOMPLETE = '\uFFFD';
/** No UTF-8 character is longer, so no more tokens than this can be waiting for one. */
const MOST_BYTES = 4;
/** Enough for the detokenizers that decide on a leading space by what came before. */
const CONTEXT_TOKENS = 4;

/**
 * Holds tokens until their bytes are whole characters. That rests on UTF-8 decoding (WHATWG, maximal subparts): an
 * incomplete character at the end is exactly one U+FFFD, and all before it is final.
 */
export class TokenText {
  private readonly detokenize: Detokenize;
  private before: readonly number[];
  private pending: number[] = [];
  private emitted = 0;

  constructor(detokenize: Detokenize, before: readonly number[]) {
    this.detokenize = detokenize;
    this.before = before.slice(-CONTEXT_TOKENS);
  }

  /** Whether the last token is a part of a character that is not whole yet. */
  get waits(): boolean {
    return this.pending.length > 0;
  }

  push(token: number): string {
    this.pending.push(token);
    const text = this.detokenize(this.pending, this.before);
    const waits = text.endsWith(INCOMPLETE) && this.pending.length < MOST_BYTES * 2;
    const fresh = text.slice(this.emitted, waits ? -INCOMPLETE.length : undefined);
    if (!waits) this.forget(this.pending.length);
    else if (fresh !== '') {
      // Something became whole with this token, so what is not whole yet begins in it: the others are done with, however
      // long a chain of tokens they are that each end one character and begin the next.
      this.forget(this.pending.length - 1);
      this.emitted = this.detokenize(this.pending, this.before).length - INCOMPLETE.length;
    }
    return fresh;
  }

  private forget(count: number): void {
    this.before = [...this.before, ...this.pending.splice(0, count)].slice(-CONTEXT_TOKENS);
    this.emitted = 0;
  }

  /** A character that stayed incomplete becomes one U+FFFD. Call once, at the end. */
  flush(): string {
    const text = this.pending.length === 0 ? '' : this.detokenize(this.pending, this.before);
    const rest = text.slice(this.emitted);
    this.pending = [];
    this.emitted = 0;
    return rest;
  }
}

export type AnswerPiece = ThinkPiece | CallPiece;

export interface AnswerPart {
  /** At most one of them is text. */
  readonly pieces: readonly AnswerPiece[];
  /** Of the tokens that its text is the first to show; never without text. */
  readonly logprobs?: readonly TokenLogprob[] | undefined;
  /** A stop string was met, or the only call is complete: the answer is over. */
  readonly stopped: boolean;
  /** The stop string that was met. */
  readonly stop?: string | undefined;
}

export interface AnswerOptions {
  readonly detokenize: Detokenize;
  /** The prompt's last tokens. */
  readonly before: readonly number[];
  readonly stop: readonly string[];
  /** Absent: this model does not think aloud in tags. */
  readonly thinking?: { readonly beginsInReasoning: boolean } | undefined;
  /** Absent: no tools were offered. */
  readonly calls?: ToolCallsOptions | undefined;
  /** What has been shown already, where it is not pushed as tokens; `before` ends with its tokens. */
  readonly shown?: { readonly text: string; readonly reasoning: string } | undefined;
  /** What a single token is written as; absent: nobody asked for the tokens' probabilities. */
  readonly describe?: ((token: number) => SingleToken) | undefined;
}

/**
 * One answer's whole way from tokens to pieces. Stop strings end the answer, never the thinking before it, nor a tool
 * call.
 */
export class AnswerText {
  private readonly text: TokenText;
  private readonly tags: ThinkTags | undefined;
  private readonly stops: StopStrings;
  private readonly logprobs: AnswerLogprobs | undefined;
  private readonly calls: ToolCalls | undefined;
  /** Tokens spent on thinking, tags included; undefined for a model that does not. */
  reasoningTokens: number | undefined;

  constructor(options: AnswerOptions) {
    const { thinking, shown } = options;
    this.text = new TokenText(options.detokenize, options.before);
    // Behind the answer's first word a tag is no tag.
    const hasTags = thinking !== undefined && (shown === undefined || shown.text === '');
    const continues = shown !== undefined && shown.reasoning !== '';
    this.tags = hasTags ? new ThinkTags({ ...thinking, continues }) : undefined;
    this.stops = new StopStrings(options.stop, shown?.text);
    this.logprobs = options.describe === undefined ? undefined : new AnswerLogprobs(options.describe);
    this.calls = options.calls === undefined ? undefined : new ToolCalls(options.calls);
    this.reasoningTokens = thinking === undefined ? undefined : 0;
  }

  push(token: number, likely?: SampledToken['likely']): AnswerPart {
    const wasReasoning = this.isReasoning();
    const text = this.text.push(token);
    this.logprobs?.took(token, likely, text, this.text.waits);
    const part = this.filter(this.split(text));
    if (this.isReasoning()) this.logprobs?.thought();
    if (this.reasoningTokens !== undefined && (wasReasoning || this.isReasoning())) this.reasoningTokens++;
    return part;
  }

  /** Everything that was held back. Call once, at the end, unless a stop string was met. */
  flush(): AnswerPart {
    const text = this.text.flush();
    this.logprobs?.grew(text);
    return this.filter([...this.split(text), ...(this.tags?.flush() ?? [])], true);
  }

  private isReasoning(): boolean {
    return this.tags?.inReasoning ?? false;
  }

  private split(text: string): readonly ThinkPiece[] {
    if (text === '') return [];
    return this.tags === undefined ? [{ kind: 'text', text }] : this.tags.push(text);
  }

  private filter(pieces: readonly ThinkPiece[], isLast = false): AnswerPart {
    const out: AnswerPiece[] = [];
    let text = '';
    let stop: string | undefined;
    const answer = (shown: string): void => {
      if (stop !== undefined) return;
      const result = this.stops.push(shown);
      text += result.text;
      stop = result.stop;
    };
    const sort = (found: readonly CallPiece[]): void => {
      for (const piece of found) {
        if (piece.kind === 'text') answer(piece.text);
        else if (stop === undefined) out.push(piece);
      }
    };
    for (const piece of pieces) {
      if (piece.kind === 'reasoning') {
        out.push(piece);
        continue;
      }
      this.logprobs?.answered(piece.text);
      if (this.calls === undefined) answer(piece.text);
      else sort(this.calls.push(piece.text));
    }
    if (isLast && this.calls !== undefined) sort(this.calls.flush());
    if (isLast && stop === undefined) text += this.stops.flush();
    const stopped = stop !== undefined || (this.calls?.isOver ?? false);
    const ending = stop === undefined ? { stopped } : { stopped, stop };
    if (text === '') return { pieces: out, ...ending };
    // What a token shows behind a call cannot be told: the call's own tokens are shown nowhere.
    const logprobs = this.calls?.hasCalls === true ? undefined : this.logprobs?.showed(text);
    // Before a call that came with it, as the model wrote it.
    const place = out.findIndex(({ kind }) => kind === 'tool-call');
    out.splice(place < 0 ? out.length : place, 0, { kind: 'text', text });
    return { pieces: out, logprobs, ...ending };
  }
}
