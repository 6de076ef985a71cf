// Guards the faulty upstream, on which the tests of back ends stand: that it sends what its script says, breaks as it is
// told to, sees its peer leave, and never holds what it has not yet written.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { waitUntil } from '../e2e/harness.ts';
import { EVENT_STREAM, JSON_BODY, jsonOf, streamOf } from './answers.ts';
import { BUILT_IN_SCRIPTS } from './built-in-scripts.ts';
import { startUpstream, type Upstream } from './faulty-upstream.ts';
import { bodyBytes, type Chunk, oneByteAWrite, piecesOf, readScripts, type Script } from './script.ts';

const PROGRAM = new URL('./faulty-upstream.ts', import.meta.url).pathname;
const LIMIT_MS = 5_000;

let upstream: Upstream;
let agent: Agent;
beforeEach(async () => {
  upstream = await startUpstream();
  agent = new Agent({ keepAlive: true });
});
afterEach(async () => {
  agent.destroy();
  await upstream.close();
});

interface Got {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
}

function ask(body = '{"stream":true}', path = '/v1/chat/completions'): ClientRequest {
  const headers = { 'content-type': 'application/json', 'x-trace': 'seven' };
  const asked = httpRequest({ host: '127.0.0.1', port: upstream.port, method: 'POST', path, headers, agent });
  asked.end(body);
  return asked;
}

/** Rejects when the answer breaks. */
async function answerTo(asked: ClientRequest): Promise<Got> {
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  let text = '';
  for await (const piece of response.setEncoding('utf8')) text += piece;
  return { status: response.statusCode ?? 0, headers: response.headers, text };
}

async function peerGone(index: number): Promise<void> {
  const isGone = () => upstream.requests[index]?.closedByPeerAt !== undefined;
  await waitUntil(isGone, LIMIT_MS, () => 'the upstream did not see its peer leave');
}

test('a script is sent as it stands, and the request is kept', async () => {
  upstream.play({
    status: 418,
    headers: { 'content-type': 'text/x', 'x-own': '1' },
    chunks: ['a', { base64: '4pyT' }, { repeat: 'bc', times: 3 }],
    delaysMs: [0, 30],
  });
  const { status, headers, text } = await answerTo(ask('{"n": 1.0}'));
  assert.equal(status, 418);
  assert.equal(headers['content-type'], 'text/x');
  assert.equal(headers['x-own'], '1');
  assert.equal(text, 'a✓bcbcbc');
  const [request] = upstream.requests;
  assert.ok(request);
  assert.deepEqual(
    [request.method, request.path, request.body],
    ['POST', '/v1/chat/completions', '{"n": 1.0}'],
  );
  assert.equal(request.headers['x-trace'], 'seven');
  assert.equal(request.writtenAt.length, 3);
  assert.ok(request.writtenAt[1]! - request.writtenAt[0]! >= 29, 'a delay is kept');
  assert.equal(request.closedByPeerAt, undefined);
});

test('of several scripts each POST gets the next, and the last is for all that follow', async () => {
  upstream.play([jsonOf('one'), jsonOf('two')]);
  const texts = [];
  for (let index = 0; index < 3; index += 1) texts.push((await answerTo(ask())).text);
  assert.deepEqual(
    texts.map((text) => JSON.parse(text).choices[0].message.content),
    ['one', 'two', 'two'],
  );
  upstream.play((request) => jsonOf(request.body));
  assert.match((await answerTo(ask('"echo"'))).text, /\\"echo\\"/);
});

test('it says which models it has, and does not count who asks', async () => {
  for (const [path, status] of [
    ['/v1/models', 200],
    ['/api/tags', 200],
    ['/metrics', 404],
  ] as const) {
    assert.equal((await fetch(upstream.url + path)).status, status, path);
  }
  assert.equal(upstream.requests.length, 0);
});

test('a reset breaks the answer after all that was written', async () => {
  upstream.play({ headers: EVENT_STREAM, chunks: ['data: 1\n\n'], end: 'reset' });
  const asked = ask();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  asked.on('error', () => {});
  let text = '';
  const reading = (async () => {
    for await (const piece of response.setEncoding('utf8')) text += piece;
  })();
  await assert.rejects(reading, { code: 'ECONNRESET' });
  assert.equal(text, 'data: 1\n\n');
  assert.equal(upstream.requests[0]!.closedByPeerAt, undefined, 'it was not the peer');
});

test('silence lasts until the peer leaves, which is seen at once', async () => {
  upstream.play({ headers: EVENT_STREAM, chunks: ['data: 1\n\n'], end: 'hold' });
  const asked = ask();
  asked.on('error', () => {});
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  response.on('error', () => {}).resume();
  await sleep(50);
  assert.equal(response.complete, false);
  asked.destroy();
  await peerGone(0);
});

test('a peer that leaves before the head is seen too', async () => {
  upstream.play({ ...streamOf('late'), headDelayMs: 60_000 });
  const asked = ask();
  asked.on('error', () => {});
  await waitUntil(
    () => upstream.requests.length === 1,
    LIMIT_MS,
    () => 'no request',
  );
  asked.destroy();
  await peerGone(0);
  assert.equal(upstream.requests[0]!.answeredAt, undefined);
});

test('a length that is a lie ends with the connection, not with a wait', async () => {
  upstream.play(BUILT_IN_SCRIPTS['lying-length']!.make());
  await assert.rejects(answerTo(ask()), { code: 'ECONNRESET' });
});

test('a connection is closed when it was idle for as long as was said, and not before', async () => {
  upstream.play({ ...streamOf('x'), keepAliveMs: 1_000 });
  const socket = connect(upstream.port, '127.0.0.1');
  let text = '';
  socket.on('data', (piece) => (text += piece));
  socket.write('POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n');
  await waitUntil(
    () => text.endsWith('0\r\n\r\n'),
    LIMIT_MS,
    () => text,
  );
  assert.match(text, /^keep-alive: timeout=1\r$/m);
  const endedAt = performance.now();
  await once(socket, 'close');
  assert.ok(performance.now() - endedAt > 900);
});

test('a used connection is reset before an answer, a fresh one serves', async () => {
  upstream.play({ ...streamOf('x'), onReuse: 'reset-before-answer' });
  await answerTo(ask());
  await assert.rejects(answerTo(ask()), { code: 'ECONNRESET' });
  assert.equal((await answerTo(ask())).status, 200);
  assert.deepEqual(
    upstream.requests.map(({ isReused, answeredAt }) => [isReused, answeredAt !== undefined]),
    [
      [false, true],
      [true, false],
      [false, true],
    ],
  );
});

test('what a peer does not read is not made', async () => {
  upstream.play({ headers: EVENT_STREAM, chunks: [{ repeat: 'x', times: 2 ** 30 }, 'end'] });
  const socket: Socket = connect(upstream.port, '127.0.0.1').pause();
  socket.on('error', () => {});
  socket.write('POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n');
  await waitUntil(
    () => upstream.requests[0]?.writtenAt.length === 1,
    LIMIT_MS,
    () => 'no write',
  );
  const before = process.memoryUsage.rss();
  await sleep(300);
  assert.ok(process.memoryUsage.rss() - before < 64 * 2 ** 20, 'it waits for its peer');
  socket.destroy();
  await peerGone(0);
  assert.equal(upstream.requests[0]!.writtenAt.length, 1, 'it never got past the long chunk');
});

test('closing it twice is well, and ends what is held', async () => {
  upstream.play({ headers: EVENT_STREAM, chunks: [], end: 'hold' });
  const answer = answerTo(ask());
  answer.catch(() => {});
  await waitUntil(
    () => upstream.requests.length === 1,
    LIMIT_MS,
    () => 'no request',
  );
  await upstream.close();
  await upstream.close();
  await assert.rejects(answer);
});

for (const [name, { make }] of Object.entries(BUILT_IN_SCRIPTS)) {
  test(`the built-in script ${name} is a script, and it is sent`, async () => {
    const script = make();
    assert.deepEqual(readScripts(script), [script]);
    upstream.play({ ...script, headDelayMs: 0 });
    const asked = ask();
    asked.on('error', () => {});
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    assert.equal(response.statusCode, script.status ?? 200);
    if (bodyBytes(script) > 0) await once(response, 'data');
    asked.destroy();
  });
}

const chunk: fc.Arbitrary<Chunk> = fc.oneof(
  fc.string({ unit: 'grapheme' }),
  fc.uint8Array().map((bytes) => ({ base64: Buffer.from(bytes).toString('base64') })),
  fc.record({ repeat: fc.string({ unit: 'grapheme', minLength: 1 }), times: fc.nat(50) }),
);
const bytesOf = ({ chunks }: Script): Buffer => Buffer.concat(chunks.flatMap((one) => [...piecesOf(one)]));

test('one byte a write is the same bytes, with the delays where they were', () => {
  fc.assert(
    fc.property(fc.array(chunk, { maxLength: 6 }), (chunks) => {
      const delaysMs = chunks.map((_, index) => index + 1);
      const script: Script = { chunks, delaysMs };
      const cut = oneByteAWrite(script);
      const bytes = bytesOf(script);
      assert.equal(bodyBytes(script), bytes.length);
      assert.equal(cut.chunks.length, bytes.length);
      assert.deepEqual(bytesOf(cut), bytes);
      const filled = delaysMs.filter((_, index) => bodyBytes({ chunks: [chunks[index]!] }) > 0);
      assert.deepEqual(
        cut.delaysMs!.filter((delay) => delay > 0),
        filled,
      );
    }),
  );
});

test('a long text is written in pieces that join to it', () => {
  const pieces = [...piecesOf({ repeat: 'abc', times: 100_001 })];
  assert.ok(pieces.length > 4 && pieces.every(({ length }) => length <= 64 * 1024));
  assert.equal(Buffer.concat(pieces).toString(), 'abc'.repeat(100_001));
});

test('what is no script is refused with its place', () => {
  assert.throws(() => readScripts({ chunks: ['a', 7] }), /chunks\.1/);
  assert.throws(() => readScripts({ chunks: [], ends: 'eof' }), /no script/);
  assert.throws(() => readScripts([]), /no script/);
});

test('the program lists its scripts and refuses what it does not know', () => {
  const run = (...args: string[]) => spawnSync(process.execPath, [PROGRAM, ...args], { encoding: 'utf8' });
  const help = run('--help');
  assert.equal(help.status, 0);
  for (const name of Object.keys(BUILT_IN_SCRIPTS))
    assert.match(help.stdout, new RegExp(`^  ${name} +\\S`, 'm'));
  const unknown = run('--script', 'nonsense');
  assert.equal(unknown.status, 2);
  assert.match(unknown.stderr, /^faulty-upstream: There is no script "nonsense"[^\n]*\n$/);
  const folder = mkdtempSync(join(tmpdir(), 'upstream-test-'));
  try {
    const file = join(folder, 'script.json');
    writeFileSync(file, JSON.stringify({ headers: JSON_BODY, chunks: 'no list' }));
    assert.match(run('--script', file).stderr, /no script: 0\.chunks/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
