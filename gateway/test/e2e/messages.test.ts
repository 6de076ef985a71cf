// Anthropic's dialect over real sockets, on scripted words and on a scripted server: what its clients and the assistants
// built on them rely on, byte by byte.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { chunkOf, DONE, EVENT_STREAM, endChunk, textChunk, toolChunk } from '../upstream/answers.ts';
import { startUpstream, type Upstream } from '../upstream/faulty-upstream.ts';
import { fakeConfig, metric, post, type Sluice, startSluice, waitUntil } from './harness.ts';

const WORDS = ['量子', '计算', ' is ', '😀', ' fine.'];
const MODEL = 'deepseek-r1';
const hi = { role: 'user', content: 'hi' };

const eventsOf = (text: string) =>
  text
    .split('\n\n')
    .filter(Boolean)
    .map((event) => JSON.parse(event.slice(event.indexOf('data: ') + 6)));

describe('messages on scripted words', () => {
  let sluice: Sluice;
  before(async () => {
    const config = fakeConfig({ pieces: WORDS, reasoning: ['hm'] }, { keys: [{ name: 'a', key: 'secret' }] });
    sluice = await startSluice({ config });
  });
  after(() => sluice.stop());

  const ask = (body: object, headers: Record<string, string> = { 'x-api-key': 'secret' }, path = '') =>
    post(
      `${sluice.url}/v1/messages${path}`,
      { model: MODEL, max_tokens: 64, messages: [hi], ...body },
      { headers: { 'content-type': 'application/json', 'anthropic-version': '2023-06-01', ...headers } },
    );

  test('a stream names each event and ends without an end mark', async () => {
    const response = await ask({ stream: true });
    assert.equal(response.headers.get('content-type'), 'text/event-stream; charset=utf-8');
    assert.equal(response.headers.get('request-id'), response.headers.get('x-request-id'));
    const text = await response.text();
    assert.doesNotMatch(text, /\[DONE\]/);
    const events = eventsOf(text);
    assert.equal(events.map(({ delta }) => delta?.text ?? '').join(''), WORDS.join(''));
    assert.equal(events.map(({ delta }) => delta?.thinking ?? '').join(''), 'hm');
    assert.equal(events.at(-2).usage.output_tokens, WORDS.length + 1);
    assert.equal(events.at(-1).type, 'message_stop');
  });

  test('a message is one JSON object', async () => {
    const body = (await (await ask({})).json()) as { content: object[]; stop_reason: string };
    assert.deepEqual(body.content, [
      { type: 'thinking', thinking: 'hm', signature: 'unsigned' },
      { type: 'text', text: WORDS.join('') },
    ]);
    assert.equal(body.stop_reason, 'end_turn');
  });

  test('failures have its own shape, from the key on', async () => {
    const failures: [Promise<Response>, number, string][] = [
      [ask({}, {}), 401, 'authentication_error'],
      [ask({}, { 'x-api-key': 'wrong' }), 401, 'authentication_error'],
      [ask({ model: 'no-such' }), 404, 'not_found_error'],
      [ask({ max_tokens: undefined }), 400, 'invalid_request_error'],
      [ask({ messages: [{ role: 'user', content: [{ type: 'x' }] }] }), 400, 'invalid_request_error'],
      [ask({ model: 'no-such' }, undefined, '/count_tokens'), 404, 'not_found_error'],
    ];
    for (const [asked, status, type] of failures) {
      const response = await asked;
      const body = (await response.json()) as { type: string; error: { type: string }; request_id: string };
      assert.equal(response.status, status);
      assert.deepEqual([body.type, body.error.type], ['error', type]);
      assert.equal(body.request_id, response.headers.get('request-id'));
    }
  });

  test('tokens that nobody can count are estimated, and it says so', async () => {
    const response = await ask({ max_tokens: undefined }, undefined, '/count_tokens');
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('x-sluice-warning'), 'estimated');
    const { input_tokens: tokens } = (await response.json()) as { input_tokens: number };
    assert.ok(tokens >= 1 && tokens < 10, String(tokens));
  });
});

describe('messages over another server', () => {
  let upstream: Upstream;
  let sluice: Sluice;
  before(async () => {
    upstream = await startUpstream();
    const url = `${upstream.url}/v1`;
    sluice = await startSluice({
      config: { backends: [{ id: 'up', url, kind: 'vllm' }], log_level: 'silent' },
    });
  });
  after(async () => {
    await sluice?.stop();
    await upstream?.close();
  });

  const tools = Array.from({ length: 20 }, (_, number) => ({
    name: `tool_${number}`,
    description: `Does ${number}.`,
    input_schema: { type: 'object', properties: { path: { type: 'string' } } },
  }));

  /** A long session with an assistant that reads files. */
  function session(turns: number): object {
    const messages: object[] = [];
    for (let turn = 0; turn < turns; turn += 1) {
      const id = `toolu_${turn}`;
      const result = {
        type: 'tool_result',
        tool_use_id: `toolu_${turn - 1}`,
        content: `lines of ${turn - 1}`,
      };
      messages.push(
        {
          role: 'user',
          content: [
            ...(turn === 0 ? [] : [result]),
            { type: 'text', text: `<reminder>${turn}</reminder>` },
            { type: 'text', text: 'Go on.', cache_control: { type: 'ephemeral' } },
          ],
        },
        {
          role: 'assistant',
          content: [
            { type: 'thinking', thinking: `I think ${turn}`, signature: 'unsigned' },
            { type: 'text', text: `I read ${turn}.` },
            { type: 'tool_use', id, name: 'tool_3', input: { path: `/a/${turn}` } },
          ],
        },
      );
    }
    const content = [
      { type: 'tool_result', tool_use_id: `toolu_${turns - 1}`, content: [{ type: 'text', text: 'end' }] },
    ];
    messages.push({ role: 'user', content });
    return {
      model: 'm',
      max_tokens: 1024,
      stream: true,
      system: [
        { type: 'text', text: 'You are an assistant.', cache_control: { type: 'ephemeral' } },
        { type: 'text', text: 'Keep to the rules.' },
      ],
      tools,
      metadata: { user_id: 'u' },
      messages,
    };
  }

  const send = (body: object, signal?: AbortSignal) =>
    post(`${sluice.url}/v1/messages?beta=true`, body, signal ? { signal } : {});

  test('a stop string at which the server ended, or which it passed over, is told by its text', async () => {
    const end = chunkOf({ delta: {}, finish_reason: 'stop', stop_reason: 'END' });
    for (const chunks of [
      [textChunk('a '), end, DONE],
      [textChunk('a EN'), textChunk('D b'), endChunk(), DONE],
    ]) {
      upstream.play({ headers: EVENT_STREAM, chunks });
      const stops = { model: 'm', max_tokens: 9, messages: [hi], stop_sequences: ['STOP', 'END'] };
      const events = eventsOf(await (await send({ ...stops, stream: true })).text());
      assert.deepEqual(events.at(-2).delta, { stop_reason: 'stop_sequence', stop_sequence: 'END' });
      assert.equal(events.map(({ delta }) => delta?.text ?? '').join(''), 'a ');
    }
  });

  test("an assistant's hundred turns arrive whole, and its call comes back as a block", async () => {
    upstream.play({
      headers: EVENT_STREAM,
      chunks: [
        chunkOf({ delta: { role: 'assistant', reasoning: 'so' } }),
        toolChunk({ index: 0, id: 'call_9', type: 'function', function: { name: 'tool_7', arguments: '' } }),
        toolChunk({ index: 0, function: { arguments: '{"path":' } }),
        toolChunk({ index: 0, function: { arguments: '"/b"}' } }),
        endChunk('tool_calls'),
        DONE,
      ],
    });
    const events = eventsOf(await (await send(session(100))).text());
    const starts = events.filter(({ type }) => type === 'content_block_start');
    assert.deepEqual(
      starts.map(({ content_block: block }) => [block.type, block.id, block.name]),
      [
        ['thinking', undefined, undefined],
        ['tool_use', 'call_9', 'tool_7'],
      ],
    );
    assert.equal(events.map(({ delta }) => delta?.partial_json ?? '').join(''), '{"path":"/b"}');
    assert.equal(events.at(-2).delta.stop_reason, 'tool_use');

    const asked = JSON.parse(upstream.requests.at(-1)!.body);
    assert.equal(asked.tools.length, 20);
    assert.equal(asked.messages.length, 100 * 3 + 1);
    assert.deepEqual(asked.messages[0], {
      role: 'system',
      content: 'You are an assistant.\n\nKeep to the rules.',
    });
    // vLLM takes earlier thinking as it was.
    assert.deepEqual(asked.messages[2], {
      role: 'assistant',
      content: 'I read 0.',
      reasoning: 'I think 0',
      tool_calls: [
        { id: 'toolu_0', type: 'function', function: { name: 'tool_3', arguments: '{"path":"/a/0"}' } },
      ],
    });
    assert.deepEqual(asked.messages.at(-1), { role: 'tool', content: 'end', tool_call_id: 'toolu_99' });
    assert.doesNotMatch(JSON.stringify(asked), /cache_control|metadata|signature/);
  });

  test('its leaving in the middle ends the upstream, and the next turn works', async () => {
    upstream.play({ headers: EVENT_STREAM, chunks: [chunkOf({ delta: { content: 'a' } })], end: 'hold' });
    const leaving = new AbortController();
    const response = await send(session(3), leaving.signal);
    const reader = response.body!.getReader();
    await reader.read();
    leaving.abort();
    await waitUntil(
      async () => (await metric(sluice.url, 'sluice_requests_running')) === 0,
      10_000,
      () => 'it runs on',
    );
    upstream.play({
      headers: EVENT_STREAM,
      chunks: [chunkOf({ delta: { content: 'b' } }), endChunk('stop'), DONE],
    });
    const events = eventsOf(await (await send(session(4))).text());
    assert.equal(events.map(({ delta }) => delta?.text ?? '').join(''), 'b');
  });

  test('tokens are counted by the server that would get them', async () => {
    upstream.play({ headers: { 'content-type': 'application/json' }, chunks: ['{"count":77,"tokens":[]}'] });
    const { max_tokens: _, stream: __, ...body } = session(2) as Record<string, unknown>;
    const response = await post(`${sluice.url}/v1/messages/count_tokens`, body);
    assert.deepEqual(await response.json(), { input_tokens: 77 });
    assert.equal(response.headers.get('x-sluice-warning'), null);
    const { path, body: asked } = upstream.requests.at(-1)!;
    assert.equal(path, '/tokenize');
    assert.equal(JSON.parse(asked).messages.length, 2 * 3 + 1);
  });
});
