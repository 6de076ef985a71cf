// What a Responses request says: items as turns of a conversation, fields in the words of the house, and refusals by name.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Message } from '../../../core/chat.ts';
import { GatewayError } from '../../../core/errors.ts';
import { retoldIn } from '../../field-names.ts';
import { chatCompletions } from '../chat-completions.ts';
import { responses } from './responses.ts';

const parse = (body: object) => responses.parse({ model: 'm', input: 'hi', ...body }, undefined);
const callOf = (body: object) => parse(body).calls[0]!;
const messagesOf = (body: object): readonly Message[] => {
  const { prompt } = callOf(body);
  return prompt.kind === 'messages' ? prompt.messages : assert.fail('no messages');
};

const user = { role: 'user', content: 'hi' };
const tool = { type: 'function', name: 'get_weather', parameters: { type: 'object' } };

const WRONG: readonly [name: string, body: object, param: string][] = [
  ['no model', { model: undefined }, 'model'],
  ['no input', { input: undefined }, 'input'],
  ['an empty input', { input: [] }, 'input'],
  ['an input of references to thoughts alone', { input: [{ type: 'item_reference', id: 'rs_1' }] }, 'input'],
  ['a number as input', { input: 5 }, 'input'],
  ['a text as an item', { input: [user, 'hi'] }, 'input[1]'],
  ['an unknown role', { input: [user, { role: 'tool', content: 'x' }] }, 'input[1].role'],
  ['a message without content', { input: [{ role: 'user' }] }, 'input[0].content'],
  ['an item of an unknown kind', { input: [user, { type: 'computer_call' }] }, 'input[1].type'],
  [
    'a call without an id',
    { input: [{ type: 'function_call', name: 'f', arguments: '' }] },
    'input[0].call_id',
  ],
  [
    'a call whose arguments are no text',
    { input: [{ type: 'function_call', call_id: 'c', name: 'f', arguments: {} }] },
    'input[0].arguments',
  ],
  [
    'an output without content',
    { input: [{ type: 'function_call_output', call_id: 'c' }] },
    'input[0].output',
  ],
  [
    'a part of an unknown kind',
    { input: [{ role: 'user', content: [{ type: 'input_text', text: 'a' }, { type: 'video' }] }] },
    'input[0].content[1].type',
  ],
  [
    'a picture that is stored elsewhere',
    { input: [{ role: 'user', content: [{ type: 'input_image', file_id: 'file-1' }] }] },
    'input[0].content[0].image_url',
  ],
  ['a reference to an answer', { input: [{ type: 'item_reference', id: 'msg_1' }] }, 'input[0].id'],
  ['an earlier response', { previous_response_id: 'resp_1' }, 'previous_response_id'],
  ['a conversation', { conversation: { id: 'conv_1' } }, 'conversation'],
  ['a stored prompt', { prompt: { id: 'pmpt_1' } }, 'prompt'],
  ['work in the background', { background: true }, 'background'],
  ['max_output_tokens of 0', { max_output_tokens: 0 }, 'max_output_tokens'],
  ['a temperature of 3', { temperature: 3 }, 'temperature'],
  ['probabilities that are not included', { top_logprobs: 2 }, 'top_logprobs'],
  ['a tool that the server would run', { tools: [tool, { type: 'web_search' }] }, 'tools[1].type'],
  ['a tool without a name', { tools: [{ type: 'function' }] }, 'tools[0].name'],
  ['two tools of one name', { tools: [tool, tool] }, 'tools[1].name'],
  [
    'a choice of a tool that is not there',
    { tools: [tool], tool_choice: { type: 'function', name: 'x' } },
    'tool_choice',
  ],
  ['a choice of some tools', { tools: [tool], tool_choice: { type: 'allowed_tools' } }, 'tool_choice'],
  ['a form of no known kind', { text: { format: { type: 'xml' } } }, 'text.format.type'],
  [
    'a form without its schema',
    { text: { format: { type: 'json_schema', name: 'x' } } },
    'text.format.schema',
  ],
  ['a text as reasoning', { reasoning: 'high' }, 'reasoning'],
  ['a number as effort', { reasoning: { effort: 1 } }, 'reasoning.effort'],
  ['an unknown truncation', { truncation: 'middle' }, 'truncation'],
  ['a text as include', { include: 'all' }, 'include'],
];

for (const [name, body, param] of WRONG) {
  test(`${name} is refused by name`, () => {
    assert.throws(
      () => parse(body),
      (error) => error instanceof GatewayError && error.code === 'invalid_request' && error.param === param,
    );
  });
}

test('what refers to something stored is told to send the history', () => {
  assert.throws(() => parse({ previous_response_id: 'resp_1' }), /send the whole history in "input"/);
  assert.throws(() => parse({ input: [{ type: 'item_reference', id: 'msg_1' }] }), /"store": false/);
});

test('a text is what the user says, and instructions come before it', () => {
  assert.deepEqual(messagesOf({ instructions: 'Be brief.' }), [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'hi' },
  ]);
  assert.deepEqual(messagesOf({ instructions: null }), [user]);
});

test('parts become those of the chat dialect', () => {
  const content = [
    { type: 'input_text', text: 'What is this?' },
    { type: 'input_image', image_url: 'data:image/png;base64,AA==', detail: 'low', file_id: null },
    { type: 'input_file', filename: 'a.pdf', file_data: 'data:application/pdf;base64,AA==' },
  ];
  const image = { type: 'image_url', image_url: { url: 'data:image/png;base64,AA==', detail: 'low' } };
  const file = { type: 'file', file: { file_data: 'data:application/pdf;base64,AA==', filename: 'a.pdf' } };
  assert.deepEqual(messagesOf({ input: [{ type: 'message', role: 'user', content }] }), [
    {
      role: 'user',
      content: [
        { type: 'text', text: 'What is this?' },
        { type: 'other', kind: 'image_url', value: image },
        { type: 'other', kind: 'file', value: file },
      ],
    },
  ]);
});

const thought = (text: string) => ({
  type: 'reasoning',
  id: 'rs_1',
  summary: [],
  content: [{ type: 'reasoning_text', text }],
});
const said = (text: string) => ({
  type: 'message',
  id: 'msg_1',
  role: 'assistant',
  status: 'completed',
  content: [{ type: 'output_text', text, annotations: [] }],
});
const call = (id: string) => ({
  type: 'function_call',
  id: `fc_${id}`,
  call_id: id,
  name: 'f',
  arguments: '{}',
});
const output = (id: string, text: string) => ({ type: 'function_call_output', call_id: id, output: text });
const chatCall = (id: string) => ({ id, type: 'function', function: { name: 'f', arguments: '{}' } });

const TURNS: readonly [name: string, input: readonly object[], messages: readonly object[]][] = [
  [
    'thought, text and calls in a row are one message',
    [user, thought('r'), said('t'), call('a'), call('b'), output('a', '1'), output('b', '2'), said('done')],
    [
      user,
      { role: 'assistant', content: 't', reasoning: 'r', toolCalls: [chatCall('a'), chatCall('b')] },
      { role: 'tool', toolCallId: 'a', content: '1' },
      { role: 'tool', toolCallId: 'b', content: '2' },
      { role: 'assistant', content: 'done' },
    ],
  ],
  [
    'calls with their outputs between them are several',
    [call('a'), output('a', '1'), thought('r'), call('b'), output('b', '2')],
    [
      { role: 'assistant', content: null, toolCalls: [chatCall('a')] },
      { role: 'tool', toolCallId: 'a', content: '1' },
      { role: 'assistant', content: null, reasoning: 'r', toolCalls: [chatCall('b')] },
      { role: 'tool', toolCallId: 'b', content: '2' },
    ],
  ],
  [
    'what comes between a call and its output belongs to the call',
    [said('t'), call('a'), thought('r'), said('u'), call('b'), output('a', '1'), output('b', '2')],
    [
      {
        role: 'assistant',
        content: 't\n\nu',
        reasoning: 'r',
        toolCalls: [chatCall('a'), chatCall('b')],
      },
      { role: 'tool', toolCallId: 'a', content: '1' },
      { role: 'tool', toolCallId: 'b', content: '2' },
    ],
  ],
  [
    'two texts in a row stay two messages',
    [said('t'), thought('r'), said('u'), user],
    [{ role: 'assistant', content: 't' }, { role: 'assistant', content: 'u', reasoning: 'r' }, user],
  ],
  ['a thought that nothing came of is left out', [user, thought('r'), user], [user, user]],
  [
    'a thought is kept, the empty one too',
    [thought(''), call('a')],
    [{ role: 'assistant', content: null, reasoning: '', toolCalls: [chatCall('a')] }],
  ],
  [
    'a thought of which there is only a summary is that',
    [{ type: 'reasoning', summary: [{ type: 'summary_text', text: 's' }] }, said('t')],
    [{ role: 'assistant', content: 't', reasoning: 's' }],
  ],
  [
    'a thought that is only referred to is left out',
    [{ type: 'item_reference', id: 'rs_1' }, call('a'), output('a', '1')],
    [
      { role: 'assistant', content: null, toolCalls: [chatCall('a')] },
      { role: 'tool', toolCallId: 'a', content: '1' },
    ],
  ],
];

for (const [name, input, messages] of TURNS) {
  test(name, () => assert.deepEqual(messagesOf({ input }), messages));
}

test('what back ends say of a message is said of the item that it was made of', () => {
  const image = { type: 'input_image', image_url: 'https://example.com/a.png' };
  const { names } = parse({
    instructions: 'Be brief.',
    input: [
      { role: 'user', content: [{ type: 'input_text', text: 'What?' }, image] },
      thought('Hm.'),
      call('a'),
      { type: 'function_call_output', call_id: 'a', output: [image] },
      said('So.'),
    ],
  });
  const retold = (param: string) =>
    retoldIn(names, new GatewayError('invalid_request', 'No.', { param }), false).param;
  for (const [param, field] of [
    ['messages[0]', 'instructions'],
    ['messages[1].content[1]', 'input[0].content[1]'],
    // A thought and its call are one message.
    ['messages[2].tool_calls[0]', 'input'],
    ['messages[3].content[0]', 'input[3].output[0]'],
    ['messages[4].content', 'input[4]'],
    ['messages', 'input'],
    ['max_tokens', 'max_output_tokens'],
    ['response_format.json_schema.schema.x', 'text.format.schema.x'],
    ['text.format.schema.x', 'text.format.schema.x'],
    ['tools[0].function.parameters', 'tools[0].parameters'],
    ['reasoning_effort', 'reasoning.effort'],
    ['guided_json', 'guided_json'],
  ] as const) {
    assert.equal(retold(param), field, param);
  }
  assert.deepEqual(parse({ input: 'hi' }).names?.origins, [{ field: 'input' }]);
});

test('tools and their choice go on in the words of the chat dialect', () => {
  const strict = { ...tool, name: 'other', description: null, strict: true };
  const asked = callOf({ tools: [tool, strict], tool_choice: { type: 'function', name: 'other' } });
  const { type, ...inner } = tool;
  assert.deepEqual(asked.tools, [
    {
      name: 'get_weather',
      parameters: tool.parameters,
      isStrict: false,
      path: 'tools[0].parameters',
      original: { type, function: inner },
    },
    {
      name: 'other',
      parameters: tool.parameters,
      isStrict: true,
      path: 'tools[1].parameters',
      original: { type, function: { ...inner, name: 'other', strict: true } },
    },
  ]);
  assert.deepEqual(asked.toolChoice, { name: 'other' });
  assert.equal(callOf({ tools: [tool], tool_choice: 'required' }).toolChoice, 'required');
});

test('the form of the text goes on in the words of the chat dialect', () => {
  const schema = { type: 'object' };
  const format = { type: 'json_schema', name: 'x', strict: true, description: null, schema };
  assert.deepEqual(callOf({ text: { format } }).responseFormat, {
    kind: 'schema',
    schema,
    path: 'text.format.schema',
    original: { type: 'json_schema', json_schema: { name: 'x', strict: true, schema } },
  });
  const json = { kind: 'json', original: { type: 'json_object' } };
  assert.deepEqual(callOf({ text: { format: { type: 'json_object' } } }).responseFormat, json);
  assert.equal(callOf({ text: { format: null } }).responseFormat, undefined);
});

test('what back ends know goes on by their names, and what means nothing stops here by name', () => {
  const { calls, ignored } = parse({
    reasoning: { effort: 'low', summary: 'auto' },
    text: { verbosity: 'high' },
    user: 'u',
    enable_thinking: true,
    max_tool_calls: 3,
    messages: [user],
    n: 2,
    prompt: 'a text',
    store: true,
    truncation: 'auto',
    metadata: { a: 'b' },
    include: ['reasoning.encrypted_content'],
    stream_options: { include_obfuscation: false },
  });
  assert.deepEqual(calls[0]!.extra, {
    reasoning_effort: 'low',
    verbosity: 'high',
    user: 'u',
    enable_thinking: true,
  });
  assert.equal(calls[0]!.choices, 1);
  assert.deepEqual(ignored.toSorted(), ['max_tool_calls', 'messages', 'n', 'prompt', 'store', 'truncation']);
});

test('limits, sampling and probabilities are understood', () => {
  const { maxTokens, sampling, logprobs } = callOf({
    max_output_tokens: 7,
    temperature: 0,
    top_p: 0.5,
    top_logprobs: 3,
    include: ['message.output_text.logprobs'],
  });
  assert.deepEqual([maxTokens, sampling.temperature, sampling.topP, logprobs], [7, 0, 0.5, 3]);
  assert.equal(callOf({ include: ['message.output_text.logprobs'] }).logprobs, 0);
  assert.equal(callOf({ top_logprobs: 0 }).logprobs, undefined);
});

test('answers repeat the request, and say what holds where it is not what was asked', () => {
  const { echo } = parse({ store: true, truncation: 'auto', tools: [tool], text: { verbosity: 'low' } });
  assert.equal(echo?.store, false);
  assert.equal(echo?.truncation, 'disabled');
  assert.equal(echo?.temperature, null);
  assert.equal(echo?.tool_choice, 'auto');
  assert.deepEqual(echo?.tools, [tool]);
  assert.deepEqual(echo?.text, { verbosity: 'low', format: { type: 'text' } });
  assert.deepEqual(echo?.reasoning, { effort: null, summary: null });
});

test('the same body posted to the chat dialect is understood there', () => {
  const body = { model: 'm', input: [user, call('a'), output('a', '1')], stream: true, tools: [tool] };
  const chat = chatCompletions.parse({ ...body, stream_options: { include_usage: true } }, undefined);
  assert.deepEqual(chat.calls, responses.parse(body, undefined).calls);
  assert.deepEqual([chat.stream, chat.includeUsage], [true, true]);
});
