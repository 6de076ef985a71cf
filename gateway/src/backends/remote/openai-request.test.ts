// Guards what a server of OpenAI's dialect is sent: each vendor's own names, nothing that the client did not say, and how
// each is asked to go on with an answer.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ChatRequest, Message } from '../../core/chat.ts';
import { requestWith } from './answer-testing.ts';
import { openAiRequest, thinkingAsked } from './openai-request.ts';
import { TOOL } from './openai-testing.ts';
import { type TraitOverrides, traitsOf, type VendorKind } from './vendors.ts';

interface How {
  readonly kind?: VendorKind;
  readonly prefix?: string;
  readonly overrides?: TraitOverrides | undefined;
}

/** The path, and the body as the server parses it. */
function write(members: Partial<ChatRequest> = {}, { kind = 'generic', prefix, overrides }: How = {}) {
  const { path, body } = openAiRequest(requestWith(members), traitsOf(kind, overrides), '/v1', prefix);
  return { path, body: JSON.parse(body) as Record<string, unknown>, text: body };
}

const HI = { role: 'user', content: 'hi' };
const goesOn = (text: string, reasoning = '', pieces?: number): Partial<ChatRequest> => {
  const choice = { text, reasoning, toolCalls: [], pieces, reason: undefined };
  return { continueFrom: { speaker: undefined, choices: [choice], usage: undefined } };
};

test('what the client did not say is not said', () => {
  const { path, body } = write();
  assert.equal(path, '/v1/chat/completions');
  assert.deepEqual(body, {
    model: 'asked',
    messages: [HI],
    stream: true,
    stream_options: { include_usage: true },
  });
});

test('an answer that is asked for whole is no stream, and has none of its options', () => {
  for (const kind of ['generic', 'vllm', 'deepseek', 'moonshot', 'openai', 'sluice'] as const) {
    const { body } = write({ isWhole: true }, { kind });
    assert.deepEqual([body.stream, body.stream_options], [false, undefined], kind);
  }
  assert.deepEqual(write({}, { kind: 'vllm' }).body.stream_options, {
    include_usage: true,
    continuous_usage_stats: true,
  });
});

test('all that a request may hold arrives', () => {
  const original = { type: 'json_schema', json_schema: { name: 'x', schema: {} } };
  const { body } = write({
    sampling: {
      temperature: 0,
      topP: 0.5,
      topK: 40,
      minP: 0.05,
      seed: 7,
      presencePenalty: -1,
      frequencyPenalty: 1,
      repetitionPenalty: 1.1,
    },
    maxTokens: 9,
    stop: ['a', 'b'],
    choices: 3,
    logprobs: 2,
    tools: [{ ...TOOL, original: { type: 'function', function: { name: 'f' } } }],
    toolChoice: { name: 'f' },
    parallelToolCalls: false,
    responseFormat: { kind: 'schema', schema: {}, path: 'response_format', original },
    extra: { user: 'u', vendor_field: [1, null] },
  });
  const { messages, model, ...rest } = body;
  assert.deepEqual(rest, {
    temperature: 0,
    top_p: 0.5,
    top_k: 40,
    min_p: 0.05,
    seed: 7,
    presence_penalty: -1,
    frequency_penalty: 1,
    repetition_penalty: 1.1,
    max_tokens: 9,
    stop: ['a', 'b'],
    n: 3,
    logprobs: true,
    top_logprobs: 2,
    response_format: original,
    tools: [{ type: 'function', function: { name: 'f' } }],
    tool_choice: { type: 'function', function: { name: 'f' } },
    parallel_tool_calls: false,
    user: 'u',
    vendor_field: [1, null],
    stream: true,
    stream_options: { include_usage: true },
  });
});

test('a choice of tools goes with tools only; logprobs of none beside them are asked so', () => {
  assert.equal(write({ toolChoice: 'none' }).body.tool_choice, undefined);
  assert.equal(write({ toolChoice: 'required', tools: [TOOL] }).body.tool_choice, 'required');
  const { body } = write({ logprobs: 0 });
  assert.deepEqual([body.logprobs, 'top_logprobs' in body], [true, false]);
});

test('text goes on as it stands, by the fields of text completions', () => {
  const prompt = { kind: 'text', text: 'Once ' } as const;
  const { path, body } = write({ prompt, maxTokens: 5, logprobs: 3 }, { kind: 'openai' });
  assert.equal(path, '/v1/completions');
  assert.deepEqual([body.prompt, body.max_tokens, body.logprobs], ['Once ', 5, 3]);
  assert.ok(!('messages' in body) && !('max_completion_tokens' in body));
  const rest = write({ prompt, maxTokens: 5, ...goesOn('upon ', '', 3) }, { prefix: 'upon ' }).body;
  assert.deepEqual([rest.prompt, rest.max_tokens], ['Once upon ', 2]);
  assert.ok(!('continue_final_message' in rest), 'there is no message');
});

test('the field of the limit is the vendor’s, and what was given counts towards it', () => {
  for (const kind of ['openai', 'moonshot'] as const) {
    const { body } = write({ maxTokens: 5 }, { kind });
    assert.deepEqual([body.max_completion_tokens, 'max_tokens' in body], [5, false], kind);
  }
  assert.equal(
    write({ maxTokens: 5, ...goesOn('ab', '', 3) }, { kind: 'vllm', prefix: 'ab' }).body.max_tokens,
    2,
  );
  const over = write({ maxTokens: 5, ...goesOn('ab', '', 9) }, { kind: 'vllm', prefix: 'ab' }).body;
  assert.equal(over.max_tokens, 1, 'none is no limit that servers take');
  assert.ok(!('max_tokens' in write(goesOn('ab', '', 3), { kind: 'vllm', prefix: 'ab' }).body));
});

const CONTINUE_FINAL = { continue_final_message: true, add_generation_prompt: false };

/** What each kind is sent to go on from "so far", beside the usual; undefined: it cannot be asked. */
const PREFILLS: Readonly<
  Record<VendorKind, { path?: string; body?: object; message?: object; thought?: string } | undefined>
> = {
  generic: { body: CONTINUE_FINAL },
  vllm: { body: CONTINUE_FINAL },
  sglang: { body: CONTINUE_FINAL },
  sluice: { body: CONTINUE_FINAL },
  'llama.cpp': {},
  // By its own API, not by this one.
  ollama: {},
  deepseek: { path: '/beta/chat/completions', message: { prefix: true }, thought: 'reasoning_content' },
  moonshot: { message: { partial: true } },
  siliconflow: undefined,
  openai: undefined,
};

for (const [kind, prefill] of Object.entries(PREFILLS) as [VendorKind, (typeof PREFILLS)[VendorKind]][]) {
  test(`${kind} is asked to go on in its own way`, () => {
    assert.equal(traitsOf(kind).prefill !== undefined, prefill !== undefined);
    if (!prefill) return;
    const { path, body } = write(goesOn('so far', 'hm'), { kind, prefix: 'so far' });
    const thought = prefill.thought ? { [prefill.thought]: 'hm' } : {};
    const last = { role: 'assistant', content: 'so far', ...thought, ...prefill.message };
    assert.equal(path, prefill.path ?? '/v1/chat/completions');
    assert.deepEqual(body.messages, [HI, last]);
    const plain = write({}, { kind });
    assert.deepEqual(body, { ...plain.body, ...prefill.body, messages: body.messages });
    assert.equal(plain.path, '/v1/chat/completions', 'only to go on another path is taken');
    assert.deepEqual(plain.body.messages, [HI]);
  });
}

test('a thought without a text goes on where the vendor takes thoughts', () => {
  const { body } = write(goesOn('', 'hm'), { kind: 'deepseek', prefix: '' });
  const last = { role: 'assistant', content: '', reasoning_content: 'hm', prefix: true };
  assert.deepEqual((body.messages as unknown[])[1], last);
  const none = write(goesOn('a'), { kind: 'deepseek', prefix: 'a' }).body;
  assert.ok(!('reasoning_content' in (none.messages as object[])[1]!), 'no thought is no field');
});

const CALL = { id: 'c', type: 'function', function: { name: 'f', arguments: '{}' } };
const HISTORY: readonly Message[] = [
  { role: 'user', content: 'one' },
  { role: 'assistant', content: 'plain', reasoning: 'thought 1' },
  { role: 'user', content: 'two' },
  { role: 'assistant', content: null, reasoning: 'thought 2', toolCalls: [CALL] },
  { role: 'tool', content: '12', toolCallId: 'c' },
  { role: 'assistant', content: 'done', reasoning: 'thought 3' },
  { role: 'user', content: 'three' },
];

test('earlier thinking goes where the vendor takes it, under its name', () => {
  const kept = (kind: VendorKind, overrides?: TraitOverrides) => {
    const { body } = write({ prompt: { kind: 'messages', messages: HISTORY } }, { kind, overrides });
    const messages = body.messages as Record<string, unknown>[];
    return messages.flatMap(({ reasoning_content, reasoning }) => reasoning_content ?? reasoning ?? []);
  };
  const all = ['thought 1', 'thought 2', 'thought 3'];
  for (const kind of ['vllm', 'sglang', 'sluice', 'moonshot'] as const)
    assert.deepEqual(kept(kind), all, kind);
  for (const kind of ['generic', 'openai', 'llama.cpp', 'siliconflow'] as const)
    assert.deepEqual(kept(kind), [], kind);
  assert.deepEqual(kept('deepseek'), ['thought 2', 'thought 3'], 'of the turn that called tools');
  assert.deepEqual(kept('vllm', { template: 'deepseek-r1' }), []);
  assert.deepEqual(kept('vllm', { template: 'deepseek-v3.2' }), ['thought 2', 'thought 3']);
  const { text } = write({ prompt: { kind: 'messages', messages: HISTORY } }, { kind: 'vllm' });
  assert.ok(text.includes('"reasoning":"thought 1"') && !text.includes('reasoning_content'));
});

test('messages keep what they have', () => {
  const image = { type: 'image_url', image_url: { url: 'data:image/png;base64,AA' } };
  const messages: readonly Message[] = [
    { role: 'developer', content: 'x', name: 'n', extra: { cache_control: { type: 'ephemeral' } } },
    {
      role: 'user',
      content: [
        { type: 'text', text: 'see' },
        { type: 'other', kind: 'image_url', value: image },
      ],
    },
    { role: 'assistant', content: null, toolCalls: [CALL] },
    { role: 'tool', content: '12', toolCallId: 'c' },
  ];
  assert.deepEqual(write({ prompt: { kind: 'messages', messages } }).body.messages, [
    { role: 'developer', content: 'x', name: 'n', cache_control: { type: 'ephemeral' } },
    { role: 'user', content: [{ type: 'text', text: 'see' }, image] },
    { role: 'assistant', content: null, tool_calls: [CALL] },
    { role: 'tool', content: '12', tool_call_id: 'c' },
  ]);
});

test('the switch for thinking is understood in any words, and said in the vendor’s', () => {
  const asked: readonly (readonly [extra: ChatRequest['extra'], is: boolean | undefined])[] = [
    [{ enable_thinking: true }, true],
    [{ enable_thinking: false, thinking: { type: 'enabled' } }, false],
    [{ thinking: { type: 'enabled' } }, true],
    [{ thinking: { type: 'disabled' } }, false],
    [{ chat_template_kwargs: { enable_thinking: false } }, false],
    [{ chat_template_kwargs: { thinking: true } }, true],
    [{ enable_thinking: 'yes' }, undefined],
    [{ thinking: { type: 'auto' } }, undefined],
    [{ thinking: null, chat_template_kwargs: { other: 1 } }, undefined],
    [{}, undefined],
  ];
  for (const [extra, is] of asked) assert.equal(thinkingAsked(extra), is, JSON.stringify(extra));
  const said = (kind: VendorKind, extra: ChatRequest['extra']) => {
    const { enable_thinking, thinking, chat_template_kwargs, user } = write({ extra }, { kind }).body;
    return JSON.parse(JSON.stringify({ enable_thinking, thinking, chat_template_kwargs, user }));
  };
  const off = { enable_thinking: false, user: 'u' };
  const bothOff = { enable_thinking: false, thinking: false };
  assert.deepEqual(said('generic', { thinking: { type: 'disabled' }, user: 'u' }), off);
  assert.deepEqual(said('siliconflow', { thinking: { type: 'disabled' }, user: 'u' }), off);
  assert.deepEqual(said('deepseek', off), { thinking: { type: 'disabled' }, user: 'u' });
  assert.deepEqual(said('vllm', off), { chat_template_kwargs: bothOff, user: 'u' });
  assert.deepEqual(said('llama.cpp', off), { chat_template_kwargs: bothOff, user: 'u' });
  assert.deepEqual(said('openai', off), off, 'who has no switch gets what the client wrote');
  assert.deepEqual(said('vllm', { enable_thinking: true, chat_template_kwargs: { more: 1 } }), {
    chat_template_kwargs: { more: 1, enable_thinking: true, thinking: true },
  });
  assert.deepEqual(said('generic', { enable_thinking: true, chat_template_kwargs: { more: 1 } }), {
    enable_thinking: true,
    chat_template_kwargs: { more: 1 },
  });
  const keepAll = { thinking: { type: 'enabled', keep: 'all' } };
  assert.deepEqual(said('moonshot', keepAll), keepAll, 'what else it says of thinking stays');
  assert.deepEqual(said('deepseek', { thinking: { type: 'auto' } }), { thinking: { type: 'auto' } });
});
