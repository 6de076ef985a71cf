// What the messages dialect understands, and what it refuses by its place.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Message } from '../../../core/chat.ts';
import { GatewayError } from '../../../core/errors.ts';
import { retoldIn } from '../../field-names.ts';
import { parseJson } from '../../json.ts';
import { messages } from './messages.ts';
import { readCounted } from './request.ts';

const user = { role: 'user', content: 'hi' };
const parse = (body: object) =>
  messages.parse({ model: 'm', max_tokens: 9, messages: [user], ...body }, undefined);
const callOf = (body: object) => parse(body).calls[0]!;
const plain = (value: unknown) => JSON.parse(JSON.stringify(value));
const messagesOf = (turns: readonly object[], more: object = {}): Message[] => {
  const { prompt } = callOf({ messages: turns, ...more });
  return prompt.kind === 'messages' ? plain(prompt.messages) : assert.fail('no messages');
};
const one = (...content: object[]) => ({ messages: [user, { role: 'user', content }] });
const said = (...content: object[]) => ({ messages: [user, { role: 'assistant', content }] });
const weather = { name: 'weather', description: 'd', input_schema: { type: 'object' } };

const WRONG: readonly [name: string, body: object, param: string][] = [
  ['no max_tokens', { max_tokens: undefined }, 'max_tokens'],
  ['max_tokens of 0', { max_tokens: 0 }, 'max_tokens'],
  ['no model', { model: undefined }, 'model'],
  ['no message', { messages: [] }, 'messages'],
  ['a message that is a text', { messages: ['hi'] }, 'messages[0]'],
  ['a system message among the others', { messages: [{ role: 'system', content: 'x' }] }, 'messages[0].role'],
  ['a message without content', { messages: [{ role: 'user' }] }, 'messages[0].content'],
  ['a block that is a text', one('x' as never), 'messages[1].content[0]'],
  ['an unknown block', one({ type: 'text', text: 'a' }, { type: 'hologram' }), 'messages[1].content[1].type'],
  ['a block without a type', one({ text: 'a' }), 'messages[1].content[0].type'],
  ['a text block without text', one({ type: 'text' }), 'messages[1].content[0].text'],
  [
    'a picture from a file',
    one({ type: 'image', source: { type: 'file' } }),
    'messages[1].content[0].source',
  ],
  [
    'a document by URL',
    one({ type: 'document', source: { type: 'url', url: 'x' } }),
    'messages[1].content[0].source',
  ],
  [
    'a tool_use of the user',
    one({ type: 'tool_use', id: 'a', name: 'b', input: {} }),
    'messages[1].content[0].type',
  ],
  [
    'a tool_result of the assistant',
    said({ type: 'tool_result', tool_use_id: 'a' }),
    'messages[1].content[0].type',
  ],
  ['a tool_use without an id', said({ type: 'tool_use', name: 'b', input: {} }), 'messages[1].content[0].id'],
  [
    'a tool_use with a text as input',
    said({ type: 'tool_use', id: 'a', name: 'b', input: 'x' }),
    'messages[1].content[0].input',
  ],
  ['a tool_result without its call', one({ type: 'tool_result' }), 'messages[1].content[0].tool_use_id'],
  [
    'a tool_result with a strange block',
    one({ type: 'tool_result', tool_use_id: 'a', content: [{ type: 'text', text: 'x' }, { type: 'audio' }] }),
    'messages[1].content[0].content[1].type',
  ],
  ['a system block that is no text', { system: [{ type: 'image' }] }, 'system[0].type'],
  ["one of the vendor's own tools", { tools: [{ type: 'web_search_20250305', name: 'w' }] }, 'tools[0].type'],
  ['a tool without a name', { tools: [{ input_schema: {} }] }, 'tools[0].name'],
  ['a schema in words', { tools: [{ name: 'a', input_schema: 'x' }] }, 'tools[0].input_schema'],
  ['two tools of one name', { tools: [weather, weather] }, 'tools[1].name'],
  [
    'a choice of a tool that is not there',
    { tools: [weather], tool_choice: { type: 'tool', name: 'x' } },
    'tool_choice',
  ],
  ['a choice in one word', { tools: [weather], tool_choice: 'auto' }, 'tool_choice'],
  ['an unknown choice', { tools: [weather], tool_choice: { type: 'maybe' } }, 'tool_choice.type'],
  ['thinking in one word', { thinking: 'on' }, 'thinking'],
  ['a budget of 0', { thinking: { type: 'enabled', budget_tokens: 0 } }, 'thinking.budget_tokens'],
  ['a temperature of 3', { temperature: 3 }, 'temperature'],
  ['stop_sequences that are numbers', { stop_sequences: [1] }, 'stop_sequences[0]'],
  ['stream in words', { stream: 'yes' }, 'stream'],
];

for (const [name, body, param] of WRONG) {
  test(`${name} is refused by name`, () => {
    assert.throws(
      () => parse(body),
      (error) => {
        assert.ok(error instanceof GatewayError, String(error));
        assert.deepEqual([error.code, error.param], ['invalid_request', param]);
        return true;
      },
    );
  });
}

test('texts, blocks and the system come as a conversation, and what is all text as one text', () => {
  assert.deepEqual(
    messagesOf(
      [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'a', cache_control: { type: 'ephemeral' } },
            { type: 'text', text: 'b' },
          ],
        },
        { role: 'assistant', content: 'c' },
        { role: 'user', content: 'd' },
      ],
      {
        system: [
          { type: 'text', text: 's' },
          { type: 'text', text: 't' },
        ],
      },
    ),
    [
      { role: 'system', content: 's\n\nt' },
      { role: 'user', content: 'a\n\nb' },
      { role: 'assistant', content: 'c' },
      { role: 'user', content: 'd' },
    ],
  );
});

test('a thought, a call and its result go on as history', () => {
  assert.deepEqual(
    messagesOf([
      user,
      {
        role: 'assistant',
        content: [
          { type: 'thinking', thinking: 'hm', signature: 'x' },
          { type: 'redacted_thinking', data: 'zzz' },
          { type: 'text', text: 'I look.' },
          { type: 'tool_use', id: 'toolu_1', name: 'weather', input: { city: '北京' } },
        ],
      },
      {
        role: 'user',
        content: [
          { type: 'tool_result', tool_use_id: 'toolu_1', content: [{ type: 'text', text: '22' }] },
          { type: 'text', text: 'And now?' },
        ],
      },
    ]),
    [
      user,
      {
        role: 'assistant',
        content: 'I look.',
        reasoning: 'hm',
        toolCalls: [
          { id: 'toolu_1', type: 'function', function: { name: 'weather', arguments: '{"city":"北京"}' } },
        ],
      },
      { role: 'tool', toolCallId: 'toolu_1', content: '22' },
      { role: 'user', content: 'And now?' },
    ],
  );
});

test('an integer of a call keeps its digits', () => {
  const body = `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"a"},{"role":"assistant","content":[
    {"type":"tool_use","id":"t","name":"n","input":{"id":12345678901234567890}}]},
    {"role":"user","content":[{"type":"tool_result","tool_use_id":"t"}]}]}`;
  const { prompt } = messages.parse(parseJson(Buffer.from(body)), undefined).calls[0]!;
  assert.match(JSON.stringify(prompt), /12345678901234567890/);
});

test('pictures go on in the words of back ends', () => {
  const source = { type: 'base64', media_type: 'image/png', data: 'AAAA' };
  const [message] = messagesOf([
    {
      role: 'user',
      content: [
        { type: 'image', source },
        { type: 'text', text: 'What is it?' },
      ],
    },
  ]);
  assert.deepEqual(message!.content, [
    {
      type: 'other',
      kind: 'image_url',
      value: { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } },
    },
    { type: 'text', text: 'What is it?' },
  ]);
});

test("an assistant's message at the end is the beginning of the answer", () => {
  const { prompt, continueFrom } = callOf({ messages: [user, { role: 'assistant', content: 'It is' }] });
  assert.deepEqual(prompt.kind === 'messages' && prompt.messages.length, 1);
  assert.equal(continueFrom?.choices[0]?.text, 'It is');
});

test('tools and the choice among them', () => {
  const { tools, toolChoice, parallelToolCalls } = callOf({
    tools: [weather],
    tool_choice: { type: 'any', disable_parallel_tool_use: true },
  });
  assert.deepEqual(plain(tools), [
    {
      name: 'weather',
      parameters: { type: 'object' },
      isStrict: false,
      path: 'tools[0].input_schema',
      original: {
        type: 'function',
        function: { name: 'weather', description: 'd', parameters: { type: 'object' } },
      },
    },
  ]);
  assert.deepEqual([toolChoice, parallelToolCalls], ['required', false]);
  assert.deepEqual(callOf({ tools: [weather], tool_choice: { type: 'tool', name: 'weather' } }).toolChoice, {
    name: 'weather',
  });
});

test('the sampler gets what it is asked for, and stops are stops', () => {
  const { sampling, stop, maxTokens } = callOf({ temperature: 0.2, top_k: -1, stop_sequences: ['', 'END'] });
  assert.deepEqual(plain(sampling), { temperature: 0.2 });
  assert.deepEqual([stop, maxTokens], [['END'], 9]);
});

test('thinking is asked for in the words of the chat dialect', () => {
  const extraOf = (thinking: object) => callOf({ thinking }).extra;
  assert.deepEqual(extraOf({ type: 'enabled', budget_tokens: 2048 }), {
    enable_thinking: true,
    thinking_budget: 2048,
  });
  assert.deepEqual(extraOf({ type: 'disabled' }), { enable_thinking: false });
  assert.deepEqual(extraOf({ type: 'adaptive' }), {});
});

test('what back ends say of a message is said of the turn, or the block, that it was made of', () => {
  const image = { type: 'image', source: { type: 'url', url: 'https://example.com/a.png' } };
  const result = { type: 'tool_result', tool_use_id: 'a', content: '1' };
  const { names } = parse({
    system: 's',
    messages: [
      { role: 'user', content: [{ type: 'text', text: 'What?' }, image] },
      { role: 'assistant', content: [{ type: 'tool_use', id: 'a', name: 'f', input: {} }] },
      { role: 'user', content: [result, { type: 'text', text: 'And?' }, image] },
      { role: 'assistant', content: 'It' },
    ],
    tools: [{ name: 'f', input_schema: { type: 'object' } }],
  });
  const retold = (param: string) =>
    retoldIn(names, new GatewayError('invalid_request', 'No.', { param }), false).param;
  for (const [param, field] of [
    ['messages[0]', 'system'],
    ['messages[1].content[1]', 'messages[0].content[1]'],
    ['messages[2].tool_calls[0]', 'messages[1]'],
    ['messages[3].content', 'messages[2]'],
    // The parts of this turn are not its blocks: the result is a message of its own.
    ['messages[4].content[1]', 'messages[2]'],
    ['messages[5]', 'messages[3]'],
    ['messages', 'messages'],
    ['tools[0].function.parameters', 'tools[0]'],
    ['tools[0].input_schema.x', 'tools[0].input_schema.x'],
    ['stop', 'stop_sequences'],
    ['enable_thinking', 'thinking'],
    ['n', undefined],
  ] as const) {
    assert.equal(retold(param), field, param);
  }
});

test('to count tokens no limit is needed', () => {
  const { request } = readCounted({ model: 'm', messages: [user], system: 's' });
  const { prompt } = request;
  assert.equal(prompt.kind === 'messages' && prompt.messages.length, 2);
});
