// Whole conversations over Responses, by clients that fold its events themselves: what another server is asked in the end, and
// what the client makes of the answer.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createOpenAI } from '@ai-sdk/openai';
import { generateText, isStepCount, jsonSchema, type ModelMessage, streamText, tool } from 'ai';
import OpenAI from 'openai';
import type { ResponseInputItem } from 'openai/resources/responses/responses';
import { fakeConfig, type Sluice, startSluice } from '../e2e/harness.ts';
import { chunkOf, DONE, EVENT_STREAM, endChunk, streamOf, toolChunk } from '../upstream/answers.ts';
import { startUpstream, type Upstream } from '../upstream/faulty-upstream.ts';
import type { Script } from '../upstream/script.ts';
import { WEATHER } from './client.ts';

const ID = 'call-a';
const ARGUMENTS = '{"city":"北京"}';
const USAGE = { prompt_tokens: 9, completion_tokens: 4, total_tokens: 13 };

const CALLS: Script = {
  headers: EVENT_STREAM,
  chunks: [
    chunkOf({ delta: { role: 'assistant', content: '' } }),
    chunkOf({ delta: { reasoning_content: 'I need the tool.' } }),
    toolChunk({ index: 0, id: ID, type: 'function', function: { name: WEATHER.name, arguments: '' } }),
    toolChunk({ index: 0, function: { arguments: ARGUMENTS.slice(0, 6) } }),
    toolChunk({ index: 0, function: { arguments: ARGUMENTS.slice(6) } }),
    chunkOf({ delta: {}, finish_reason: 'tool_calls' }, { usage: USAGE }),
    DONE,
  ],
};
const CUT: Script = {
  headers: EVENT_STREAM,
  chunks: [chunkOf({ delta: { content: 'A long' } }), endChunk('length'), DONE],
};

const CHAT_CALL = { id: ID, type: 'function', function: { name: WEATHER.name, arguments: ARGUMENTS } };

let upstream: Upstream;
let sluice: Sluice;
/** Thinks before it speaks. */
let thinking: Sluice;
before(async () => {
  upstream = await startUpstream();
  const url = `${upstream.url}/v1`;
  [sluice, thinking] = await Promise.all([
    startSluice({ config: { backends: [{ id: 'up', url, kind: 'sglang' }] } }),
    startSluice({ config: fakeConfig({ pieces: ['A', 'B'], reasoning: ['r', 's'] }) }),
  ]);
});
after(async () => {
  await Promise.all([sluice, thinking].map((one) => one?.stop()));
  await upstream?.close();
});

const asked = () => JSON.parse(upstream.requests.at(-1)!.body);

describe('openai (Node)', () => {
  const clientOf = ({ url }: Sluice) => new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 });
  const tools = [{ type: 'function' as const, strict: true, ...WEATHER }];

  test('what it called is answered, and the history is one turn to the other server', async () => {
    upstream.play([CALLS, streamOf('It is', ' sunny.')]);
    const client = clientOf(sluice);
    const input: ResponseInputItem[] = [{ role: 'user', content: 'Weather?' }];
    const called = await client.responses.stream({ model: 'case', input, tools }).finalResponse();
    assert.equal(called.status, 'completed');
    assert.deepEqual(
      called.output.map(({ type }) => type),
      ['reasoning', 'function_call'],
    );
    for (const item of called.output) {
      if (item.type === 'reasoning') input.push(item);
      if (item.type !== 'function_call') continue;
      assert.equal(item.arguments, ARGUMENTS);
      input.push(item, { type: 'function_call_output', call_id: item.call_id, output: 'sunny' });
    }
    const { output_text: told } = await client.responses.create({ model: 'case', input, tools });
    assert.equal(told, 'It is sunny.');
    assert.deepEqual(asked().messages, [
      { role: 'user', content: 'Weather?' },
      { role: 'assistant', content: null, reasoning_content: 'I need the tool.', tool_calls: [CHAT_CALL] },
      { role: 'tool', content: 'sunny', tool_call_id: ID },
    ]);
    assert.equal(asked().tools[0].function.strict, true);
  });

  test('its helper folds a thought and a text to what the last event tells', async () => {
    const stream = clientOf(thinking).responses.stream({ model: 'deepseek-r1', input: 'hi' });
    let text = '';
    stream.on('response.output_text.delta', ({ delta, snapshot }) => {
      text += delta;
      assert.equal(snapshot, text);
    });
    const { output, usage } = await stream.finalResponse();
    const [thought, message] = output;
    assert.ok(thought?.type === 'reasoning' && message?.type === 'message');
    assert.deepEqual(thought.content, [{ type: 'reasoning_text', text: 'rs' }]);
    assert.equal(text, 'AB');
    assert.equal(usage?.output_tokens, 4);
  });

  test('an answer in a form is parsed', async () => {
    upstream.play(streamOf('{"city":', '"北京"}'));
    const format = { type: 'json_schema', name: 'place', schema: WEATHER.parameters, strict: true } as const;
    const { output_parsed } = await clientOf(sluice).responses.parse({
      model: 'case',
      input: 'Where?',
      text: { format },
    });
    assert.deepEqual(output_parsed, { city: '北京' });
    const { type, ...json_schema } = format;
    assert.deepEqual(asked().response_format, { type, json_schema });
  });

  test('an answer that was cut says so', async () => {
    upstream.play(CUT);
    const response = await clientOf(sluice).responses.create({ model: 'case', input: 'hi' });
    assert.deepEqual(
      [response.status, response.incomplete_details],
      ['incomplete', { reason: 'max_output_tokens' }],
    );
    assert.equal(response.output_text, 'A long');
  });

  test('an earlier response is refused with what to do', async () => {
    const refused = clientOf(sluice).responses.create({
      model: 'case',
      input: 'hi',
      previous_response_id: 'resp_1',
    });
    await assert.rejects(refused, { status: 400, param: 'previous_response_id', message: /whole history/ });
  });
});

describe('Vercel AI SDK, openai()', () => {
  const providerOf = ({ url }: Sluice) => createOpenAI({ baseURL: `${url}/v1`, apiKey: 'none' });
  const tools = {
    [WEATHER.name]: tool({
      description: WEATHER.description,
      inputSchema: jsonSchema<{ city: string }>({ ...WEATHER.parameters, required: ['city'] }),
      execute: () => 'sunny',
    }),
  };

  for (const isStream of [true, false]) {
    test(`runs its tool and goes on, ${isStream ? 'streamed' : 'as one JSON'}`, async () => {
      upstream.play([CALLS, streamOf('It is', ' sunny.')]);
      const call = {
        model: providerOf(sluice)('case'),
        prompt: 'Weather?',
        tools,
        stopWhen: isStepCount(2),
        maxRetries: 0,
      };
      const text = isStream ? await streamText(call).text : (await generateText(call)).text;
      assert.equal(text, 'It is sunny.');
      const { messages } = asked();
      assert.equal(messages[0].role, 'user');
      assert.deepEqual(messages[1].tool_calls, [CHAT_CALL]);
      assert.deepEqual([messages[2].role, messages[2].tool_call_id], ['tool', ID]);
    });
  }

  test('a second turn bears the first one, where it is told that nothing is stored', async () => {
    upstream.play([streamOf('One.'), streamOf('Two.')]);
    const model = providerOf(sluice)('case');
    const providerOptions = { openai: { store: false } };
    const messages: ModelMessage[] = [{ role: 'user', content: 'one' }];
    const first = await generateText({ model, messages, providerOptions, maxRetries: 0 });
    messages.push(...first.response.messages, { role: 'user', content: 'two' });
    const second = await generateText({ model, messages, providerOptions, maxRetries: 0 });
    assert.equal(second.text, 'Two.');
    const textOf = (content: string | { text: string }[]) =>
      typeof content === 'string' ? content : content.map(({ text }) => text).join('');
    const told = asked().messages.map((message: { role: string; content: string }) => [
      message.role,
      textOf(message.content),
    ]);
    assert.deepEqual(told, [
      ['user', 'one'],
      ['assistant', 'One.'],
      ['user', 'two'],
    ]);
  });

  test('shows the thought to those who ask for its summary', async () => {
    const providerOptions = { openai: { forceReasoning: true, reasoningSummary: 'auto' } };
    const model = providerOf(thinking)('deepseek-r1');
    const streamed = streamText({ model, prompt: 'hi', providerOptions });
    assert.equal(await streamed.reasoningText, 'rs');
    assert.equal(await streamed.text, 'AB');
    assert.equal((await generateText({ model, prompt: 'hi', providerOptions })).reasoningText, 'rs');
  });
});
