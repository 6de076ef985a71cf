// Lines the tokens that a server tells of up with the text that is shown of an answer: a token is told with the text that
// first shows any of it. It must never tell of a token that is not shown: thinking, a stop string, what is held back.
// Pure. All lengths are in characters (code points).
import type { TokenLogprob } from '../../core/chat.ts';
import type { ReadToken } from './upstream-logprobs.ts';

interface Entry {
  /** Where it begins and ends in the server's text, thinking and all. */
  readonly start: number;
  readonly end: number;
  readonly token: ReadToken;
}

const CONTINUATION_MASK = 0xc0;
const CONTINUATION = 0x80;

export class ShownLogprobs {
  /** Not told yet. */
  #entries: Entry[] = [];
  /** Of the server's text so far. */
  #length = 0;
  /** Where in the server's text the answer begins; not known while it thinks. */
  #answerStart: number | undefined;
  #shown = 0;
  /** 1 while the last token is a part of a character that no text has shown yet. */
  #begun = 0;
  readonly #before: number;

  /** `before`: the text that the answer goes on from. */
  constructor(before: string) {
    this.#before = characters(before);
  }

  /** A piece of the server's text, and the tokens that it told with it. */
  took(tokens: readonly ReadToken[], text: string): void {
    let at = this.#length + this.#begun;
    for (const token of tokens) {
      const begun = begunCharacters(token);
      // A token that begins no character goes on with the one before it.
      const start = begun === 0 ? Math.max(this.#length, at - 1) : at;
      at += begun;
      if (begun > 0 || token.bytes) this.#entries.push({ start, end: at, token });
    }
    this.#length += characters(text);
    if (tokens.length > 0) this.#begun = tokens.at(-1)?.bytes && at > this.#length ? 1 : 0;
  }

  /** All so far was thinking. */
  thought(): void {
    this.#entries = [];
  }

  /** A piece of the answer, which always ends where the server's text does. */
  answered(text: string): void {
    if (this.#answerStart !== undefined) return;
    const start = this.#length - characters(text);
    this.#answerStart = start;
    this.#entries = this.#entries.filter(({ end }) => end > start);
  }

  /** The tokens that this piece is the first to show; undefined: none. */
  showed(text: string): readonly TokenLogprob[] | undefined {
    const answerStart = this.#answerStart;
    if (answerStart === undefined) return undefined;
    this.#shown += characters(text);
    const end = this.#entries.findIndex(({ start }) => start >= answerStart + this.#shown);
    const told = this.#entries.splice(0, end < 0 ? this.#entries.length : end);
    if (told.length === 0) return undefined;
    return told.map(({ start, token }) => ({
      ...token,
      // A token can begin in the white space that is dropped between thinking and answer.
      offset: this.#before + Math.max(0, start - answerStart),
    }));
  }
}

function begunCharacters({ token, bytes }: ReadToken): number {
  if (bytes === undefined) return characters(token);
  let count = 0;
  for (const byte of bytes) if ((byte & CONTINUATION_MASK) !== CONTINUATION) count += 1;
  return count;
}

function characters(text: string): number {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}
