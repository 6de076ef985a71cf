// Guards the reading of tool calls: any cut of the text gives the same, no part of a tag is shown, and what is no call is
// text, whole.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type CallForm, callFormOf } from './call-form.ts';
import { ToolCalls } from './tool-calls.ts';

const HERMES = callFormOf('{{ tools }} <tool_call>')!;
const DEEPSEEK = callFormOf('{{ tools }} <｜tool▁call▁begin｜>function<｜tool▁sep｜> ```json')!;

interface Read {
  readonly text: string;
  readonly calls: readonly { readonly name: string | undefined; readonly arguments: string }[];
}

/** `cuts`: lengths of the pieces, again and again. */
function read(
  form: CallForm,
  whole: string,
  cuts: readonly number[] = [whole.length],
  isSingle = false,
): Read {
  let ids = 0;
  const reader = new ToolCalls({ form, isSingle, newId: () => `id${ids++}` });
  let text = '';
  const calls: { id: string | undefined; name: string | undefined; arguments: string }[] = [];
  const take = (pieces: ReturnType<ToolCalls['push']>): void => {
    for (const piece of pieces) {
      if (piece.kind === 'text') text += piece.text;
      else if (piece.index === calls.length)
        calls.push({ id: piece.id, name: piece.name, arguments: piece.text });
      else {
        assert.equal(piece.index, calls.length - 1);
        assert.equal(piece.name ?? piece.id, undefined, 'named once');
        calls[piece.index]!.arguments += piece.text;
      }
    }
  };
  for (let at = 0, turn = 0; at < whole.length && !reader.isOver; turn++) {
    const length = Math.max(1, cuts[turn % cuts.length]!);
    take(reader.push(whole.slice(at, at + length)));
    at += length;
  }
  take(reader.flush());
  assert.deepEqual(
    calls.map(({ id }) => id),
    calls.map((_, index) => `id${index}`),
  );
  return { text, calls: calls.map((call) => ({ name: call.name, arguments: call.arguments })) };
}

const hermes = (body: string): string => `<tool_call>\n${body}\n</tool_call>`;
const deepseek = (name: string, body: string): string =>
  `<｜tool▁call▁begin｜>function<｜tool▁sep｜>${name}\n\`\`\`json\n${body}\n\`\`\`<｜tool▁call▁end｜>`;
const call = (name: string, text = '{}') => ({ name, arguments: text });

const CASES: readonly (readonly [name: string, form: CallForm, whole: string, expected: Read])[] = [
  ['no call', HERMES, 'a < b <tool', { text: 'a < b <tool', calls: [] }],
  [
    'a call',
    HERMES,
    hermes('{"name": "f", "arguments": {"a": [1, "}"]}}'),
    { text: '', calls: [call('f', '{"a": [1, "}"]}')] },
  ],
  [
    'text before',
    HERMES,
    `Let me see.\n${hermes('{"name":"f","arguments":{}}')}\n`,
    { text: 'Let me see.', calls: [call('f')] },
  ],
  [
    'two calls',
    HERMES,
    `${hermes('{"name":"f","arguments":{}}')}\n${hermes('{"name":"g","arguments":{"x":1}}')}`,
    { text: '', calls: [call('f'), call('g', '{"x":1}')] },
  ],
  [
    'a tag in a text',
    HERMES,
    hermes('{"name":"f","arguments":{"a":"</tool_call> \\" <tool_call>"}}'),
    { text: '', calls: [call('f', '{"a":"</tool_call> \\" <tool_call>"}')] },
  ],
  [
    'arguments before the name',
    HERMES,
    hermes('{"arguments":{"x":1},"name":"f"}'),
    { text: '', calls: [call('f', '{"x":1}')] },
  ],
  [
    'members that say nothing',
    HERMES,
    hermes('{"id":[{"name":"no"}],"name":"f","x":"y","arguments":{},"z":null}'),
    { text: '', calls: [call('f')] },
  ],
  [
    'arguments as a text',
    HERMES,
    hermes('{"name":"f","arguments":"{\\"a\\":1}"}'),
    { text: '', calls: [call('f', '{"a":1}')] },
  ],
  ['no arguments', HERMES, hermes('{"name":"f"}'), { text: '', calls: [call('f')] }],
  ['null arguments', HERMES, hermes('{"name":"f","arguments":null}'), { text: '', calls: [call('f')] }],
  [
    'a bracket too few',
    HERMES,
    `${hermes('{"name":"f","arguments":{"a":1}')}x`,
    { text: 'x', calls: [call('f', '{"a":1}')] },
  ],
  [
    'two brackets too few',
    HERMES,
    hermes('{"name":"f","arguments":{"a":1'),
    { text: '', calls: [call('f', '{"a":1\n')] },
  ],
  ['no JSON', HERMES, `x ${hermes('f(1)')} y`, { text: `x ${hermes('f(1)')} y`, calls: [] }],
  ['no name', HERMES, hermes('{"arguments":{}}'), { text: hermes('{"arguments":{}}'), calls: [] }],
  ['a name that is no text', HERMES, hermes('{"name":1}'), { text: hermes('{"name":1}'), calls: [] }],
  [
    'cut before the arguments',
    HERMES,
    'a <tool_call>\n{"name":"f","argu',
    { text: 'a <tool_call>\n{"name":"f","argu', calls: [] },
  ],
  [
    'cut in the arguments',
    HERMES,
    '<tool_call>{"name":"f","arguments":{"a":"b',
    { text: '', calls: [call('f', '{"a":"b')] },
  ],
  [
    "DeepSeek's",
    DEEPSEEK,
    `hm\n<｜tool▁calls▁begin｜>${deepseek('f', '{"q":"```"}')}\n${deepseek('g', '{}')}<｜tool▁calls▁end｜>`,
    { text: 'hm', calls: [call('f', '{"q":"```"}'), call('g')] },
  ],
  [
    "DeepSeek's newer",
    DEEPSEEK,
    '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{"q":1}<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
    { text: '', calls: [call('f', '{"q":1}')] },
  ],
  [
    'a call cut in its name',
    DEEPSEEK,
    '<｜tool▁call▁begin｜>function<｜tool▁sep｜>f',
    { text: '<｜tool▁call▁begin｜>function<｜tool▁sep｜>f', calls: [] },
  ],
];

for (const [name, form, whole, expected] of CASES) {
  test(`${name}: whole, and cut at every place`, () => {
    assert.deepEqual(read(form, whole), expected);
    for (let at = 1; at < whole.length; at++)
      assert.deepEqual(read(form, whole, [at, whole.length]), expected, `cut at ${at}`);
    assert.deepEqual(read(form, whole, [1]), expected);
  });
}

test('an answer that may have one call is over with it', () => {
  const whole = `${hermes('{"name":"f","arguments":{}}')}\n${hermes('{"name":"g","arguments":{}}')}`;
  assert.deepEqual(read(HERMES, whole, [3], true), { text: '', calls: [call('f')] });
});

const PARTS = [
  '<tool_call>',
  '</tool_call>',
  '<｜tool▁calls▁begin｜>',
  '<｜tool▁call▁begin｜>',
  '<｜tool▁sep｜>',
  'function',
  'f',
];
const MORE = [
  '<｜tool▁call▁end｜>',
  '{"name":"f",',
  '"arguments":',
  '{"a":1}',
  '{',
  '}',
  '"',
  '\\',
  ',',
  '\n',
  ' ',
  'x',
  '<',
  '```json\n',
  '中',
];
const soup = fc.array(fc.constantFrom(...PARTS, ...MORE), { maxLength: 20 }).map((parts) => parts.join(''));

test('any soup of tags: the same however it is cut, and nothing of it is lost or made up', () => {
  fc.assert(
    fc.property(
      soup,
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
      fc.constantFrom(HERMES, DEEPSEEK),
      fc.boolean(),
      (whole, cuts, form, isSingle) => {
        const all = read(form, whole, [whole.length], isSingle);
        assert.deepEqual(read(form, whole, cuts, isSingle), all);
        let rest = whole;
        for (const character of all.text) {
          const at = rest.indexOf(character);
          assert.ok(at >= 0, 'text that was not there');
          rest = rest.slice(at + 1);
        }
        if (all.calls.length > 0) return;
        const marks = new RegExp([...form.marks, '\\s'].join('|'), 'g');
        assert.equal(all.text.replace(marks, ''), whole.replace(marks, ''), 'no call: all of it is text');
      },
    ),
    { numRuns: 3_000 },
  );
});

test('a template tells how its model writes calls, or that it does not', () => {
  assert.equal(callFormOf('{{ messages }}'), undefined);
  assert.equal(callFormOf('{{ message.tool_calls }} <tool_call>'), undefined, 'it offers no tools');
  assert.equal(callFormOf('{{ tools }} <tool_call><function=x>'), undefined, "Qwen's coders");
  assert.equal(callFormOf('{{ tools }} [TOOL_CALLS]'), undefined);
});
