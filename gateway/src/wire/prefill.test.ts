// Guards answers that a client has begun itself: asked for in each vendor's way, taken out of the conversation, and refused
// by name where there is nothing that could be gone on with.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GatewayError } from '../core/errors.ts';
import { chatCompletions } from './dialects/chat-completions.ts';

const user = { role: 'user', content: 'hi' };
const begun = { role: 'assistant', content: 'Once upon a ' };
const callOf = (body: object) =>
  chatCompletions.parse({ model: 'm', messages: [user, begun], ...body }, undefined).calls[0]!;
const rolesOf = ({ prompt }: ReturnType<typeof callOf>) =>
  prompt.kind === 'messages' ? prompt.messages.map(({ role }) => role) : assert.fail('no messages');

const WAYS: readonly [name: string, body: object][] = [
  ["vLLM's and SGLang's", { continue_final_message: true, add_generation_prompt: false }],
  ['the first half of it', { continue_final_message: true }],
  ["DeepSeek's", { messages: [user, { ...begun, prefix: true }] }],
  ['both at once', { messages: [user, { ...begun, prefix: true }], continue_final_message: true }],
];

for (const [name, body] of WAYS) {
  test(`a beginning that is asked for in the way of ${name} is gone on with`, () => {
    const call = callOf(body);
    assert.deepEqual(rolesOf(call), ['user']);
    assert.deepEqual(call.continueFrom, {
      speaker: undefined,
      choices: [
        {
          text: 'Once upon a ',
          reasoning: '',
          toolCalls: [],
          pieces: 0,
          reasoningPieces: 0,
          reason: undefined,
        },
      ],
      usage: undefined,
    });
    assert.deepEqual(call.extra, {});
  });
}

test('a beginning may be a thought, and its text may come in parts', () => {
  const parts = [
    { type: 'text', text: 'a' },
    { type: 'text', text: 'b' },
  ];
  for (const [message, text, reasoning] of [
    [{ content: null, reasoning_content: 'Hm' }, '', 'Hm'],
    [{ content: parts, reasoning: 'Hm.' }, 'ab', 'Hm.'],
  ] as const) {
    const call = callOf({
      messages: [user, { role: 'assistant', ...message }],
      continue_final_message: true,
    });
    const choice = call.continueFrom?.choices[0];
    assert.deepEqual([choice?.text, choice?.reasoning], [text, reasoning]);
  }
});

test('of an empty beginning nothing is gone on with', () => {
  const call = callOf({
    messages: [user, { role: 'assistant', content: '' }],
    continue_final_message: true,
  });
  assert.deepEqual([rolesOf(call), call.continueFrom], [['user'], undefined]);
});

test("without a mark an assistant's message at the end is a turn like any other, and the fields stay the client's", () => {
  for (const [body, extra] of [
    [{}, {}],
    [{ continue_final_message: false, add_generation_prompt: null }, {}],
    [{ add_generation_prompt: false }, { add_generation_prompt: false }],
    [{ messages: [user, { ...begun, prefix: false }] }, {}],
  ] as const) {
    const call = callOf(body);
    assert.deepEqual(rolesOf(call), ['user', 'assistant']);
    assert.equal(call.continueFrom, undefined);
    assert.deepEqual(call.extra, extra);
  }
});

const WRONG: readonly [name: string, body: object, param: string][] = [
  [
    'both a beginning and a new message',
    { continue_final_message: true, add_generation_prompt: true },
    'add_generation_prompt',
  ],
  [
    'a prefix and a new message',
    { messages: [user, { ...begun, prefix: true }], add_generation_prompt: true },
    'add_generation_prompt',
  ],
  [
    "a user's message that is to be gone on with",
    { messages: [begun, user], continue_final_message: true },
    'continue_final_message',
  ],
  ['a prefix in the middle', { messages: [{ ...begun, prefix: true }, user, begun] }, 'messages[0].prefix'],
  ["a user's prefix", { messages: [{ ...user, prefix: true }] }, 'messages[0].prefix'],
  ['a prefix in words', { messages: [user, { ...begun, prefix: 'yes' }] }, 'messages[1].prefix'],
  ['a wish in words', { continue_final_message: 'yes' }, 'continue_final_message'],
  [
    'a beginning with a tool call',
    { messages: [user, { ...begun, tool_calls: [{}] }], continue_final_message: true },
    'messages[1].tool_calls',
  ],
  [
    'a beginning with a picture',
    {
      messages: [user, { role: 'assistant', content: [{ type: 'image_url', image_url: {} }] }],
      continue_final_message: true,
    },
    'messages[1].content[0]',
  ],
];

for (const [name, body, param] of WRONG) {
  test(`${name} is refused by name`, () => {
    assert.throws(
      () => callOf(body),
      (error) => error instanceof GatewayError && error.code === 'invalid_request' && error.param === param,
    );
  });
}
