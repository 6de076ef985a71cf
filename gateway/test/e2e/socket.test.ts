// `/v1/socket` as its clients use it: every dialect says there what it says over HTTP, calls are taken back and come again, and
// whatever becomes of connections no call, slot or place is left behind.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import WebSocketWithReset from 'ws';
import { matchRoute } from '../../src/edge/routes.ts';
import { seededRandom } from '../../src/load/seeded-random.ts';
import { type InProcessServer, startInProcess } from '../in-process.ts';
import { metric, post, waitUntil } from './harness.ts';
import { RESUMABLE_ROUTES } from './resuming-client.ts';
import { chatCall, chatText, type Frame, openSocket, type SocketClient } from './socket-client.ts';

const LIMIT_MS = 20_000;
const GRACE_MS = 400;
const CLIENTS = 20;
const BREAKS = 10;
const PIECES = Array.from(
  { length: 60 },
  (_, index) => `${['量子', ' river', '，计算', '😀', '\n\n'][index % 5]}${index}`,
);
const TEXT = PIECES.join('');

const fake = { kind: 'fake', slots: 1_000, pieces: PIECES, first_token_ms: 5, token_ms: 5 };
const CONFIG = {
  log_level: 'silent',
  keep_alive_ms: 200,
  resume_grace_ms: GRACE_MS,
  keys: [
    { key: 'one', name: 'one' },
    { key: 'two', name: 'two', models: ['story'] },
    { key: 'narrow', name: 'narrow', max_parallel: 1 },
  ],
  backends: [
    { ...fake, id: 'whole' },
    { ...fake, id: 'breaks', fail_after: 5 },
    { ...fake, id: 'dead', fail_after: 0 },
    { ...fake, id: 'endless', stall_after: 3 },
  ],
  models: [
    { id: 'story', backends: ['whole'] },
    { id: 'broken-story', backends: ['breaks'] },
    { id: 'dead-story', backends: ['dead'] },
    { id: 'endless-story', backends: ['endless'] },
  ],
};

let server: InProcessServer;
before(async () => {
  server = await startInProcess(CONFIG);
});
after(() => server.close());

const nothingRuns = () =>
  waitUntil(
    async () =>
      (await metric(server.url, 'sluice_requests_running')) +
        (await metric(server.url, 'sluice_requests_waiting')) ===
      0,
    LIMIT_MS,
    () => 'calls are left',
  );

async function withSocket(use: (socket: SocketClient) => Promise<void>, key = 'one'): Promise<void> {
  const socket = await openSocket(server.port, key);
  try {
    await use(socket);
  } finally {
    await socket.close();
  }
}

const reasonOf = (frames: readonly Frame[]) => frames.at(-1)?.reason;
const codeOf = (frames: readonly Frame[]) => frames.find(({ type }) => type === 'error')?.error?.error.code;

/** Every path of the table on which a model answers in words. */
function generationPaths(): string[] {
  try {
    matchRoute('/nothing');
  } catch (thrown) {
    const [, list = ''] = /There is: (.*)\.$/.exec((thrown as Error).message) ?? [];
    const paths = list.split(', ').map((path) => path.replace('{model}', 'story').replace('{stream}', 's'));
    return paths.filter((path) => matchRoute(path).route.kind === 'generation');
  }
  throw new Error('/nothing is a path');
}

const WORDINGS = [...RESUMABLE_ROUTES, { ...RESUMABLE_ROUTES[0]!, path: '/v1/models/story/generate' }];

/** Without the seconds in which it was made. */
const timeless = (text: string) => text.replaceAll(/"(created|created_at|completed_at)":\d+/g, '"$1":0');

test('on every route a stream and a whole answer are the same over the socket as over HTTP', async () => {
  const paths = generationPaths();
  assert.deepEqual(WORDINGS.map(({ path }) => path).sort(), paths.sort(), 'a route has no wording here');
  await withSocket(async (socket) => {
    for (const [index, { path, body, end }] of WORDINGS.entries()) {
      for (const stream of [true, false]) {
        const id = `${index}-${stream}`;
        const asked = { ...body, stream };
        const headers = { authorization: 'Bearer one', 'x-request-id': id };
        const text = await (await post(`${server.url}${path}`, asked, { headers })).text();
        const events = text
          .split(stream ? end : '\0')
          .map((event) => event.replace(/^(event: .*\n)?data: /, '').trim())
          .filter((event) => event !== '' && event !== '[DONE]');
        socket.send({ type: 'call', id, route: path, body: asked, headers: { 'x-request-id': id } });
        const frames = await socket.ended(id);
        const data = frames.filter(({ type }) => type === 'event').map((frame) => JSON.stringify(frame.data));
        assert.deepEqual(data.map(timeless), events.map(timeless), `${path} ${stream}`);
        assert.equal(frames[0]!.type, 'head');
        assert.equal(reasonOf(frames), 'complete');
      }
    }
  });
});

test('a call begins with what its head says, its numbers rise, and its end tells who answered', async () => {
  await withSocket(async (socket) => {
    socket.send(chatCall('1', 'story', { headers: { 'x-request-id': 'mine' } }));
    const [head, ...rest] = await socket.ended('1');
    assert.equal(head!.headers!['x-request-id'], 'mine');
    assert.match(head!.stream!, /^[\w-]{24}$/);
    const seqs = rest.slice(0, -1).map(({ seq }) => seq!);
    assert.ok(seqs.every((seq, at) => seq > (seqs[at - 1] ?? 0)));
    assert.equal(chatText(rest), TEXT);
    assert.equal(rest.at(-1)!.headers!['x-sluice-backend'], 'whole');
    assert.match(rest.at(-1)!.headers!['server-timing']!, /first_token/);
  });
});

test("a call's members are the headers of HTTP: wishes count, and wrong ones are refused by name", async () => {
  await withSocket(async (socket) => {
    socket.send(chatCall('batch', 'story', { priority: 'batch', session: 's', deadline_ms: 5_000 }));
    socket.send(chatCall('report', 'story', { headers: { 'x-sluice-report': '1' } }));
    await socket.ended('batch');
    assert.match(JSON.stringify(await socket.ended('report')), /"sluice":\{"backend":"whole"/);
    assert.match(server.log(), /priority: 'batch'/);
    for (const [id, rest] of [
      ['x-sluice-priority', { priority: 'urgent' }],
      ['x-sluice-deadline-ms', { deadline_ms: 0.5 }],
      ['x-sluice-session', { session: 'two words' }],
      ['x-sluice-failover', { headers: { 'x-sluice-failover': 'maybe' } }],
    ] as const) {
      socket.send(chatCall(id, 'story', rest));
      const frames = await socket.ended(id);
      assert.equal(frames[0]!.status, 400);
      assert.match(JSON.stringify(frames[0]), new RegExp(`"param":"${id}"`));
    }
  });
});

test('one name is one compute, over the socket and over HTTP', async () => {
  await withSocket(async (socket) => {
    socket.send(chatCall('1', 'story', { idempotency_key: 'both' }));
    socket.send(chatCall('2', 'story', { idempotency_key: 'both' }));
    const [first, second] = [await socket.ended('1'), await socket.ended('2')];
    assert.equal(first[0]!.stream, second[0]!.stream);
    assert.equal(second[0]!.headers!['x-sluice-replayed'], '1');
    assert.deepEqual(
      second.map(({ data }) => data),
      first.map(({ data }) => data),
    );
    const { body } = chatCall('', 'story') as { body: object };
    const headers = { authorization: 'Bearer one', 'idempotency-key': 'both' };
    const response = await post(`${server.url}/v1/chat/completions`, body, { headers });
    assert.equal(response.headers.get('x-sluice-stream'), first[0]!.stream);
    await response.text();
    socket.send(chatCall('3', 'story', { idempotency_key: 'both' }, false));
    assert.equal((await socket.ended('3'))[0]!.status, 422);
  });
});

test('failures are told in the shape of the dialect, before the first word and after it, and never on the other calls', async () => {
  await withSocket(async (socket) => {
    const messages = { model: 'nobody', max_tokens: 5, messages: [{ role: 'user', content: 'Go on.' }] };
    socket.send(chatCall('good', 'story'));
    socket.send(chatCall('unknown', 'nobody'));
    socket.send({ type: 'call', id: 'anthropic', route: '/v1/messages', body: messages });
    socket.send(chatCall('dead', 'dead-story'));
    socket.send(chatCall('broken', 'broken-story', { headers: { 'x-sluice-failover': 'off' } }));
    socket.send({ type: 'call', id: 'vectors', route: '/v1/embeddings', body: {} });
    socket.send({ type: 'call', id: 'nowhere', route: '/nowhere', body: {} });
    socket.send({ type: 'call', id: 'empty', route: '/v1/chat/completions', body: 7 });
    for (const [id, status, code] of [
      ['unknown', 404, 'model_not_found'],
      ['dead', 502, 'backend_failed'],
      ['vectors', 404, 'not_found'],
      ['nowhere', 404, 'not_found'],
      ['empty', 400, 'invalid_request'],
    ] as const) {
      const frames = await socket.ended(id);
      // What was refused has no head.
      assert.deepEqual(
        frames.map(({ type }) => type),
        id === 'dead' ? ['head', 'error', 'end'] : ['error', 'end'],
        id,
      );
      assert.deepEqual(
        [frames.at(-2)!.status, codeOf(frames), reasonOf(frames)],
        [status, code, 'failed'],
        id,
      );
    }
    assert.equal((await socket.ended('anthropic'))[0]!.error!.error.type, 'not_found_error');
    const broken = await socket.ended('broken');
    assert.equal(chatText(broken), PIECES.slice(0, 5).join(''));
    assert.deepEqual([codeOf(broken), reasonOf(broken)], ['backend_failed', 'failed']);
    const good = await socket.ended('good');
    assert.equal(chatText(good), TEXT);
  });
});

test("a key's models and its limits hold on the socket", async () => {
  await withSocket(async (socket) => {
    socket.send(chatCall('1', 'dead-story'));
    assert.equal((await socket.ended('1'))[0]!.status, 403);
  }, 'two');
  await withSocket(async (socket) => {
    socket.send(chatCall('1', 'story'));
    socket.send(chatCall('2', 'story'));
    const refused = await socket.ended('2');
    assert.deepEqual([refused[0]!.status, codeOf(refused)], [429, 'rate_limit_exceeded']);
    assert.ok(refused[0]!.retry_after_ms! > 0);
    assert.equal(chatText(await socket.ended('1')), TEXT);
  }, 'narrow');
});

test('of 64 calls 32 are cancelled at random: the others are whole, and no slot is left', async () => {
  const random = seededRandom(7);
  await withSocket(async (socket) => {
    const ids = Array.from({ length: 64 }, (_, index) => `call-${index}`);
    for (const id of ids) socket.send(chatCall(id, 'story'));
    const cancelled = new Set(ids.filter((_, index) => index % 2 === 0));
    for (const id of cancelled) {
      const events = Math.floor(random() * 30);
      await waitUntil(
        () => socket.of(id).length >= events,
        LIMIT_MS,
        () => id,
      );
      socket.send({ type: 'cancel', id });
    }
    for (const id of ids) {
      const frames = await socket.ended(id);
      assert.equal(frames.filter(({ type }) => type === 'end').length, 1);
      if (reasonOf(frames) === 'cancelled') assert.ok(cancelled.has(id), id);
      else assert.equal(chatText(frames), TEXT, id);
      if (!cancelled.has(id)) assert.equal(reasonOf(frames), 'complete', id);
    }
    socket.send({ type: 'cancel', id: 'call-0' });
    socket.send({ type: 'ping' });
    await socket.frame(({ type }) => type === 'pong');
  });
  await nothingRuns();
});

test('a call that is cancelled gives its slot back, also while nobody speaks, and is kept no more', async () => {
  await withSocket(async (socket) => {
    socket.send(chatCall('1', 'endless-story'));
    const { seq } = await socket.frame(({ type }) => type === 'event');
    assert.equal(await metric(server.url, 'sluice_requests_running'), 1);
    socket.send({ type: 'cancel', id: '1' });
    const frames = await socket.ended('1');
    assert.equal(reasonOf(frames), 'cancelled');
    await nothingRuns();
    socket.send({ type: 'resume', id: '1', stream: frames[0]!.stream, after: seq });
    await waitUntil(
      () => socket.of('1').at(-1)?.reason === 'failed',
      LIMIT_MS,
      () => 'no second end',
    );
    assert.equal(codeOf(socket.of('1')), 'stream_gone');
  });
});

test('the answer of a call whose socket broke is computed for its grace, and no longer', async () => {
  const socket = await openSocket(server.port, 'one');
  socket.send(chatCall('1', 'endless-story'));
  await socket.frame(({ type }) => type === 'event');
  await socket.close();
  assert.equal(await metric(server.url, 'sluice_requests_running'), 1);
  await nothingRuns();
  assert.equal(await metric(server.url, 'sluice_socket_connections'), 0);
});

/** Reads one call over connections that are reset after some frames each; its text, and how often it broke. */
async function readBroken(name: string, random: () => number): Promise<{ text: string; breaks: number }> {
  const events = new Map<number, Frame>();
  let stream: string | undefined;
  for (let breaks = 0; ; breaks += 1) {
    const url = `ws://127.0.0.1:${server.port}/v1/socket`;
    const ws = new WebSocketWithReset(url, { headers: { authorization: 'Bearer one' } });
    ws.on('error', () => {});
    const most = breaks < BREAKS ? Math.floor(random() * 10) : Number.POSITIVE_INFINITY;
    let seen = 0;
    let isWhole = false;
    ws.on('open', () => {
      const after = Math.max(0, ...events.keys());
      const again = { type: 'resume', id: 'x', stream, after };
      ws.send(JSON.stringify(stream ? again : chatCall('x', 'story', { idempotency_key: name })));
    });
    ws.on('message', (data) => {
      if (isWhole || ws.readyState !== WebSocketWithReset.OPEN) return;
      const frame = JSON.parse(String(data)) as Frame;
      if (frame.type === 'head') stream = frame.stream;
      if (frame.type === 'event') {
        assert.ok(!events.has(frame.seq!), `${frame.seq} twice`);
        events.set(frame.seq!, frame);
      }
      if (frame.type === 'error') throw new Error(String(data));
      isWhole = frame.type === 'end';
      seen += 1;
      if (seen > most || isWhole) ws.terminate();
    });
    await once(ws, 'close');
    if (isWhole) return { text: chatText([...events.values()]), breaks };
  }
}

test(`${CLIENTS * BREAKS} breaks at random frames: every text is whole, and nothing came twice`, {
  timeout: 60_000,
}, async () => {
  const random = seededRandom(3);
  const read = await Promise.all(
    Array.from({ length: CLIENTS }, (_, client) => readBroken(`breaks-${client}`, random)),
  );
  for (const { text } of read) assert.equal(text, TEXT);
  const breaks = read.reduce((sum, one) => sum + one.breaks, 0);
  assert.ok(breaks >= (CLIENTS * BREAKS) / 2, `only ${breaks} breaks`);
  await nothingRuns();
});

test('a stream goes from the socket to HTTP and back, and only to its own key', async () => {
  await withSocket(async (socket) => {
    socket.send(chatCall('1', 'story'));
    const frames = await socket.ended('1');
    const stream = frames[0]!.stream!;
    const events = frames.filter(({ type }) => type === 'event');
    const headers = { authorization: 'Bearer one', 'last-event-id': `${stream}:${events[9]!.seq}` };
    const rest = await (await fetch(`${server.url}/v1/streams/${stream}`, { headers })).text();
    const [first] = rest.split('\n\n');
    assert.equal(first, `id: ${stream}:${events[10]!.seq}\ndata: ${JSON.stringify(events[10]!.data)}`);

    socket.send({ type: 'resume', id: '2', stream, after: events[9]!.seq });
    const again = await socket.ended('2');
    assert.deepEqual(
      again.filter(({ type }) => type === 'event').map(({ seq, data }) => [seq, data]),
      events.slice(10).map(({ seq, data }) => [seq, data]),
    );
    socket.send({ type: 'resume', id: '3', stream, after: 10_000 });
    assert.deepEqual(codeOf(await socket.ended('3')), 'invalid_request');
    await withSocket(async (stranger) => {
      stranger.send({ type: 'resume', id: '1', stream, after: 0 });
      stranger.send({ type: 'resume', id: '2', stream: 'never', after: 0 });
      for (const id of ['1', '2']) assert.equal((await stranger.ended(id))[0]!.status, 404);
    }, 'two');
  });
});

test('a call is told in the log as a request is, without what it said', async () => {
  await withSocket(async (socket) => {
    socket.send(chatCall('1', 'story', { headers: { 'x-request-id': 'in-the-log' } }));
    socket.send(chatCall('2', 'nobody', { headers: { 'x-request-id': 'refused-in-the-log' } }));
    await socket.ended('1');
    await socket.ended('2');
  });
  await waitUntil(
    () => server.log().includes('in-the-log'),
    LIMIT_MS,
    () => server.log(),
  );
  const line = server
    .log()
    .split('\n')
    .find((one) => one.includes("'in-the-log'"))!;
  assert.match(line, /answered .*route: 'chat/);
  assert.match(line, /first_token_ms: /);
  assert.doesNotMatch(server.log(), /Go on/);
  assert.match(server.log(), /refused-in-the-log.*outcome: 'model_not_found'/);
});
