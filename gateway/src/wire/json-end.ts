// Where a JSON object or list ends that comes in pieces: each character is looked at once, however many pieces there are.
// It must never judge what is written: what is no JSON only ends elsewhere, or never. Pure.

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** Of `{` and `[`, and of what closes them. */
const OPENING = new Set([0x7b, 0x5b]);
const CLOSING = new Set([0x7d, 0x5d]);

export class JsonEnd {
  /** All that was opened is closed. What is neither an object nor a list has no end that could be told. */
  isReached = false;
  #depth = 0;
  #isInText = false;
  #isEscaped = false;

  push(piece: string): void {
    for (let at = 0; at < piece.length && !this.isReached; at += 1) this.#take(piece.charCodeAt(at));
  }

  #take(code: number): void {
    if (this.#isEscaped) this.#isEscaped = false;
    else if (this.#isInText && code === BACKSLASH) this.#isEscaped = true;
    else if (code === QUOTE) this.#isInText = !this.#isInText;
    else if (this.#isInText) return;
    else if (OPENING.has(code)) this.#depth += 1;
    else if (CLOSING.has(code)) {
      this.#depth -= 1;
      this.isReached = this.#depth <= 0;
    }
  }
}
