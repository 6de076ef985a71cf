// A request that is sent twice under one name is computed once: together, after its end, and after its client was cut off.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type InProcessServer, startInProcess } from '../in-process.ts';
import { post } from './harness.ts';
import { attempt, eventsIn } from './resuming-client.ts';

const PIECES = ['one ', 'two ', 'three ', 'four'];
const fake = { kind: 'fake', pieces: PIECES, first_token_ms: 50, token_ms: 10 };
const ONE = { authorization: 'Bearer one' };
const TWO = { authorization: 'Bearer two' };
const CHAT = '/v1/chat/completions';

let server: InProcessServer;
before(async () => {
  server = await startInProcess({
    log_level: 'silent',
    keep_alive_ms: 20,
    keys: [
      { key: 'one', name: 'one' },
      { key: 'two', name: 'two' },
    ],
    backends: [
      { ...fake, id: 'well' },
      { ...fake, id: 'dead', fail_after: 0 },
    ],
    models: [
      { id: 'story', backends: ['well'] },
      { id: 'other', backends: ['well'] },
      { id: 'dead', backends: ['dead'] },
    ],
  });
});
after(() => server.close());

const bodyOf = (model: string, rest: object = {}) => ({
  model,
  messages: [{ role: 'user', content: 'Go on.' }],
  ...rest,
});
const ask = (name: string, body: object, headers: Readonly<Record<string, string>> = {}, path = CHAT) =>
  post(`${server.url}${path}`, body, { headers: { ...ONE, 'idempotency-key': name, ...headers } });

/** Tokens that were computed so far. */
async function computed(kind: 'completion' | 'prompt' = 'completion'): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`, { headers: ONE })).text();
  return Number(new RegExp(`^sluice_${kind}_tokens_total (\\d+)$`, 'm').exec(text)![1]);
}

for (const stream of [false, true]) {
  const what = stream ? 'streams' : 'JSON';
  test(`two posts at once and one later get the same answer, computed once (${what})`, async () => {
    const before = await computed();
    const body = bodyOf('story', { stream });
    const pair = await Promise.all([ask(`at once ${stream}`, body), ask(`at once ${stream}`, body)]);
    const later = await ask(`at once ${stream}`, body);
    const texts = await Promise.all([...pair, later].map((response) => response.text()));
    assert.equal(new Set(texts).size, 1);
    assert.match(texts[0]!, stream ? /\[DONE\]\n\n$/ : /one two three four/);
    assert.doesNotMatch(texts[0]!, /^id:/m);
    const replayed = pair.map((response) => response.headers.get('x-sluice-replayed'));
    assert.deepEqual(replayed.sort(), ['1', null].sort());
    assert.equal(later.headers.get('x-sluice-replayed'), '1');
    assert.equal((await computed()) - before, PIECES.length);
  });
}

test('a name is of its key, its route and its model in the path', async () => {
  const before = await computed();
  const body = { prompt: 'Go on.' };
  const story = '/v1/models/story/generate';
  const answers = await Promise.all([
    ask('mine', body, {}, story),
    ask('mine', body, TWO, story),
    ask('mine', bodyOf('story')),
    ask('mine', body, {}, '/v1/models/story/generate_stream'),
  ]);
  for (const answer of answers) {
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get('x-sluice-replayed'), null);
    await answer.text();
  }
  assert.equal((await computed()) - before, 4 * PIECES.length);
  const elsewhere = await ask('mine', body, {}, '/v1/models/other/generate');
  assert.equal(elsewhere.status, 422);
  await elsewhere.text();
});

const VECTORS = [
  ['/v1/embeddings', { input: Array.from({ length: 40 }, (_, index) => `text ${index}`) }, { input: 'a' }],
  ['/v1/rerank', { query: 'q', documents: ['a', 'b'] }, { query: 'q', documents: ['b', 'a'] }],
] as const;

for (const [path, body, another] of VECTORS) {
  test(`two posts at once and one later get the same answer, computed once (${path})`, async () => {
    const before = await computed('prompt');
    const asked = { model: 'story', ...body };
    const pair = await Promise.all([ask('vectors', asked, {}, path), ask('vectors', asked, {}, path)]);
    const later = await ask('vectors', asked, {}, path);
    for (const answer of [...pair, later]) {
      assert.equal(answer.status, 200);
      assert.match(answer.headers.get('content-type')!, /^application\/json/);
      assert.equal(answer.headers.get('x-sluice-stream'), null);
    }
    const replayed = [...pair, later].map((response) => response.headers.get('x-sluice-replayed'));
    assert.deepEqual(replayed.sort(), ['1', '1', null]);
    const texts = await Promise.all([...pair, later].map((response) => response.text()));
    assert.equal(new Set(texts).size, 1);
    const { usage } = JSON.parse(texts[0]!) as { usage: { prompt_tokens: number } };
    assert.equal((await computed('prompt')) - before, usage.prompt_tokens);

    const refused = await ask('vectors', { model: 'story', ...another }, {}, path);
    assert.equal(refused.status, 422);
    const others = await ask('vectors', asked, TWO, path);
    assert.equal(others.headers.get('x-sluice-replayed'), null, "another key's name is another one");
    await Promise.all([refused.text(), others.text()]);
  });

  test(`a client that was cut off finds its answer again, and what failed is tried anew (${path})`, async () => {
    const text = JSON.stringify({ model: 'story', ...body });
    const headers = { ...ONE, 'content-type': 'application/json', 'idempotency-key': 'vectors, cut off' };
    const cut = await attempt(server.port, 'POST', path, headers, text, 1);
    assert.equal(cut.status, 0);
    const again = await post(`${server.url}${path}`, text, { headers });
    assert.deepEqual([again.status, again.headers.get('x-sluice-replayed')], [200, '1']);
    await again.text();
    for (let time = 0; time < 2; time += 1) {
      const failed = await ask('vectors, dead', { model: 'dead', ...body }, {}, path);
      assert.deepEqual([failed.status, failed.headers.get('x-sluice-replayed')], [502, null]);
      await failed.text();
    }
  });
}

test('another body under the same name is refused, and the header is named', async () => {
  await (await ask('taken', bodyOf('story'))).text();
  const refused = await ask('taken', bodyOf('story', { temperature: 1 }));
  assert.equal(refused.status, 422);
  const { error } = (await refused.json()) as { error: { code: string; param: string } };
  assert.deepEqual([error.code, error.param], ['invalid_request', 'Idempotency-Key']);
});

test('a name that is no name is refused', async () => {
  for (const name of ['x'.repeat(256), 'caf\u00e9']) {
    const refused = await ask(name, bodyOf('story'));
    assert.equal(refused.status, 400);
    assert.match(await refused.text(), /Idempotency-Key/);
  }
});

test('what failed before its first word, or was no request, is forgotten: the same name is tried anew', async () => {
  for (const stream of [false, true]) {
    for (let time = 0; time < 2; time += 1) {
      const failed = await ask(`dead ${stream}`, bodyOf('dead', { stream }));
      // A stream's head may have left to fill the silence before.
      if (!stream) assert.equal(failed.status, 502);
      assert.equal(failed.headers.get('x-sluice-replayed'), null);
      assert.match(await failed.text(), /backend_failed/);
    }
  }
  assert.equal((await ask('later good', bodyOf('story', { temperature: 9 }))).status, 400);
  assert.equal((await ask('later good', bodyOf('story'))).status, 200);
});

test('a JSON answer whose client was cut off is there when it asks again', async () => {
  const before = await computed();
  const body = JSON.stringify(bodyOf('story'));
  const headers = { ...ONE, 'content-type': 'application/json', 'idempotency-key': 'cut off' };
  const cut = await attempt(server.port, 'POST', CHAT, headers, body, 1);
  assert.equal(cut.isWhole, false);
  const again = await post(`${server.url}${CHAT}`, body, { headers });
  assert.equal(again.headers.get('x-sluice-replayed'), '1');
  assert.match(await again.text(), /one two three four/);
  assert.equal((await computed()) - before, PIECES.length);
});

test('blank lines before a JSON answer come to each reader that asks for them', async () => {
  const plain = ask('padded', bodyOf('story'));
  const padded = await ask('padded', bodyOf('story'), { 'x-sluice-keep-alive': '1' });
  const text = await padded.text();
  assert.match(text, /^\n+\{/);
  assert.equal(text.trim(), (await (await plain).text()).trim());
});

test('a numbered stream that is asked for again goes on behind what its client had last', async () => {
  const resumable = { 'x-sluice-resumable': '1' };
  const body = bodyOf('story', { stream: true });
  const all = eventsIn(Buffer.from(await (await ask('numbered', body, resumable)).arrayBuffer()), '\n\n');
  const rest = await ask('numbered', body, { ...resumable, 'last-event-id': all[2]!.id });
  assert.deepEqual(eventsIn(Buffer.from(await rest.arrayBuffer()), '\n\n'), all.slice(3));
  const wrong = await ask('numbered', body, { ...resumable, 'last-event-id': 'x' });
  assert.equal(wrong.status, 400);
});
