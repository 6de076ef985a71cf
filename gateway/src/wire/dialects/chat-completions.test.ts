// What chat completions understand, beyond the fields that all dialects share.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Message } from '../../core/chat.ts';
import { GatewayError } from '../../core/errors.ts';
import { parseJson } from '../json.ts';
import { chatCompletions } from './chat-completions.ts';

const user = { role: 'user', content: 'hi' };
const parse = (body: object) => chatCompletions.parse({ model: 'm', messages: [user], ...body }, undefined);
const messagesOf = (messages: readonly object[]): readonly Message[] => {
  const { prompt } = parse({ messages }).calls[0]!;
  return prompt.kind === 'messages' ? prompt.messages : assert.fail('no messages');
};

const WRONG: readonly [name: string, body: object, param: string][] = [
  ['no model', { model: undefined }, 'model'],
  ['a null model', { model: null }, 'model'],
  ['an empty model', { model: '' }, 'model'],
  ['a model of 257 characters', { model: 'x'.repeat(257) }, 'model'],
  ['no messages', { messages: undefined }, 'messages'],
  ['no message', { messages: [] }, 'messages'],
  ['messages as a text', { messages: 'hi' }, 'messages'],
  ['a text as a message', { messages: [user, 'hi'] }, 'messages[1]'],
  ['an unknown role', { messages: [user, { role: 'robot', content: 'x' }] }, 'messages[1].role'],
  ['no role', { messages: [{ content: 'x' }] }, 'messages[0].role'],
  ['no content of a user', { messages: [{ role: 'user' }] }, 'messages[0].content'],
  ['null content of a tool', { messages: [{ role: 'tool', content: null }] }, 'messages[0].content'],
  ['a number as content', { messages: [{ role: 'user', content: 1 }] }, 'messages[0].content'],
  [
    'a part without a type',
    { messages: [{ role: 'user', content: [{ text: 'x' }] }] },
    'messages[0].content[0].type',
  ],
  [
    'a part of text without text',
    { messages: [user, { role: 'user', content: [{ type: 'text', text: 'x' }, { type: 'text' }] }] },
    'messages[1].content[1].text',
  ],
  [
    'tool_calls that are no list',
    { messages: [{ role: 'assistant', tool_calls: {} }] },
    'messages[0].tool_calls',
  ],
  ['n of 0', { n: 0 }, 'n'],
  ['n of 129', { n: 129 }, 'n'],
  ['max_completion_tokens of 0', { max_completion_tokens: 0, max_tokens: 5 }, 'max_completion_tokens'],
  ['stream_options as a text', { stream_options: 'x' }, 'stream_options'],
  ['include_usage in words', { stream_options: { include_usage: 'yes' } }, 'stream_options.include_usage'],
  ['a body of the Responses dialect with no item', { input: [], messages: null }, 'input'],
];

for (const [name, body, param] of WRONG) {
  test(`${name} is refused by name`, () => {
    assert.throws(
      () => parse(body),
      (error) => error instanceof GatewayError && error.code === 'invalid_request' && error.param === param,
    );
  });
}

test('a Responses body is understood, unless there are messages too', () => {
  assert.deepEqual(parse({ input: 'ho', messages: null }).calls[0]!.prompt, {
    kind: 'messages',
    messages: [{ role: 'user', content: 'ho' }],
  });
  assert.equal(parse({ input: 'ho' }).calls[0]!.extra.input, 'ho');
});

test('roles, parts and names are understood', () => {
  const image = { type: 'image_url', image_url: { url: 'file:///etc/hostname' } };
  assert.deepEqual(
    messagesOf([
      { role: 'developer', content: 'd' },
      { role: 'function', name: 'f', content: 'r' },
      {
        role: 'user',
        content: [{ type: 'text', text: 'a' }, image, { type: 'input_text', text: 'b' }],
        name: 'Li',
      },
      { role: 'assistant', content: [] },
    ]).map((message) => JSON.parse(JSON.stringify(message))),
    [
      { role: 'developer', content: 'd' },
      { role: 'tool', name: 'f', content: 'r' },
      {
        role: 'user',
        name: 'Li',
        content: [
          { type: 'text', text: 'a' },
          { type: 'other', kind: 'image_url', value: image },
          { type: 'text', text: 'b' },
        ],
      },
      { role: 'assistant', content: [] },
    ],
  );
});

test('reasoning in history is kept, the empty one too', () => {
  const calls = [{ id: 'call_1', type: 'function', function: { name: 'w', arguments: '{}' } }];
  const [called, told, plain, other] = messagesOf([
    { role: 'assistant', content: null, reasoning_content: 'I need the tool.', tool_calls: calls },
    { role: 'assistant', content: '12', reasoning_content: '' },
    { role: 'assistant', content: '12', reasoning_content: null },
    { role: 'assistant', reasoning: 'r' },
  ]);
  assert.equal(called!.reasoning, 'I need the tool.');
  assert.equal(called!.content, null);
  assert.deepEqual(called!.toolCalls, calls);
  assert.equal(told!.reasoning, '');
  assert.equal(plain!.reasoning, undefined);
  assert.equal(other!.reasoning, 'r');
});

test("a message's fields without a name of ours are kept, untouched and without nulls", () => {
  const annotations = [{ type: 'url_citation', at: 1 }];
  const hostile = JSON.parse('{"role":"assistant","content":"x","__proto__":{"prefix":true,"name":"evil"}}');
  const [kept, plain, safe] = messagesOf([
    { role: 'assistant', content: 'x', refusal: null, annotations, audio: { id: 'a' } },
    { role: 'assistant', content: 'x', refusal: null, prefix: false },
    hostile,
  ]);
  assert.deepEqual(kept!.extra, { annotations, audio: { id: 'a' } });
  assert.equal(kept!.extra!.annotations, annotations);
  assert.equal(plain!.extra, undefined);
  assert.deepEqual([safe!.extra, safe!.name], [undefined, undefined]);
});

test('the rest of the body is extra: untouched, without nulls and without what was consumed', () => {
  const metadata = { a: [1] };
  const { calls, stream, includeUsage } = parse({
    metadata,
    tool_choice: null,
    response_format: null,
    enable_thinking: false,
    user: '',
    stream: true,
    stream_options: { include_usage: true, other: 1 },
    n: 2,
    max_tokens: 5,
    max_completion_tokens: 6,
  });
  const { extra, choices, maxTokens } = calls[0]!;
  assert.deepEqual(extra, { metadata, enable_thinking: false, user: '' });
  assert.equal(extra.metadata, metadata);
  assert.deepEqual(
    { stream, includeUsage, choices, maxTokens },
    { stream: true, includeUsage: true, choices: 2, maxTokens: 6 },
  );
});

test('without options nothing is decided for the model', () => {
  const { calls, ...rest } = parse({});
  assert.deepEqual(rest, { parallel: 8, stream: false, includeUsage: false, ignored: [] });
  assert.deepEqual(
    Object.values(calls[0]!.sampling).filter((value) => value !== undefined),
    [],
  );
  assert.equal(calls[0]!.maxTokens, undefined);
});

test('big integers go on digit by digit', () => {
  const text =
    '{"model":"m","messages":[{"role":"user","content":"hi"},{"role":"assistant","content":null,"tool_calls":[{"n":9007199254740995}]}],' +
    '"seed":9007199254740993,"top_p":1.0,"metadata":{"id":2512292042121000001},"tools":[{"type":"function","function":{"name":"f","parameters":{"maximum":9223372036854775807}}}]}';
  const call = chatCompletions.parse(parseJson(new TextEncoder().encode(text)), undefined).calls[0]!;
  const written = JSON.stringify(call);
  for (const digits of [
    '9007199254740993',
    '2512292042121000001',
    '9223372036854775807',
    '9007199254740995',
  ]) {
    assert.ok(written.includes(digits), digits);
  }
  assert.equal(call.sampling.topP, 1);
});

const choice = { text: '', reasoning: '', toolCalls: [], reason: 'stop' } as const;
const meta = { id: '1', created: 2, model: 'a "b"' };
const ASKED = { calls: [], parallel: 1, stream: false, includeUsage: false, ignored: [] };
const whole = (part: object) =>
  JSON.parse(
    JSON.stringify(
      chatCompletions.whole(
        { speaker: 's', choices: [{ ...choice, ...part }], usage: undefined },
        meta,
        ASKED,
        undefined,
      ),
    ),
  );

test('a whole answer has what clients look for, and nothing that is unknown', () => {
  assert.deepEqual(whole({ text: 'hello' }), {
    id: 'chatcmpl-1',
    object: 'chat.completion',
    created: 2,
    model: 'a "b"',
    choices: [
      {
        index: 0,
        message: { role: 'assistant', content: 'hello', refusal: null },
        logprobs: null,
        finish_reason: 'stop',
      },
    ],
    usage: {},
  });
});

test('a whole answer tells the stop string that ended it, where that is known', () => {
  assert.equal(whole({ text: 'a', stop: 'END' }).choices[0].stop_reason, 'END');
});

test('a whole answer carries reasoning and tool calls; its content is null only beside calls', () => {
  const toolCalls = [{ id: 'c', name: 'f', arguments: '{"a":1' }];
  assert.deepEqual(whole({ reasoning: 'r', toolCalls, reason: 'tool_calls' }).choices[0], {
    index: 0,
    message: {
      role: 'assistant',
      content: null,
      refusal: null,
      reasoning_content: 'r',
      tool_calls: [{ id: 'c', type: 'function', function: { name: 'f', arguments: '{"a":1' } }],
    },
    logprobs: null,
    finish_reason: 'tool_calls',
  });
  assert.equal(whole({ reasoning: 'r' }).choices[0].message.content, '');
});
