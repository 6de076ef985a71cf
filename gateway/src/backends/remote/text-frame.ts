// What a server writes around the text of a stream's events: mostly the same around each of them. Where that is known, an event that
// differs in nothing but plain text is read without being parsed.
// It must never guess: a frame is learnt from an event that was parsed, and proven by parsing it around another text.
// Pure.

/** All that an event says, where it is a piece of one choice's text. */
export interface PlainPiece {
  readonly kind: 'text' | 'reasoning';
  readonly choice: unknown;
  readonly text: string;
}

/** Stands in JSON for what it is: no quotes, no backslash, no control character. */
const PLAIN = /^[ !#-[\]-\uffff]+$/;
/** A text that no server writes. */
const PROBE = 'sluice: any text';
/** Events in a row around which something else stood each time: then it will not come again. */
const MOST_MISSES = 4;

export class TextFrame {
  readonly #read: (event: string) => PlainPiece | undefined;
  #before = '';
  #after = '';
  #piece: PlainPiece | undefined;
  #misses = 0;

  /** `read`: parses an event; undefined where it says anything but a piece of text. */
  constructor(read: (event: string) => PlainPiece | undefined) {
    this.#read = read;
  }

  /** The piece of an event in the frame; undefined: it has to be parsed. */
  pieceIn(event: string): PlainPiece | undefined {
    if (!this.#piece || !event.startsWith(this.#before) || !event.endsWith(this.#after)) return undefined;
    const text = event.slice(this.#before.length, -this.#after.length);
    if (!PLAIN.test(text)) return undefined;
    this.#misses = 0;
    return { ...this.#piece, text };
  }

  /** Takes what stands around the text of an event that was parsed to this piece. */
  learn(event: string, piece: PlainPiece): void {
    const { kind, choice, text } = piece;
    if (this.#misses === MOST_MISSES || !PLAIN.test(text)) return;
    this.#misses += 1;
    const at = event.lastIndexOf(`"${text}"`) + 1;
    const before = event.slice(0, at);
    const after = event.slice(at + text.length);
    // Between its quotes a text ends nothing: what holds for one of them holds for all.
    const proof = at > 0 ? this.#read(before + PROBE + after) : undefined;
    if (proof?.text !== PROBE || proof.kind !== kind || proof.choice !== choice) return;
    this.#before = before;
    this.#after = after;
    this.#piece = piece;
  }
}
