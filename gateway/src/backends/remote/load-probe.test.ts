// Guards the probe: any answer means that a back end is there, and what it tells of its models and its load is read as
// its kind prints it.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { GatewayError } from '../../core/errors.ts';
import { probe } from './load-probe.ts';
import { Transport } from './transport.ts';
import { plainAnswer, startServer } from './transport-testing.ts';
import { traitsOf, type VendorKind } from './vendors.ts';

/** Probes a server that has these pages and nothing else. */
async function probePages(
  t: TestContext,
  kind: VendorKind,
  pages: Readonly<Record<string, string>>,
  { basePath = '/v1', signal = new AbortController().signal } = {},
) {
  const server = await startServer(t, ({ socket, text }) => {
    const page = pages[text.split(' ')[1]!];
    socket.write(page === undefined ? 'HTTP/1.1 404 No\r\ncontent-length: 2\r\n\r\n{}' : plainAnswer(page));
  });
  const transport = new Transport({ origin: server.origin, env: {} });
  t.after(() => transport.close());
  const headers = { authorization: 'Bearer key' };
  const result = await probe(transport, { basePath, kind, traits: traitsOf(kind), headers, signal });
  for (const { text } of server.requests) assert.match(text, /\r\nauthorization: Bearer key\r\n/);
  return { result, paths: server.requests.map(({ text }) => text.split(' ')[1]) };
}

const MODELS = JSON.stringify({
  object: 'list',
  data: [{ id: 'a' }, { id: 'b/c' }, {}, null, { id: 7 }, { id: '' }],
});

test('the list of models', async (t) => {
  const { result, paths } = await probePages(t, 'generic', { '/v1/models': MODELS });
  assert.deepEqual(result, { reachable: true, status: 200, models: ['a', 'b/c'], kind: undefined });
  assert.deepEqual(paths, ['/v1/models']);
  const deeper = await probePages(t, 'deepseek', { '/x/models': MODELS }, { basePath: '/x/' });
  assert.deepEqual(deeper.paths, ['/x/models']);
});

test('a server that says what it is is known by it', async (t) => {
  const kinds = {
    vllm: 'vllm',
    sglang: 'sglang',
    llamacpp: 'llama.cpp',
    sluice: 'sluice',
    someone: undefined,
  };
  for (const [owner, kind] of Object.entries(kinds)) {
    const page = JSON.stringify({ data: [{ id: 'a', owned_by: owner }] });
    assert.equal((await probePages(t, 'generic', { '/v1/models': page })).result?.kind, kind, owner);
  }
});

test('any answer means that it is there', async (t) => {
  for (const [page, status] of [
    [undefined, 404],
    ['<html>', 200],
    ['{"data":{}}', 200],
    ['null', 200],
    ['', 200],
  ] as const) {
    const { result } = await probePages(t, 'generic', page === undefined ? {} : { '/v1/models': page });
    assert.deepEqual(result, { reachable: true, status, models: [], kind: undefined }, page);
  }
});

test('vLLM: its engines’ counts together, and the fullest cache; also by its older name', async (t) => {
  const metrics = (usage: string) =>
    [
      'vllm:num_requests_running{engine="0",model_name="m"} 3.0',
      'vllm:num_requests_running{engine="1",model_name="m"} 2.0',
      'vllm:num_requests_waiting{engine="0",model_name="m"} 7.0',
      `${usage}{engine="0",model_name="m"} 0.25`,
      `${usage}{engine="1",model_name="m"} 0.5`,
    ].join('\n');
  for (const usage of ['vllm:kv_cache_usage_perc', 'vllm:gpu_cache_usage_perc']) {
    const pages = { '/pre/v1/models': MODELS, '/pre/metrics': metrics(usage) };
    const { result, paths } = await probePages(t, 'vllm', pages, { basePath: '/pre/v1' });
    assert.deepEqual(
      [result.running, result.waiting, result.kvCacheUsage, result.slots],
      [5, 7, 0.5, undefined],
    );
    assert.deepEqual(paths, ['/pre/v1/models', '/pre/metrics']);
  }
});

test('SGLang', async (t) => {
  const metrics =
    'sglang:num_running_reqs{model_name="m"} 4.0\nsglang:num_queue_reqs{model_name="m"} 1.0\nsglang:token_usage 0.28';
  const { result } = await probePages(t, 'sglang', { '/v1/models': MODELS, '/metrics': metrics });
  assert.deepEqual([result.running, result.waiting, result.kvCacheUsage], [4, 1, 0.28]);
});

test('llama.cpp: its slots, or where they are hidden, how many there are', async (t) => {
  const slots = JSON.stringify([
    { id: 0, is_processing: true },
    { id: 1, is_processing: false },
    { id: 2, is_processing: true },
  ]);
  const told = await probePages(t, 'llama.cpp', {
    '/v1/models': MODELS,
    '/slots': slots,
    '/props': '{"total_slots":3}',
  });
  assert.deepEqual([told.result.running, told.result.slots], [2, 3]);
  const hidden = await probePages(t, 'llama.cpp', { '/v1/models': MODELS, '/props': '{"total_slots":4}' });
  assert.deepEqual([hidden.result.running, hidden.result.slots], [undefined, 4]);
  const only = await probePages(t, 'llama.cpp', { '/v1/models': MODELS, '/slots': slots });
  assert.deepEqual([only.result.running, only.result.slots], [2, 3]);
});

test('a server that does not tell its load, or tells nonsense, is there all the same', async (t) => {
  for (const kind of ['vllm', 'sglang', 'llama.cpp'] as const)
    for (const page of [
      undefined,
      '',
      '<html>',
      '[]',
      'vllm:num_requests_running NaN',
      '{"total_slots":-1}',
    ]) {
      const pages = page === undefined ? {} : { '/metrics': page, '/slots': page, '/props': page };
      const { result } = await probePages(t, kind, { '/v1/models': MODELS, ...pages });
      assert.deepEqual(result.models, ['a', 'b/c']);
      const { running, waiting, kvCacheUsage, slots } = result;
      assert.deepEqual(
        [running, waiting, kvCacheUsage, slots],
        [undefined, undefined, undefined, undefined],
        page,
      );
    }
});

test('Ollama: its own list', async (t) => {
  const tags = JSON.stringify({ models: [{ name: 'qwen3:0.6b', size: 1 }, { name: 'llama3.2:latest' }] });
  for (const basePath of ['', '/v1', '/api']) {
    const { result, paths } = await probePages(t, 'ollama', { '/api/tags': tags }, { basePath });
    assert.deepEqual([result.models, paths], [['qwen3:0.6b', 'llama3.2:latest'], ['/api/tags']]);
  }
});

test('a server that is not there, a probe that is given up, and an answer without end', async (t) => {
  const options = { basePath: '/v1', kind: 'generic', traits: traitsOf('generic'), headers: {} } as const;
  const gone = await startServer(t, () => {});
  await gone.stop();
  const absent = new Transport({ origin: gone.origin, env: {} });
  t.after(() => absent.close());
  const { signal } = new AbortController();
  await assert.rejects(probe(absent, { ...options, signal }), { code: 'backend_failed' });

  const client = new AbortController();
  const reason = new GatewayError('backend_timeout', 'It was silent.');
  const silent = await startServer(t, () => client.abort(reason));
  const waiting = new Transport({ origin: silent.origin, env: {} });
  t.after(() => waiting.close());
  await assert.rejects(probe(waiting, { ...options, signal: client.signal }), reason);

  const endless = await startServer(t, ({ socket }) => {
    socket.write('HTTP/1.1 200 OK\r\n\r\n');
    const flood = () => {
      if (socket.write('x'.repeat(65_536))) setImmediate(flood);
      else socket.once('drain', flood);
    };
    flood();
  });
  const drinking = new Transport({ origin: endless.origin, env: {} });
  t.after(() => drinking.close());
  await assert.rejects(probe(drinking, { ...options, signal }), /answered a question without end/);
});
