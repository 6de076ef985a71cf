// Builds a grammar in llama.cpp's notation (GBNF), rule by rule, each text once. It keeps what its user cannot see from
// one rule: the size of all, how many ways a position may branch, and that every rule can come to an end.
// It must never hold a rule that the engine's reader would refuse: that reader writes what it refuses to its log.
// Pure.
import { GatewayError } from '../../../core/errors.ts';
import type { CharRange } from './char-ranges.ts';

/** What stands in a rule: a rule's name, with `*` or a count behind it where it repeats, or a terminal. */
export type GrammarSymbol = string;
/** What may follow one another. */
export type Sequence = readonly GrammarSymbol[];

/** A text among others, and what follows it. */
export interface LiteralBranch {
  readonly text: string;
  readonly next: Sequence;
}

/** UTF-16 units. llama.cpp reads this much in about 8 ms, twice for each call. */
const MAX_LENGTH = 200_000;
/** Ways that a position may go on: each costs a look at the whole vocabulary when the model's own choice does not fit. */
const MAX_BRANCHES = 128;
/** Texts that may be sorted into beginnings, each time they are: the work that many optional properties make. */
const MAX_SORTED = 6_000;
/** llama.cpp writes a repetition out, and refuses to from 2,000 on. */
const BLOCK = 256;
/** Of a repetition, whichever way. */
export const MAX_REPETITIONS = 100_000;

export class GrammarRules {
  private readonly names = new Map<string, string>();
  private readonly bodies = new Map<string, readonly Sequence[]>();
  private length = 0;
  private lastName = 0;
  private sorted = 0;

  /** The name of the rule with these alternatives. Throws `invalid_request` with `path` when the grammar gets too large. */
  add(alternatives: readonly Sequence[], path: string): string {
    const text = textOf(alternatives);
    const known = this.names.get(text);
    if (known !== undefined) return known;
    const name = this.reserve();
    this.names.set(text, name);
    this.define(name, alternatives, path);
    return name;
  }

  /** A name whose rule comes later, for rules that hold themselves. */
  reserve(): string {
    this.lastName++;
    return `r${this.lastName}`;
  }

  define(name: string, alternatives: readonly Sequence[], path: string): void {
    if (alternatives.length > MAX_BRANCHES) {
      throw refusal(path, `has more than ${MAX_BRANCHES} different ways to begin or to go on`);
    }
    const text = textOf(alternatives);
    this.length += name.length + text.length + 6;
    if (this.length > MAX_LENGTH)
      throw refusal(path, 'makes the grammar of this schema larger than the engine takes');
    this.bodies.set(name, alternatives);
  }

  /**
   * A rule for one of several texts, each with its own continuation. Texts share their common beginnings, so that few
   * alternatives are alive at any place. A text that is there twice needs equal continuations.
   */
  oneOf(branches: readonly LiteralBranch[], path: string): string {
    this.sorted += branches.length;
    if (this.sorted > MAX_SORTED) throw refusal(path, 'has too many optional properties or values');
    const unique = new Map(branches.map((branch) => [branch.text, branch]));
    const split = [...unique.values()].map(({ text, next }) => ({ characters: [...text], next }));
    return this.node(split, 0, path);
  }

  private node(
    branches: readonly { characters: readonly string[]; next: Sequence }[],
    depth: number,
    path: string,
  ): string {
    const groups = Map.groupBy(branches, ({ characters }) => characters[depth]);
    const alternatives: Sequence[] = [];
    for (const [first, group] of groups) {
      const one = group[0]!;
      if (first === undefined) alternatives.push(one.next.length === 0 ? ['""'] : one.next);
      else if (group.length === 1)
        alternatives.push([literal(one.characters.slice(depth).join('')), ...one.next]);
      else {
        const end = depth + sharedLength(group, depth);
        const shared = literal(one.characters.slice(depth, end).join(''));
        alternatives.push([shared, this.node(group, end, path)]);
      }
    }
    return this.add(alternatives, path);
  }

  /** `symbol` at least `low` times and at most `high`; unbounded where that is undefined. */
  repeat(symbol: GrammarSymbol, low: number, high: number | undefined, path: string): Sequence {
    if (high === undefined) return [...this.times(symbol, low, path), `${this.named(symbol, path)}*`];
    return [...this.times(symbol, low, path), ...this.upTo(symbol, high - low, path)];
  }

  private times(symbol: GrammarSymbol, count: number, path: string): Sequence {
    const blocks = Math.floor(count / BLOCK);
    const rest = count % BLOCK;
    const name = this.named(symbol, path);
    const parts: GrammarSymbol[] = [];
    if (blocks > 0) {
      const block = this.add([[`${name}{${BLOCK}}`]], path);
      // 390 of them at most.
      parts.push(`${block}{${blocks}}`);
    }
    if (rest > 0) parts.push(`${name}{${rest}}`);
    return parts;
  }

  /** A whole block and then the same again with one less, or less than a block. */
  private upTo(symbol: GrammarSymbol, count: number, path: string): Sequence {
    if (count === 0) return [];
    const name = this.named(symbol, path);
    const rest = count % BLOCK;
    let tail: Sequence = rest === 0 ? [] : [`${name}{0,${rest}}`];
    if (count < BLOCK) return tail;
    const block = this.add([[`${name}{${BLOCK}}`]], path);
    const less = this.add([[`${name}{0,${BLOCK - 1}}`]], path);
    for (let blocks = Math.floor(count / BLOCK); blocks > 0; blocks--) {
      tail = [this.add([[block, ...tail], [less]], path)];
    }
    return tail;
  }

  private named(symbol: GrammarSymbol, path: string): string {
    return /^r\d+$/.test(symbol) ? symbol : this.add([[symbol]], path);
  }

  /** All rules as text. Throws `invalid_request` with `path` when one of them could never come to an end. */
  text(path: string): string {
    if (this.ending().size < this.bodies.size) throw refusal(path, 'has a part whose values would never end');
    return [...this.bodies].map(([name, body]) => `${name} ::= ${textOf(body)}\n`).join('');
  }

  /** The rules that can be said to their end. */
  private ending(): ReadonlySet<string> {
    const ending = new Set<string>();
    let before = -1;
    // Each round finds at least one, and most schemas need as many as they are deep.
    while (ending.size > before) {
      before = ending.size;
      for (const [name, body] of this.bodies) {
        if (!ending.has(name) && body.some((sequence) => sequence.every((one) => ends(one, ending))))
          ending.add(name);
      }
    }
    return ending;
  }
}

function ends(symbol: GrammarSymbol, ending: ReadonlySet<string>): boolean {
  const reference = /^(r\d+)(\*|\{0,)?/.exec(symbol);
  return reference === null || reference[2] !== undefined || ending.has(reference[1]!);
}

function sharedLength(group: readonly { characters: readonly string[] }[], start: number): number {
  const one = group[0]!.characters;
  let end = start + 1;
  while (end < one.length && group.every(({ characters }) => characters[end] === one[end])) end++;
  return end - start;
}

function textOf(alternatives: readonly Sequence[]): string {
  return alternatives.map((sequence) => (sequence.length === 0 ? '""' : sequence.join(' '))).join(' | ');
}

/** A terminal for this very text. */
export function literal(text: string): GrammarSymbol {
  return `"${text.replace(/[^ !#-[\]-~]/gu, (one) => escaped(one.codePointAt(0)!))}"`;
}

/** A terminal for any one character of these. */
export function oneCharacter(ranges: readonly CharRange[]): GrammarSymbol {
  const parts = ranges.map(([low, high]) =>
    low === high ? inClass(low) : `${inClass(low)}-${inClass(high)}`,
  );
  return `[${parts.join('')}]`;
}

function inClass(code: number): string {
  const character = String.fromCodePoint(code);
  return /^[0-9A-Za-z]$/.test(character) ? character : escaped(code);
}

function escaped(code: number): string {
  if (code <= 0xff) return `\\x${hexadecimal(code, 2)}`;
  return code <= 0xffff ? `\\u${hexadecimal(code, 4)}` : `\\U${hexadecimal(code, 8)}`;
}

function hexadecimal(code: number, digits: number): string {
  return code.toString(16).toUpperCase().padStart(digits, '0');
}

/** Some white space, once: a model that likes it could go on for ever. */
export function whiteSpace(rules: GrammarRules, path: string): string {
  return rules.add([[], ['" "'], ['"\\x0A"', '[\\x20\\x09]{0,20}']], path);
}

/** What is said of a schema that cannot be honoured; `message` goes on after the path: "has…", "must be…". */
export function refusal(path: string, message: string): GatewayError {
  return new GatewayError('invalid_request', `${path} ${message}.`, { param: path });
}
