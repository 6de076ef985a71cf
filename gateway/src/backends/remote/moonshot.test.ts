// Guards that a vendor is a row of data: Moonshot's, by answers written after the form that its pages show. What goes out is
// in its words, and what comes in, answers and refusals, is read by what reads everyone's.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { callRemote, openRemote, textOf } from '../../../test/upstream/remote-on-upstream.ts';
import type { Script } from '../../../test/upstream/script.ts';
import type { ChatRequest } from '../../core/chat.ts';
import { readChoices } from './answer-testing.ts';

const HEAD = '"id":"chatcmpl-6810567267ee141b4630dccb","object":"chat.completion.chunk","created":1745901170';
const chunk = (choice: string, rest = '') =>
  `data: {${HEAD},"model":"kimi-k2.6","choices":[{"index":0,${choice},"finish_reason":null}]${rest}}\n\n`;

/** A thought, then text, the usage in the last choice and once more in a chunk of its own. */
const THINKING: Script = {
  headers: { 'content-type': 'text/event-stream; charset=utf-8' },
  chunks: [
    chunk('"delta":{"role":"assistant","content":""}'),
    chunk('"delta":{"reasoning_content":"用户说"}'),
    chunk('"delta":{"reasoning_content":"你好。"}'),
    chunk('"delta":{"content":"你好！"}'),
    chunk('"delta":{"content":"有什么可以帮你的吗？"}'),
    `data: {${HEAD},"model":"kimi-k2.6","choices":[{"index":0,"delta":{},"finish_reason":"stop","usage":{"prompt_tokens":19,"completion_tokens":13,"total_tokens":32}}]}\n\n`,
    `data: {${HEAD},"model":"kimi-k2.6","choices":[],"usage":{"prompt_tokens":19,"completion_tokens":13,"total_tokens":32,"cached_tokens":16}}\n\n`,
    'data: [DONE]\n\n',
  ],
};

/** A call, its id by place, its arguments in pieces. */
const CALLING: Script = {
  headers: { 'content-type': 'text/event-stream; charset=utf-8' },
  chunks: [
    chunk('"delta":{"role":"assistant","content":""}'),
    chunk(
      '"delta":{"tool_calls":[{"index":0,"id":"get_weather:0","type":"function","function":{"name":"get_weather","arguments":""}}]}',
    ),
    chunk('"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\\"city\\":"}}]}'),
    chunk('"delta":{"tool_calls":[{"index":0,"function":{"arguments":" \\"北京\\"}"}}]}'),
    `data: {${HEAD},"model":"kimi-k2.6","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}\n\n`,
    'data: [DONE]\n\n',
  ],
};

test('an answer: its thought, its text, its usage', async (t) => {
  const { backend, upstream } = await openRemote(t, { kind: 'moonshot' });
  upstream.play(THINKING);
  const { events, done } = callRemote(backend);
  await done;
  assert.deepEqual(events[0], { type: 'start', speaker: 'kimi-k2.6' });
  assert.deepEqual(readChoices(events), [
    { reasoning: '用户说你好。', text: '你好！有什么可以帮你的吗？', calls: [], reason: 'stop' },
  ]);
  assert.deepEqual(events.at(-1), {
    type: 'finish',
    usage: { promptTokens: 19, cachedTokens: 16, completionTokens: 13, reasoningTokens: undefined },
  });
});

test('a call of a tool', async (t) => {
  const { backend, upstream } = await openRemote(t, { kind: 'moonshot' });
  upstream.play(CALLING);
  const { events, done } = callRemote(backend);
  await done;
  const call = { id: 'get_weather:0', name: 'get_weather', arguments: '{"city": "北京"}' };
  assert.deepEqual(readChoices(events), [{ reasoning: '', text: '', calls: [call], reason: 'tool_calls' }]);
});

test('what it is asked: its limit, its switch, one choice a call, and thoughts where tools were called', async (t) => {
  const { backend, upstream } = await openRemote(t, { kind: 'moonshot' });
  assert.equal(backend.answersSeveral, false);
  const toolCalls = [{ id: 'f:0', type: 'function', function: { name: 'f', arguments: '{}' } }];
  const messages = [
    { role: 'user', content: 'hi' },
    { role: 'assistant', content: '', reasoning: 'hm', toolCalls },
    { role: 'tool', content: '12', toolCallId: 'f:0' },
  ] as const;
  const prompt = { kind: 'messages', messages } as const;
  await callRemote(backend, { prompt, maxTokens: 9, extra: { enable_thinking: false } }).done;
  const body = JSON.parse(upstream.requests[0]!.body);
  assert.deepEqual(body.messages, [
    { role: 'user', content: 'hi' },
    { role: 'assistant', content: '', reasoning_content: 'hm', tool_calls: toolCalls },
    { role: 'tool', content: '12', tool_call_id: 'f:0' },
  ]);
  assert.deepEqual([body.max_completion_tokens, body.max_tokens], [9, undefined]);
  assert.deepEqual([body.thinking, body.enable_thinking], [{ type: 'disabled' }, undefined]);
  assert.deepEqual(body.stream_options, { include_usage: true });
});

test('an answer goes on in partial mode: the leading text is not said again', async (t) => {
  const { backend, upstream } = await openRemote(t, { kind: 'moonshot' });
  assert.deepEqual([backend.continues, backend.continuesThought], ['text', false]);
  upstream.play(THINKING);
  const so = { text: '客服：', reasoning: '', toolCalls: [], pieces: 2, reason: undefined };
  const continueFrom: ChatRequest['continueFrom'] = { speaker: undefined, choices: [so], usage: undefined };
  const { events, done } = callRemote(backend, { continueFrom });
  await done;
  assert.equal(textOf(events), '你好！有什么可以帮你的吗？');
  const last = JSON.parse(upstream.requests[0]!.body).messages.at(-1);
  assert.deepEqual(last, { role: 'assistant', content: '客服：', partial: true });
});

test('its refusals are told apart', async (t) => {
  const { backend, upstream } = await openRemote(t, { kind: 'moonshot', apiKey: 'sk-up' });
  for (const [status, type, message, expected] of [
    [400, 'invalid_request_error', 'Input token length too long', 'context_length_exceeded'],
    [
      400,
      'invalid_request_error',
      'Invalid request: Your request exceeded model token limit: 262144 (requested: 269030)',
      'context_length_exceeded',
    ],
    [
      400,
      'content_filter',
      'The request was rejected because it was considered high risk',
      'backend_refused',
    ],
    [401, 'invalid_authentication_error', 'Invalid Authentication', 'backend_failed'],
    [403, 'permission_denied_error', 'Your account balance is insufficient', 'backend_failed'],
    [
      429,
      'engine_overloaded_error',
      'The engine is currently overloaded, please try again later',
      'backend_busy',
    ],
  ] as const) {
    const body = JSON.stringify({ error: { message, type } });
    upstream.play({ status, headers: { 'content-type': 'application/json' }, chunks: [body] });
    await assert.rejects(callRemote(backend).done, { code: expected }, message);
  }
});
