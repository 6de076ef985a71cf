// The grammar of a JSON number: whole or not, between two bounds.
// It must never let a number grow without end: 15 digits before the point and 15 behind it, as many as a number can hold.
// Pure.
import { type GrammarRules, literal, refusal, type Sequence } from './grammar-rules.ts';

const DIGITS = 15;
/** The largest that is written: every smaller whole number is exact everywhere. */
const LARGEST = 10 ** DIGITS - 1;

const FRACTION: Sequence = [literal('.'), `[0-9]{1,${DIGITS}}`];

export interface NumberFacts {
  readonly isInteger: boolean;
  readonly low: Bound | undefined;
  readonly high: Bound | undefined;
  readonly path: string;
}

export interface Bound {
  readonly value: number;
  readonly isExclusive: boolean;
  /** Where it stands, for refusals. */
  readonly path: string;
}

/** The rule of a number. Throws `invalid_request`. */
export function numberRule(rules: GrammarRules, { isInteger, low, high, path }: NumberFacts): string {
  if (low === undefined && high === undefined) {
    const whole = [['[1-9]', `[0-9]{0,${DIGITS - 1}}`], [literal('0')]];
    const tail = isInteger
      ? []
      : [optional(rules, FRACTION, path), optional(rules, exponent(rules, path), path)];
    return rules.add([[optional(rules, [literal('-')], path), rules.add(whole, path), ...tail]], path);
  }
  const alternatives = isInteger ? integers(low, high) : numbers(rules, low, high, path);
  if (alternatives.length === 0) throw refusal(path, 'allows no number');
  return rules.add(alternatives, path);
}

function integers(low: Bound | undefined, high: Bound | undefined): Sequence[] {
  const least = low === undefined ? -LARGEST : Math.max(-LARGEST, above(low));
  const most = high === undefined ? LARGEST : Math.min(LARGEST, -above(mirrored(high)));
  return [...whole(Math.max(0, least), most), ...negative(whole(Math.max(1, -most), -least))];
}

/** The least whole number that the bound allows. */
function above({ value, isExclusive }: Bound): number {
  const least = Math.ceil(value);
  return isExclusive && least === value ? least + 1 : least;
}

function mirrored(bound: Bound): Bound {
  return { ...bound, value: -bound.value };
}

function numbers(
  rules: GrammarRules,
  low: Bound | undefined,
  high: Bound | undefined,
  path: string,
): Sequence[] {
  for (const bound of [low, high]) {
    if (bound !== undefined && !Number.isInteger(bound.value)) {
      throw refusal(bound.path, 'can only be a whole number: the engine compares digit by digit');
    }
  }
  const zero: Bound = { value: 0, isExclusive: false, path };
  // "-0" is a zero that some readers keep apart: below zero begins behind it.
  const belowZero: Bound = { value: 0, isExclusive: true, path };
  const positive = low === undefined || low.value < 0 ? zero : low;
  const other = high === undefined || high.value > 0 ? belowZero : mirrored(high);
  return [
    ...notNegative(rules, positive, high, path),
    ...negative(notNegative(rules, other, low && mirrored(low), path)),
  ];
}

/** From a bound of 0 or more. */
function notNegative(rules: GrammarRules, low: Bound, high: Bound | undefined, path: string): Sequence[] {
  const first = Math.min(low.value, LARGEST + 1);
  const last = Math.min(high?.value ?? LARGEST + 1, LARGEST + 1);
  if (first > last) return [];
  const zeros = optional(rules, [literal('.'), `[0]{1,${DIGITS}}`], path);
  if (first === last) {
    return low.isExclusive || high?.isExclusive || last > LARGEST ? [] : [[literal(String(first)), zeros]];
  }
  const found: Sequence[] = [];
  const from = low.isExclusive ? first + 1 : first;
  if (low.isExclusive) found.push([literal(String(first)), literal('.'), '[0]{0,7}', '[1-9]', '[0-9]{0,7}']);
  const between = whole(from, last - 1);
  if (between.length > 0) {
    const integer = rules.add(between, path);
    found.push([integer, optional(rules, FRACTION, path)]);
  }
  if (high !== undefined && !high.isExclusive && last <= LARGEST) found.push([literal(String(last)), zeros]);
  return found;
}

function negative(sequences: readonly Sequence[]): Sequence[] {
  return sequences.map((sequence) => [literal('-'), ...sequence]);
}

function exponent(rules: GrammarRules, path: string): Sequence {
  const sign = rules.add([['[\\x2B\\x2D]'], []], path);
  return ['[eE]', sign, '[0-9]{1,2}'];
}

function optional(rules: GrammarRules, sequence: Sequence, path: string): string {
  return rules.add([sequence, []], path);
}

/** The whole numbers from `low` to `high`, neither below 0, as sequences of digits. */
function whole(low: number, high: number): Sequence[] {
  const found: Sequence[] = [];
  for (let first = Math.max(0, low); first <= high; ) {
    const digits = String(first).length;
    const last = Math.min(high, 10 ** digits - 1);
    found.push(...sameLength(String(first), String(last)));
    first = last + 1;
  }
  return found;
}

/** Two numbers of equally many digits, and all between them. */
function sameLength(low: string, high: string): Sequence[] {
  const rest = low.length - 1;
  if (low === high) return low === '' ? [[]] : [[literal(low)]];
  const [first, last] = [low[0]!, high[0]!];
  if (first === last) {
    return sameLength(low.slice(1), high.slice(1)).map((tail) => [literal(first), ...tail]);
  }
  const found: Sequence[] = [];
  let [from, to] = [Number(first), Number(last)];
  if (!/^0*$/.test(low.slice(1))) {
    found.push(...sameLength(low.slice(1), '9'.repeat(rest)).map((tail) => [literal(first), ...tail]));
    from++;
  }
  const isCut = !/^9*$/.test(high.slice(1));
  if (isCut) to--;
  if (from <= to) found.push([digits(String(from), String(to)), ...free(rest)]);
  if (isCut)
    found.push(...sameLength('0'.repeat(rest), high.slice(1)).map((tail) => [literal(last), ...tail]));
  return found;
}

function digits(from: string, to: string): string {
  return from === to ? `[${from}]` : `[${from}-${to}]`;
}

function free(count: number): Sequence {
  return count === 0 ? [] : [`[0-9]{${count}}`];
}
