// Joins the halves of a character that a server cut in two: one that counts in UTF-16 sends the first half at the end of a
// piece, and the second at the beginning of the next. It must never give out half a character, and never hold a whole one.
// Pure.

const HIGH_SURROGATES = 0xd800;
const SURROGATE_MASK = 0xfc00;

export class WholeCharacters {
  #half = '';

  /** What can be given out by now. Half a character that has no other half becomes U+FFFD. */
  push(piece: string): string {
    if (this.#half === '' && piece.isWellFormed()) return piece;
    const text = this.#half + piece;
    const isCut = (text.charCodeAt(text.length - 1) & SURROGATE_MASK) === HIGH_SURROGATES;
    this.#half = isCut ? text.slice(-1) : '';
    return (isCut ? text.slice(0, -1) : text).toWellFormed();
  }

  /** What is still held, as U+FFFD. Call once, at the end. */
  flush(): string {
    const rest = this.#half.toWellFormed();
    this.#half = '';
    return rest;
  }
}
