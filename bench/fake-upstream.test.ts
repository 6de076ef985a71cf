// The fake upstream as a gateway sees it, and the clients of the transport benchmark against it: nothing is counted that
// did not come, and whoever leaves is noticed.
import assert from 'node:assert/strict';
import { createServer, type Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { AnswerReader } from '../gateway/src/load/answer-reader.ts';
import type { Order } from './client-process.ts';
import { Clients } from './clients.ts';
import { type Program, startBenchProgram } from './peers/program.ts';
import { CHAT, takeLeavings, takeSample, type Way } from './relay-load.ts';
import { EVENTS, HOLD_MS, MODEL, PHASES, response, TEXTS } from './upstream-words.ts';

let upstream: Program;
let clients: Clients;
let way: Way;

before(async () => {
  upstream = await startBenchProgram('fake-upstream');
  clients = new Clients();
  way = { name: 'direct', server: upstream, wording: CHAT };
});

after(async () => {
  clients.stop();
  await upstream.stop();
});

const url = (path: string) => `http://127.0.0.1:${upstream.port}${path}`;
const ask = (body: object) =>
  fetch(url('/v1/chat/completions'), { method: 'POST', body: JSON.stringify(body) });

function order(kind: Order['kind'], port: number, count: number): Order {
  return { kind, port, count, key: 'k', path: CHAT.jsonPath, body: CHAT.body('Hello', kind === 'stream') };
}

/** A server that answers every request with these writes. */
async function withServer(writes: readonly (string | Buffer)[], work: (port: number) => Promise<void>) {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('data', () => {
      for (const [index, bytes] of writes.entries()) setTimeout(() => socket.write(bytes), index * 20);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    await work((server.address() as { port: number }).port);
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
  }
}

test('a stream has its events, usage if it was asked for, and its end', async () => {
  for (const include_usage of [true, false]) {
    const answer = await ask({ stream: true, stream_options: { include_usage } });
    assert.match(answer.headers.get('content-type')!, /^text\/event-stream/);
    const text = await answer.text();
    const reader = new AnswerReader();
    reader.take(text, 0);
    assert.equal(reader.wordsAt.length, TEXTS);
    assert.ok(reader.isDone);
    assert.equal(reader.usage?.tokens, include_usage ? TEXTS : undefined);
    assert.equal(text.match(/^data: \{/gm)!.length, EVENTS + (include_usage ? 1 : 0));
    assert.match(text, /"role":"assistant"/);
    assert.match(text, /"finish_reason":"stop"/);
  }
});

test('JSON is answered whole, and what a gateway looks at is there', async () => {
  const answer = (await (await ask({ stream: false })).json()) as { choices: { message: object }[] };
  assert.ok('content' in answer.choices[0]!.message);
  for (const path of ['/v1/models', '/health', '/metrics']) {
    const found = await fetch(url(path));
    assert.equal(found.status, 200, path);
    const text = await found.text();
    if (path === '/v1/models') assert.equal(JSON.parse(text).data[0].id, MODEL);
  }
  assert.equal((await fetch(url('/v1/other'), { method: 'POST', body: '{}' })).status, 404);
});

test('a sample counts what came', async () => {
  const sample = await takeSample(clients, way, { streamLoads: 1, jsonRequests: 320 });
  assert.ok(sample.rssMiB > 10, `${sample.rssMiB} MiB`);
  assert.ok(sample.fewAgeMs.p50 > 0 && sample.fewAgeMs.p50 <= sample.fewAgeMs.p99);
  assert.ok(sample.jsonMs.p50 > 0);
  assert.ok(sample.chunkMicros > 0);
});

test('a leaving is seen in every phase, and not before it', async () => {
  for (const phase of PHASES) {
    const taken = await takeLeavings(clients, way, phase, 2, upstream.port);
    assert.equal(taken.length, 2);
    for (const ms of taken) assert.ok(ms !== null && ms >= 0 && ms < HOLD_MS, `${phase}: ${ms}`);
  }
});

test('who does not leave is told to have stayed', async () => {
  const body = CHAT.body('[hold: JSON]', false);
  const answer = await fetch(url(CHAT.jsonPath), { method: 'POST', body });
  assert.equal(answer.status, 200);
  await answer.text();
  assert.deepEqual(await (await fetch(url('/closed'))).json(), [{ phase: 'JSON', atMs: null }]);
  assert.deepEqual(await (await fetch(url('/closed'))).json(), [], 'told once');
});

test('an answer in JSON may come with its length or in chunks, and cut anywhere', async () => {
  const whole = response('application/json', { a: '@'.repeat(50) });
  const chunked = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n"abc"\r\n0\r\n';
  const cases = [
    [whole],
    [whole.subarray(0, 30), whole.subarray(30)],
    [chunked, '\r\n'],
    [chunked.slice(0, 40), `${chunked.slice(40)}\r`, '\n'],
  ];
  for (const writes of cases)
    await withServer(writes, async (port) => {
      const tally = await clients.send({ ...order('json', port, 1), total: 2 });
      assert.equal(tally.requests, 2);
    });
});

test('the end of a stream may be cut', async () => {
  const head = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';
  await withServer([head, '3\r\n@1\n\r\n0\r', '\n', '\r\n'], async (port) => {
    const tally = await clients.send(order('stream', port, 2));
    assert.deepEqual([tally.requests, tally.texts], [2, 2]);
  });
});

test('an error, or an answer that is cut, is never counted', async () => {
  const refused = 'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n';
  for (const kind of ['stream', 'json'] as const)
    await withServer([refused], async (port) => {
      const others = new Clients();
      await assert.rejects(others.send(order(kind, port, 1)), /503 Service Unavailable/);
      others.stop();
    });
  const broken = createServer((socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc'));
  await new Promise<void>((resolve) => broken.listen(0, '127.0.0.1', resolve));
  const others = new Clients();
  const { port } = broken.address() as { port: number };
  await assert.rejects(others.send(order('json', port, 1)), /closed before the end/);
  others.stop();
  broken.close();
});
