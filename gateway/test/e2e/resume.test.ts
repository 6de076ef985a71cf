// Streams whose clients come again: what they get, from where, in which shape, for how long; and whoever has no business with a
// stream learns nothing of it.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type InProcessServer, startInProcess } from '../in-process.ts';
import { storyOf } from '../upstream/story.ts';
import { post, waitUntil } from './harness.ts';
import { attempt, eventsIn, flawOfIds, RESUMABLE_ROUTES } from './resuming-client.ts';

const LIMIT_MS = 20_000;
const GRACE_MS = 400;
const ONE = { authorization: 'Bearer one' };
const TWO = { authorization: 'Bearer two' };
const [CHAT] = RESUMABLE_ROUTES.filter(({ path }) => path === '/v1/chat/completions') as [
  (typeof RESUMABLE_ROUTES)[number],
];

const PIECES = storyOf(60);
const TEXT = PIECES.join('');

function config(rest: object = {}): object {
  const fake = { kind: 'fake', slots: 1_000, pieces: PIECES, first_token_ms: 5, token_ms: 5 };
  return {
    log_level: 'silent',
    keys: [
      { key: 'one', name: 'one' },
      { key: 'two', name: 'two' },
    ],
    backends: [
      { ...fake, id: 'whole' },
      { ...fake, id: 'slow', first_token_ms: 300 },
      { ...fake, id: 'stalls', stall_after: 3 },
      { ...fake, id: 'dead', fail_after: 0 },
    ],
    models: [
      { id: 'story', backends: ['whole'] },
      { id: 'slow-story', backends: ['slow'], resumable: true },
      { id: 'endless-story', backends: ['stalls'] },
      { id: 'dead-story', backends: ['dead'] },
    ],
    ...rest,
  };
}

interface Refusal {
  readonly error: { readonly type: string; readonly param: string; readonly message: string };
  readonly type?: string;
  readonly code?: string;
  readonly message?: string;
}

let server: InProcessServer;
before(async () => {
  server = await startInProcess(config({ keep_alive_ms: 100, resume_grace_ms: GRACE_MS }));
});
after(() => server.close());

const chat = (model: string, headers: Readonly<Record<string, string>> = {}, rest: object = {}) =>
  post(
    `${server.url}/v1/chat/completions`,
    { model, stream: true, messages: [{ role: 'user', content: 'Go on.' }], ...rest },
    { headers: { ...ONE, 'x-sluice-resumable': '1', ...headers } },
  );
const streams = (id: string, headers: Readonly<Record<string, string>> = {}, method = 'GET', query = '') =>
  fetch(`${server.url}/v1/streams/${id}${query}`, { method, headers: { ...ONE, ...headers } });
const bytesOf = async (response: Response) => Buffer.from(await response.arrayBuffer());
const textIn = (body: Buffer) =>
  eventsIn(body, '\n\n')
    .filter(({ data }) => data !== '[DONE]')
    .map(({ data }) => CHAT.textOf(JSON.parse(data) as never))
    .join('');

test('two read one stream at once, and one that has ended, each from where it likes', async () => {
  const first = await chat('story');
  const id = first.headers.get('x-sluice-stream')!;
  const [whole, second] = await Promise.all([bytesOf(first), streams(id).then(bytesOf)]);
  assert.equal(textIn(whole), TEXT);
  assert.deepEqual(second, whole);
  const events = eventsIn(whole, '\n\n');
  const rest = await streams(id, { 'last-event-id': events[19]!.id }).then(bytesOf);
  assert.deepEqual(eventsIn(rest, '\n\n'), events.slice(20));
  const byQuery = await streams(id, {}, 'GET', `?last_event_id=${encodeURIComponent(events[19]!.id)}`).then(
    bytesOf,
  );
  assert.deepEqual(byQuery, rest);
});

test('the head of a resumed stream is that of the dialect it began in', async () => {
  const first = await chat('story');
  const id = first.headers.get('x-sluice-stream')!;
  const again = await streams(id);
  for (const name of [
    'content-type',
    'cache-control',
    'x-accel-buffering',
    'x-sluice-model',
    'x-sluice-stream',
  ]) {
    assert.equal(again.headers.get(name), first.headers.get(name), name);
  }
  await Promise.all([first.text(), again.text()]);
});

test('who did not ask for it gets no ids, and no stream to come again to', async () => {
  const plain = await chat('story', { 'x-sluice-resumable': '0' });
  assert.equal(plain.headers.get('x-sluice-stream'), null);
  assert.doesNotMatch(await plain.text(), /^id:/m);
});

test('a model may have it so that its streams can be resumed, and a request that not', async () => {
  const asked = await chat('slow-story', { 'x-sluice-resumable': '' });
  assert.match(asked.headers.get('x-sluice-stream')!, /^[\w-]{24}$/);
  const not = await chat('slow-story', { 'x-sluice-resumable': '0' });
  assert.equal(not.headers.get('x-sluice-stream'), null);
  await Promise.all([asked.text(), not.text()]);
  const wrong = await chat('story', { 'x-sluice-resumable': 'yes' });
  assert.equal(wrong.status, 400);
  assert.equal(((await wrong.json()) as { error: { param: string } }).error.param, 'x-sluice-resumable');
});

test('silence is filled by whole events, never by a blank line, and they have ids', async () => {
  const body = await bytesOf(await chat('slow-story'));
  const events = eventsIn(body, '\n\n');
  assert.doesNotMatch(body.toString(), /\n\n\n/);
  assert.equal(flawOfIds(events), undefined);
  assert.equal(textIn(body), TEXT);
  const words = events.findIndex(({ data }) => data.includes(JSON.stringify(PIECES[0])));
  assert.ok(words > 1, 'no silence was filled');
});

test('what is missed is told apart from what was never there, and from what is not the own', async () => {
  const first = await chat('story');
  const id = first.headers.get('x-sluice-stream')!;
  const last = eventsIn(await bytesOf(first), '\n\n').at(-1)!.id;
  const second = await chat('story');
  const other = second.headers.get('x-sluice-stream')!;
  await second.text();

  const had = await streams(id, { 'last-event-id': last });
  assert.deepEqual([had.status, await had.text()], [204, '']);

  for (const [event, words] of [
    ['nonsense', /no id of an event/],
    [`${id}:-1`, /no id of an event/],
    [`${other}:1`, /of another stream/],
    [`${id}:${Number(last.split(':')[1]) + 1}`, /not sent yet/],
  ] as const) {
    const refused = await streams(id, { 'last-event-id': event });
    const { error } = (await refused.json()) as { error: { message: string; param: string } };
    assert.deepEqual([refused.status, error.param], [400, 'Last-Event-ID'], event);
    assert.match(error.message, words);
  }

  const bodies = await Promise.all(
    [streams(id, TWO), streams(`${'x'.repeat(23)}A`), streams(id, TWO, 'DELETE'), streams('a/b')].map(
      async (asked) => {
        const response = await asked;
        assert.equal(response.status, 404);
        return await response.text();
      },
    ),
  );
  assert.equal(new Set(bodies).size, 1, "another key's stream looks like none");

  const nobody = await fetch(`${server.url}/v1/streams/${id}`);
  assert.equal(nobody.status, 401);
  const wrongMethod = await streams(id, {}, 'POST');
  assert.deepEqual([wrongMethod.status, wrongMethod.headers.get('allow')], [405, 'GET, DELETE']);
});

for (const route of RESUMABLE_ROUTES) {
  test(`what is wrong with a resume of ${route.name} is told in its own shape`, async () => {
    const headers = { ...ONE, 'x-sluice-resumable': '1' };
    const [first, second] = await Promise.all(
      [1, 2].map(() => post(`${server.url}${route.path}`, route.body, { headers })),
    );
    const last = eventsIn(await bytesOf(first!), route.end).at(-1)!.id;
    const [stream, number] = last.split(':');
    await second!.text();
    for (const [what, id] of [
      ['no id', 'nonsense'],
      ['of another stream', `${second!.headers.get('x-sluice-stream')}:1`],
      ['of the future', `${stream}:${Number(number) + 1}`],
    ] as const) {
      const refused = await streams(stream!, { 'last-event-id': id });
      assert.equal(refused.status, 400, what);
      assert.match(refused.headers.get('content-type')!, /^application\/json/);
      const body = (await refused.json()) as Refusal;
      assert.deepEqual([body.error.type, body.error.param], ['invalid_request_error', 'Last-Event-ID'], what);
      if (route.name === 'messages') assert.deepEqual([body.type, 'data' in body], ['error', false]);
      else assert.deepEqual([body.code, body.message], ['invalid_request', body.error.message]);
    }
    // Of whose dialect it is, another key learns nothing.
    const others = await streams(stream!, { ...TWO, 'last-event-id': last });
    const none = await streams('x'.repeat(24), { ...TWO, 'last-event-id': last });
    assert.deepEqual([others.status, await others.text()], [404, await none.text()]);
  });
}

test('a stream that nobody reads is cancelled after its grace, and says so to who comes too late', async () => {
  const headers = { ...ONE, 'content-type': 'application/json', 'x-sluice-resumable': '1' };
  const body = JSON.stringify({ ...CHAT.body, model: 'endless-story' });
  const cut = await attempt(server.port, 'POST', CHAT.path, headers, body, 1_500);
  assert.equal(await running(), 1);
  await waitUntil(
    async () => (await running()) === 0,
    LIMIT_MS,
    () => 'its slot is never free',
  );
  const late = await streams(cut.headers['x-sluice-stream']!).then((response) => response.text());
  assert.match(late, /"content":"量子0"/);
  assert.match(late, /"code":"cancelled"/);
});

test('while somebody reads it is not, and a DELETE ends it at once', async () => {
  const reading = await chat('endless-story');
  const id = reading.headers.get('x-sluice-stream')!;
  await sleep(2 * GRACE_MS);
  assert.equal(await running(), 1);
  const deleted = await streams(id, {}, 'DELETE');
  assert.equal(deleted.status, 204);
  assert.match(await reading.text(), /wants this answer no more/);
  await waitUntil(
    async () => (await running()) === 0,
    LIMIT_MS,
    () => 'its slot is never free',
  );
  assert.equal((await streams(id)).status, 410);
  assert.equal((await streams(id, {}, 'DELETE')).status, 410);
  assert.equal((await streams(id, TWO)).status, 404);
});

test('what fails before its first word still has its status, and is no stream', async () => {
  const failed = await chat('dead-story');
  assert.equal(failed.status, 502);
  assert.equal(failed.headers.get('x-sluice-stream'), null);
});

test('what came longer ago than is kept is gone, and is said to be', async () => {
  const small = await startInProcess(config({ replay_buffer_bytes: 4096, resume_keep_ms: 300 }));
  try {
    const asked = await post(`${small.url}${CHAT.path}`, CHAT.body, {
      headers: { ...ONE, 'x-sluice-resumable': '1' },
    });
    const events = eventsIn(await bytesOf(asked), '\n\n');
    const url = `${small.url}/v1/streams/${asked.headers.get('x-sluice-stream')}`;
    const from = (id: string) => fetch(url, { headers: { ...ONE, 'last-event-id': id } });
    const gone = await from(events[0]!.id);
    assert.equal(gone.status, 410);
    assert.match(await gone.text(), /replay_buffer_bytes/);
    const kept = eventsIn(await bytesOf(await from(events.at(-4)!.id)), '\n\n');
    assert.deepEqual(kept, events.slice(-3));
    await waitUntil(
      async () => (await from(events.at(-4)!.id)).status === 410,
      LIMIT_MS,
      () => 'it never expires',
    );
  } finally {
    await small.close();
  }
});

test('who stops reading holds up neither the answer nor another reader, is cut off, and hears why', {
  timeout: 60_000,
}, async () => {
  const pieces = Array.from({ length: 300 }, (_, index) => `${index} ${'x'.repeat(64 * 1024)} `);
  const large = await startInProcess({
    log_level: 'silent',
    backends: [{ kind: 'fake', id: 'large', pieces, first_token_ms: 5, token_ms: 2 }],
    models: [{ id: 'story' }],
  });
  const socket = connect(large.port, '127.0.0.1');
  try {
    const body = JSON.stringify(CHAT.body);
    const lines = [
      `POST ${CHAT.path} HTTP/1.1`,
      'Host: localhost',
      'X-Sluice-Resumable: 1',
      `Content-Length: ${Buffer.byteLength(body)}`,
    ];
    socket.write(`${lines.join('\r\n')}\r\n\r\n${body}`);
    const [first] = (await once(socket, 'data')) as [Buffer];
    socket.pause();
    const id = /x-sluice-stream: (\S+)/i.exec(first.toString('latin1'))![1]!;
    const other = await fetch(`${large.url}/v1/streams/${id}`);
    assert.equal(textIn(await bytesOf(other)), pieces.join(''));

    let received = first.length;
    socket.on('data', (bytes) => (received += bytes.length));
    const closed = once(socket, 'close');
    socket.resume();
    await closed;
    assert.ok(received < pieces.join('').length, 'it was not cut off');
    const late = await fetch(`${large.url}/v1/streams/${id}`, { headers: { 'last-event-id': `${id}:2` } });
    assert.equal(late.status, 410);
  } finally {
    socket.destroy();
    await large.close();
  }
});

test('without memory for it a stream is answered as any other', async () => {
  const small = await startInProcess(config({ resume_memory_bytes: 0 }));
  try {
    const asked = await post(`${small.url}${CHAT.path}`, CHAT.body, {
      headers: { ...ONE, 'x-sluice-resumable': '1', 'idempotency-key': 'a' },
    });
    assert.equal(asked.headers.get('x-sluice-stream'), null);
    assert.match(await asked.text(), /\[DONE\]\n\n$/);
  } finally {
    await small.close();
  }
});

test('its limits are held by the compute, and not by the connection that began it', async () => {
  const limited = await startInProcess(
    config({ keys: [{ key: 'one', name: 'one', max_parallel: 1 }], keep_alive_ms: 100 }),
  );
  try {
    const headers = { ...ONE, 'content-type': 'application/json', 'x-sluice-resumable': '1' };
    const body = JSON.stringify({ ...CHAT.body, model: 'endless-story' });
    const cut = await attempt(limited.port, 'POST', CHAT.path, headers, body, 1_500);
    const refused = await post(`${limited.url}${CHAT.path}`, CHAT.body, { headers: ONE });
    assert.equal(refused.status, 429);
    await refused.text();
    const url = `${limited.url}/v1/streams/${cut.headers['x-sluice-stream']}`;
    assert.equal((await fetch(url, { method: 'DELETE', headers: ONE })).status, 204);
    await waitUntil(
      async () => {
        const again = await post(`${limited.url}${CHAT.path}`, CHAT.body, { headers: ONE });
        await again.text();
        return again.status === 200;
      },
      LIMIT_MS,
      () => 'the key never gets its call back',
    );
  } finally {
    await limited.close();
  }
});

/** Calls that hold a slot. */
async function running(): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`, { headers: ONE })).text();
  return Number(/^sluice_requests_running (\d+)$/m.exec(text)![1]);
}
