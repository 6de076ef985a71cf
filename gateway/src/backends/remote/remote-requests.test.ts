// Guards what a remote back end sends: its key and no other, who asks, and what only another Sluice understands.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { waitUntil } from '../../../test/e2e/harness.ts';
import { DONE, EVENT_STREAM, eventOf, jsonOf, streamOf } from '../../../test/upstream/answers.ts';
import { begun, callRemote, openRemote, textOf } from '../../../test/upstream/remote-on-upstream.ts';
import type { CallOrigin } from '../../core/backend.ts';
import { RemoteBackend } from './remote-backend.ts';
import { plainAnswer, startServer } from './transport-testing.ts';
import type { VendorKind } from './vendors.ts';

const ORIGIN: CallOrigin = {
  requestId: 'req-1',
  priority: 'batch',
  deadlineMs: 1234.9,
  hops: ['gateway-1', 'gateway-2'],
  session: 'talk-1',
};
const textChunk = (text: string, finish: string | null = null): string =>
  eventOf({ model: 'up', choices: [{ index: 0, text, finish_reason: finish }] });
const TEXTS = { headers: EVENT_STREAM, chunks: [textChunk(', '), textChunk('b', 'stop'), DONE] };
/** What says ", b", as each kind says what fills a gap. */
const FILLED = {
  deepseek: TEXTS,
  siliconflow: TEXTS,
  openai: TEXTS,
  sluice: TEXTS,
  'llama.cpp': {
    headers: EVENT_STREAM,
    chunks: [
      eventOf({ content: ', ', stop: false }),
      eventOf({ content: 'b', stop: false }),
      eventOf({ content: '', stop: true, stop_type: 'eos', tokens_evaluated: 5, tokens_predicted: 2 }),
    ],
  },
  ollama: {
    headers: { 'content-type': 'application/x-ndjson' },
    chunks: ['{"response":", b","done":false}\n{"response":"","done":true,"done_reason":"stop"}\n'],
  },
};
const OURS = [
  'x-request-id',
  'x-sluice-hops',
  'x-sluice-priority',
  'x-sluice-deadline-ms',
  'x-sluice-session',
] as const;
const KINDS: readonly VendorKind[] = ['generic', 'vllm', 'llama.cpp', 'deepseek', 'openai', 'moonshot'];

test('id and hops go to everyone, priority, deadline and session to another Sluice only', async (t) => {
  for (const kind of [...KINDS, 'sluice'] as const) {
    const { backend, upstream } = await openRemote(t, { kind, apiKey: 'sk-up' });
    await callRemote(backend, {}, ORIGIN).done;
    const [{ headers } = assert.fail()] = upstream.requests;
    assert.deepEqual(
      OURS.map((name) => headers[name]),
      kind === 'sluice'
        ? ['req-1', 'gateway-1,gateway-2', 'batch', '1234', 'talk-1']
        : ['req-1', 'gateway-1,gateway-2', undefined, undefined, undefined],
      kind,
    );
    assert.deepEqual(
      [headers.authorization, headers['content-type'], headers['user-agent'], headers['accept-encoding']],
      ['Bearer sk-up', 'application/json', 'sluice', 'identity'],
    );
  }
});

test('a deadline is at least a millisecond, and none where none was promised', async (t) => {
  const { backend, upstream } = await openRemote(t, { kind: 'sluice' });
  for (const [deadlineMs, sent] of [
    [0, '1'],
    [0.4, '1'],
    [5_000, '5000'],
    [undefined, undefined],
  ] as const) {
    await callRemote(backend, {}, { ...ORIGIN, deadlineMs }).done;
    assert.equal(upstream.requests.at(-1)!.headers['x-sluice-deadline-ms'], sent);
  }
});

test('without a key none is sent, and without an origin nothing of it', async (t) => {
  const { backend, upstream } = await openRemote(t, { kind: 'sluice' });
  await callRemote(backend).done;
  const [{ headers } = assert.fail()] = upstream.requests;
  for (const name of ['authorization', ...OURS]) assert.equal(headers[name], undefined, name);
});

test('an answer that is asked for whole is sent as no stream, and read as one JSON', async (t) => {
  const { backend, upstream } = await openRemote(t);
  upstream.play(jsonOf('all of it'));
  const { events, done } = callRemote(backend, { isWhole: true });
  await done;
  assert.equal(textOf(events), 'all of it');
  assert.deepEqual(events.at(-1), {
    type: 'finish',
    usage: { ...NO_USAGE, promptTokens: 1, completionTokens: 1 },
  });
  const { stream, stream_options } = JSON.parse(upstream.requests[0]!.body);
  assert.deepEqual([stream, stream_options], [false, undefined]);
  await callRemote(backend).done;
  assert.equal(JSON.parse(upstream.requests[1]!.body).stream, true);
});

const NO_USAGE = { cachedTokens: undefined, reasoningTokens: undefined };

test('who goes on asks in its kind’s way, at its kind’s place, and gives only what is new', async (t) => {
  for (const [kind, path, last, members] of [
    ['vllm', '/v1/chat/completions', {}, { continue_final_message: true, add_generation_prompt: false }],
    ['deepseek', '/beta/chat/completions', { prefix: true }, {}],
    ['moonshot', '/v1/chat/completions', { partial: true }, {}],
    ['ollama', '/api/chat', {}, {}],
  ] as const) {
    const { backend, upstream } = await openRemote(t, { kind });
    if (kind === 'ollama') {
      const line = {
        model: 'up',
        message: { role: 'assistant', content: ' 42.' },
        done: true,
        done_reason: 'stop',
      };
      upstream.play({
        headers: { 'content-type': 'application/x-ndjson' },
        chunks: [`${JSON.stringify(line)}\n`],
      });
    } else upstream.play(streamOf(' 4', '2.'));
    // What stands at its end is not sent: the server says it anew, and it is dropped.
    const { events, done } = callRemote(backend, begun('The answer is '));
    await done;
    assert.equal(textOf(events), '42.', kind);
    const [request = assert.fail()] = upstream.requests;
    const body = JSON.parse(request.body);
    assert.equal(request.path, path);
    assert.deepEqual(body.messages.at(-1), { role: 'assistant', content: 'The answer is', ...last });
    for (const [name, value] of Object.entries(members)) assert.equal(body[name], value, name);
  }
});

test('a server of which nothing is known may begin anew: what is there is not given twice', async (t) => {
  const { backend, upstream } = await openRemote(t);
  for (const texts of [['The answer', ' is 42.'], [' 42.']]) {
    upstream.play(streamOf(...texts));
    const { events, done } = callRemote(backend, begun('The answer is'));
    await done;
    assert.equal(textOf(events), ' 42.');
  }
});

test('who cannot go on says so, and asks nobody', async (t) => {
  const { backend, upstream } = await openRemote(t, { kind: 'openai' });
  assert.equal(backend.continues, undefined);
  await assert.rejects(callRemote(backend, begun('a')).done, { code: 'invalid_request', param: 'messages' });
  assert.equal(upstream.requests.length, 0);
  const text = { prompt: { kind: 'text', text: 'Once ' } } as const;
  await callRemote(backend, { ...text, ...begun('upon ') }).done;
  assert.equal(JSON.parse(upstream.requests[0]!.body).prompt, 'Once upon ', 'plain text goes on everywhere');
});

const GAP = { prompt: { kind: 'text', text: 'f(', suffix: ')\n' } } as const;

test('a gap is asked for in its kind’s way, at its kind’s place, also where its filling was begun', async (t) => {
  const sent = { prompt: 'f(a', suffix: ')\n' };
  const infill = { input_prefix: 'f(a', input_suffix: ')\n', n_predict: 7 };
  for (const [kind, path, members] of [
    ['deepseek', '/beta/completions', sent],
    ['siliconflow', '/v1/completions', sent],
    ['openai', '/v1/completions', sent],
    ['sluice', '/v1/completions', sent],
    ['llama.cpp', '/infill', infill],
    ['ollama', '/api/generate', sent],
  ] as const) {
    const { backend, upstream } = await openRemote(t, { kind });
    upstream.play(FILLED[kind]);
    const { events, done } = callRemote(backend, { ...GAP, ...begun('a'), maxTokens: 9 });
    await done;
    assert.equal(textOf(events), ', b', kind);
    const [request = assert.fail()] = upstream.requests;
    assert.equal(request.path, path);
    const body = JSON.parse(request.body);
    for (const [name, value] of Object.entries(members)) assert.equal(body[name], value, `${kind} ${name}`);
    assert.equal(body.model, 'case');
  }
});

test('who fills no gaps says so by the field, and asks nobody', async (t) => {
  for (const kind of ['generic', 'vllm', 'sglang', 'moonshot'] as const) {
    const { backend, upstream } = await openRemote(t, { kind });
    const { events, done } = callRemote(backend, GAP);
    await assert.rejects(done, { code: 'invalid_request', param: 'suffix' });
    assert.deepEqual([events, upstream.requests], [[], []], kind);
  }
});

test('llama.cpp tells no probabilities of what fills a gap', async (t) => {
  const { backend, upstream } = await openRemote(t, { kind: 'llama.cpp' });
  await assert.rejects(callRemote(backend, { ...GAP, logprobs: 2 }).done, { param: 'logprobs' });
  assert.equal(upstream.requests.length, 0);
});

test('what Ollama would cut in silence is refused before it is asked', async (t) => {
  const { backend, upstream } = await openRemote(t, { kind: 'ollama', contextWindow: 100 });
  const ask = (length: number) => {
    const content = [
      { type: 'text', text: 'x'.repeat(length - 100) },
      { type: 'text', text: 'y'.repeat(100) },
    ] as const;
    return callRemote(backend, { prompt: { kind: 'messages', messages: [{ role: 'user', content }] } }).done;
  };
  await assert.rejects(ask(601), ({ code, param, message }) => {
    assert.deepEqual([code, param], ['context_length_exceeded', 'messages']);
    assert.match(message, /at least 101 tokens.* 100;/);
    return true;
  });
  assert.equal(upstream.requests.length, 0);
  upstream.play({
    headers: { 'content-type': 'application/x-ndjson' },
    chunks: ['{"message":{"content":"ok"},"done":true,"done_reason":"stop"}\n'],
  });
  await ask(600);
  assert.equal(JSON.parse(upstream.requests[0]!.body).options.num_ctx, 100);
  const open = await openRemote(t, { kind: 'ollama' });
  await assert.rejects(callRemote(open.backend, { prompt: { kind: 'text', text: 'x' } }).done, {
    code: 'invalid_request',
    param: 'prompt',
  });
});

/** A server that lists a model of this owner, and answers every POST. */
async function openOwned(t: TestContext, kind: VendorKind, owner: string) {
  const list = JSON.stringify({ data: [{ id: 'm', owned_by: owner }] });
  const answer = [
    eventOf({ choices: [{ delta: { content: 'a' }, finish_reason: 'stop' }] }),
    'data: [DONE]\n\n',
  ];
  const server = await startServer(t, ({ socket, text }) => {
    if (text.startsWith('POST'))
      socket.write(plainAnswer(answer.join(''), 'content-type: text/event-stream'));
    else socket.write(plainAnswer(text.includes('/models') ? list : '{}'));
  });
  const backend = new RemoteBackend({
    id: 'remote',
    url: `${server.origin}/v1`,
    kind,
    firstTokenTimeoutMs: 60_000,
    silenceLimitMs: 60_000,
    answerTimeoutMs: 60_000,
    probeIntervalMs: 60_000,
    env: {},
    log: () => {},
  });
  t.after(() => backend.close());
  backend.start();
  await waitUntil(
    () => backend.models().length === 1,
    10_000,
    () => 'it was not asked',
  );
  await callRemote(backend, { extra: { enable_thinking: false } }, ORIGIN).done;
  const post = server.requests.find(({ text }) => text.startsWith('POST'))!.text;
  return { backend, post, body: JSON.parse(post.slice(post.indexOf('\r\n\r\n') + 4)) };
}

test('a server that is not said to be of a kind, and lists models as vLLM does, is spoken to as vLLM', async (t) => {
  const found = await openOwned(t, 'generic', 'vllm');
  assert.deepEqual(found.body.stream_options, { include_usage: true, continuous_usage_stats: true });
  assert.deepEqual(found.body.chat_template_kwargs, { enable_thinking: false, thinking: false });
  assert.equal(found.body.enable_thinking, undefined);
  const ours = await openOwned(t, 'generic', 'sluice');
  assert.match(ours.post, /\r\nx-sluice-priority: batch\r\n/, 'and another Sluice as ours');
  const unknown = await openOwned(t, 'generic', 'someone');
  assert.equal(unknown.body.enable_thinking, false);
  assert.doesNotMatch(unknown.post, /x-sluice-priority/);
});

test('what the user said it is, it is', async (t) => {
  const { body, backend } = await openOwned(t, 'deepseek', 'vllm');
  assert.deepEqual([body.thinking, body.chat_template_kwargs], [{ type: 'disabled' }, undefined]);
  assert.equal(backend.continuesThought, true);
});
