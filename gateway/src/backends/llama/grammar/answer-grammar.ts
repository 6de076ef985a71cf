// The whole grammar of one answer: what the request asks for, behind the model's thinking, in the model's own way of
// writing calls. Thinking is a part of the grammar, and free, so that a grammar never keeps a model from it.
// It must never leave a way around the form: after it only the answer's end may come.
// Pure.
import { type CallForm, writtenCall } from '../call-form.ts';
import type { AnswerFormat } from '../messages.ts';
import { type CharRange, complement, rangesOf } from './char-ranges.ts';
import { literal, oneCharacter } from './grammar-rules.ts';

const OPEN = '<think>';
const CLOSE = '</think>';

export interface AnswerGrammarOptions {
  readonly format: AnswerFormat;
  /** How this model writes calls; given where the format has calls. */
  readonly form: CallForm | undefined;
  readonly isSingle: boolean;
  /** Absent: this model does not think aloud. */
  readonly thinking: { readonly beginsInReasoning: boolean } | undefined;
}

/** In GBNF; its first rule is `root`. */
export function answerGrammar({ format, form, isSingle, thinking }: AnswerGrammarOptions): string {
  const rules: string[] = [];
  const ways: string[] = format.value === undefined ? [] : [format.value];
  if (form !== undefined && format.calls.length > 0) {
    rules.push(...callRules(format.calls, form, isSingle));
    const first = form.marks[0] ?? form.open;
    // Text of any kind, and calls behind it; or calls alone.
    if (!format.mustCall && format.value === undefined) {
      rules.push(...freeUpTo(first, 'text', 'calls', true));
      ways.push('text0');
    } else {
      rules.push(`opened ::= ${literal(first)} calls`);
      ways.push('opened');
    }
  }
  rules.push(`answer ::= ${ways.join(' | ')}`);
  return [rootRule(thinking), ...thoughtRules(thinking), ...rules, format.rules].join('\n');
}

function rootRule(thinking: AnswerGrammarOptions['thinking']): string {
  if (thinking === undefined) return 'root ::= answer';
  return thinking.beginsInReasoning ? 'root ::= thought0' : `root ::= ${literal(OPEN)} thought0 | answer`;
}

function thoughtRules(thinking: AnswerGrammarOptions['thinking']): readonly string[] {
  if (thinking === undefined) return [];
  return [...freeUpTo(CLOSE, 'thought', 'thought-end', false), 'thought-end ::= [\\x0A]{0,2} answer'];
}

/** Behind the first mark. */
function callRules(calls: AnswerFormat['calls'], form: CallForm, isSingle: boolean): readonly string[] {
  const skipsOpen = form.marks.length === 0;
  const bodies = calls.map(({ name, entry }) => {
    const { before, after } = writtenCall(form, name);
    return `${literal(before.slice(form.open.length))} ${entry} ${literal(after)}`;
  });
  const end = form.marks[1] === undefined ? '""' : literal(form.marks[1]);
  const more = isSingle ? end : `${literal(`\n${form.open}`)} call calls-end | ${end}`;
  return [
    `calls ::= ${skipsOpen ? '' : `${literal(form.open)} `}call calls-end`,
    `calls-end ::= ${more}`,
    `call ::= ${bodies.join(' | ')}`,
  ];
}

/**
 * Rules `${name}0`, `${name}1`…: any text up to and with the first `tag`, and then `next`; or, where `mayEnd`, without it
 * up to the answer's end. A rule for each part of the tag that the text may end with.
 */
function freeUpTo(tag: string, name: string, next: string, mayEnd: boolean): readonly string[] {
  const letters = [...new Set(tag)];
  return [...tag].map((_, matched) => {
    const targets = new Map<number, CharRange[]>();
    for (const letter of letters) {
      const to = afterLetter(tag, matched, letter);
      if (to > 0) targets.set(to, [...(targets.get(to) ?? []), ...rangesOf(letter)]);
    }
    const ways = [...targets].map(
      ([to, ranges]) => `${oneCharacter(ranges)} ${to === tag.length ? next : `${name}${to}`}`,
    );
    ways.push(`${oneCharacter(complement([...targets.values()].flat()))} ${name}0`);
    if (mayEnd) ways.push('""');
    return `${name}${matched} ::= ${ways.join(' | ')}`;
  });
}

/** How much of the tag stands at the end of its first `matched` characters and one more. */
function afterLetter(tag: string, matched: number, letter: string): number {
  const text = tag.slice(0, matched) + letter;
  for (let length = text.length; length > 0; length--) if (text.endsWith(tag.slice(0, length))) return length;
  return 0;
}
