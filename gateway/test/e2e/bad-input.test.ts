// What strangers send: each piece of nonsense is a 4xx with the one shape of errors, harms nothing, and the next
// request is served. What is odd but legal has one documented outcome on every route.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startInProcess } from '../in-process.ts';
import { refusalOf } from '../upstream/answers.ts';
import { startUpstream } from '../upstream/faulty-upstream.ts';
import { fakeConfig, post, raw, type Sluice, startSluice } from './harness.ts';

let sluice: Sluice;
before(async () => {
  sluice = await startSluice({
    config: fakeConfig(
      {},
      { body_timeout_ms: 400, header_timeout_ms: 800, body_limit_bytes: 4 * 1024 * 1024 },
    ),
  });
});
after(() => sluice.stop());

const ROUTES = [
  {
    path: '/v1/chat/completions',
    valid: { model: 'deepseek-r1', messages: [{ role: 'user', content: 'hi' }] },
  },
  { path: '/v1/completions', valid: { model: 'deepseek-r1', prompt: 'hi' } },
  { path: '/v1/responses', valid: { model: 'deepseek-r1', input: 'hi' } },
  { path: '/v1/models/deepseek-r1/generate', valid: { prompt: 'hi' } },
  { path: '/v1/models/deepseek-r1/generate_stream', valid: { prompt: 'hi' } },
] as const;

interface ErrorAnswer {
  readonly error: { message: string; type: string; code: string; param: string | null };
  readonly code: string;
  readonly message: string;
  readonly data: null;
}

function assertErrorShape(body: unknown): asserts body is ErrorAnswer {
  const { error, code, message, data } = body as ErrorAnswer;
  assert.equal(typeof error.message, 'string');
  assert.equal(typeof error.type, 'string');
  assert.equal(error.code, code);
  assert.equal(error.message, message);
  assert.equal(data, null);
  assert.doesNotMatch(message, /\bat .*\.ts:|node_modules/);
}

async function assertStillServes(): Promise<void> {
  const response = await post(`${sluice.url}/v1/models/deepseek-r1/generate`, { prompt: 'hi' });
  assert.equal(response.status, 200);
  await response.arrayBuffer();
}

const everywhere: readonly {
  name: string;
  body: string | ((valid: object) => string);
  status?: number;
  param?: string;
}[] = [
  { name: 'an empty body', body: '' },
  { name: 'no JSON', body: '{"prompt": hi}' },
  {
    name: 'NaN',
    body: (valid) =>
      JSON.stringify({ ...valid, temperature: 0 }).replace('"temperature":0', '"temperature":NaN'),
  },
  { name: 'a list', body: '[1,2]' },
  { name: 'a number', body: '7' },
  { name: 'null', body: 'null' },
  {
    name: 'a million-deep array',
    body: (valid) =>
      JSON.stringify({ ...valid, x: 0 }).replace('"x":0', `"x":${'['.repeat(1e6)}${']'.repeat(1e6)}`),
  },
  { name: 'max_tokens 0', body: (valid) => JSON.stringify({ ...valid, max_tokens: 0 }), param: 'max_tokens' },
  {
    name: 'max_tokens -1',
    body: (valid) => JSON.stringify({ ...valid, max_tokens: -1 }),
    param: 'max_tokens',
  },
  {
    name: 'max_tokens in words',
    body: (valid) => JSON.stringify({ ...valid, max_tokens: 'ten' }),
    param: 'max_tokens',
  },
  {
    name: 'temperature 3',
    body: (valid) => JSON.stringify({ ...valid, temperature: 3 }),
    param: 'temperature',
  },
  { name: 'stream in words', body: (valid) => JSON.stringify({ ...valid, stream: 'yes' }), param: 'stream' },
  {
    name: 'five megabytes',
    body: (valid) => JSON.stringify({ ...valid, user: 'x'.repeat(5 * 1024 * 1024) }),
    status: 413,
  },
];

for (const { name, body, status = 400, param } of everywhere) {
  test(`${name} is ${status} on every route`, async () => {
    for (const { path, valid } of ROUTES) {
      const response = await post(sluice.url + path, typeof body === 'string' ? body : body(valid));
      assert.equal(response.status, status, path);
      const answer = (await response.json()) as unknown;
      assertErrorShape(answer);
      if (param) assert.equal(answer.error.param, param, path);
    }
    await assertStillServes();
  });
}

const odd: readonly { name: string; body: (valid: object) => string }[] = [
  { name: 'max_tokens 1e18', body: (valid) => JSON.stringify({ ...valid, max_tokens: 1e18 }) },
  {
    name: 'max_tokens 100.0',
    body: (valid) => JSON.stringify({ ...valid, max_tokens: 100 }).replace('100', '100.0'),
  },
  { name: 'NUL in the prompt', body: (valid) => JSON.stringify(valid).replace('hi', 'h\\u0000i') },
  { name: 'a lone surrogate', body: (valid) => JSON.stringify(valid).replace('hi', 'h\\ud83d') },
  {
    name: 'duplicate keys',
    body: (valid) =>
      JSON.stringify(valid).replace(/^\{/, '{"prompt":"other","temperature":9,"temperature":0,'),
  },
  {
    name: 'null for what is optional',
    body: (valid) => JSON.stringify({ ...valid, stop: null, max_tokens: null, seed: null, stream: null }),
  },
];

for (const { name, body } of odd) {
  test(`${name} is served on every route`, async () => {
    for (const { path, valid } of ROUTES) {
      const response = await post(sluice.url + path, body(valid));
      assert.equal(response.status, 200, `${path}: ${await response.clone().text()}`);
      await response.arrayBuffer();
    }
  });
}

test('an empty list of messages names its field', async () => {
  const response = await post(`${sluice.url}/v1/chat/completions`, { model: 'deepseek-r1', messages: [] });
  assert.equal(response.status, 400);
  const answer = (await response.json()) as unknown;
  assertErrorShape(answer);
  assert.equal(answer.error.param, 'messages');
});

test('paths that are no text are 400, unknown ones 404', async () => {
  for (const [path, status] of [
    ['/v1/models/a%00b', 400],
    ['/v1/models/%ff', 400],
    ['/v1/nothing', 404],
    ['/%2e%2e/etc', 404],
  ] as const) {
    const answer = await raw(sluice.port, [
      `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
    ]);
    assert.equal(answer.status, status, path);
    assertErrorShape(JSON.parse(answer.body));
  }
});

const HEAD =
  'POST /v1/models/deepseek-r1/generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n';

test('a body that stops is 408', async () => {
  const chunked = await raw(sluice.port, [`${HEAD}Transfer-Encoding: chunked\r\n\r\n5\r\n{"pro\r\n`]);
  assert.equal(chunked.status, 408);
  const short = await raw(sluice.port, [`${HEAD}Content-Length: 500\r\n\r\n{"prompt":"hi"}`]);
  assert.equal(short.status, 408);
  assertErrorShape(JSON.parse(short.body));
  await assertStillServes();
});

test('headers that stop are 408', async () => {
  const answer = await raw(sluice.port, ['POST /v1/models/deepseek-r1/generate HTTP/1.1\r\nHost: loc']);
  assert.equal(answer.status, 408);
  assertErrorShape(JSON.parse(answer.body));
});

test('what is no HTTP, and headers without end, are told so', async () => {
  const noise = await raw(sluice.port, ['\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n']);
  assert.equal(noise.status, 400);
  assertErrorShape(JSON.parse(noise.body));
  const huge = await raw(sluice.port, [
    `GET / HTTP/1.1\r\nHost: localhost\r\nX: ${'y'.repeat(100_000)}\r\n\r\n`,
  ]);
  assert.equal(huge.status, 431);
  const lying = await raw(sluice.port, [
    `${HEAD}Content-Length: 15\r\nConnection: keep-alive\r\n\r\n{"prompt":"hi"}TRAILING NONSENSE\r\n\r\n`,
  ]);
  assert.equal(lying.status, 200);
  await assertStillServes();
});

test('a length over the limit is refused before the body is sent', async () => {
  const answer = await raw(sluice.port, [`${HEAD}Content-Length: 104857600\r\n\r\n`], 4_000);
  assert.equal(answer.status, 413);
  assertErrorShape(JSON.parse(answer.body));
});

test('ten thousand messages do no harm', async () => {
  const messages = Array.from({ length: 10_000 }, () => ({ role: 'user', content: 'hi' }));
  const response = await post(`${sluice.url}/v1/chat/completions`, { model: 'deepseek-r1', messages });
  assert.equal(response.status, 200);
  await response.arrayBuffer();
});

test('what a back end refuses of a message is told by the field that its client sent', async () => {
  const upstream = await startUpstream();
  const backends = [{ id: 'up', kind: 'vllm', url: `${upstream.url}/v1` }];
  const server = await startInProcess({ log_level: 'silent', backends, models: [{ id: 'm' }] });
  const image = 'data:image/png;base64,AA==';
  const place = 'messages[1].content[1]';
  const ours = [
    ['/v1/chat/completions', { messages: [{ role: 'user', content: 'hi' }] }, place],
    ['/v1/completions', { prompt: 'hi' }, undefined],
    ['/v1/models/m/generate', { prompt: 'hi', system_message: 's' }, 'prompt'],
    [
      '/v1/responses',
      {
        instructions: 's',
        input: [
          {
            role: 'user',
            content: [
              { type: 'input_text', text: 'What?' },
              { type: 'input_image', image_url: image },
            ],
          },
        ],
      },
      'input[0].content[1]',
    ],
    [
      '/v1/messages',
      {
        max_tokens: 9,
        system: 's',
        messages: [
          {
            role: 'user',
            content: [
              { type: 'text', text: 'What?' },
              { type: 'image', source: { type: 'url', url: 'https://example.com/a.png' } },
            ],
          },
        ],
      },
      'messages[0].content[1]',
    ],
  ] as const;
  try {
    for (const [path, body, field] of ours) {
      for (const stream of [false, true]) {
        upstream.play(refusalOf(400, { message: `${place} is no picture.`, param: place }));
        const response = await post(`${server.url}${path}`, { model: 'm', stream, ...body });
        assert.equal(response.status, 400);
        const { error } = (await response.json()) as { error: { message: string; param?: string | null } };
        assert.equal(error.param ?? undefined, field, path);
        assert.equal(error.message, `${field ?? 'The request'} is no picture.`);
      }
    }
  } finally {
    await server.close();
    await upstream.close();
  }
});
