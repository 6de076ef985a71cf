// Where a text stops being JSON: V8's own message quotes the text, and often does not say the place.
// It must never be asked about a text of unbounded depth: it follows the nesting. Slow beside JSON.parse, and only for
// texts that JSON.parse has refused.

/** The first place at which no JSON text can go on as this one does; the text's length if it only ends too early. */
export function jsonFault(text: string): number {
  return new Reader(text).fault();
}

const QUOTE = '"';
const LITERALS = ['true', 'false', 'null'];

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  fault(): number {
    if (this.#value()) this.#space();
    return this.#at;
  }

  /** Each reader leaves `#at` behind what it read, or where it stumbled. */
  #value(): boolean {
    this.#space();
    const character = this.#text.charAt(this.#at);
    if (character === QUOTE) return this.#string();
    if (character === '[') return this.#list(']', () => this.#value());
    if (character === '{') return this.#list('}', () => this.#member());
    if (/[-\d]/.test(character)) return this.#number();
    return LITERALS.some((literal) => literal.startsWith(character) && this.#literal(literal));
  }

  #list(end: string, item: () => boolean): boolean {
    this.#at += 1;
    this.#space();
    if (this.#eat(end)) return true;
    do {
      if (!item()) return false;
      this.#space();
    } while (this.#eat(','));
    return this.#eat(end);
  }

  #member(): boolean {
    this.#space();
    if (this.#text.charAt(this.#at) !== QUOTE || !this.#string()) return false;
    this.#space();
    return this.#eat(':') && this.#value();
  }

  #string(): boolean {
    for (this.#at += 1; this.#at < this.#text.length; this.#at += 1) {
      const character = this.#text.charAt(this.#at);
      if (character === QUOTE) return this.#eat(QUOTE);
      if (character < ' ') return false;
      if (character !== '\\') continue;
      this.#at += 1;
      const escaped = this.#text.charAt(this.#at);
      if (escaped === 'u') {
        for (let digit = 0; digit < 4; digit += 1) {
          this.#at += 1;
          if (!/[\da-fA-F]/.test(this.#text.charAt(this.#at))) return false;
        }
      } else if (!/["\\/bfnrt]/.test(escaped)) return false;
    }
    return false;
  }

  #number(): boolean {
    this.#eat('-');
    if (!this.#eat('0') && !this.#digits()) return false;
    if (this.#eat('.') && !this.#digits()) return false;
    if (!this.#eat('e') && !this.#eat('E')) return true;
    if (!this.#eat('+')) this.#eat('-');
    return this.#digits();
  }

  #digits(): boolean {
    const start = this.#at;
    while (/\d/.test(this.#text.charAt(this.#at))) this.#at += 1;
    return this.#at > start;
  }

  /** As far as it goes, so that a literal that is cut off is told from a wrong one. */
  #literal(literal: string): boolean {
    return [...literal].every((letter) => this.#eat(letter));
  }

  #space(): void {
    while (/[ \t\r\n]/.test(this.#text.charAt(this.#at))) this.#at += 1;
  }

  #eat(character: string): boolean {
    if (this.#text.charAt(this.#at) !== character) return false;
    this.#at += 1;
    return true;
  }
}
