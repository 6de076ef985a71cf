// Cuts a text that arrives in pieces before the first of its stop strings.
// It must never let out a part of a stop string, and never keep text that can no longer begin one.
// Pure: no clock, no input or output.

/** What one piece brought: text that may be shown, and whether a stop string ended it all. */
export interface StopResult {
  readonly text: string;
  readonly stopped: boolean;
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
  private done = false;

  constructor(stops: readonly string[]) {
    // Longest first, so that at one end position the first match is the longest.
    this.stops = stops
      .filter((stop) => stop !== '')
      .map((stop) => stop.toWellFormed())
      .sort((a, b) => b.length - a.length);
    this.longest = this.stops[0]?.length ?? 0;
  }

  /** Takes the next piece. After a stop, everything is swallowed. */
  push(piece: string): StopResult {
    if (this.done) return { text: '', stopped: true };
    if (this.longest === 0) return { text: piece, stopped: false };
    const text = this.held + piece;
    const cut = this.firstStop(text);
    if (cut !== undefined) {
      this.done = true;
      this.held = '';
      return { text: text.slice(0, cut), stopped: true };
    }
    const keep = this.unfinished(text);
    this.held = text.slice(text.length - keep);
    return { text: text.slice(0, text.length - keep), stopped: false };
  }

  /** The text that was held back and turned out to be none of a stop string's; call once, at the end. */
  flush(): string {
    const text = this.held;
    this.held = '';
    return text;
  }

  /** Where the stop string begins that is complete first. */
  private firstStop(text: string): number | undefined {
    let firstEnd = Number.POSITIVE_INFINITY;
    let start: number | undefined;
    for (const stop of this.stops) {
      const at = text.indexOf(stop);
      // Strictly earlier: the longer one, which came before in the order, keeps an equal end.
      if (at >= 0 && at + stop.length < firstEnd) {
        firstEnd = at + stop.length;
        start = at;
      }
    }
    return start;
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
