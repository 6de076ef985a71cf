// Guards what Ollama's own API is sent, and that what it cannot express is refused before it is asked.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ChatRequest, Message } from '../../core/chat.ts';
import { requestWith } from './answer-testing.ts';
import { ollamaRequest } from './ollama-request.ts';
import { TOOL } from './openai-testing.ts';

function write(members: Partial<ChatRequest> = {}, window?: number, prefix?: string) {
  const { path, body } = ollamaRequest(requestWith(members), window, prefix);
  assert.equal(path, '/api/chat');
  return JSON.parse(body) as Record<string, unknown>;
}

const ofMessages = (...messages: Message[]) => ({ prompt: { kind: 'messages', messages } }) as const;
const HI = { role: 'user', content: 'hi' };

test('what the client did not say is not said', () => {
  assert.deepEqual(write(), { model: 'asked', messages: [HI], stream: true, options: {} });
  assert.equal(write({ isWhole: true }).stream, true, 'a stream shows that it is alive');
});

test('all that it understands arrives, the window too', () => {
  const body = write(
    {
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
      stop: ['a'],
      tools: [{ ...TOOL, original: { type: 'function' } }],
      extra: { enable_thinking: false, keep_alive: '5m', unknown_here: 1 },
    },
    2048,
  );
  assert.deepEqual(body, {
    model: 'asked',
    messages: [HI],
    stream: true,
    options: {
      temperature: 0,
      top_p: 0.5,
      top_k: 40,
      min_p: 0.05,
      seed: 7,
      presence_penalty: -1,
      frequency_penalty: 1,
      repeat_penalty: 1.1,
      num_predict: 9,
      num_ctx: 2048,
      stop: ['a'],
    },
    think: false,
    tools: [{ type: 'function' }],
    keep_alive: '5m',
  });
});

test('an answer goes on from its last message, and what was given counts', () => {
  const choice = { text: 'so far', reasoning: '', toolCalls: [], pieces: 3, reason: undefined };
  const continueFrom = { speaker: undefined, choices: [choice], usage: undefined };
  const body = write({ continueFrom, maxTokens: 5 }, undefined, 'so far');
  assert.deepEqual(body.messages, [HI, { role: 'assistant', content: 'so far' }]);
  assert.deepEqual(body.options, { num_predict: 2 });
  assert.deepEqual(write({ continueFrom, maxTokens: 2 }, undefined, 'so far').options, { num_predict: 1 });
});

test('the form of an answer', () => {
  const schema = { type: 'object' };
  const format = (responseFormat: ChatRequest['responseFormat']) => write({ responseFormat }).format;
  assert.equal(format({ kind: 'text', original: {} }), undefined);
  assert.equal(format({ kind: 'json', original: {} }), 'json');
  assert.deepEqual(format({ kind: 'schema', schema, path: 'p', original: {} }), schema);
});

test('messages in its words: roles, pictures, calls with an object for arguments', () => {
  const call = (text: unknown) => ({ id: 'c', type: 'function', function: { name: 'f', arguments: text } });
  const picture = {
    type: 'other',
    kind: 'image_url',
    value: { type: 'image_url', image_url: { url: 'data:image/png;base64,QUJD' } },
  } as const;
  const { messages } = write(
    ofMessages(
      { role: 'developer', content: 'be brief' },
      { role: 'user', content: [{ type: 'text', text: 'what ' }, picture, { type: 'text', text: 'is it?' }] },
      { role: 'assistant', content: null, toolCalls: [call('{"a":[1]}'), call(undefined)] },
      { role: 'tool', content: '12', name: 'f', toolCallId: 'c' },
    ),
  );
  assert.deepEqual(messages, [
    { role: 'system', content: 'be brief' },
    { role: 'user', content: 'what is it?', images: ['QUJD'] },
    {
      role: 'assistant',
      content: '',
      tool_calls: [
        { function: { name: 'f', arguments: { a: [1] } } },
        { function: { name: 'f', arguments: {} } },
      ],
    },
    { role: 'tool', content: '12', tool_name: 'f' },
  ]);
});

test('a gap goes to its other API, with what is behind it; what is begun stands before it', () => {
  const prompt = { kind: 'text', text: 'def f(', suffix: '\n  return 1' } as const;
  const { path, body } = ollamaRequest(requestWith({ prompt, maxTokens: 5 }), 2048, 'a');
  assert.equal(path, '/api/generate');
  assert.deepEqual(JSON.parse(body), {
    model: 'asked',
    prompt: 'def f(a',
    suffix: '\n  return 1',
    stream: true,
    options: { num_predict: 5, num_ctx: 2048 },
  });
  const long = { ...prompt, suffix: 'x'.repeat(700) };
  assert.throws(() => ollamaRequest(requestWith({ prompt: long }), 100, undefined), {
    code: 'context_length_exceeded',
    param: 'prompt',
  });
});

test('tools that are not to be called are not shown', () => {
  assert.equal(write({ tools: [TOOL], toolChoice: 'none' }).tools, undefined);
});

test('what it cannot express is refused, by its field, and nothing of it is repeated', () => {
  const refused = (members: Partial<ChatRequest>, param: string) =>
    assert.throws(
      () => write(members),
      ({ code, param: at, message }: { code: string; param: string; message: string }) => {
        assert.deepEqual([code, at], ['invalid_request', param]);
        assert.doesNotMatch(message, /hunter2/);
        return true;
      },
    );
  refused({ prompt: { kind: 'text', text: 'hunter2' } }, 'prompt');
  const part = (kind: string, value: unknown) =>
    ofMessages({ role: 'user', content: [{ type: 'other', kind, value }] });
  refused(part('image_url', { image_url: { url: 'https://hunter2.example/a.png' } }), 'messages');
  refused(part('image_url', {}), 'messages');
  refused(part('input_audio', { input_audio: { data: 'hunter2' } }), 'messages');
  const broken = { function: { name: 'f', arguments: '{hunter2' } };
  refused(ofMessages({ role: 'assistant', content: null, toolCalls: [broken] }), 'messages');
});
