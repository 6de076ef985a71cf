// The grammar of a JSON string: any text, of a length, of a format, or by a pattern.
// A character stands for itself wherever JSON lets it; half a surrogate pair is never written, not even as an escape.
// It must never count an escape as more than the one character that it is.
// Pure.
import {
  type Allowance,
  automatonOf,
  both,
  type Lengths,
  newAllowance,
  type State,
  withLengths,
} from './automaton.ts';
import { type CharRange, intersection, rangesOf } from './char-ranges.ts';
import {
  type GrammarRules,
  literal,
  MAX_REPETITIONS,
  oneCharacter,
  refusal,
  type Sequence,
} from './grammar-rules.ts';
import { PatternFault, parsePattern } from './pattern.ts';

/** What JSON needs no escape for. */
const PLAIN: readonly CharRange[] = [
  [0x20, 0x21],
  [0x23, 0x5b],
  [0x5d, 0xd7ff],
  [0xe000, 0x10ffff],
];
const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '\b': 'b',
  '\f': 'f',
  '\n': 'n',
  '\r': 'r',
  '\t': 't',
};

const DAY = String.raw`(\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8]))|(\d\d(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)`;
const TIME = String.raw`([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?(Z|[+\-]([01]\d|2[0-3]):[0-5]\d)`;
const HOST = '([a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?\\.){0,4}[a-z]{2,24}';
const CLOCK = String.raw`T(\d{1,2}H(\d{1,2}M(\d{1,2}S)?)?|\d{1,2}M(\d{1,2}S)?|\d{1,2}S)`;
const BYTE = '(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])';
/** Each a part of what its format allows, and all of it valid: nobody needs the obsolete half of e-mail. */
const FORMATS: Readonly<Record<string, string>> = {
  date: `^${DAY}$`,
  time: `^${TIME}$`,
  'date-time': `^${DAY}T${TIME}$`,
  duration: String.raw`^P(\d{1,3}W|(\d{1,3}Y(\d{1,2}M(\d{1,2}D)?)?|\d{1,3}M(\d{1,2}D)?|\d{1,3}D)(${CLOCK})?|${CLOCK})$`,
  uuid: '^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$',
  email: `^[A-Za-z0-9_+-]{1,32}(\\.[A-Za-z0-9_+-]{1,32}){0,2}@([A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?\\.){1,4}[A-Za-z]{2,24}$`,
  hostname: `^${HOST}$`,
  ipv4: `^(${BYTE}\\.){3}${BYTE}$`,
  ipv6: '^([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}$',
  uri: `^[a-z][a-z0-9+-]{1,10}://${HOST}(:[1-9][0-9]{1,3})?(/[A-Za-z0-9._~/-]*(\\?[A-Za-z0-9._~=&-]+)?)?$`,
};

/** What a schema says of a text; the paths are what refusals name. */
export interface StringFacts {
  readonly lengths: Lengths;
  readonly format: string | undefined;
  readonly pattern: string | undefined;
  readonly path: string;
}

export class StringGrammar {
  private readonly rules: GrammarRules;
  private readonly allowance: Allowance;
  private readonly known = new Map<string, string>();

  constructor(rules: GrammarRules, allowance: Allowance) {
    this.rules = rules;
    this.allowance = allowance;
  }

  /** The rule of a string, its quotes included. Throws `invalid_request`. */
  rule(facts: StringFacts): string {
    const { lengths, format, pattern, path } = facts;
    if (format === undefined && pattern === undefined) return this.anyText(lengths, path);
    const key = JSON.stringify([lengths, format, pattern]);
    const known = this.known.get(key);
    if (known !== undefined) return known;
    const rule = this.fromAutomaton(this.automaton(facts), path);
    this.known.set(key, rule);
    return rule;
  }

  /** A quoted text that is none of these: what they begin with may go on otherwise. Written without escapes. */
  otherThan(texts: readonly string[], path: string): string {
    const plain = texts.map((text) => [...text]).filter((text) => text.every((one) => isPlain(one)));
    const rest = this.rules.add([[`${this.rules.add([[oneCharacter(PLAIN)]], path)}*`, literal('"')]], path);
    return this.rules.add([[literal('"'), this.unlike(plain, 0, rest, path)]], path);
  }

  private unlike(texts: readonly string[][], depth: number, rest: string, path: string): string {
    const groups = Map.groupBy(texts, (text) => text[depth]);
    const firsts = [...groups.keys()].filter((first) => first !== undefined);
    const others = firsts.reduce<readonly CharRange[]>((ranges, first) => without(ranges, first), PLAIN);
    const alternatives: Sequence[] = [[oneCharacter(others), rest]];
    for (const first of firsts) {
      alternatives.push([literal(first), this.unlike(groups.get(first)!, depth + 1, rest, path)]);
    }
    // A name without characters is nobody's wish.
    if (depth > 0 && !groups.has(undefined)) alternatives.push([literal('"')]);
    return this.rules.add(alternatives, path);
  }

  private anyText({ low, high }: Lengths, path: string): string {
    const hexadecimal = '[0-9a-fA-F]';
    const pair = ['[dD]', '[89abAB]', hexadecimal, hexadecimal, literal('\\u'), '[dD]', '[c-fC-F]'];
    const unicode = this.rules.add(
      [
        ['[0-9a-cA-CefEF]', hexadecimal, hexadecimal, hexadecimal],
        ['[dD]', '[0-7]', hexadecimal, hexadecimal],
        [...pair, hexadecimal, hexadecimal],
      ],
      path,
    );
    const behindSlash = this.rules.add([['[\\x22\\x5C\\x2Fbfnrt]'], [literal('u'), unicode]], path);
    const character = this.rules.add([[oneCharacter(PLAIN)], [literal('\\'), behindSlash]], path);
    const characters = this.rules.repeat(character, low, high, path);
    return this.rules.add([[literal('"'), ...characters, literal('"')]], path);
  }

  private automaton({ lengths, format, pattern, path }: StringFacts): readonly State[] {
    const keyword = pattern === undefined ? 'format' : 'pattern';
    const formatted = format === undefined ? undefined : formatAutomaton(format, `${path}.format`);
    try {
      const matching = pattern === undefined ? undefined : automatonOf(parsePattern(pattern), this.allowance);
      const states =
        formatted && matching ? both(formatted, matching, this.allowance) : (formatted ?? matching)!;
      return withLengths(states, lengths, this.allowance);
    } catch (error) {
      if (error instanceof PatternFault) throw refusal(`${path}.${keyword}`, error.message);
      throw error;
    }
  }

  private fromAutomaton(states: readonly State[], path: string): string {
    const names = states.map(() => this.rules.reserve());
    for (const [number, { accepts, moves }] of states.entries()) {
      const alternatives: Sequence[] = [];
      for (const { ranges, to } of moves) {
        for (const terminals of written(ranges)) alternatives.push([...terminals, names[to]!]);
      }
      if (accepts) alternatives.push([literal('"')]);
      // A dead end, which nothing leads to.
      if (alternatives.length === 0) continue;
      this.rules.define(names[number]!, alternatives, path);
    }
    return this.rules.add([[literal('"'), names[0]!]], path);
  }
}

const formatAutomata = new Map<string, readonly State[]>();

/** Made once in a process. */
function formatAutomaton(format: string, path: string): readonly State[] {
  const source = Object.hasOwn(FORMATS, format) ? FORMATS[format] : undefined;
  if (source === undefined) throw refusal(path, `can be one of ${Object.keys(FORMATS).join(', ')}`);
  const states = formatAutomata.get(format) ?? automatonOf(parsePattern(source), newAllowance());
  formatAutomata.set(format, states);
  return states;
}

/** The ways to write one of these characters in a JSON string, enough of them to write any text that others could. */
function written(ranges: readonly CharRange[]): readonly Sequence[] {
  const ways: Sequence[] = [];
  const plain = intersection(ranges, PLAIN);
  if (plain.length > 0) ways.push([oneCharacter(plain)]);
  const short = Object.entries(ESCAPES).filter(([character]) => has(ranges, character));
  if (short.length > 0) {
    const letters = rangesOf(short.map(([, letter]) => letter).join(''));
    ways.push([literal('\\'), oneCharacter(letters)]);
  }
  if (ways.length > 0) return ways;
  // Controls without a letter of their own: only where nothing else is left, as no model needs them.
  for (let code = 0; code < 0x20; code++) {
    if (has(ranges, String.fromCharCode(code)))
      ways.push([literal(JSON.stringify(String.fromCharCode(code)).slice(1, -1))]);
  }
  return ways;
}

function has(ranges: readonly CharRange[], character: string): boolean {
  return intersection(ranges, rangesOf(character)).length > 0;
}

function isPlain(character: string): boolean {
  return has(PLAIN, character);
}

function without(ranges: readonly CharRange[], character: string): readonly CharRange[] {
  const code = character.codePointAt(0)!;
  return ranges.flatMap(([low, high]): CharRange[] =>
    code < low || code > high
      ? [[low, high]]
      : [[low, code - 1] as const, [code + 1, high] as const].filter(([from, to]) => from <= to),
  );
}

/** Bounds on a text's length or a list's, as far as the engine can count. */
export function refuseUncountable(value: number | undefined, path: string): void {
  if (value !== undefined && value > MAX_REPETITIONS) {
    throw refusal(path, `can be at most ${MAX_REPETITIONS}: the engine cannot count further`);
  }
}
