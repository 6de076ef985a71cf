// Cuts a text that arrives in pieces before the first of its stop strings.
// It must never let out a part of a stop string, and never keep text that can no longer begin one.
// Pure: no clock, no input or output.

/** What one piece brought: text that may be shown, and the stop string that ended it all, if one did. */
export interface StopResult {
  readonly text: string;
  readonly stop: string | undefined;
}

/**
 * The first stop string to be *complete* wins, whatever the chunking: a stream cannot wait for a longer one that may
 * never come. When several end at the same character, the longest does, so that no part of any is shown.
 * Empty stop strings are ignored, and lone surrogates compare as U+FFFD, because emitted text holds none.
 */
export class StopStrings {
  private readonly stops: readonly string[];
  private readonly longest: number;
  private held = '';
  /** So many characters of what is held were given out before: a stop string may have begun in them. */
  private shown = 0;
  private met: string | undefined;

  /** `before`: the text that the pieces go on from, and that was given out already. */
  constructor(stops: readonly string[], before = '') {
    // Longest first, so that at one end position the first match is the longest.
    this.stops = stops
      .filter((stop) => stop !== '')
      .map((stop) => stop.toWellFormed())
      .sort((a, b) => b.length - a.length);
    this.longest = this.stops[0]?.length ?? 0;
    this.shown = this.unfinished(before);
    this.held = before.slice(before.length - this.shown);
  }

  /** Takes the next piece. After a stop, everything is swallowed. */
  push(piece: string): StopResult {
    if (this.met !== undefined) return { text: '', stop: this.met };
    if (this.longest === 0) return { text: piece, stop: undefined };
    const text = this.held + piece;
    const first = this.firstStop(text);
    if (first !== undefined) {
      this.met = first.stop;
      this.held = '';
      return { text: text.slice(this.shown, Math.max(this.shown, first.start)), stop: first.stop };
    }
    const end = text.length - this.unfinished(text);
    this.held = text.slice(end);
    const fresh = text.slice(this.shown, Math.max(this.shown, end));
    this.shown = Math.max(0, this.shown - end);
    return { text: fresh, stop: undefined };
  }

  /** The text that was held back and turned out to be none of a stop string's; call once, at the end. */
  flush(): string {
    const text = this.held.slice(this.shown);
    this.held = '';
    this.shown = 0;
    return text;
  }

  /** The stop string that is complete first, and where it begins. */
  private firstStop(text: string): { readonly stop: string; readonly start: number } | undefined {
    let firstEnd = Number.POSITIVE_INFINITY;
    let first: { readonly stop: string; readonly start: number } | undefined;
    for (const stop of this.stops) {
      // What was complete before is no end of what comes after it.
      const at = text.indexOf(stop, Math.max(0, this.shown - stop.length + 1));
      // Strictly earlier: the longer one, which came before in the order, keeps an equal end.
      if (at >= 0 && at + stop.length < firstEnd) {
        firstEnd = at + stop.length;
        first = { stop, start: at };
      }
    }
    return first;
  }

  /** How many characters at the end of `text` may be the beginning of a stop string. */
  private unfinished(text: string): number {
    for (let length = Math.min(this.longest - 1, text.length); length > 0; length--) {
      const tail = text.slice(text.length - length);
      if (this.stops.some((stop) => stop.length > length && stop.startsWith(tail))) return length;
    }
    return 0;
  }
}
