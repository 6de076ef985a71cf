// Hedging over real sockets: first words that never come cost their clients no more than the wait before the hedge, losers are
// let go, and the calls that it takes stay within the bound. Calls are counted, and no time is.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type InProcessServer, startInProcess } from '../in-process.ts';
import { EVENT_STREAM, streamOf } from '../upstream/answers.ts';
import { startUpstream, type Upstream } from '../upstream/faulty-upstream.ts';
import type { Script } from '../upstream/script.ts';
import { metric, post, waitUntil } from './harness.ts';

const CALLS = 200;
/** Of the calls that the first back end gets, each so many-th is never answered. */
const SILENT_EVERY = 33;
const LIMIT_MS = 10_000;
const SILENCE: Script = { headers: EVENT_STREAM, chunks: [], end: 'hold' };

let a: Upstream;
let b: Upstream;
let sluice: InProcessServer;
before(async () => {
  a = await startUpstream();
  b = await startUpstream();
  sluice = await startInProcess({
    backends: [
      { id: 'a', url: a.url },
      { id: 'b', url: b.url },
    ],
    models: [{ id: 'm', backends: ['a', 'b'] }],
    hedge_after_ms: 100,
  });
});
after(async () => {
  await sluice?.close();
  await Promise.all([a?.close(), b?.close()]);
});

const ask = (body: object = {}) =>
  post(`${sluice.url}/v1/chat/completions`, {
    model: 'm',
    messages: [{ role: 'user', content: 'hi' }],
    stream: true,
    ...body,
  });

test('of calls that are silent now and then every one is answered, at less than 5 % more calls', async () => {
  let asked = 0;
  a.play(() => {
    asked += 1;
    return asked % SILENT_EVERY === 0 ? SILENCE : streamOf('from a');
  });
  b.play(streamOf('from b'));
  for (let call = 0; call < CALLS; call += 1) {
    const text = await (await ask()).text();
    assert.match(text, /"content":"from [ab]"/, `call ${call}`);
    assert.match(text, /data: \[DONE\]\n\n$/);
  }
  const silent = a.requests.filter(({ writtenAt }) => writtenAt.length === 0);
  assert.equal(silent.length, Math.floor(CALLS / SILENT_EVERY));
  assert.equal(a.requests.length, CALLS);
  const hedges = b.requests.length;
  assert.ok(hedges >= silent.length && hedges <= 1 + CALLS / 20, `${hedges} hedges`);
  await waitUntil(
    () => silent.every(({ closedByPeerAt }) => closedByPeerAt !== undefined),
    LIMIT_MS,
    () => 'a loser was not let go',
  );
  const won = await metric(sluice.url, 'sluice_hedges_total{result="won"}');
  assert.ok(won >= silent.length && won <= hedges, `${won} won`);
  assert.equal(await metric(sluice.url, 'sluice_requests_running'), 0);
});

test('the head of an answer names the winner', async () => {
  a.play(SILENCE);
  b.play(streamOf('from b'));
  const response = await ask();
  assert.equal(response.headers.get('x-sluice-backend'), 'b');
  assert.match(await response.text(), /"content":"from b"/);
});

test('a client that leaves while both run ends both', async () => {
  a.play(SILENCE);
  b.play(SILENCE);
  const [atA, atB] = [a.requests.length, b.requests.length];
  const leaving = new AbortController();
  const asked = post(
    `${sluice.url}/v1/chat/completions`,
    { model: 'm', messages: [{ role: 'user', content: 'hi' }], stream: true },
    { signal: leaving.signal },
  );
  asked.catch(() => {});
  await waitUntil(
    () => b.requests.length > atB,
    LIMIT_MS,
    () => 'it was not hedged',
  );
  leaving.abort();
  await waitUntil(
    () => [a.requests[atA], b.requests[atB]].every((one) => one?.closedByPeerAt !== undefined),
    LIMIT_MS,
    () => 'one of the two was not let go',
  );
  assert.equal(await metric(sluice.url, 'sluice_requests_running'), 0);
});
