// Lines an answer's tokens up with the text that is shown of it: a token is told with the text that first shows any
// of it. It must never tell of a token that is not shown at all: thinking, a stop string, what is held back.
// Pure: what a token is written as is passed in. All lengths are in characters (code points).
import type { TokenLogprob } from '../../core/chat.ts';
import type { SampledToken } from './messages.ts';
import type { SingleToken } from './token-text.ts';

interface Entry {
  /** Where it begins and ends in the model's text, thinking and all. */
  readonly start: number;
  readonly end: number;
  readonly token: number;
  readonly likely: NonNullable<SampledToken['likely']>;
}

export class AnswerLogprobs {
  private readonly describe: (token: number) => SingleToken;
  /** Not told yet. */
  private entries: Entry[] = [];
  /** Of the model's text so far. */
  private length = 0;
  /** Where in the model's text the answer begins; not known while it thinks. */
  private answerStart: number | undefined;
  private shown = 0;

  constructor(describe: (token: number) => SingleToken) {
    this.describe = describe;
  }

  /** A token, and the text that came out with it; `waits`: it is a part of a character that is not whole yet. */
  took(token: number, likely: SampledToken['likely'], text: string, waits: boolean): void {
    const start = this.length;
    this.grew(text);
    // A token without text (a control token) stands for nothing that is shown.
    if (likely === undefined || (this.length === start && !waits)) return;
    this.entries.push({ start, end: this.length + (waits ? 1 : 0), token, likely });
  }

  /** Text that came without a new token: the rest of what waited. */
  grew(text: string): void {
    this.length += characters(text);
  }

  /** All so far was thinking. */
  thought(): void {
    this.entries = [];
  }

  /** A piece of the answer, which always ends where the model's text does. */
  answered(text: string): void {
    if (this.answerStart !== undefined) return;
    const start = this.length - characters(text);
    this.answerStart = start;
    this.entries = this.entries.filter(({ end }) => end > start);
  }

  /** The tokens that this piece is the first to show; undefined: none. */
  showed(text: string): readonly TokenLogprob[] | undefined {
    const { answerStart } = this;
    if (answerStart === undefined) return undefined;
    this.shown += characters(text);
    const told: TokenLogprob[] = [];
    while (this.entries.length > 0 && this.entries[0]!.start < answerStart + this.shown) {
      told.push(this.tell(this.entries.shift()!, answerStart));
    }
    return told.length === 0 ? undefined : told;
  }

  private tell({ start, token, likely }: Entry, answerStart: number): TokenLogprob {
    return {
      ...this.describe(token),
      logprob: likely.logprob,
      // A token can begin in the white space that is dropped between thinking and answer.
      offset: Math.max(0, start - answerStart),
      top: likely.top.map((one) => ({ ...this.describe(one.token), logprob: one.logprob })),
    };
  }
}

function characters(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}
