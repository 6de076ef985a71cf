// Answers that are shared or kept, over real sockets: what the upstream is asked, what each client reads, and what the head
// of its answer says; and that nothing passes from one tenant to another.
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { type InProcessServer, startInProcess } from '../in-process.ts';
import { refusalOf, slowStreamOf, streamOf } from '../upstream/answers.ts';
import { startUpstream, type Upstream } from '../upstream/faulty-upstream.ts';
import { metric, post, waitUntil } from './harness.ts';

const LIMIT_MS = 10_000;
const SHARING = { coalesce: true, backends: ['up'] };

let upstream: Upstream;
let sluice: InProcessServer;
/** Each test asks something that none before it has asked. */
let question = 0;
before(async () => {
  upstream = await startUpstream();
  sluice = await startInProcess({
    backends: [{ id: 'up', url: upstream.url, kind: 'vllm' }],
    models: [
      { id: 'shares', ...SHARING },
      { id: 'keeps', backends: ['up'], answer_cache: {} },
      { id: 'plain', backends: ['up'] },
    ],
    keys: [
      { key: 'of-one', name: 'one' },
      { key: 'of-two', name: 'two', tpm: 100_000 },
    ],
  });
});
after(async () => {
  await sluice?.close();
  await upstream?.close();
});
beforeEach(() => {
  question += 1;
});

interface Ask {
  readonly model: string;
  readonly key?: string;
  readonly body?: object;
  readonly headers?: Readonly<Record<string, string>>;
  readonly path?: string;
  readonly signal?: AbortSignal;
}

function ask({ model, key = 'of-one', body, headers, path = '/v1/chat/completions', signal }: Ask) {
  const messages = [{ role: 'user', content: `question ${question}` }];
  return post(
    `${sluice.url}${path}`,
    { model, messages, temperature: 0, stream: true, ...body },
    { headers: { authorization: `Bearer ${key}`, ...headers }, ...(signal && { signal }) },
  );
}

async function read(asked: Promise<Response>) {
  const response = await asked;
  const text = await response.text();
  const words = [...text.matchAll(/"content":"([^"]+)"/g)].map(([, word]) => word).join('');
  return { words, text, degraded: response.headers.get('x-sluice-degraded'), status: response.status };
}

const askedSince = (before: number) => upstream.requests.length - before;

test('a crowd that asks the same at once is one request to the upstream', async () => {
  upstream.play(slowStreamOf(40, 'one ', 'two ', 'three ', 'four'));
  const before = upstream.requests.length;
  const answers = await Promise.all(Array.from({ length: 20 }, () => read(ask({ model: 'shares' }))));
  for (const { words, text } of answers) {
    assert.equal(words, 'one two three four');
    assert.match(text, /data: \[DONE\]\n\n$/);
  }
  assert.equal(askedSince(before), 1);
  const joined = answers.filter(({ degraded }) => degraded === 'coalesced');
  assert.equal(joined.length, 19);
  assert.equal(
    new Set(answers.map(({ text }) => /"id":"([^"]+)"/.exec(text)?.[1])).size,
    20,
    'ids are their own',
  );
});

test('one that comes in the middle reads it from the beginning; the first may leave', async () => {
  upstream.play(slowStreamOf(150, 'one ', 'two ', 'three ', 'four'));
  const before = upstream.requests.length;
  const leaving = new AbortController();
  const first = await ask({ model: 'shares', signal: leaving.signal });
  const second = ask({ model: 'shares' });
  await second;
  leaving.abort();
  await first.text().catch(() => {});
  assert.equal((await read(second)).words, 'one two three four');
  assert.equal(askedSince(before), 1);
});

test('the upstream is let go when the last one has left', async () => {
  upstream.play(slowStreamOf(1_000, 'one ', 'two ', 'three ', 'four'));
  const before = upstream.requests.length;
  const leaving = new AbortController();
  const asked = [1, 2].map(() => ask({ model: 'shares', signal: leaving.signal }));
  for (const one of asked) one.catch(() => {});
  await waitUntil(
    () => askedSince(before) === 1,
    LIMIT_MS,
    () => 'the upstream was not asked',
  );
  leaving.abort();
  await waitUntil(
    () => upstream.requests[before]?.closedByPeerAt !== undefined,
    LIMIT_MS,
    () => 'the upstream was not let go',
  );
});

test('tenants share nothing, nor do sampled answers, nor models that were not told to', async () => {
  upstream.play(slowStreamOf(50, 'one ', 'two'));
  const before = upstream.requests.length;
  const asks: readonly Ask[] = [
    { model: 'shares' },
    { model: 'shares', key: 'of-two' },
    { model: 'shares', body: { temperature: 0.6, seed: 7 } },
    { model: 'shares', body: { temperature: 0.6, seed: 7 } },
    { model: 'shares', headers: { 'cache-control': 'no-store' } },
    { model: 'plain' },
    { model: 'plain' },
  ];
  const answers = await Promise.all(asks.map((one) => read(ask(one))));
  for (const { words, degraded } of answers) assert.deepEqual([words, degraded], ['one two', null]);
  assert.equal(askedSince(before), asks.length);
});

test('a kept answer is given again in any form, and names itself', async () => {
  upstream.play(streamOf('kept ', 'words'));
  const before = upstream.requests.length;
  assert.deepEqual((await read(ask({ model: 'keeps' }))).degraded, null);
  const streamed = await read(ask({ model: 'keeps', body: { stream_options: { include_usage: true } } }));
  assert.deepEqual([streamed.words, streamed.degraded], ['kept words', 'cache']);
  const whole = await ask({ model: 'keeps', body: { stream: false } });
  assert.equal(whole.headers.get('x-sluice-degraded'), 'cache');
  const { choices } = (await whole.json()) as {
    choices: { message: { content: string }; finish_reason: string }[];
  };
  assert.deepEqual([choices[0]!.message.content, choices[0]!.finish_reason], ['kept words', 'stop']);
  assert.equal(askedSince(before), 1);
  assert.ok((await metric(sluice.url, 'sluice_degraded_total{step="cache"}')) >= 2);
});

test('nothing kept passes from one tenant to another, from one prompt to another, or to who refuses it', async () => {
  upstream.play(streamOf('kept'));
  const before = upstream.requests.length;
  await read(ask({ model: 'keeps' }));
  await read(ask({ model: 'keeps', key: 'of-two' }));
  await read(ask({ model: 'keeps', headers: { 'cache-control': 'no-cache' } }));
  await read(
    ask({ model: 'keeps', body: { messages: [{ role: 'user', content: `question ${question}!` }] } }),
  );
  assert.equal(askedSince(before), 4);
  assert.equal((await read(ask({ model: 'keeps', key: 'of-two' }))).degraded, 'cache');
});

test('a refusal is not kept', async () => {
  upstream.play(refusalOf(422, { message: 'not this', type: 'invalid_request_error' }));
  assert.equal((await read(ask({ model: 'keeps' }))).status, 422);
  upstream.play(streamOf('better'));
  assert.deepEqual(await read(ask({ model: 'keeps' })).then(({ words, degraded }) => [words, degraded]), [
    'better',
    null,
  ]);
});

test('limits count what is kept as if it had been computed', async () => {
  upstream.play(streamOf('kept'));
  const left = async () => {
    const response = await ask({ model: 'keeps', key: 'of-two' });
    await response.text();
    return Number(response.headers.get('x-ratelimit-remaining-tokens'));
  };
  const [first, second] = [await left(), await left()];
  assert.ok(second < first, `${second} of ${first}`);
});
