// Gateways before gateways: a chain works and is one request to all of them, a loop ends at once with a clear error, and
// what one has of a back end's key is nowhere to be seen.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type InProcessServer, startInProcess } from '../in-process.ts';
import { EVENT_STREAM, eventOf, jsonOf, refusalOf, streamOf, textChunk } from '../upstream/answers.ts';
import { BUILT_IN_SCRIPTS } from '../upstream/built-in-scripts.ts';
import { startUpstream, type Upstream } from '../upstream/faulty-upstream.ts';
import type { Script } from '../upstream/script.ts';
import { freePort, post, type Sluice, startSluice, waitUntil } from './harness.ts';

const LIMIT_MS = 60_000;
const ask = (url: string, body: object = {}, headers: Record<string, string> = {}) =>
  post(
    `${url}/v1/chat/completions`,
    { model: 'm', messages: [{ role: 'user', content: 'hi' }], ...body },
    { headers },
  );

interface Refused {
  readonly error: { message: string; type: string; code: string };
}

describe('a gateway whose back end leads back to it', () => {
  const started: Sluice[] = [];
  const loopAt = async (port: number, backendPort: number, kind: string) => {
    const config = { backends: [{ url: `http://127.0.0.1:${backendPort}`, kind }], models: [{ id: 'm' }] };
    started.push(await startSluice({ config, args: ['--port', String(port)], untilReady: false }));
  };
  after(() => Promise.all(started.map((one) => one.stop())));

  for (const kind of ['generic', 'sluice']) {
    test(`itself, as ${kind}: an error at once, streamed and whole`, async () => {
      const port = await freePort();
      await loopAt(port, port, kind);
      await assertLoop(`http://127.0.0.1:${port}`);
    });
  }

  test('another one, which leads back to it', async () => {
    const [one, other] = [await freePort(), await freePort()];
    await Promise.all([loopAt(one, other, 'generic'), loopAt(other, one, 'sluice')]);
    await assertLoop(`http://127.0.0.1:${one}`);
  });
});

async function assertLoop(url: string): Promise<void> {
  for (const stream of [true, false]) {
    let [status, text] = [0, ''];
    // Until it has seen that its back end is there, and again when that has failed often enough, it says that nobody is; and
    // who looked before the other one listened was refused.
    await waitUntil(
      async () => {
        const response = await ask(url, { stream }).catch(() => undefined);
        [status, text] = [response?.status ?? 0, (await response?.text()) ?? ''];
        return status !== 0 && status !== 503 && !text.includes('refused the connection');
      },
      LIMIT_MS,
      () => `it does not get ready: ${status} ${text}`,
    );
    assert.ok(status === 502 || status === 508, `${status}`);
    const { error } = JSON.parse(text) as Refused;
    assert.match(error.message, /has been here before: a back end of this server leads back to it/);
  }
}

describe('a gateway before a gateway before a server', () => {
  let upstream: Upstream;
  let inner: InProcessServer;
  let outer: InProcessServer;
  before(async () => {
    upstream = await startUpstream();
    inner = await startInProcess({
      backends: [{ id: 'server', url: upstream.url, kind: 'vllm' }],
      models: [{ id: 'm', name: 'theirs' }],
    });
    outer = await startInProcess({
      backends: [{ id: 'gateway', url: inner.url }],
      models: [{ id: 'outer-m', aliases: ['m'], name: 'm' }],
    });
  });
  after(async () => {
    await outer?.close();
    await inner?.close();
    await upstream?.close();
  });

  test('an answer passes, streamed and whole, under the names that each knows', async () => {
    upstream.play(streamOf('北京', ' ok'));
    const streamed = await (await ask(outer.url, { stream: true })).text();
    assert.match(streamed, /"content":"北京"/);
    assert.match(streamed, /data: \[DONE\]\n\n$/);
    const models = new Set([...streamed.matchAll(/"model":"([^"]*)"/g)].map(([, model]) => model));
    assert.deepEqual([...models], ['m'], 'the name that was asked for');
    upstream.play(jsonOf('all of it'));
    const { choices } = (await (await ask(outer.url)).json()) as {
      choices: { message: { content: string } }[];
    };
    assert.equal(choices[0]!.message.content, 'all of it');
    assert.deepEqual(
      upstream.requests.slice(-2).map(({ body }) => JSON.parse(body).model),
      ['theirs', 'theirs'],
    );
  });

  test('it is one request to all of them, and each adds itself to those that it has passed', async () => {
    upstream.play(streamOf('ok'));
    const response = await ask(outer.url, { stream: true }, { 'x-request-id': 'one-for-all' });
    assert.equal(response.headers.get('x-request-id'), 'one-for-all');
    await response.text();
    const { headers } = upstream.requests.at(-1)!;
    assert.equal(headers['x-request-id'], 'one-for-all');
    const hops = String(headers['x-sluice-hops']).split(',');
    assert.equal(new Set(hops).size, 2, String(hops));
    for (const { log } of [outer, inner]) assert.match(log(), /one-for-all/);
  });

  test('what only a Sluice understands stops at the last one', async () => {
    upstream.play(streamOf('ok'));
    const wish = { 'x-sluice-priority': 'batch', 'x-sluice-deadline-ms': '60000' };
    assert.equal((await ask(outer.url, {}, wish)).status, 200);
    const { headers } = upstream.requests.at(-1)!;
    assert.deepEqual([headers['x-sluice-priority'], headers['x-sluice-deadline-ms']], [undefined, undefined]);
  });

  test('a refusal of the server comes out as it was said', async () => {
    upstream.play(
      refusalOf(400, { message: 'top_k is too large', type: 'invalid_request_error', param: 'top_k' }),
    );
    const response = await ask(outer.url, { stream: true });
    const { error } = (await response.json()) as Refused & { error: { param: string } };
    assert.deepEqual([response.status, error.message, error.param], [400, 'top_k is too large', 'top_k']);
  });
});

const BACKEND_KEY = 'sk-hunter2-of-the-back-end';
const ADMIN_KEY = 'admin-secret-of-this-test';

/** Everything that a server can do wrong, its key shouted wherever there is a place for it. */
function wrongs(): readonly Script[] {
  const shout = { message: `no ${BACKEND_KEY}`, type: BACKEND_KEY, code: BACKEND_KEY, param: BACKEND_KEY };
  const event = (value: unknown): Script => ({ headers: EVENT_STREAM, chunks: [eventOf(value)] });
  const builtIn = [
    'reset-midway',
    'half-event',
    'silent',
    'silent-midway',
    'cut',
    'html',
    'redirect',
    'lying-length',
  ];
  return [
    ...[400, 401, 402, 403, 404, 408, 413, 422, 429, 500, 502, 503, 504].map((status) =>
      refusalOf(status, shout),
    ),
    { status: 500, headers: { 'content-type': 'text/html' }, chunks: [`<h1>${BACKEND_KEY}</h1>`] },
    { status: 500, headers: { 'content-type': 'text/plain' }, chunks: [BACKEND_KEY] },
    event({ error: shout }),
    { headers: EVENT_STREAM, chunks: [textChunk('a'), eventOf({ error: shout })] },
    { headers: EVENT_STREAM, chunks: [textChunk('a'), `data: {"x": ${BACKEND_KEY}}\n\n`] },
    { headers: { 'content-type': 'application/json' }, chunks: [`{"x": ${BACKEND_KEY}`] },
    { status: 307, headers: { location: `/?key=${BACKEND_KEY}` }, chunks: [] },
    { headers: { 'content-encoding': BACKEND_KEY }, chunks: ['x'] },
    { ...streamOf('ok'), headers: { ...EVENT_STREAM, 'x-key': BACKEND_KEY } },
    ...builtIn.map((name) => BUILT_IN_SCRIPTS[name]!.make()),
  ];
}

test('a back end’s key is in no answer, header, log line, metric or state, whatever goes wrong', async () => {
  const upstream = await startUpstream();
  const scripts = wrongs();
  // Each has a back end of its own, which nothing else has brought down.
  upstream.play(({ path }) => scripts[Number(path.split('/')[1])]!);
  const wrong = scripts.map((_, at) => ({
    id: `wrong-${at}`,
    url: `${upstream.url}/${at}`,
    api_key: BACKEND_KEY,
  }));
  const server = await startInProcess(
    {
      first_token_timeout_ms: 100,
      silence_limit_ms: 100,
      answer_timeout_ms: 100,
      log_level: 'debug',
      backends: [
        ...wrong,
        { id: 'gone', url: `http://127.0.0.1:${await freePort()}`, api_key: BACKEND_KEY },
        { kind: 'fake', id: 'script', first_token_ms: 0, token_ms: 1 },
      ],
      models: [
        ...wrong.map(({ id }) => ({ id, backends: [id] })),
        ...wrong.map(({ id }) => ({ id: `over-${id}`, backends: [id, 'script'] })),
        { id: 'gone', backends: ['gone'] },
      ],
    },
    { SLUICE_ADMIN_KEY: ADMIN_KEY },
  );
  const shown: string[] = [];
  const look = async (asked: Promise<Response>) => {
    const response = await asked;
    shown.push(JSON.stringify([...response.headers]));
    // A stream that is cut has said what it has said.
    shown.push(await response.text().catch((thrown: Error) => thrown.message));
    return response.status;
  };
  try {
    for (const { id } of wrong) {
      await Promise.all([
        look(ask(server.url, { model: id, stream: true })),
        look(ask(server.url, { model: id })),
        look(ask(server.url, { model: `over-${id}`, stream: true })),
      ]);
    }
    for (const body of [{ model: 'gone' }, { model: 'unknown' }, { messages: 7 }]) {
      assert.notEqual(await look(ask(server.url, body)), 200);
    }
    const admin = { headers: { authorization: `Bearer ${ADMIN_KEY}` } };
    assert.equal(await look(fetch(`${server.url}/admin/backends`, admin)), 200);
    for (const path of ['/metrics', '/readyz', '/healthz', '/v1/models', '/', '/nothing'])
      await look(fetch(server.url + path));
    shown.push(server.log());
    const asked = new Set(upstream.requests.map(({ path }) => path));
    assert.equal(asked.size, scripts.length, 'every wrong was done');
    for (const { headers } of upstream.requests) assert.equal(headers.authorization, `Bearer ${BACKEND_KEY}`);
    for (const text of shown) assert.ok(!text.includes('hunter2'), text);
    for (const part of ['"url":"http://127.0.0.1', 'sluice_requests_total{', 'not answered', '"wrong-3"'])
      assert.ok(
        shown.some((text) => text.includes(part)),
        `nobody showed ${part}`,
      );
  } finally {
    await server.close();
    await upstream.close();
  }
});
