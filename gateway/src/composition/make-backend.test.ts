// Guards what a back end is made of: everything that its part of the configuration says, and the one engine that there is.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { waitUntil } from '../../test/e2e/harness.ts';
import { startUpstream } from '../../test/upstream/faulty-upstream.ts';
import type { LlamaBackend } from '../backends/llama/llama-backend.ts';
import { RemoteBackend } from '../backends/remote/remote-backend.ts';
import { loadConfig } from '../config.ts';
import type { Backend, BackendLoad } from '../core/backend.ts';
import type { TokenEvent } from '../core/chat.ts';
import type { EmbeddedEngine } from './embedded-engine.ts';
import { madeOf, makeBackend } from './make-backend.ts';

/** The first back end of a configuration. */
function make(t: TestContext, file: object, engine?: EmbeddedEngine): Backend {
  const { backends = [] } = loadConfig({ config: 'file' }, { KEY: 'sk-up' }, JSON.stringify(file));
  const made = makeBackend(backends[0]!, { env: {}, log: () => {}, engine: () => engine });
  t.after(() => made.close());
  return made;
}

async function ask(backend: Backend): Promise<TokenEvent[]> {
  const events: TokenEvent[] = [];
  const { signal } = new AbortController();
  await backend.chat(
    {
      model: 'm',
      prompt: { kind: 'messages', messages: [{ role: 'user', content: 'hi' }] },
      sampling: {},
      stop: [],
      choices: 1,
      extra: {},
    },
    { callId: 'c', tenant: 't', signal },
    (event) => events.push(event),
  );
  return events;
}

function engineThatIs(state: BackendLoad['state']): EmbeddedEngine {
  const backend = { id: 'engine', load: () => ({ state, slots: 1 }), close: () => Promise.resolve() };
  return {
    backend: backend as unknown as LlamaBackend,
    speaker: 's',
    licence: undefined,
    contextWindow: 1,
  };
}

test('a back end of another price is the same back end', () => {
  const of = (file: object) => madeOf(loadConfig({ config: 'file' }, {}, JSON.stringify(file)).backends![0]!);
  const server = { id: 'gpu', url: 'http://h:1' };
  const priced = { ...server, price: { input: 1, output: 2 } };
  assert.deepEqual(of({ backends: [priced] }), of({ backends: [server] }));
  assert.notDeepEqual(of({ backends: [priced] }), of({ backends: [{ ...priced, slots: 3 }] }));
});

test('another server: its address, kind, key, window, places and patience', async (t) => {
  const upstream = await startUpstream();
  t.after(() => upstream.close());
  upstream.play({ headers: { 'content-type': 'text/event-stream' }, chunks: [], end: 'hold' });
  const backend = make(t, {
    first_token_timeout_ms: 100,
    backends: [
      {
        id: 'gpu',
        url: `${upstream.url}/some/v2`,
        kind: 'vllm',
        api_key: `\${KEY}`,
        slots: 3,
        template: 'deepseek-r1',
      },
    ],
  });
  assert.ok(backend instanceof RemoteBackend);
  assert.equal(backend.id, 'gpu');
  await waitUntil(
    () => backend.load().state === 'ready',
    10_000,
    () => 'nobody has looked whether it is there',
  );
  assert.equal(backend.load().slots, 3);
  await assert.rejects(ask(backend), { code: 'backend_timeout', message: /in 100 ms/ });
  const [request = assert.fail()] = upstream.requests;
  assert.deepEqual(
    [request.path, request.headers.authorization],
    ['/some/v2/chat/completions', 'Bearer sk-up'],
  );
  const { stream_options } = JSON.parse(request.body);
  assert.deepEqual(
    stream_options,
    { include_usage: true, continuous_usage_stats: true },
    'as vLLM is spoken to',
  );
});

test('the window of an Ollama is the one that it is asked to have', async (t) => {
  const upstream = await startUpstream();
  t.after(() => upstream.close());
  upstream.play({
    headers: { 'content-type': 'application/x-ndjson' },
    chunks: ['{"message":{"content":"ok"},"done":true,"done_reason":"stop"}\n'],
  });
  const backend = make(t, { backends: [{ url: upstream.url, kind: 'ollama', context_window: 2048 }] });
  await ask(backend);
  assert.equal(JSON.parse(upstream.requests[0]!.body).options.num_ctx, 2048);
});

test('a script says what it is told to', async (t) => {
  const backend = make(t, {
    backends: [
      {
        kind: 'fake',
        id: 'f',
        slots: 2,
        pieces: ['x', 'y'],
        reasoning: ['hm'],
        first_token_ms: 0,
        token_ms: 1,
      },
    ],
  });
  assert.deepEqual([backend.id, backend.load().slots], ['f', 2]);
  const said = (await ask(backend)).flatMap((event) =>
    'text' in event ? `${event.type} ${event.text}` : [],
  );
  assert.deepEqual(said, ['reasoning-delta hm', 'text-delta x', 'text-delta y']);
  const script = { kind: 'fake', pieces: ['x', 'y'], first_token_ms: 0, token_ms: 1 };
  const breaks = make(t, { backends: [{ ...script, fail_after: 1 }] });
  await assert.rejects(ask(breaks), { code: 'backend_failed' });
});

test('the engine is the one that there is; where it is not there, or gone, nothing is made', (t) => {
  const file = { backends: [{ kind: 'embedded' }] };
  const engine = engineThatIs('ready');
  assert.equal(make(t, file, engine), engine.backend);
  const failed = engineThatIs('failed');
  assert.equal(make(t, file, failed), failed.backend, 'its failure is told by itself');
  assert.throws(() => make(t, file), /only be added at a start/);
  assert.throws(() => make(t, file, engineThatIs('closed')), /only be added at a start/);
});
