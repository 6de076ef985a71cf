// Reads a regular expression of JSON Schema (ECMAScript's, with its `u` flag) as far as it is regular, into a tree.
// It must never let through what it does not understand: a look-ahead that is ignored would be a broken promise.
// Pure; bounded by the expression's length.
import { ALL, type CharRange, complement, rangesOf, union } from './char-ranges.ts';

export type Pattern =
  | { readonly type: 'set'; readonly ranges: readonly CharRange[] }
  | { readonly type: 'all'; readonly parts: readonly Pattern[] }
  | { readonly type: 'any'; readonly parts: readonly Pattern[] }
  | {
      readonly type: 'repeat';
      readonly part: Pattern;
      readonly low: number;
      readonly high: number | undefined;
    };

/** Why a pattern is refused; the message goes on after the field's name. */
export class PatternFault extends Error {}

const MAX_PATTERN_LENGTH = 1_000;
const MAX_GROUPS = 30;
const MAX_COUNT = 1_000;

const DIGIT: readonly CharRange[] = [[0x30, 0x39]];
const WORD = union([...DIGIT, [0x41, 0x5a], [0x61, 0x7a], [0x5f, 0x5f]]);
const SPACE = union([
  ...rangesOf('\t\n\v\f\r \u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff'),
  [0x2000, 0x200a],
]);
const CLASSES: Readonly<Record<string, readonly CharRange[]>> = {
  d: DIGIT,
  D: complement(DIGIT),
  w: WORD,
  W: complement(WORD),
  s: SPACE,
  S: complement(SPACE),
};
const CONTROLS: Readonly<Record<string, string>> = { t: '\t', n: '\n', r: '\r', f: '\f', v: '\v', 0: '\0' };
const ANYTHING: Pattern = { type: 'repeat', part: { type: 'set', ranges: ALL }, low: 0, high: undefined };
/** Anything, where nothing follows: whatever else the text could still match does not matter any more. */
export const REST: Pattern = { ...ANYTHING };

/** The texts that hold a match anywhere, as JSON Schema means it. Throws PatternFault. */
export function parsePattern(source: string): Pattern {
  if (source.length > MAX_PATTERN_LENGTH) {
    throw new PatternFault(`must be at most ${MAX_PATTERN_LENGTH} characters long`);
  }
  return new Reader(source).pattern();
}

class Reader {
  private readonly characters: readonly string[];
  private at = 0;
  private depth = 0;

  constructor(source: string) {
    this.characters = [...source.toWellFormed()];
  }

  pattern(): Pattern {
    const parts: Pattern[] = [];
    do {
      const opens = this.eat('^') ? [] : [ANYTHING];
      const body = this.sequence();
      const closes = this.eat('$') ? [] : [REST];
      parts.push({ type: 'all', parts: [...opens, ...body, ...closes] });
    } while (this.eat('|'));
    if (this.at < this.characters.length) this.fault();
    return { type: 'any', parts };
  }

  private sequence(): Pattern[] {
    const parts: Pattern[] = [];
    for (;;) {
      const next = this.characters[this.at];
      if (next === undefined || next === '|' || next === ')' || next === '$') return parts;
      const part = this.atom();
      parts.push(this.counted(part));
    }
  }

  private atom(): Pattern {
    if (this.eat('(')) return this.group();
    if (this.eat('[')) return { type: 'set', ranges: this.set() };
    if (this.eat('.')) return { type: 'set', ranges: complement(rangesOf('\n\r\u2028\u2029')) };
    if (this.eat('\\')) return { type: 'set', ranges: this.escape() };
    const character = this.next();
    // `^` inside, and quantifiers without anything before them.
    if ('^*+?{}]'.includes(character)) this.fault();
    return { type: 'set', ranges: rangesOf(character) };
  }

  private group(): Pattern {
    if (this.eat('?')) {
      if (this.eat('<') && /[A-Za-z_]/.test(this.characters[this.at] ?? '')) {
        while (this.next() !== '>');
      } else if (!this.eat(':')) throw new PatternFault('uses a group that is not regular (a look-around?)');
    }
    this.depth++;
    if (this.depth > MAX_GROUPS) throw new PatternFault(`nests more than ${MAX_GROUPS} groups`);
    const parts: Pattern[] = [];
    do parts.push({ type: 'all', parts: this.sequence() });
    while (this.eat('|'));
    if (!this.eat(')')) this.fault();
    this.depth--;
    return { type: 'any', parts };
  }

  private counted(part: Pattern): Pattern {
    const [low, high] = this.count();
    if (low === 1 && high === 1) return part;
    // Lazy or not, it matches the same texts.
    this.eat('?');
    if (/[*+?{]/.test(this.characters[this.at] ?? '')) this.fault();
    return { type: 'repeat', part, low, high };
  }

  private count(): [low: number, high: number | undefined] {
    if (this.eat('*')) return [0, undefined];
    if (this.eat('+')) return [1, undefined];
    if (this.eat('?')) return [0, 1];
    if (!this.eat('{')) return [1, 1];
    const low = this.number();
    let high: number | undefined = low;
    if (this.eat(',')) high = this.characters[this.at] === '}' ? undefined : this.number();
    if (!this.eat('}') || (high !== undefined && high < low)) this.fault();
    if (low > MAX_COUNT || (high ?? 0) > MAX_COUNT) {
      throw new PatternFault(`repeats more than ${MAX_COUNT} times`);
    }
    return [low, high];
  }

  private number(): number {
    let digits = '';
    while (/^\d$/.test(this.characters[this.at] ?? '')) digits += this.next();
    if (digits === '' || digits.length > 9) this.fault();
    return Number(digits);
  }

  /** Behind a backslash, outside a set or in one. */
  private escape(): readonly CharRange[] {
    const letter = this.next();
    const known = CLASSES[letter];
    if (known !== undefined) return known;
    const control = CONTROLS[letter];
    if (control !== undefined && !(letter === '0' && /\d/.test(this.characters[this.at] ?? ''))) {
      return rangesOf(control);
    }
    if (letter === 'x') return this.hexadecimal(2);
    if (letter === 'u') return this.eat('{') ? this.hexadecimal(undefined) : this.hexadecimal(4);
    // More than the `u` flag has: harmless, and common in the wild.
    if (/[^0-9A-Za-z]/.test(letter)) return rangesOf(letter);
    throw new PatternFault(`uses \\${letter}, which is not regular or not supported`);
  }

  /** `digits` of them, or up to a closing brace. */
  private hexadecimal(digits: number | undefined): readonly CharRange[] {
    let text = '';
    while (digits === undefined ? !this.eat('}') : text.length < digits) {
      const digit = this.next();
      if (!/^[\da-fA-F]$/.test(digit) || text.length > 6) this.fault();
      text += digit;
    }
    const code = Number.parseInt(text, 16);
    // A pair of escapes is one character to the `u` flag; halves of it are too rare to be worth reading.
    if (!(code <= 0x10ffff) || (code >= 0xd800 && code <= 0xdfff)) this.fault();
    return [[code, code]];
  }

  private set(): readonly CharRange[] {
    const isNegated = this.eat('^');
    const ranges: CharRange[] = [];
    while (!this.eat(']')) {
      const from = this.member();
      if (this.characters[this.at] === '-' && this.characters[this.at + 1] !== ']') {
        this.at++;
        const [low, high] = [single(from), single(this.member())];
        if (low === undefined || high === undefined || low > high) this.fault();
        ranges.push([low, high]);
      } else ranges.push(...from);
    }
    return isNegated ? complement(ranges) : union(ranges);
  }

  private member(): readonly CharRange[] {
    if (!this.eat('\\')) return rangesOf(this.next());
    return this.eat('b') ? [[8, 8]] : this.escape();
  }

  private next(): string {
    const character = this.characters[this.at];
    if (character === undefined) return this.fault();
    this.at++;
    return character;
  }

  private eat(character: string): boolean {
    if (this.characters[this.at] !== character) return false;
    this.at++;
    return true;
  }

  private fault(): never {
    throw new PatternFault(`cannot be read from its character ${this.at} on`);
  }
}

function single(ranges: readonly CharRange[]): number | undefined {
  const [first] = ranges;
  return ranges.length === 1 && first !== undefined && first[0] === first[1] ? first[0] : undefined;
}
