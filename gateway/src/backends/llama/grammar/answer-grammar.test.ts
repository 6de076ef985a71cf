// Guards what stands around a form: thinking stays free and the form begins behind it; calls are written as the model
// writes them, alone or behind text.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { callFormOf } from '../call-form.ts';
import type { AnswerFormat } from '../messages.ts';
import { type AnswerGrammarOptions, answerGrammar } from './answer-grammar.ts';
import { GbnfReader } from './gbnf-testing.ts';

const VALUE: AnswerFormat = { rules: 'r1 ::= "[" [0-9] "]"\n', value: 'r1', calls: [], mustCall: false };
const CALLS: AnswerFormat = {
  rules: 'r1 ::= "{" [0-9] "}"\nr2 ::= "{}"\n',
  calls: [
    { name: 'look', entry: 'r1' },
    { name: 'wait', entry: 'r2' },
  ],
  mustCall: true,
};
const HERMES = callFormOf('{{ tools }} <tool_call>')!;
const DEEPSEEK = callFormOf('{{ tools }} <｜tool▁call▁begin｜>function<｜tool▁sep｜> ```json')!;

function readerOf(options: Partial<AnswerGrammarOptions>): GbnfReader {
  return new GbnfReader(
    answerGrammar({ format: VALUE, form: undefined, isSingle: false, thinking: undefined, ...options }),
  );
}

function check(reader: GbnfReader, yes: readonly string[], no: readonly string[]): void {
  for (const text of yes) assert.ok(reader.accepts(text), text);
  for (const text of no) assert.ok(!reader.accepts(text), text);
}

test('without thinking the form is all', () => {
  check(readerOf({}), ['[1]'], ['', 'a[1]', '[1]\n', '<think></think>[1]']);
});

test('a model that begins inside its thinking thinks freely up to the first closing tag', () => {
  check(
    readerOf({ thinking: { beginsInReasoning: true } }),
    ['a < b </ </thin <</think>[1]', '</think>\n\n[1]', '<think>x</think>\n[2]', '中文🦄</think>[1]'],
    ['[1]', 'x</think>', 'x</think>y[1]', 'x</think>\n\n\n[1]', 'x</think>[1]</think>[1]'],
  );
});

test('a model that may think does so or not', () => {
  check(
    readerOf({ thinking: { beginsInReasoning: false } }),
    ['[1]', '<think>\nhm\n</think>\n\n[1]', '<think></think>[1]'],
    ['hm</think>[1]', '<think>[1]', '<think></think>'],
  );
});

test('calls that must be made: one or several, of the tools that are there', () => {
  const one = '<tool_call>\n{"name": "look", "arguments": {1}}\n</tool_call>';
  const two = '<tool_call>\n{"name": "wait", "arguments": {}}\n</tool_call>';
  const options = { format: CALLS, form: HERMES };
  check(
    readerOf(options),
    [one, two, `${one}\n${two}`],
    ['', 'text', `text${one}`, one.replace('look', 'other'), one.replace('1', 'x')],
  );
  check(readerOf({ ...options, isSingle: true }), [one], [`${one}\n${two}`]);
  check(readerOf({ ...options, thinking: { beginsInReasoning: true } }), [`hm</think>\n\n${one}`], [one]);
});

test("DeepSeek's way of writing them", () => {
  const call = (name: string, body: string) =>
    `<｜tool▁call▁begin｜>function<｜tool▁sep｜>${name}\n\`\`\`json\n${body}\n\`\`\`<｜tool▁call▁end｜>`;
  const all = (...calls: string[]) => `<｜tool▁calls▁begin｜>${calls.join('\n')}<｜tool▁calls▁end｜>`;
  const options = { format: CALLS, form: DEEPSEEK };
  check(
    readerOf(options),
    [all(call('look', '{1}')), all(call('look', '{1}'), call('wait', '{}'))],
    [call('look', '{1}'), all()],
  );
});

test('calls that may be made: text, text and calls, or calls alone', () => {
  const call = '<tool_call>\n{"name": "look", "arguments": {1}}\n</tool_call>';
  const reader = readerOf({ format: { ...CALLS, mustCall: false }, form: HERMES });
  check(
    reader,
    ['', 'any text < <tool_', call, `let me see\n${call}`],
    ['<tool_call>', `x${call}y`, `<tool_call>${call}`],
  );
});

test('a form for the text beside calls', () => {
  const call = '<tool_call>\n{"name": "wait", "arguments": {}}\n</tool_call>';
  const format = {
    rules: `${VALUE.rules}r2 ::= "{}"\n`,
    value: 'r1',
    calls: [{ name: 'wait', entry: 'r2' }],
    mustCall: false,
  };
  check(readerOf({ format, form: HERMES }), ['[1]', call], ['text', `[1]${call}`]);
});
