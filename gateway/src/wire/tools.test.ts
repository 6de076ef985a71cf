// What the fields of tools may be on chat completions: read once, the client's own values beside them, refusals by name.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GatewayError } from '../core/errors.ts';
import { chatCompletions } from './dialects/chat-completions.ts';

const parse = (body: object) =>
  chatCompletions.parse({ model: 'm', messages: [{ role: 'user', content: 'hi' }], ...body }, undefined)
    .calls[0]!;
const tool = (name: string, more: object = {}) => ({ type: 'function', function: { name, ...more } });

test('tools are read, and the originals stay reachable', () => {
  const parameters = { type: 'object', properties: {} };
  const tools = [
    tool('look_up', { description: 'd', parameters, strict: true }),
    tool('wait', { parameters: null }),
  ];
  const call = parse({ tools, tool_choice: 'auto', parallel_tool_calls: false });
  assert.deepEqual(call.tools, [
    { name: 'look_up', parameters, isStrict: true, path: 'tools[0].function.parameters', original: tools[0] },
    {
      name: 'wait',
      parameters: undefined,
      isStrict: false,
      path: 'tools[1].function.parameters',
      original: tools[1],
    },
  ]);
  assert.equal(call.toolChoice, 'auto');
  assert.equal(call.parallelToolCalls, false);
  assert.deepEqual(call.extra, {});
});

test('a choice may name a tool', () => {
  const choice = { type: 'function', function: { name: 'b' } };
  assert.deepEqual(parse({ tools: [tool('a'), tool('b')], tool_choice: choice }).toolChoice, { name: 'b' });
});

test('null, an empty list and a choice of nothing are as if absent', () => {
  const empty = { tools: undefined, toolChoice: undefined, parallelToolCalls: undefined };
  for (const body of [{}, { tools: null, tool_choice: null, parallel_tool_calls: null }, { tools: [] }]) {
    const { tools, toolChoice, parallelToolCalls } = parse(body);
    assert.deepEqual({ tools, toolChoice, parallelToolCalls }, empty);
  }
  assert.equal(parse({ tool_choice: 'none' }).toolChoice, 'none');
});

const WRONG: readonly (readonly [name: string, body: object, param: string])[] = [
  ['tools that are no list', { tools: {} }, 'tools'],
  ['129 tools', { tools: Array.from({ length: 129 }, (_, index) => tool(`t${index}`)) }, 'tools'],
  ['a text as a tool', { tools: ['f'] }, 'tools[0]'],
  ['another type', { tools: [{ type: 'retrieval' }] }, 'tools[0].type'],
  ['no function', { tools: [tool('a'), { type: 'function' }] }, 'tools[1].function'],
  ['no name', { tools: [{ type: 'function', function: {} }] }, 'tools[0].function.name'],
  ['a name with a space', { tools: [tool('a b')] }, 'tools[0].function.name'],
  ['two tools of one name', { tools: [tool('a'), tool('a')] }, 'tools[1].function.name'],
  ['parameters as a text', { tools: [tool('a', { parameters: 'x' })] }, 'tools[0].function.parameters'],
  [
    'a description that is no text',
    { tools: [tool('a', { description: 1 })] },
    'tools[0].function.description',
  ],
  ['strict in words', { tools: [tool('a', { strict: 'yes' })] }, 'tools[0].function.strict'],
  ['an unknown choice', { tools: [tool('a')], tool_choice: 'maybe' }, 'tool_choice'],
  [
    'a choice without a name',
    { tools: [tool('a')], tool_choice: { type: 'function', function: {} } },
    'tool_choice.function.name',
  ],
  [
    'a choice of no tool',
    { tools: [tool('a')], tool_choice: { type: 'function', function: { name: 'b' } } },
    'tool_choice',
  ],
  ['a call that must be, of nothing', { tool_choice: 'required' }, 'tool_choice'],
  ['parallel_tool_calls in words', { tools: [tool('a')], parallel_tool_calls: 'no' }, 'parallel_tool_calls'],
];

for (const [name, body, param] of WRONG) {
  test(`${name} is refused by name`, () => {
    assert.throws(
      () => parse(body),
      (error) => error instanceof GatewayError && error.code === 'invalid_request' && error.param === param,
    );
  });
}
