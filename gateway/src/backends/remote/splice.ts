// Joins the rest of an answer to its beginning, to the character, whatever the server that goes on does to white space
// and whether it says the beginning again. The client has the beginning: nothing of it may come twice.
// It must never let out what it cannot place: then it throws.
// Pure.
import { GatewayError } from '../../core/errors.ts';

/** Ways of servers that are given an answer's beginning. */
export interface SpliceTraits {
  /** What they say begins with what they were given. */
  readonly repeats: boolean;
  /** They drop white space at the beginning of what they say. */
  readonly trims: boolean;
}

export interface SplicePlan extends SpliceTraits {
  /** What the server is given. */
  readonly prefix: string;
  /** The rest of the text so far: the server has to say it anew. */
  readonly overlap: string;
}

/** JavaScript's white space and Python's, which templates and servers trim. */
const SPACE = String.raw`[\s\u001c-\u001f\u0085]`;
const LEADING_SPACE = new RegExp(`^${SPACE}+`);
const SPACE_ONLY = new RegExp(`^${SPACE}$`);
/** Of a text's end, in UTF-16 units: no grapheme that is more than an oddity is longer. */
const LONGEST_GRAPHEME = 64;
const graphemes = new Intl.Segmenter();

/**
 * What to give a server of the text so far. White space at the end stays behind, because templates trim it and some
 * servers refuse it. Where the server trims what it says, the last character stays behind too, so that it never begins
 * with white space that would be lost.
 */
export function planPrefix(text: string, { repeats, trims }: SpliceTraits): SplicePlan {
  let end = trimmedLength(text);
  if (trims && end > 0) end = trimmedLength(text.slice(0, end - lastGraphemeLength(text.slice(0, end))));
  return { prefix: text.slice(0, end), overlap: text.slice(end), repeats, trims };
}

/** Takes what a server says and gives the part of it that the client does not have. */
export class Splicer {
  readonly #trims: boolean;
  /** What a server that repeats is expected to say again; empty once that is settled. */
  #repetition: string;
  /** Before what must come any white space may be, or be lost. */
  #skipsSpace: boolean;
  /** Without it the answer cannot be gone on with. */
  #required: string;
  /** Dropped as far as it comes. */
  #dropped: string;
  #held = '';

  constructor({ prefix, overlap, repeats, trims }: SplicePlan) {
    const character = trims ? withoutLeadingSpace(overlap) : '';
    this.#trims = trims;
    this.#repetition = repeats ? this.#seen(prefix) : '';
    this.#required = character.slice(0, trimmedLength(character));
    this.#skipsSpace = this.#required !== '';
    this.#dropped = this.#skipsSpace ? character.slice(this.#required.length) : overlap;
  }

  /** What is new in the next piece. Throws `backend_failed` where it does not join. */
  push(piece: string): string {
    this.#held += piece;
    const repetition = this.#repetition;
    if (repetition !== '') {
      const said = this.#seen(this.#held);
      // As long as it may be the beginning said again, it waits; what turns out to be none is the answer's own.
      if (said.length < repetition.length && repetition.startsWith(said)) return '';
      if (said.startsWith(repetition)) this.#held = said.slice(repetition.length);
      this.#repetition = '';
    }
    return this.#fresh();
  }

  /** What was held back and is no repetition. Call once, at the end. */
  end(): string {
    this.#repetition = '';
    return this.#fresh();
  }

  #fresh(): string {
    if (this.#skipsSpace) {
      this.#held = withoutLeadingSpace(this.#held);
      this.#skipsSpace = this.#held === '';
    }
    this.#required = this.#drop(this.#required);
    if (this.#held === '') return '';
    if (this.#required !== '') {
      throw new GatewayError(
        'backend_failed',
        'The back end could not go on exactly where the answer stood.',
      );
    }
    this.#dropped = this.#drop(this.#dropped);
    if (this.#held === '') return '';
    this.#dropped = '';
    const fresh = this.#held;
    this.#held = '';
    return fresh;
  }

  /** Takes the common beginning off both; gives the rest. */
  #drop(expected: string): string {
    const common = commonLength(expected, this.#held);
    this.#held = this.#held.slice(common);
    return expected.slice(common);
  }

  /** A beginning without the white space that the server may have lost of it. */
  #seen(text: string): string {
    return this.#trims ? withoutLeadingSpace(text) : text;
  }
}

function trimmedLength(text: string): number {
  let length = text.length;
  while (length > 0 && SPACE_ONLY.test(text.charAt(length - 1))) length -= 1;
  return length;
}

function withoutLeadingSpace(text: string): string {
  return text.replace(LEADING_SPACE, '');
}

function lastGraphemeLength(text: string): number {
  let tail = text.slice(-LONGEST_GRAPHEME);
  // Not from the middle of a surrogate pair.
  if (!tail.isWellFormed()) tail = tail.slice(1);
  let length = 0;
  for (const { segment } of graphemes.segment(tail)) length = segment.length;
  return length;
}

function commonLength(a: string, b: string): number {
  const most = Math.min(a.length, b.length);
  let length = 0;
  while (length < most && a[length] === b[length]) length += 1;
  return length;
}
