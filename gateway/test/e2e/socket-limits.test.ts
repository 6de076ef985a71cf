// Sockets and those who mean them harm, or know no better: each bound has its answer or its close code, and the next connection
// is served as if nothing had been.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { MOST_CALLS, MOST_FAULTS } from '../../src/edge/socket/connection.ts';
import { MOST_CONNECTIONS } from '../../src/edge/socket/sockets.ts';
import { type InProcessServer, startInProcess } from '../in-process.ts';
import { metric, raw, waitUntil } from './harness.ts';
import { chatCall, chatText, openRaw, openSocket, type RawFrame, rawFrame } from './socket-client.ts';

const LIMIT_MS = 20_000;
const BODY_LIMIT = 100_000;
const KEEP_ALIVE_MS = 150;
const SLOW_READER_MS = 300;
const KEY = { authorization: 'Bearer one' };
/** Together more than any connection takes unread. */
const LARGE_PIECES = Array.from({ length: 200 }, (_, index) => `${index}`.padEnd(100_000, '.'));

const CONFIG = {
  log_level: 'silent',
  keep_alive_ms: KEEP_ALIVE_MS,
  slow_reader_limit_ms: SLOW_READER_MS,
  body_limit_bytes: BODY_LIMIT,
  replay_buffer_bytes: 64 * 1024 * 1024,
  cors_origins: ['https://ours.example'],
  keys: [{ key: 'one', name: 'one' }],
  backends: [
    {
      kind: 'fake',
      id: 'short',
      slots: 1_000,
      pieces: ['All ', 'is ', 'well.'],
      first_token_ms: 1,
      token_ms: 1,
    },
    { kind: 'fake', id: 'large', slots: 10, pieces: LARGE_PIECES, first_token_ms: 1, token_ms: 1 },
    { kind: 'fake', id: 'slow', slots: 1_000, pieces: ['At ', 'last.'], first_token_ms: 1_500 },
  ],
  models: [
    { id: 'short', backends: ['short'] },
    { id: 'large', backends: ['large'] },
    { id: 'slow', backends: ['slow'] },
  ],
};

let server: InProcessServer;
before(async () => {
  server = await startInProcess(CONFIG);
});
after(() => server.close());

async function servesOn(): Promise<void> {
  const socket = await openSocket(server.port, 'one');
  socket.send(chatCall('1', 'short'));
  assert.equal(chatText(await socket.ended('1')), 'All is well.');
  await socket.close();
}

const noSockets = () =>
  waitUntil(
    async () => (await metric(server.url, 'sluice_socket_connections')) === 0,
    LIMIT_MS,
    () => 'sockets are left',
  );

const text = (payload: string | Buffer, rest: Partial<RawFrame> = {}): RawFrame => ({
  opcode: 'text',
  payload,
  ...rest,
});
const BAD: readonly { what: string; code: number; frames: readonly RawFrame[] }[] = [
  { what: 'a frame that is not masked', code: 1002, frames: [text('{}', { isMasked: false })] },
  { what: 'an opcode that means nothing', code: 1002, frames: [{ opcode: 5, payload: '{}' }] },
  { what: 'a reserved bit', code: 1002, frames: [{ opcode: 0x41, payload: '{}' }] },
  { what: 'a continuation of nothing', code: 1002, frames: [{ opcode: 'continuation', payload: '{}' }] },
  { what: 'a message within another', code: 1002, frames: [text('{', { isLast: false }), text('{}')] },
  { what: 'a ping in fragments', code: 1002, frames: [{ opcode: 'ping', isLast: false }] },
  { what: 'a ping that is too long', code: 1002, frames: [{ opcode: 'ping', payload: 'x'.repeat(126) }] },
  { what: 'text that is no UTF-8', code: 1007, frames: [text(Buffer.from([0x22, 0xff, 0x22]))] },
  {
    what: 'a close code that means nothing',
    code: 1002,
    frames: [{ opcode: 'close', payload: '\u0000\u0001' }],
  },
  { what: 'a binary message', code: 1003, frames: [{ opcode: 'binary', payload: '{"type":"ping"}' }] },
  { what: 'a message over the limit', code: 1009, frames: [text('x'.repeat(BODY_LIMIT + 1))] },
  { what: 'a head that promises too much', code: 1009, frames: [text('', { length: 2 ** 40 })] },
  {
    what: 'fragments that are over the limit together',
    code: 1009,
    frames: [
      text('x'.repeat(BODY_LIMIT / 2), { isLast: false }),
      { opcode: 'continuation', payload: 'x'.repeat(BODY_LIMIT / 2 + 1) },
    ],
  },
];

for (const { what, code, frames } of BAD) {
  test(`${what} closes with ${code}, and the next connection is served`, async () => {
    const client = await openRaw(server.port, KEY);
    client.socket.write(Buffer.concat(frames.map(rawFrame)));
    await waitUntil(
      () => client.closeCode() !== undefined,
      LIMIT_MS,
      () => 'no close frame',
    );
    assert.equal(client.closeCode(), code);
    client.socket.destroy();
    await noSockets();
    await servesOn();
  });
}

test('a message in many fragments, a byte each, with pings between, is one message', async () => {
  const client = await openRaw(server.port, KEY);
  const bytes = Buffer.from('{"type":"ping"}');
  const frames = [...bytes].map((byte, at) =>
    rawFrame({
      opcode: at === 0 ? 'text' : 'continuation',
      payload: Buffer.from([byte]),
      isLast: at === bytes.length - 1,
    }),
  );
  client.socket.write(Buffer.concat(frames.flatMap((frame) => [frame, rawFrame({ opcode: 'ping' })])));
  await waitUntil(
    () => client.text().includes('{"type":"pong"}'),
    LIMIT_MS,
    () => 'no pong',
  );
  client.socket.destroy();
});

test(`what is no frame is told ${MOST_FAULTS} times, then the connection closes with 1008`, async () => {
  const socket = await openSocket(server.port, 'one');
  socket.send(chatCall('open', 'slow'));
  const nonsense = ['{', '[]', '{"type":"dance"}', '{"type":"cancel","id":"two words"}'];
  for (let sent = 0; sent < MOST_FAULTS; sent += 1) socket.send(nonsense[sent % nonsense.length]!);
  assert.equal((await socket.closed).code, 1008);
  const errors = socket.frames.filter(({ type }) => type === 'error');
  assert.equal(errors.length, MOST_FAULTS);
  for (const { id, status, error } of errors) {
    assert.deepEqual([id, status, error?.error.code], [undefined, 400, 'invalid_request']);
  }
  await servesOn();
});

test('an id that is open is refused without a word on the call that has it; one that has ended is free', async () => {
  const socket = await openSocket(server.port, 'one');
  socket.send(chatCall('1', 'slow'));
  socket.send(chatCall('1', 'short'));
  socket.send({ type: 'resume', id: '1', stream: 's', after: 0 });
  const frames = await socket.ended('1');
  assert.equal(chatText(frames), 'At last.');
  const refused = socket.frames.filter(({ type }) => type === 'error');
  assert.deepEqual(
    refused.map(({ id, status }) => [id, status]),
    [
      [undefined, 400],
      [undefined, 400],
    ],
  );
  assert.match(refused[0]!.error!.error.message, /The call "1" is open/);
  socket.send(chatCall('1', 'short'));
  await waitUntil(
    () => socket.of('1').filter(({ type }) => type === 'end').length === 2,
    LIMIT_MS,
    () => 'not taken again',
  );
  await socket.close();
});

test(`${MOST_CALLS} calls are open at once, the next is refused with a time to come again, and all of them are answered`, async () => {
  const socket = await openSocket(server.port, 'one');
  for (let call = 0; call <= MOST_CALLS; call += 1) socket.send(chatCall(`${call}`, 'slow'));
  const refused = await socket.ended(`${MOST_CALLS}`);
  assert.deepEqual([refused[0]!.status, refused[0]!.error!.error.code], [429, 'rate_limit_exceeded']);
  assert.ok(refused[0]!.retry_after_ms! > 0);
  for (let call = 0; call < MOST_CALLS; call += 1) {
    assert.equal(chatText(await socket.ended(`${call}`)), 'At last.', `${call}`);
  }
  await socket.close();
});

test('a short answer is not held up by a long one, and both are whole', async () => {
  const socket = await openSocket(server.port, 'one');
  socket.send(chatCall('long', 'large'));
  await socket.frame(({ id, type }) => id === 'long' && type === 'event');
  for (let call = 0; call < 5; call += 1) socket.send(chatCall(`short-${call}`, 'short'));
  for (let call = 0; call < 5; call += 1) await socket.ended(`short-${call}`);
  assert.equal(
    socket.of('long').some(({ type }) => type === 'end'),
    false,
  );
  assert.equal(chatText(await socket.ended('long')), LARGE_PIECES.join(''));
  await socket.close();
});

test('a client that never reads is closed after its limit; what it asked for is computed and there for who resumes', {
  timeout: 60_000,
}, async () => {
  const client = await openRaw(server.port, KEY);
  client.socket.pause();
  const before = await metric(server.url, 'sluice_kept_answers');
  client.socket.write(rawFrame(text(JSON.stringify(chatCall('1', 'large', { idempotency_key: 'unread' })))));
  await waitUntil(
    async () => (await metric(server.url, 'sluice_kept_answers')) > before,
    LIMIT_MS,
    () => 'not begun',
  );
  await noSockets();
  await waitUntil(
    async () => (await metric(server.url, 'sluice_requests_running')) === 0,
    LIMIT_MS,
    () => 'a call is left',
  );
  client.socket.destroy();
  const socket = await openSocket(server.port, 'one');
  socket.send(chatCall('1', 'large', { idempotency_key: 'unread' }));
  const frames = await socket.ended('1');
  assert.equal(frames[0]!.headers!['x-sluice-replayed'], '1');
  assert.equal(chatText(frames), LARGE_PIECES.join(''));
  await socket.close();
});

test('a client that asks and asks and never reads is closed after its limit', async () => {
  const client = await openRaw(server.port, KEY);
  client.socket.pause();
  const pings = Buffer.concat(Array.from({ length: 2_000 }, () => rawFrame(text('{"type":"ping"}'))));
  for (let sent = 0; sent < 1_000 && !client.socket.destroyed; sent += 1) client.socket.write(pings);
  await noSockets();
  client.socket.destroy();
  await servesOn();
});

test('a client that answers no ping is cut, one that does stays', async () => {
  const socket = await openSocket(server.port, 'one');
  const client = await openRaw(server.port, KEY);
  await client.ended;
  assert.ok(client.pings() >= 1, 'it was asked');
  socket.send({ type: 'ping' });
  await socket.frame(({ type }) => type === 'pong');
  await socket.close();
  await noSockets();
});

test('a client that breaks off in the middle of a message leaves nothing behind', async () => {
  for (let client = 0; client < 10; client += 1) {
    const { socket } = await openRaw(server.port, KEY);
    const frame = rawFrame(text(JSON.stringify(chatCall('1', 'short'))));
    socket.write(frame.subarray(0, 1 + Math.floor(Math.random() * (frame.length - 1))));
    await sleep(5);
    socket.resetAndDestroy();
  }
  await noSockets();
});

test(`there are ${MOST_CONNECTIONS} connections at most; one more is refused before it is upgraded`, {
  timeout: 60_000,
}, async () => {
  const clients = [];
  try {
    for (let client = 0; client < MOST_CONNECTIONS; client += 50) {
      clients.push(...(await Promise.all(Array.from({ length: 50 }, () => openSocket(server.port, 'one')))));
    }
    assert.equal(await metric(server.url, 'sluice_socket_connections'), MOST_CONNECTIONS);
    await assert.rejects(
      openRaw(server.port, KEY),
      /^Error: HTTP\/1\.1 503 .*retry-after.*"code":"overloaded"/is,
    );
    await clients.pop()!.close();
    await waitUntil(
      async () => (await metric(server.url, 'sluice_socket_connections')) < MOST_CONNECTIONS,
      LIMIT_MS,
      () => 'none has left',
    );
    await servesOn();
  } finally {
    await Promise.all(clients.map((client) => client.close()));
  }
  await noSockets();
});

const ASKING: Readonly<Record<string, string>> = {
  host: 'localhost',
  connection: 'Upgrade',
  upgrade: 'websocket',
  'sec-websocket-version': '13',
  'sec-websocket-key': randomBytes(16).toString('base64'),
  authorization: 'Bearer one',
};

/** The answer to a request to be upgraded, in which some headers are others. */
function asking(headers: Readonly<Record<string, string | undefined>>, line = 'GET /v1/socket', body = '') {
  const lines = Object.entries({ ...ASKING, ...headers }).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}: ${value}\r\n`],
  );
  return raw(server.port, [`${line} HTTP/1.1\r\n${lines.join('')}\r\n${body}`], 2_000);
}

test('who is not let in gets a plain answer that says why, and the connection closes', async () => {
  for (const [status, code, headers, line] of [
    [401, 'invalid_api_key', { authorization: undefined }, undefined],
    [401, 'invalid_api_key', { authorization: 'Bearer wrong' }, undefined],
    [
      401,
      'invalid_api_key',
      { authorization: undefined, 'sec-websocket-protocol': 'sluice.v1, key.bm8' },
      undefined,
    ],
    [403, 'forbidden', { origin: 'https://theirs.example' }, undefined],
    [403, 'forbidden', { origin: 'null' }, undefined],
    [400, 'invalid_request', { 'sec-websocket-key': 'short' }, undefined],
    [400, 'invalid_request', { 'sec-websocket-protocol': 'other.v1' }, undefined],
    [426, 'upgrade_required', { 'sec-websocket-version': '7' }, undefined],
    [405, 'method_not_allowed', { 'content-length': '0' }, 'POST /v1/socket'],
    [404, 'not_found', {}, 'GET /v1/sockets'],
    [405, 'method_not_allowed', {}, 'GET /v1/chat/completions'],
  ] as const) {
    const answer = await asking(headers, line);
    assert.equal(answer.status, status, JSON.stringify(headers));
    assert.equal(JSON.parse(answer.body).error.code, code);
    assert.match(answer.headers.connection!, /close/);
    if (status === 426) {
      assert.deepEqual(
        [answer.headers.upgrade, answer.headers['sec-websocket-version']],
        ['websocket', '13'],
      );
    }
  }
  const plain = await raw(
    server.port,
    ['GET /v1/socket HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer one\r\n\r\n'],
    2_000,
  );
  assert.equal(plain.status, 426);
  assert.equal(await metric(server.url, 'sluice_socket_connections'), 0);
});

test('pages of our own origin, of those that are configured, and programs are let in', async () => {
  for (const headers of [
    { origin: `http://127.0.0.1:${server.port}` },
    { origin: `https://127.0.0.1:${server.port}` },
    { origin: 'https://ours.example' },
    {},
  ]) {
    const { socket } = await openRaw(server.port, { ...KEY, ...headers });
    socket.destroy();
  }
  const { socket } = await openRaw(server.port, { 'x-api-key': 'one' });
  socket.destroy();
  await noSockets();
});

test('what asks for another protocol is answered as if it had not asked', async () => {
  const body = JSON.stringify({ model: 'short', messages: [{ role: 'user', content: 'Go on.' }] });
  const headers = {
    connection: 'Upgrade, HTTP2-Settings',
    upgrade: 'h2c',
    'http2-settings': 'AAMAAABkAAQAoAAAAAIAAAAA',
    'content-type': 'application/json',
    'content-length': `${Buffer.byteLength(body)}`,
  };
  const answer = await asking(headers, 'POST /v1/chat/completions', body);
  assert.equal(answer.status, 200);
  assert.match(answer.body, /All is well\./);
});

test('a request to be upgraded that comes behind another one waits for its answer, and becomes a socket then', async () => {
  const body = JSON.stringify({ model: 'slow', messages: [{ role: 'user', content: 'Go on.' }] });
  const post = `POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer one\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
  const lines = Object.entries(ASKING).map(([name, value]) => `${name}: ${value}\r\n`);
  const { status, body: rest } = await raw(
    server.port,
    [`${post}GET /v1/socket HTTP/1.1\r\n${lines.join('')}\r\n`],
    LIMIT_MS,
  );
  assert.equal(status, 200);
  assert.match(rest, /At last\..*HTTP\/1\.1 101 /s);
});

test('frames that come in one piece with the request to be upgraded are heard', async () => {
  const lines = Object.entries(ASKING).map(([name, value]) => `${name}: ${value}\r\n`);
  const socket = connect(server.port, '127.0.0.1');
  let received = '';
  socket.on('data', (bytes) => (received += bytes.toString('latin1')));
  socket.write(
    Buffer.concat([
      Buffer.from(`GET /v1/socket HTTP/1.1\r\n${lines.join('')}\r\n`),
      rawFrame(text('{"type":"ping"}')),
    ]),
  );
  await waitUntil(
    () => received.includes('{"type":"pong"}'),
    LIMIT_MS,
    () => received,
  );
  socket.destroy();
});

test('frames of each kind are counted', async () => {
  const count = async (kind: string) => metric(server.url, `sluice_socket_frames_total{kind="${kind}"}`);
  const [calls, ends, unknown] = [await count('call'), await count('end'), await count('unknown')];
  const socket = await openSocket(server.port, 'one');
  socket.send(chatCall('1', 'short'));
  await socket.ended('1');
  socket.send('nonsense');
  await socket.frame(({ type }) => type === 'error');
  assert.deepEqual(
    [await count('call'), await count('end'), await count('unknown')],
    [calls + 1, ends + 1, unknown + 1],
  );
  await socket.close();
});
