// The limits of keys and models over real sockets: what a client reads of them, that the one too many is refused, and that no ending of
// an answer keeps a place that others need. And what the operator's own key opens.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fakeConfig, post, type Sluice, startSluice, waitUntil } from './harness.ts';

const CONFIG = {
  backends: [
    { kind: 'fake', id: 'quick', first_token_ms: 5, token_ms: 2, price: { input: 1_000, output: 100_000 } },
    { kind: 'fake', id: 'slow', first_token_ms: 300, token_ms: 100, pieces: Array(50).fill('word ') },
    { kind: 'fake', id: 'broken', first_token_ms: 5, token_ms: 2, fail_after: 1 },
  ],
  keys: [
    { key: 'of-ten', name: 'ten', rpm: 10, tpm: 100_000 },
    { key: 'of-two', name: 'two', rpm: 2 },
    { key: 'of-few', name: 'few', tpm: 700 },
    { key: 'of-one', name: 'one', max_parallel: 1 },
    { key: 'of-days', name: 'days', rpd: 2, tpd: 100_000 },
    { key: 'of-means', name: 'means', daily_budget: 3 },
    { key: 'of-all', name: 'all' },
  ],
};

/** Two models of one back end: one that all keys share, and one that a key has little of. */
const BY_MODEL = {
  backends: [{ kind: 'fake', id: 'quick', first_token_ms: 5, token_ms: 2 }],
  models: [{ id: 'shared', aliases: ['common'], limits: { rpm: 3 } }, { id: 'other' }],
  keys: [
    { key: 'of-one', name: 'one', rpm: 50, model_limits: { common: { rpm: 2 } } },
    { key: 'of-two', name: 'two' },
  ],
};

const HEADERS = ['limit', 'remaining', 'reset'].flatMap((what) =>
  ['requests', 'tokens'].map((kind) => `x-ratelimit-${what}-${kind}`),
);
const withKey = (key: string): RequestInit => ({ headers: { authorization: `Bearer ${key}` } });
const chat = (more: object = {}) => ({
  model: 'deepseek-r1',
  messages: [{ role: 'user', content: 'hi' }],
  ...more,
});

let quick: Sluice;
let slow: Sluice;
let broken: Sluice;
const serving = (id: string) =>
  startSluice({
    config: { ...CONFIG, backends: CONFIG.backends.filter((one) => one.id === id) },
    env: { SLUICE_ADMIN_KEY: 'of-the-operator' },
  });
before(async () => {
  [quick, slow, broken] = await Promise.all([serving('quick'), serving('slow'), serving('broken')]);
});
after(() => Promise.all([quick.stop(), slow.stop(), broken.stop()]));

test('what is left stands in the head of every answer: streams, JSON, lists and refusals', async () => {
  const url = quick.url;
  const routes: [string, unknown][] = [
    ['/v1/chat/completions', chat({ stream: true })],
    ['/v1/chat/completions', chat()],
    ['/v1/completions', { model: 'deepseek-r1', prompt: 'hi', stream: true }],
    ['/v1/models/deepseek-r1/generate_stream', { prompt: 'hi' }],
    ['/v1/chat/completions', { model: 'deepseek-r1' }],
  ];
  for (const [path, body] of routes) {
    const response = await post(`${url}${path}`, body, withKey('of-ten'));
    for (const name of HEADERS)
      assert.match(response.headers.get(name) ?? '', /^\d+s?$/, `${name} of ${path}`);
    assert.equal(response.headers.get('x-ratelimit-limit-requests'), '10');
    await response.text();
  }
  const list = await fetch(`${url}/v1/models`, withKey('of-ten'));
  assert.equal(list.headers.get('x-ratelimit-remaining-requests'), '6', 'four of them were admitted');
  const free = await post(`${url}/v1/chat/completions`, chat(), withKey('of-all'));
  assert.equal(free.headers.get('x-ratelimit-limit-requests'), null);
  await Promise.all([list.text(), free.text()]);
});

test('the request too many is refused by the name of its limit, with the time to come back', async () => {
  for (let call = 0; call < 2; call += 1) {
    const response = await post(
      `${quick.url}/v1/chat/completions`,
      chat({ stream: true }),
      withKey('of-two'),
    );
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('x-ratelimit-remaining-requests'), `${1 - call}`);
    await response.text();
  }
  const refused = await post(`${quick.url}/v1/chat/completions`, chat({ stream: true }), withKey('of-two'));
  assert.equal(refused.status, 429);
  assert.equal(refused.headers.get('x-ratelimit-remaining-requests'), '0');
  assert.ok(Number(refused.headers.get('retry-after')) >= 1);
  assert.equal(refused.headers.get('x-should-retry'), 'true');
  const { error } = (await refused.json()) as { error: { code: string; message: string } };
  assert.equal(error.code, 'rate_limit_exceeded');
  assert.match(error.message, /RPM/);
});

test('where only a day is limited its headers and its refusal tell of the day', async () => {
  for (let call = 0; call < 2; call += 1) {
    const response = await post(`${quick.url}/v1/chat/completions`, chat(), withKey('of-days'));
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('x-ratelimit-limit-requests'), '2');
    assert.equal(response.headers.get('x-ratelimit-remaining-requests'), `${1 - call}`);
    assert.equal(response.headers.get('x-ratelimit-limit-tokens'), '100000');
    await response.text();
  }
  const refused = await post(`${quick.url}/v1/chat/completions`, chat(), withKey('of-days'));
  assert.equal(refused.status, 429);
  assert.ok(Number(refused.headers.get('retry-after')) > 23 * 3_600);
  assert.match(await refused.text(), /requests a day \(RPD: 2\).*Ask again in 2[34] h/);
});

test('a budget is spent by what answers cost where they were computed, and its end is told as such', async () => {
  // Six pieces are six tokens of 0.1 each: what a whole answer could cost is held only while it is made.
  const statuses: number[] = [];
  for (let call = 0; call < 8; call += 1) {
    const body = chat({ max_tokens: 6 });
    const response = await post(`${quick.url}/v1/chat/completions`, body, withKey('of-means'));
    statuses.push(response.status);
    const text = await response.text();
    if (response.status === 429) assert.match(text, /spending a day \(daily_budget: 3\)/);
  }
  const passed = statuses.filter((status) => status === 200).length;
  assert.ok(passed >= 3 && passed <= 5, `${statuses}`);
  assert.deepEqual(statuses, [...Array(passed).fill(200), ...Array(8 - passed).fill(429)]);
  for (let call = 0; call < 8; call += 1) {
    const free = await post(`${slow.url}/v1/chat/completions`, chat({ max_tokens: 1 }), withKey('of-means'));
    assert.equal(free.status, 200, await free.text());
  }
});

test('tokens are what was used, not what was feared', async () => {
  const body = chat({ max_tokens: 600 });
  for (let call = 0; call < 5; call += 1) {
    const response = await post(`${quick.url}/v1/chat/completions`, body, withKey('of-few'));
    assert.equal(response.status, 200, await response.text());
  }
  const abort = new AbortController();
  const url = `${slow.url}/v1/chat/completions`;
  const first = await post(url, { ...body, stream: true }, { ...withKey('of-few'), signal: abort.signal });
  const second = await post(url, body, withKey('of-few'));
  assert.deepEqual(
    [first.status, second.status],
    [200, 429],
    'while one runs it may use all that it asked for',
  );
  assert.match(await second.text(), /TPM/);
  abort.abort();
  await first.text().catch(() => {});
});

test('a limit for one model and that of a model for all keys hold under any of its names, and say whose they are', async () => {
  const sluice = await startSluice({ config: BY_MODEL });
  try {
    const ask = async (key: string, model: string) => {
      const response = await post(`${sluice.url}/v1/chat/completions`, chat({ model }), withKey(key));
      const head = ['limit', 'remaining'].map((what) => response.headers.get(`x-ratelimit-${what}-requests`));
      return { status: response.status, head, text: await response.text() };
    };
    assert.deepEqual((await ask('of-one', 'shared')).head, ['2', '1']);
    assert.deepEqual((await ask('of-one', 'common')).head, ['2', '0']);
    const own = await ask('of-one', 'shared');
    assert.deepEqual([own.status, own.head], [429, ['2', '0']]);
    assert.match(own.text, /This API key has reached its limit for the model .*shared.* \(RPM: 2\)/);
    assert.deepEqual((await ask('of-one', 'other')).head, ['50', '47']);
    assert.deepEqual((await ask('of-two', 'shared')).head, ['3', '0']);
    const all = await ask('of-two', 'common');
    assert.deepEqual([all.status, all.head], [429, ['3', '0']]);
    assert.match(all.text, /The model .*shared.* for all keys together .*\(RPM: 3\)/);
    const metrics = await (await fetch(`${sluice.url}/metrics`, withKey('of-two'))).text();
    assert.match(metrics, /sluice_model_limit_used\{model="shared",limit="rpm"\} 3/);
  } finally {
    await sluice.stop();
  }
});

/** Path, body, whether it streams. */
const ROUTES: [string, unknown, boolean][] = [
  ['/v1/chat/completions', chat({ stream: true }), true],
  ['/v1/chat/completions', chat(), false],
  ['/v1/completions', { model: 'deepseek-r1', prompt: 'hi', stream: true }, true],
  ['/v1/responses', { model: 'deepseek-r1', input: 'hi', stream: true }, true],
  ['/v1/responses', { model: 'deepseek-r1', input: 'hi' }, false],
  ['/v1/models/deepseek-r1/generate_stream', { prompt: 'hi' }, true],
];

/** Sends it and leaves: before its first word, or after it. */
async function leave(url: string, body: unknown, afterWord: boolean): Promise<void> {
  const abort = new AbortController();
  const asked = post(url, body, { ...withKey('of-one'), signal: abort.signal });
  if (afterWord) {
    const response = await asked;
    assert.equal(response.status, 200, url);
    await response.body!.getReader().read();
  } else await sleep(50);
  abort.abort();
  await asked.catch(() => {});
}

test('however an answer ends, its place is free again', async () => {
  for (const [path, body, isStream] of ROUTES) {
    for (let round = 0; round < 3; round += 1) {
      await leave(`${slow.url}${path}`, body, false);
      await waitUntilFree(slow);
      if (isStream) await leave(`${slow.url}${path}`, body, true);
      await waitUntilFree(slow);
      const failed = await post(`${broken.url}${path}`, body, withKey('of-one'));
      assert.notEqual(failed.status, 429, path);
      await failed.text();
      const done = await post(`${quick.url}${path}`, body, withKey('of-one'));
      assert.equal(done.status, 200, path);
      await done.text();
    }
  }
});

/** A client that left is noticed a moment later. */
async function waitUntilFree(sluice: Sluice): Promise<void> {
  await waitUntil(
    async () => (await running(sluice)) === 0,
    5_000,
    () => 'the place is not given back',
  );
}

async function running(sluice: Sluice): Promise<number> {
  const response = await fetch(`${sluice.url}/admin/backends`, withKey('of-the-operator'));
  const { data } = (await response.json()) as { data: { running: number }[] };
  return data.reduce((sum, one) => sum + one.running, 0);
}

test('while one runs the next is refused; an array of prompts has one lane', async () => {
  const url = `${slow.url}/v1/chat/completions`;
  const abort = new AbortController();
  const first = await post(url, chat({ stream: true }), { ...withKey('of-one'), signal: abort.signal });
  assert.equal(first.status, 200);
  for (let call = 0; call < 3; call += 1) {
    const second = await post(url, chat(), withKey('of-one'));
    assert.equal(second.status, 429);
    assert.match(await second.text(), /parallel requests \(1\)/);
  }
  abort.abort();
  await first.text().catch(() => {});
  const array = await post(
    `${quick.url}/v1/models/deepseek-r1/generate`,
    { prompt: ['a', 'b', 'c'], batch_size: 3 },
    withKey('of-one'),
  );
  assert.equal(array.status, 200);
  assert.equal(((await array.json()) as { choices: unknown[] }).choices.length, 3);
});

test('the operator’s key opens what other keys do not, and no more than that', async () => {
  const url = `${quick.url}/admin/backends`;
  const answer = await fetch(url, withKey('of-the-operator'));
  assert.equal(answer.status, 200);
  const body = (await answer.json()) as { object: string; data: Record<string, unknown>[] };
  assert.deepEqual(body.data, [
    {
      id: 'quick',
      kind: 'fake',
      url: null,
      state: 'ready',
      reason: null,
      retry_after_ms: null,
      slots: 8,
      running: 0,
      reported: null,
      models: null,
    },
  ]);
  for (const init of [{}, withKey('of-all'), withKey('of-the-operato')]) {
    const refused = await fetch(url, init);
    assert.equal(refused.status, 401);
    await refused.text();
  }
  const posted = await post(url, {}, withKey('of-the-operator'));
  assert.equal(posted.status, 405);
  const asClient = await fetch(`${quick.url}/v1/models`, withKey('of-the-operator'));
  assert.equal(asClient.status, 401);
  await Promise.all([posted.text(), asClient.text()]);
});

test('without an admin key its paths are as if they were not there', async () => {
  const plain = await startSluice({ config: fakeConfig(), env: { SLUICE_ADMIN_KEY: '' } });
  try {
    const [admin, other] = await Promise.all(
      ['/admin/backends', '/admin/nothing'].map((path) => fetch(`${plain.url}${path}`, withKey('x'))),
    );
    assert.deepEqual([admin!.status, other!.status], [404, 404]);
    assert.deepEqual(await admin!.json(), await other!.json());
  } finally {
    await plain.stop();
  }
});
