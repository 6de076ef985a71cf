// Guards how a remote back end is, as the scheduler sees it: busy and for how long, down after what, one call on trial, gone
// for good; and that its key is in nothing that it says.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { waitUntil } from '../../../test/e2e/harness.ts';
import {
  EVENT_STREAM,
  refusalOf,
  slowStreamOf,
  streamOf,
  textChunk,
} from '../../../test/upstream/answers.ts';
import { begun, callRemote, openRemote, textOf } from '../../../test/upstream/remote-on-upstream.ts';
import type { Script } from '../../../test/upstream/script.ts';
import { RemoteBackend, type RemoteBackendOptions } from './remote-backend.ts';
import { plainAnswer, startServer } from './transport-testing.ts';

const LIMIT_MS = 10_000;
const BROKEN = refusalOf(500, { message: 'out of memory' });
/** Says a word, and nothing more. */
const HELD: Script = { headers: EVENT_STREAM, chunks: [textChunk('a')], end: 'hold' };
const SILENT: Script = { headers: EVENT_STREAM, chunks: [], end: 'hold' };
/** In a row, until it is down. */
const MOST_FAILURES = 5;

const until = (isTrue: () => boolean, what: string) => waitUntil(isTrue, LIMIT_MS, () => what);

test('busy: nobody is sent there until the time that it asked for, and whoever waits is told', async (t) => {
  const { backend, upstream, log } = await openRemote(t);
  const before = backend.load();
  assert.ok(before.slots > 1);
  let told = 0;
  backend.onLoadChange(() => {
    told += 1;
  });
  upstream.play([
    refusalOf(429, { message: 'Too many requests' }, { 'retry-after-ms': '1000' }),
    streamOf('ok'),
  ]);
  await assert.rejects(callRemote(backend).done, { code: 'backend_busy', retryAfterMs: 1_000 });
  const { state, slots, reason, retryAfterMs = 0 } = backend.load();
  assert.deepEqual([state, slots, reason], ['busy', 0, 'Too many requests']);
  assert.ok(retryAfterMs > 0 && retryAfterMs <= 1_000, `${retryAfterMs}`);
  assert.equal(told, 1);
  await until(() => told === 2, 'nobody was told that its rest is over');
  assert.deepEqual(backend.load(), before);
  await callRemote(backend).done;
  assert.equal(log.filter((line) => line.includes('is busy')).length, 1, 'a line a change');
});

test('a refusal of a request says nothing of health, however often', async (t) => {
  const { backend, upstream, log } = await openRemote(t);
  const logged = log.length;
  upstream.play(refusalOf(400, { message: 'top_k is too large', param: 'top_k' }));
  for (let count = 0; count < 3 * MOST_FAILURES; count += 1) {
    await assert.rejects(callRemote(backend).done, { code: 'backend_refused', status: 400, param: 'top_k' });
  }
  upstream.play(refusalOf(400, { message: 'x', code: 'context_length_exceeded' }));
  await assert.rejects(callRemote(backend).done, { code: 'context_length_exceeded' });
  assert.equal(backend.load().state, 'ready');
  assert.equal(log.length, logged);
});

test('refusals between failures end their row', async (t) => {
  const { backend, upstream } = await openRemote(t);
  const failures = Array<Script>(MOST_FAILURES - 1).fill(BROKEN);
  upstream.play([...failures, refusalOf(404, { message: 'no such model' }), ...failures, streamOf('ok')]);
  for (let count = 0; count < MOST_FAILURES - 1; count += 1) await assert.rejects(callRemote(backend).done);
  await assert.rejects(callRemote(backend).done, { code: 'backend_refused' });
  for (let count = 0; count < MOST_FAILURES - 2; count += 1) await assert.rejects(callRemote(backend).done);
  assert.equal(backend.load().state, 'ready');
});

test('a client that leaves is no fault of the server', async (t) => {
  const { backend, upstream } = await openRemote(t);
  upstream.play(HELD);
  for (let count = 0; count < 2 * MOST_FAILURES; count += 1) {
    const { events, done, leave } = callRemote(backend);
    await until(() => textOf(events) === 'a', 'no word came');
    leave();
    await assert.rejects(done, { code: 'cancelled' });
    await until(() => upstream.requests[count]!.closedByPeerAt !== undefined, 'the socket is still open');
  }
  assert.equal(backend.load().state, 'ready');
});

test('who fails time after time is down, then on trial with one call, and well when that is good', async (t) => {
  const { backend, upstream, log } = await openRemote(t);
  const before = backend.load();
  upstream.play(BROKEN);
  for (let count = 0; count < MOST_FAILURES; count += 1) {
    assert.equal(backend.load().state, 'ready', `after ${count}`);
    await assert.rejects(callRemote(backend).done, { code: 'backend_failed' });
  }
  const { state, slots, reason, retryAfterMs = 0 } = backend.load();
  assert.deepEqual([state, slots], ['down', 0]);
  assert.match(reason ?? '', /status 500: out of memory/);
  assert.ok(retryAfterMs > 0);
  await until(() => backend.load().state === 'ready', 'it gets no trial');
  assert.equal(backend.load().slots, 1);
  upstream.play([SILENT, streamOf('ok')]);
  const trial = callRemote(backend);
  await until(() => upstream.requests.length > MOST_FAILURES, 'the call did not come');
  assert.equal(backend.load().slots, 1, 'the call that runs has the one place');
  trial.leave();
  await assert.rejects(trial.done, { code: 'cancelled' });
  assert.equal(backend.load().slots, 1, 'nobody knows yet');
  await callRemote(backend).done;
  assert.deepEqual(backend.load(), before);
  const changes = log.map((line) => /is (ready|down|trial)\b/.exec(line)?.[1]);
  assert.deepEqual(changes, ['ready', 'down', 'ready'], 'a line a change, and none for a trial');
});

test('a server that says the beginning again is heard while its repetition is taken out', async (t) => {
  const { backend, upstream } = await openRemote(t, { firstTokenTimeoutMs: 200, silenceLimitMs: 200 });
  const words = Array.from({ length: 20 }, (_, at) => `w${at} `);
  upstream.play(slowStreamOf(30, ...words, 'end'));
  const { events, done } = callRemote(backend, begun(words.join('')));
  await done;
  assert.equal(textOf(events), 'end');
});

test('a server that answers calls all the time is not asked whether it is there', async (t) => {
  const answer = 'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n';
  const server = await startServer(t, ({ socket, text }) => {
    if (text.startsWith('POST')) socket.write(plainAnswer(answer, 'content-type: text/event-stream'));
    else socket.write(plainAnswer('{"data":[{"id":"m"}]}'));
  });
  const { backend } = await openRemote(t, { probeIntervalMs: 1_000 }, server.origin);
  for (let at = 0; at < 60; at += 1) {
    await callRemote(backend).done;
    await sleep(50);
  }
  const looks = server.requests.filter(({ text }) => text.startsWith('GET')).length;
  assert.equal(looks, 1);
});

test('a word of a trial is enough: its end need not be waited for', async (t) => {
  const { backend, upstream } = await openRemote(t);
  const before = backend.load();
  upstream.play([...Array.from({ length: MOST_FAILURES }, () => BROKEN), HELD]);
  for (let count = 0; count < MOST_FAILURES; count += 1) await assert.rejects(callRemote(backend).done);
  await until(() => backend.load().state === 'ready', 'it gets no trial');
  const trial = callRemote(backend);
  await until(() => textOf(trial.events) === 'a', 'no word came');
  assert.deepEqual(backend.load(), before);
  trial.leave();
  await assert.rejects(trial.done, { code: 'cancelled' });
});

test('a trial that fails is the next rest', async (t) => {
  const { backend, upstream } = await openRemote(t);
  upstream.play(BROKEN);
  for (let count = 0; count < MOST_FAILURES; count += 1) await assert.rejects(callRemote(backend).done);
  await until(() => backend.load().state === 'ready', 'it gets no trial');
  await assert.rejects(callRemote(backend).done, { code: 'backend_failed' });
  assert.equal(backend.load().state, 'down');
});

test('who takes no connection is down at once, and no call waits for it', async (t) => {
  const { backend, upstream } = await openRemote(t);
  await upstream.close();
  await assert.rejects(callRemote(backend).done, { code: 'backend_failed' });
  await assert.rejects(callRemote(backend).done, { code: 'backend_failed' });
  assert.equal(backend.load().state, 'down');
});

test('a first word that is late is a timeout, and the socket is closed', async (t) => {
  const { backend, upstream } = await openRemote(t, { firstTokenTimeoutMs: 100 });
  upstream.play({ headers: EVENT_STREAM, chunks: [': hello\n\n'], end: 'hold' });
  const late = { code: 'backend_timeout', message: 'The back end gave no first word in 100 ms.' };
  await assert.rejects(callRemote(backend).done, late);
  await until(() => upstream.requests[0]?.closedByPeerAt !== undefined, 'the socket is still open');
});

test('a silence is a timeout, what came was given, and the socket is closed', async (t) => {
  const { backend, upstream } = await openRemote(t, { silenceLimitMs: 50 });
  upstream.play(HELD);
  const { events, done } = callRemote(backend);
  const silent = { code: 'backend_timeout', message: 'The back end fell silent for 50 ms in its answer.' };
  await assert.rejects(done, silent);
  assert.equal(textOf(events), 'a');
  await until(() => upstream.requests[0]?.closedByPeerAt !== undefined, 'the socket is still open');
});

test('an answer that is asked for whole has its own limit', async (t) => {
  const { backend, upstream } = await openRemote(t, { answerTimeoutMs: 100 });
  upstream.play({ headers: { 'content-type': 'application/json' }, chunks: [' '], end: 'hold' });
  await assert.rejects(callRemote(backend, { isWhole: true }).done, {
    code: 'backend_timeout',
    message: /100 ms/,
  });
});

test('closed while calls run: they fail, their sockets close, and it stays closed', async (t) => {
  const { backend, upstream } = await openRemote(t);
  upstream.play(HELD);
  const calls = [callRemote(backend), callRemote(backend)];
  await until(() => calls.every(({ events }) => textOf(events) === 'a'), 'no words came');
  let told = 0;
  backend.onLoadChange(() => {
    told += 1;
  });
  await backend.close();
  const gone = { code: 'backend_failed', message: 'The back end was taken away.' };
  for (const { done } of calls) await assert.rejects(done, gone);
  await until(() => upstream.connections === 0, 'a connection is open');
  const { state, slots } = backend.load();
  assert.deepEqual([state, slots], ['closed', 0]);
  assert.ok(told >= 1);
  await assert.rejects(callRemote(backend).done, gone);
  await backend.close();
  assert.equal(upstream.requests.length, 2);
});

test('it says what it serves and how many calls it takes: the user’s word, else its kind’s', async (t) => {
  const { backend } = await openRemote(t);
  assert.deepEqual(backend.models(), ['case']);
  assert.equal((await openRemote(t, { overrides: { slots: 3 } })).backend.load().slots, 3);
  assert.equal((await openRemote(t, { kind: 'ollama' })).backend.load().slots, 4);
});

test('what a server tells of its load is told on, and the user’s word of its places wins', async (t) => {
  const pages: Readonly<Record<string, string>> = {
    '/v1/models': '{"data":[{"id":"m"}]}',
    '/slots': '[{"is_processing":true},{"is_processing":false}]',
    '/props': '{"total_slots":2}',
    '/metrics': 'vllm:num_requests_running 3\nvllm:num_requests_waiting 2\nvllm:kv_cache_usage_perc 0.5\n',
  };
  const server = await startServer(t, ({ socket, text }) => {
    socket.write(plainAnswer(pages[text.split(' ')[1]!] ?? '{}'));
  });
  const loadOf = async (options: Partial<RemoteBackendOptions>) => {
    const { backend } = await openRemote(t, options, server.origin);
    const { slots, running, waiting, kvCacheUsage } = backend.load();
    return [slots, running, waiting, kvCacheUsage];
  };
  assert.deepEqual(await loadOf({ kind: 'llama.cpp' }), [2, 1, undefined, undefined]);
  assert.deepEqual(await loadOf({ kind: 'llama.cpp', overrides: { slots: 7 } }), [
    7,
    1,
    undefined,
    undefined,
  ]);
  assert.deepEqual(await loadOf({ kind: 'vllm' }), [256, 3, 2, 0.5]);
});

test('nobody has looked yet: it may come, and takes no call', (t) => {
  const backend = new RemoteBackend({
    id: 'new',
    url: 'http://127.0.0.1:9/v1',
    kind: 'generic',
    firstTokenTimeoutMs: 1,
    silenceLimitMs: 1,
    answerTimeoutMs: 1,
    probeIntervalMs: 1,
    env: {},
    log: () => {},
  });
  t.after(() => backend.close());
  const { state, slots, reason, retryAfterMs } = backend.load();
  assert.deepEqual([state, slots, retryAfterMs], ['loading', 0, undefined]);
  assert.match(reason ?? '', /new was not reached yet/);
  assert.deepEqual(backend.models(), []);
});

test('its key is in no error, no state and no log line, also where the server shouts it', async (t) => {
  const apiKey = 'sk-hunter2-hunter2';
  const { backend, upstream, log } = await openRemote(t, { apiKey });
  const shout = { message: `wrong key: ${apiKey}`, type: apiKey, code: apiKey, param: apiKey };
  const stream = (event: object): Script => ({
    headers: EVENT_STREAM,
    chunks: [`event: error\ndata: ${JSON.stringify(event)}\n\n`],
  });
  const scripts = [
    ...[400, 401, 402, 403, 404, 413, 422, 429, 500, 502, 503].map((status) => refusalOf(status, shout)),
    { status: 500, headers: { 'content-type': 'text/plain' }, chunks: [`Bearer ${apiKey}`] },
    stream({ error: shout }),
    stream({ error: `not ${apiKey}` }),
    { headers: EVENT_STREAM, chunks: [`data: {"broken": ${apiKey}\n\n`] },
    { headers: { 'content-type': apiKey }, chunks: [apiKey] },
  ];
  for (const script of scripts) {
    upstream.play(script);
    const error = await callRemote(backend).done.then(
      () => assert.fail(JSON.stringify(script)),
      (thrown: Error) => thrown,
    );
    const { message, cause, stack, ...rest } = error as Error & {
      cause?: { message?: string; stack?: string };
    };
    const shown = JSON.stringify([message, stack, rest, cause?.message, cause?.stack, backend.load()]);
    assert.ok(!shown.includes('hunter2'), shown);
  }
  assert.ok(log.length > 0);
  assert.doesNotMatch(log.join('\n'), /hunter2/);
});

const limited = (remaining: number, resetMs: number, ...words: string[]): Script => {
  const script = streamOf(...words);
  const limits = {
    'x-ratelimit-remaining-requests': `${remaining}`,
    'x-ratelimit-reset-requests': `${resetMs}ms`,
  };
  return { ...script, headers: { ...script.headers, ...limits } };
};

test('a server whose limits are used up gets no call until they begin anew, and whoever waits is told', async (t) => {
  const { backend, upstream } = await openRemote(t);
  upstream.play([limited(1, 60_000, 'a'), limited(0, 1_000, 'b'), streamOf('c')]);
  await callRemote(backend).done;
  const { state, slots, budget } = backend.load();
  assert.deepEqual([state, slots, budget?.requests], ['ready', 1, 1]);
  const last = callRemote(backend);
  assert.deepEqual([backend.load().state, backend.load().slots], ['ready', 1], 'the one place is taken');
  let told = 0;
  backend.onLoadChange(() => {
    told += 1;
  });
  await last.done;
  const { retryAfterMs = 0, reason = '', ...usedUp } = backend.load();
  assert.deepEqual([usedUp.state, usedUp.slots], ['busy', 0]);
  assert.ok(retryAfterMs > 0 && retryAfterMs <= 1_000, `${retryAfterMs}`);
  assert.match(reason, /limits of the back end remote are used up/);
  assert.ok(told >= 1);
  let toldReady = false;
  backend.onLoadChange(() => {
    toldReady ||= backend.load().state === 'ready';
  });
  await until(() => toldReady, 'nobody was told that they begin anew');
  const after = backend.load();
  assert.deepEqual([after.state, after.slots, after.budget], ['ready', 256, undefined]);
  await callRemote(backend).done;
  assert.equal(upstream.requests.length, 3);
});

test('a call that fails before any answer takes nothing from the limits for good', async (t) => {
  const { backend, upstream } = await openRemote(t);
  upstream.play([limited(2, 60_000, 'a'), SILENT]);
  await callRemote(backend).done;
  const silent = callRemote(backend);
  await until(() => upstream.requests.length === 2, 'the call did not come');
  silent.leave();
  await assert.rejects(silent.done, { code: 'cancelled' });
  assert.deepEqual([backend.load().state, backend.load().slots], ['ready', 1]);
});

test('how many calls at once it takes is found out up to its places, unless they are all it takes', async (t) => {
  const limitOf = async (options: Partial<RemoteBackendOptions>) =>
    (await openRemote(t, options)).backend.limit;
  assert.deepEqual(await limitOf({ kind: 'openai' }), { kind: 'aimd', most: 256 });
  assert.deepEqual(await limitOf({ kind: 'vllm', overrides: { limit: 'gradient', slots: 40 } }), {
    kind: 'gradient',
    most: 40,
  });
  assert.equal(await limitOf({ kind: 'vllm' }), undefined);
  assert.equal(await limitOf({ kind: 'openai', overrides: { limit: 'fixed' } }), undefined);
});

test('of the calls that a server says it has, those that are not ours are others’', async (t) => {
  const metrics = 'vllm:num_requests_running 3\nvllm:num_requests_waiting 2\n';
  const server = await startServer(t, ({ socket, text }) => {
    if (text.startsWith('POST')) return;
    socket.write(plainAnswer(text.startsWith('GET /metrics') ? metrics : '{"data":[{"id":"m"}]}'));
  });
  const { backend } = await openRemote(t, { kind: 'vllm', probeIntervalMs: 50 }, server.origin);
  assert.equal(backend.load().others, 5);
  const calls = [callRemote(backend), callRemote(backend)];
  await until(() => backend.load().others === 3, 'ours are taken for others');
  for (const { leave, done } of calls) {
    leave();
    await assert.rejects(done);
  }
});
