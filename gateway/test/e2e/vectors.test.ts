// Embeddings and reranking over real sockets, on scripted back ends: what clients rely on, and that they are calls like others.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import OpenAI from 'openai';
import { startUpstream, type Upstream } from '../upstream/faulty-upstream.ts';
import { fakeConfig, metric, post, type Sluice, startSluice, waitUntil } from './harness.ts';

const MODEL = 'deepseek-r1';

interface Embeddings {
  readonly data: readonly { readonly index: number; readonly embedding: readonly number[] }[];
  readonly usage: { readonly prompt_tokens: number };
}

describe('vectors on a scripted back end', () => {
  let sluice: Sluice;
  before(async () => {
    sluice = await startSluice({ config: fakeConfig({ pieces: ['a'], slots: 2 }) });
  });
  after(() => sluice.stop());

  const embed = (body: object) => post(`${sluice.url}/v1/embeddings`, { model: MODEL, ...body });
  const vectorsOf = async (body: object) => ((await (await embed(body)).json()) as Embeddings).data;

  test('2,048 texts keep their order, however many run at once', async () => {
    const texts = Array.from({ length: 2048 }, (_, index) => `text ${index}`);
    const all = await vectorsOf({ input: texts });
    assert.deepEqual(
      all.map(({ index }) => index),
      texts.map((_, index) => index),
    );
    for (const index of [0, 127, 128, 2047]) {
      const [alone] = await vectorsOf({ input: texts[index] });
      assert.deepEqual(all[index]!.embedding, alone!.embedding);
    }
    assert.equal(await metric(sluice.url, 'sluice_requests_running'), 0);
  });

  test("OpenAI's client asks for base64 and shows the same numbers", async () => {
    const client = new OpenAI({ baseURL: `${sluice.url}/v1`, apiKey: 'none', maxRetries: 0 });
    const { data, usage } = await client.embeddings.create({ model: MODEL, input: ['a', 'b'] });
    const plain = await vectorsOf({ input: ['a', 'b'], encoding_format: 'float' });
    assert.deepEqual(
      data.map(({ embedding }) => embedding),
      plain.map(({ embedding }) => embedding),
    );
    assert.equal(usage.prompt_tokens, 2);
    const few = await client.embeddings.create({ model: MODEL, input: 'a', dimensions: 3 });
    assert.equal(few.data[0]!.embedding.length, 3);
  });

  test('10,000 texts are refused by name, and so is an unknown model', async () => {
    const tooMany = await embed({ input: Array.from({ length: 10_000 }, () => 'x') });
    assert.equal(tooMany.status, 400);
    const { error } = (await tooMany.json()) as { error: { param: string; message: string } };
    assert.equal(error.param, 'input');
    assert.match(error.message, /2048/);
    assert.equal((await embed({ model: 'no-such', input: 'a' })).status, 404);
  });

  test('how an answer came to be stands in it where that is asked', async () => {
    for (const [path, body] of [
      ['/v1/embeddings', { input: ['a', 'b'] }],
      ['/v1/rerank', { query: 'q', documents: ['a'] }],
    ] as const) {
      const ask = async (headers: Readonly<Record<string, string>>) => {
        const response = await post(`${sluice.url}${path}`, { model: MODEL, ...body }, { headers });
        return (await response.json()) as { sluice?: { backend: string; queue_ms: number } };
      };
      const { sluice: report } = await ask({ 'x-sluice-report': '1' });
      assert.equal(report?.backend, 'fake');
      assert.ok(report.queue_ms >= 0);
      assert.equal('sluice' in (await ask({})), false);
    }
  });

  test('documents come best first', async () => {
    const documents = ['a ship on land', 'the deep blue sea', 'sea'];
    const response = await post(`${sluice.url}/v1/rerank`, { model: MODEL, query: 'blue sea', documents });
    const { results } = (await response.json()) as { results: { index: number }[] };
    assert.deepEqual(
      results.map(({ index }) => index),
      [2, 1, 0],
    );
  });
});

test('who leaves frees the slot at once, waiting or computing', async () => {
  const config = fakeConfig({ pieces: ['a'], slots: 1, first_token_ms: 60_000 });
  const sluice = await startSluice({ config });
  try {
    const leaving = new AbortController();
    const asked = ['a', 'b'].map((input) =>
      post(`${sluice.url}/v1/embeddings`, { model: MODEL, input }, { signal: leaving.signal }).catch(
        () => {},
      ),
    );
    const counts = async () => [
      await metric(sluice.url, 'sluice_requests_running'),
      await metric(sluice.url, 'sluice_requests_waiting'),
    ];
    await waitUntil(
      async () => String(await counts()) === '1,1',
      10_000,
      () => 'they did not come',
    );
    leaving.abort();
    await Promise.all(asked);
    await waitUntil(
      async () => String(await counts()) === '0,0',
      10_000,
      () => 'something runs on',
    );
  } finally {
    await sluice.stop();
  }
});

/** A gateway is ready once any back end takes calls; where two are in play, the one named `up` may not have been probed. */
function untilUp({ url }: Sluice): Promise<void> {
  return waitUntil(
    async () => (await metric(url, 'sluice_backend_up{backend="up"}')) === 1,
    10_000,
    () => 'the back end was not probed',
  );
}

test('where a back end fails another one is asked; what none can is said with who could', async () => {
  const upstream: Upstream = await startUpstream();
  const sluice = await startSluice({
    config: {
      log_level: 'silent',
      backends: [
        { id: 'up', kind: 'vllm', url: `${upstream.url}/v1` },
        { id: 'fake', kind: 'fake', pieces: ['a'] },
        { id: 'chat', kind: 'deepseek', url: `${upstream.url}/v1` },
      ],
      models: [
        { id: 'both', backends: ['up', 'fake'] },
        { id: 'words', backends: ['chat'] },
      ],
    },
  });
  try {
    await untilUp(sluice);
    upstream.play({ status: 500, headers: { 'content-type': 'application/json' }, chunks: ['{}'] });
    const answered = await post(`${sluice.url}/v1/embeddings`, { model: 'both', input: 'a' });
    assert.equal(answered.status, 200);
    assert.equal(upstream.requests.at(-1)!.path, '/v1/embeddings');
    const refused = await post(`${sluice.url}/v1/embeddings`, { model: 'words', input: 'a' });
    assert.equal(refused.status, 400);
    const { error } = (await refused.json()) as { error: { message: string; param: string } };
    assert.equal(error.param, 'model');
    assert.match(error.message, /both/);
  } finally {
    await sluice.stop();
    await upstream.close();
  }
});

test('a model of one type says where it is asked, is listed by its type, and its key knows what is left', async () => {
  const config = {
    backends: [{ id: 'fake', kind: 'fake', pieces: ['a'] }],
    models: [
      { id: 'writer', backends: ['fake'] },
      { id: 'vectors', backends: ['fake'], type: 'embedding' },
      { id: 'judge', backends: ['fake'], type: 'reranker' },
    ],
    keys: [{ name: 'shop', key: 'secret', daily_budget: 2.5 }],
    log_level: 'silent',
  };
  const sluice = await startSluice({ config });
  const headers = { authorization: 'Bearer secret', 'content-type': 'application/json' };
  const get = async (path: string) => (await fetch(`${sluice.url}${path}`, { headers })).json();
  try {
    const chat = { model: 'vectors', messages: [{ role: 'user', content: 'hi' }] };
    const refused = await post(`${sluice.url}/v1/chat/completions`, chat, { headers });
    assert.equal(refused.status, 400);
    assert.match(await refused.text(), /\/v1\/embeddings/);
    const judged = await post(`${sluice.url}/v1/embeddings`, { model: 'judge', input: 'a' }, { headers });
    assert.equal(judged.status, 400);
    const idsOf = async (query: string) =>
      ((await get(`/v1/models${query}`)) as { data: { id: string }[] }).data.map(({ id }) => id);
    assert.deepEqual(await idsOf('?type=text&sub_type=embedding'), ['vectors']);
    assert.deepEqual(await idsOf('?sub_type=reranker'), ['judge']);
    assert.deepEqual(await idsOf('?sub_type=chat'), ['writer']);
    assert.deepEqual(await idsOf('?type=image'), []);
    assert.deepEqual(await idsOf(''), ['writer', 'vectors', 'judge']);
    const { data } = (await get('/v1/user/info')) as { data: { name: string; balance: string } };
    assert.deepEqual([data.name, data.balance], ['shop', '2.5']);
  } finally {
    await sluice.stop();
  }
});

test('limits by tokens hold, what was not needed is given back, and the head tells what is left', async () => {
  const config = {
    backends: [{ id: 'fake', kind: 'fake', pieces: ['a'] }],
    models: [{ id: 'm', backends: ['fake'] }],
    keys: [{ name: 'shop', key: 'secret', tpm: 100 }],
    log_level: 'silent',
  };
  const sluice = await startSluice({ config });
  const headers = { authorization: 'Bearer secret', 'content-type': 'application/json' };
  const embed = (input: unknown) => post(`${sluice.url}/v1/embeddings`, { model: 'm', input }, { headers });
  try {
    // Sixty tokens by their length; the back end counts one.
    const first = await embed(Array(60).fill(1));
    assert.equal(first.status, 200);
    assert.equal(first.headers.get('x-ratelimit-limit-tokens'), '100');
    const many = await embed(Array(98).fill(1));
    assert.equal(many.status, 200);
    const refused = await embed(Array(99).fill(1));
    assert.equal(refused.status, 429);
    assert.match(await refused.text(), /tokens/);
    assert.ok(Number(refused.headers.get('retry-after')) >= 1);
    assert.equal((await embed('a')).status, 200);
    const info = (await (await fetch(`${sluice.url}/v1/user/info`, { headers })).json()) as {
      code: number;
      status: boolean;
      data: Record<string, unknown>;
    };
    assert.deepEqual([info.code, info.status, info.data.name], [20000, true, 'shop']);
    assert.ok(!('balance' in info.data) && !('totalBalance' in info.data), 'no money is made up');
    assert.equal((await fetch(`${sluice.url}/v1/user/info`)).status, 401);
  } finally {
    await sluice.stop();
  }
});

test("who answered stands in the head; a client that wants no other back end gets the first one's error", async () => {
  const upstream: Upstream = await startUpstream();
  const backends = [
    { id: 'up', kind: 'vllm', url: `${upstream.url}/v1` },
    { id: 'fake', kind: 'fake', pieces: ['a'] },
  ];
  const models = [{ id: 'm', backends: ['up', 'fake'] }];
  const sluice = await startSluice({ config: { log_level: 'silent', backends, models } });
  const failing = { status: 500, headers: { 'content-type': 'application/json' }, chunks: ['{}'] };
  const ask = (path: string, body: object, headers: Record<string, string> = {}) => {
    upstream.play(failing);
    return post(
      `${sluice.url}${path}`,
      { model: 'm', ...body },
      { headers: { 'content-type': 'application/json', ...headers } },
    );
  };
  try {
    await untilUp(sluice);
    const answered = await ask('/v1/rerank', { query: 'q', documents: ['a'] });
    assert.equal(answered.status, 200);
    assert.equal(answered.headers.get('x-sluice-backend'), 'fake');
    assert.ok(answered.headers.get('x-sluice-model'));
    assert.ok(answered.headers.get('x-request-id'));
    assert.match(answered.headers.get('server-timing') ?? '', /queue;dur=/);
    const refused = await ask('/v1/embeddings', { input: 'a' }, { 'x-sluice-failover': 'off' });
    assert.equal(refused.status, 502);
    assert.equal(refused.headers.get('x-sluice-backend'), 'up');
  } finally {
    await sluice.stop();
    await upstream.close();
  }
});

test('a text that is refused is named by its place in the whole request, whichever piece it was in', async () => {
  const upstream: Upstream = await startUpstream();
  const headers = { 'content-type': 'application/json' };
  const data = Array.from({ length: 32 }, (_, index) => ({ index, embedding: [1] }));
  const error = { message: 'input[3] has 900 tokens; this model reads at most 512.', param: 'input[3]' };
  const backends = [{ id: 'up', kind: 'sluice', url: `${upstream.url}/v1`, slots: 1 }];
  const sluice = await startSluice({
    config: { log_level: 'silent', backends, models: [{ id: 'm', backends: ['up'] }] },
  });
  try {
    upstream.play([
      { headers, chunks: [JSON.stringify({ data })] },
      { status: 400, headers, chunks: [JSON.stringify({ error })] },
    ]);
    const refused = await post(`${sluice.url}/v1/embeddings`, { model: 'm', input: Array(64).fill('a') });
    assert.equal(refused.status, 400);
    const told = ((await refused.json()) as { error: { param: string; message: string } }).error;
    assert.equal(told.param, 'input[35]');
    assert.match(told.message, /input\[35\] has 900 tokens/);
  } finally {
    await sluice.stop();
    await upstream.close();
  }
});
