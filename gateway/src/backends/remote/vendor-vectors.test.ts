// What each kind of server is asked for vectors and judgements, and the answers that their pages show: over real sockets, as
// the vendor's row has it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { waitUntil } from '../../../test/e2e/harness.ts';
import { openRemote } from '../../../test/upstream/remote-on-upstream.ts';
import type { Script } from '../../../test/upstream/script.ts';
import type { CallContext } from '../../core/backend.ts';
import type { EmbeddingRequest } from '../../core/embedding.ts';
import { type ErrorCode, GatewayError } from '../../core/errors.ts';
import { toBase64 } from '../../wire/dialects/float-base64.ts';
import type { VendorKind } from './vendors.ts';

const VECTORS = [
  [0.25, -0.5],
  [1, 0.125],
];
const context = (signal = new AbortController().signal): CallContext => ({
  callId: 'c',
  tenant: 't',
  signal,
});
const json = (body: object, status = 200): Script => ({
  status,
  headers: { 'content-type': 'application/json' },
  chunks: [JSON.stringify(body)],
});
const inBase64 = (vector: readonly number[]) => toBase64(Float32Array.from(vector));
const asData = (write: (vector: readonly number[]) => unknown) =>
  VECTORS.map((vector, index) => ({ object: 'embedding', index, embedding: write(vector) }));

const SILENCE: Script = { chunks: [], end: 'hold' };

interface Asked {
  readonly path: string;
  readonly body: object;
}

const asked = (encoding_format: string): Asked => ({
  path: '/v1/embeddings',
  body: { model: 'm', input: ['a', 'b'], encoding_format },
});
const usage = { prompt_tokens: 6, total_tokens: 6 };

const EMBEDDERS: readonly [kind: VendorKind, answer: object, asked: Asked][] = [
  [
    'vllm',
    {
      id: 'embd-1',
      object: 'list',
      created: 1,
      model: 'm',
      data: asData(inBase64),
      usage: { ...usage, completion_tokens: 0, prompt_tokens_details: null },
    },
    asked('base64'),
  ],
  ['sglang', { object: 'list', model: 'm', data: asData((one) => one), usage }, asked('float')],
  [
    'llama.cpp',
    {
      model: 'm',
      object: 'list',
      usage,
      data: asData(inBase64).map((one) => ({ ...one, encoding_format: 'base64' })),
    },
    asked('base64'),
  ],
  [
    'siliconflow',
    { object: 'list', model: 'm', data: asData(inBase64), usage: { ...usage, completion_tokens: 0 } },
    asked('base64'),
  ],
  ['openai', { object: 'list', data: asData(inBase64), model: 'm', usage }, asked('base64')],
  ['sluice', { object: 'list', data: asData(inBase64), model: 'm', usage }, asked('base64')],
  // It may know no base64 and answer as it can.
  ['generic', { data: asData((one) => one), usage }, asked('float')],
  [
    'ollama',
    {
      model: 'm',
      embeddings: VECTORS,
      total_duration: 14143917,
      load_duration: 1019500,
      prompt_eval_count: 6,
    },
    { path: '/api/embed', body: { truncate: false, model: 'm', input: ['a', 'b'] } },
  ],
];

for (const [kind, answer, { path, body }] of EMBEDDERS) {
  test(`${kind}: vectors`, async (t) => {
    const { backend, upstream } = await openRemote(t, { kind });
    upstream.play(json(answer));
    const request: EmbeddingRequest = { model: 'm', inputs: ['a', 'b'], extra: {} };
    const { speaker, vectors, usage: counted } = await backend.embed!(request, context());
    assert.deepEqual(
      vectors.map((vector) => [...vector]),
      VECTORS,
    );
    assert.deepEqual([speaker, counted.promptTokens], ['m', 6]);
    const sent = upstream.requests.at(-1)!;
    assert.deepEqual([sent.path, JSON.parse(sent.body)], [path, body]);
  });
}

const scores = [
  { index: 1, relevance_score: 0.98 },
  { index: 0, relevance_score: 0.02 },
];

const RERANKERS: readonly [kind: VendorKind, answer: object][] = [
  [
    'vllm',
    {
      id: 'rerank-1',
      model: 'm',
      usage: { prompt_tokens: 6, total_tokens: 6 },
      results: scores.map((one) => ({ ...one, document: { text: 'a', multi_modal: null } })),
    },
  ],
  [
    'llama.cpp',
    { model: 'm', object: 'list', usage: { prompt_tokens: 6, total_tokens: 6 }, results: scores },
  ],
  [
    'siliconflow',
    {
      id: '019',
      results: scores.map((one) => ({ document: null, ...one })),
      meta: { billed_units: { input_tokens: 6 }, tokens: { input_tokens: 6, output_tokens: 0 } },
    },
  ],
  // As Jina has it.
  ['generic', { model: 'm', object: 'list', usage: { total_tokens: 6 }, results: scores }],
];

for (const [kind, answer] of RERANKERS) {
  test(`${kind}: judgements`, async (t) => {
    const { backend, upstream } = await openRemote(t, { kind });
    upstream.play(json(answer));
    const request = { model: 'm', query: 'q', documents: ['a', 'b'], extra: { instruction: 'i' } };
    const answered = await backend.rerank!(request, context());
    assert.deepEqual([answered.scores, answered.usage.promptTokens], [[0.02, 0.98], 6]);
    const { path, body } = upstream.requests.at(-1)!;
    assert.equal(path, '/v1/rerank');
    assert.deepEqual(JSON.parse(body), {
      instruction: 'i',
      model: 'm',
      query: 'q',
      documents: ['a', 'b'],
      top_n: 2,
      return_documents: false,
    });
  });
}

for (const kind of ['deepseek', 'moonshot'] as const) {
  test(`${kind} is asked for neither`, async (t) => {
    const { backend } = await openRemote(t, { kind });
    assert.deepEqual([backend.embed, backend.rerank], [undefined, undefined]);
  });
}

test('token numbers go where they are understood, and are refused by name elsewhere', async (t) => {
  const request: EmbeddingRequest = { model: 'm', inputs: [[1, 2], [3]], extra: {} };
  const vllm = await openRemote(t, { kind: 'vllm' });
  vllm.upstream.play(json({ data: asData(inBase64), usage }));
  await vllm.backend.embed!(request, context());
  assert.deepEqual(JSON.parse(vllm.upstream.requests.at(-1)!.body).input, [[1, 2], [3]]);
  const ollama = await openRemote(t, { kind: 'ollama' });
  await assert.rejects(ollama.backend.embed!(request, context()), {
    code: 'invalid_request',
    param: 'input',
  });
});

const REFUSALS: readonly [name: string, script: Script, code: ErrorCode][] = [
  ['an error of its own', json({ error: { message: 'out of memory' } }, 500), 'backend_failed'],
  [
    'a refusal',
    json({ error: { message: 'This model does not support embeddings' } }, 400),
    'backend_refused',
  ],
  ['too much to do', { ...json({ error: { message: 'slow down' } }, 429) }, 'backend_busy'],
  ['no JSON', { headers: { 'content-type': 'text/html' }, chunks: ['<html>'] }, 'backend_failed'],
  [
    'half an answer',
    { headers: { 'content-type': 'application/json' }, chunks: ['{"data":[{"ind'] },
    'backend_failed',
  ],
  ['one vector for two texts', json({ data: asData(inBase64).slice(1), usage }), 'backend_failed'],
];

for (const [name, script, code] of REFUSALS) {
  test(`${name} is ${code}`, async (t) => {
    const { backend, upstream } = await openRemote(t, { kind: 'vllm' });
    upstream.play(script);
    const request: EmbeddingRequest = { model: 'm', inputs: ['a', 'b'], extra: {} };
    await assert.rejects(
      backend.embed!(request, context()),
      (error) => error instanceof GatewayError && error.code === code,
    );
  });
}

test('an answer that does not come ends at the limit for whole answers', async (t) => {
  const { backend, upstream } = await openRemote(t, { kind: 'vllm', answerTimeoutMs: 50 });
  upstream.play(SILENCE);
  const request: EmbeddingRequest = { model: 'm', inputs: ['a'], extra: {} };
  await assert.rejects(backend.embed!(request, context()), { code: 'backend_timeout' });
});

test('who leaves ends the exchange', async (t) => {
  const { backend, upstream } = await openRemote(t, { kind: 'vllm' });
  upstream.play(SILENCE);
  const leaving = new AbortController();
  const request: EmbeddingRequest = { model: 'm', inputs: ['a'], extra: {} };
  const asked = backend.embed!(request, context(leaving.signal));
  asked.catch(() => {});
  await waitUntil(
    () => upstream.requests.length > 0,
    10_000,
    () => 'it was not asked',
  );
  leaving.abort(new GatewayError('cancelled', 'The client left.'));
  await assert.rejects(asked, { code: 'cancelled' });
  assert.equal(backend.load().state, 'ready');
});
