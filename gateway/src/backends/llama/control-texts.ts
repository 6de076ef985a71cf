// Finds texts that look like a model's control tokens, and keeps clients' texts from becoming those tokens.
// It must never change a text, except in the two functions whose names begin with `break`.
// Pure.

export interface Piece {
  readonly text: string;
  readonly special: boolean;
}

/** A half-open range of the rendered text. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

export interface ControlTexts {
  /** Whether this text holds a look-alike, or could form one with the text beside it. */
  mayTouch(text: string): boolean;
  /** The same text in pieces: look-alikes that touch a span are in pieces without control tokens. */
  split(text: string, spans: readonly Span[]): Piece[];
  /** The text with an invisible character (U+200B) inside each look-alike. */
  breakLookAlikes(text: string): string;
  /** The same for every string inside a JSON value; keys too. */
  breakDeep(value: unknown): unknown;
}

/** `controlTokens`: the texts of all of a model's control tokens. */
export function controlTexts(controlTokens: readonly string[]): ControlTexts {
  const texts = [...new Set(controlTokens.filter((text) => text !== ''))].sort((a, b) => b.length - a.length);
  // Longest first: a regular expression takes the first alternative that fits.
  const source = texts.map(escapeForRegExp).join('|');
  const anywhere = new RegExp(source === '' ? '(?!)' : source);
  const all = new RegExp(anywhere.source, 'g');
  const longest = texts[0]?.length ?? 0;
  const beginnings = new Set(texts.flatMap((text) => parts(text, (length) => text.slice(0, length))));
  const endings = new Set(texts.flatMap((text) => parts(text, (length) => text.slice(-length))));

  const breakLookAlikes = (text: string): string => {
    let broken = text;
    // Again until none is left: breaking one may in theory reveal another.
    for (let round = 0; round < 4 && anywhere.test(broken); round++) {
      broken = broken.replace(all, (found) => `${found.slice(0, 1)}\u200B${found.slice(1)}`);
    }
    return broken;
  };

  const breakDeep = (value: unknown): unknown => {
    if (typeof value === 'string') return breakLookAlikes(value.toWellFormed());
    if (Array.isArray(value)) return value.map(breakDeep);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, v]) => [breakLookAlikes(key), breakDeep(v)]));
  };

  return {
    mayTouch(text) {
      if (anywhere.test(text)) return true;
      for (let length = 1; length < Math.min(longest, text.length + 1); length++) {
        if (beginnings.has(text.slice(-length)) || endings.has(text.slice(0, length))) return true;
      }
      return false;
    },

    split(text, spans) {
      const pieces: Piece[] = [];
      let done = 0;
      let span = 0;
      for (const found of text.matchAll(all)) {
        const start = found.index;
        const end = start + found[0].length;
        while (span < spans.length && (spans[span]?.end ?? 0) <= start) span++;
        const touching = spans[span];
        if (touching === undefined || touching.start >= end) continue;
        if (start > done) pieces.push({ text: text.slice(done, start), special: true });
        // In two pieces, for vocabularies that take such a text for one token even when told not to.
        pieces.push({ text: text.slice(start, start + 1), special: false });
        if (end > start + 1) pieces.push({ text: text.slice(start + 1, end), special: false });
        done = end;
      }
      if (done < text.length) pieces.push({ text: text.slice(done), special: true });
      return pieces;
    },

    breakLookAlikes,
    breakDeep,
  };
}

/** What `cut` gives for every length that is a part of `text` and not all of it. */
function parts(text: string, cut: (length: number) => string): string[] {
  return Array.from({ length: text.length - 1 }, (_, index) => cut(index + 1));
}

function escapeForRegExp(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
}
