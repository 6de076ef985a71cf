// Guards the way to another server: what goes out, what comes in, one sentence for every way to fail, and that a
// client's leaving closes the socket in every phase.
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { type TestContext, test } from 'node:test';
import { GatewayError } from '../../core/errors.ts';
import { Brake } from './brake.ts';
import { Transport, type TransportOptions } from './transport.ts';
import { closed, Kept, plainAnswer, post, type SeenRequest, startServer } from './transport-testing.ts';

function open(t: TestContext, origin: string, options: Partial<TransportOptions> = {}): Transport {
  const transport = new Transport({ origin, env: {}, ...options });
  t.after(() => transport.close());
  return transport;
}

/** The sentence of the `backend_failed` that an exchange ends with. */
async function failureOf(exchange: Promise<void>): Promise<string> {
  try {
    await exchange;
  } catch (thrown) {
    assert.ok(thrown instanceof GatewayError, `threw ${thrown}`);
    assert.deepEqual([thrown.code, thrown.status], ['backend_failed', 502]);
    return thrown.message;
  }
  return assert.fail('it ended well');
}

/** Asks a server that answers like this; resolves to the failure. */
async function failureFrom(t: TestContext, answer: (request: SeenRequest) => void, reader = new Kept()) {
  const server = await startServer(t, answer);
  return failureOf(open(t, server.origin).exchange(post('/v1/x', '{}'), reader));
}

test('a request goes out as it is, and its answer comes in as it is', async (t) => {
  const server = await startServer(t, ({ socket }) =>
    socket.write(plainAnswer('{"量":1}', 'X-Kind: a', 'x-kind: b')),
  );
  const kept = new Kept();
  await open(t, server.origin).exchange(post('/v1/chat?x=1', '{"m":"深"}'), kept);
  assert.deepEqual([kept.status, kept.text], [200, '{"量":1}']);
  assert.deepEqual(kept.headers['x-kind'], ['a', 'b']);
  const [head, body] = server.requests[0]!.text.split('\r\n\r\n');
  assert.match(head!, /^POST \/v1\/chat\?x=1 HTTP\/1\.1\r\nhost: 127\.0\.0\.1:\d+\r\n/);
  for (const line of [
    /\r\naccept-encoding: identity\r\n/,
    /\r\nauthorization: Bearer key\r\n/,
    /\r\nuser-agent: sluice\r\n/,
  ])
    assert.match(head!, line);
  assert.match(head!, /\r\ncontent-length: 11$/);
  assert.equal(Buffer.from(body!, 'latin1').toString(), '{"m":"深"}');
});

test('any status of an answer is an answer; hints before it are none', async (t) => {
  const server = await startServer(t, ({ socket }) =>
    socket.write(
      'HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 429 Slow\r\nretry-after: 3\r\ncontent-length: 2\r\n\r\nno',
    ),
  );
  const kept = new Kept();
  await open(t, server.origin).exchange(post('/', '{}'), kept);
  assert.deepEqual([kept.status, kept.text, kept.headers['retry-after']], [429, 'no', '3']);
});

test('a stream comes piece by piece, each before the next one is written', async (t) => {
  const server = await startServer(t, ({ socket }) =>
    socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n0\r\n'),
  );
  const pieces: string[] = [];
  await open(t, server.origin).exchange(post('/', '{}'), {
    head: () => {},
    data: (bytes) => {
      const count = pieces.push(bytes.toString());
      server.sockets[0]!.write(count < 10 ? `1\r\n${count}\r\n` : '0\r\n\r\n');
    },
  });
  assert.equal(pieces.join(''), '0123456789');
  assert.equal(pieces.length, 10);
});

test('a body that ends with its connection is whole', async (t) => {
  const server = await startServer(t, ({ socket }) => socket.end('HTTP/1.1 200 OK\r\n\r\nall of it'));
  const kept = new Kept();
  await open(t, server.origin).exchange(post('/', '{}'), kept);
  assert.equal(kept.text, 'all of it');
});

test('nobody listens, no such name, no connection in time: each says so', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => taken.once('listening', resolve));
  const { port } = taken.address() as { port: number };
  await new Promise((resolve) => taken.close(resolve));
  assert.equal(
    await failureOf(open(t, `http://127.0.0.1:${port}`).exchange(post('/', '{}'), new Kept())),
    'The back end refused the connection.',
  );
  const unknown = open(t, 'http://nowhere.test', {
    lookup: (_name, answer) => answer(Object.assign(new Error('no'), { code: 'ENOTFOUND' }), []),
  });
  assert.equal(
    await failureOf(unknown.exchange(post('/', '{}'), new Kept())),
    "The back end's name could not be found.",
  );
  const silent = open(t, 'http://silent.test', { lookup: () => {}, connectTimeoutMs: 5 });
  assert.equal(
    await failureOf(silent.exchange(post('/', '{}'), new Kept())),
    'The back end did not take the connection in time.',
  );
});

test('a connection that closes before an answer', async (t) => {
  const sentence = 'The back end closed the connection before it answered.';
  assert.equal(await failureFrom(t, ({ socket }) => socket.end()), sentence);
  assert.equal(await failureFrom(t, ({ socket }) => socket.resetAndDestroy()), sentence);
  assert.equal(await failureFrom(t, ({ socket }) => socket.end('HTTP/1.1 200 OK\r\ncontent-')), sentence);
});

test('an answer that is cut, in each of the ways in which a body can end', async (t) => {
  const heads = {
    length: 'content-length: 100\r\n\r\nhalf',
    chunks: 'transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n',
    'chunks on a last connection': 'connection: close\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n',
  };
  for (const [kind, rest] of Object.entries(heads)) {
    const kept = new Kept();
    const failure = await failureFrom(t, ({ socket }) => socket.end(`HTTP/1.1 200 OK\r\n${rest}`), kept);
    assert.equal(failure, 'The back end closed the connection in the middle of its answer.', kind);
    assert.equal(kept.text, 'half', kind);
  }
});

test('a reset is never taken for the end of a body, not even of one that has no other end', async (t) => {
  for (const head of [
    'connection: close\r\n\r\n',
    'transfer-encoding: chunked\r\n\r\n4\r\n',
    'content-length: 9\r\n\r\n',
  ]) {
    const server = await startServer(t, ({ socket }) => socket.write(`HTTP/1.1 200 OK\r\n${head}half`));
    const kept = new Kept(() => server.sockets[0]!.resetAndDestroy());
    assert.equal(
      await failureOf(open(t, server.origin).exchange(post('/', '{}'), kept)),
      'The back end closed the connection in the middle of its answer.',
    );
    assert.equal(kept.text, 'half');
  }
});

test('what is not HTTP', async (t) => {
  const sentence = 'The back end did not answer in HTTP.';
  assert.equal(await failureFrom(t, ({ socket }) => socket.write('SSH-2.0-server\r\n')), sentence);
  const long = `HTTP/1.1 200 OK\r\nx: ${'a'.repeat(40_000)}\r\n\r\n`;
  assert.equal(await failureFrom(t, ({ socket }) => socket.write(long)), sentence);
  assert.equal(
    await failureFrom(t, ({ socket }) =>
      socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n'),
    ),
    sentence,
  );
});

test('a redirect is not followed, and its connection is closed', async (t) => {
  const target = await startServer(t, ({ socket }) => socket.write(plainAnswer('here')));
  const server = await startServer(t, ({ socket }) =>
    socket.write(`HTTP/1.1 307 Moved\r\nlocation: ${target.origin}/\r\ncontent-length: 0\r\n\r\n`),
  );
  const kept = new Kept();
  assert.equal(
    await failureOf(open(t, server.origin).exchange(post('/', '{}'), kept)),
    'The back end answered with a redirect, which is not followed.',
  );
  await closed(server.sockets[0]!);
  assert.deepEqual([kept.status, target.sockets.length], [0, 0]);
});

test('a header that cannot be sent is an error that does not show it', async (t) => {
  const server = await startServer(t, () => {});
  const request = { ...post('/', '{}'), headers: { authorization: 'Bearer top\nsecret' } };
  const failure = await failureOf(open(t, server.origin).exchange(request, new Kept()));
  assert.equal(failure, 'The request could not be written for the back end.');
  assert.equal(server.requests.length, 0);
});

test('what a reader throws is what the exchange rejects with, and the connection is closed', async (t) => {
  const thrown = new Error('too slow');
  const fail = () => {
    throw thrown;
  };
  for (const reader of [
    { head: fail, data: () => {} },
    { head: () => {}, data: fail },
  ]) {
    const server = await startServer(t, ({ socket }) =>
      socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsome\r\n4\r\nmore\r\n'),
    );
    await assert.rejects(open(t, server.origin).exchange(post('/', '{}'), reader), thrown);
    await closed(server.sockets[0]!);
  }
});

/** Aborts, and holds the exchange to rejecting with the reason before anything else can happen. */
async function leave(exchange: Promise<void>, client: AbortController): Promise<void> {
  const reason = new GatewayError('cancelled', 'The client left.');
  const outcome = Promise.race([
    exchange.then(
      () => 'ended',
      (thrown) => thrown,
    ),
    new Promise((resolve) => setImmediate(resolve, 'late')),
  ]);
  client.abort(reason);
  assert.equal(await outcome, reason);
}

test('a client that left before the request is not heard of by the back end', async (t) => {
  const server = await startServer(t, () => {});
  const reason = new GatewayError('cancelled', 'The client left.');
  const exchange = open(t, server.origin).exchange(post('/', '{}', AbortSignal.abort(reason)), new Kept());
  await assert.rejects(exchange, reason);
  assert.equal(server.sockets.length, 0);
});

test('a client that leaves while the name is looked up leaves no connection behind', async (t) => {
  const server = await startServer(t, () => {});
  const asked = Promise.withResolvers<() => void>();
  const transport = open(t, `http://slow.test:${server.port}`, {
    lookup: (_name, answer) => asked.resolve(() => answer(null, [{ address: '127.0.0.1', family: 4 }])),
  });
  const client = new AbortController();
  const exchange = transport.exchange(post('/', '{}', client.signal), new Kept());
  const answerLookup = await asked.promise;
  await leave(exchange, client);
  answerLookup();
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(server.sockets.length, 0);
});

test('a client that leaves closes the socket before the head, before the body, and in the middle of it', async (t) => {
  const phases = {
    'before the head': '',
    'within the head': 'HTTP/1.1 200 OK\r\nx-half',
    'before the body': 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n',
    'within the body': 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsome\r\n',
  };
  for (const [phase, bytes] of Object.entries(phases)) {
    const asked = Promise.withResolvers<void>();
    const server = await startServer(t, ({ socket }) => socket.write(bytes || '', () => asked.resolve()));
    const client = new AbortController();
    const began = Promise.withResolvers<void>();
    const reader = { head: () => began.resolve(), data: () => began.resolve() };
    const exchange = open(t, server.origin).exchange(post('/', '{}', client.signal), reader);
    await (phase.endsWith('body') ? began.promise : asked.promise);
    await leave(exchange, client);
    await closed(server.sockets[0]!);
  }
});

test('a brake ends an exchange with its reason and closes the socket; one that was pulled before lets nothing out', async (t) => {
  const asked = Promise.withResolvers<void>();
  const server = await startServer(t, () => asked.resolve());
  const transport = open(t, server.origin);
  const brake = new Brake();
  const exchange = transport.exchange({ ...post('/', '{}'), brake }, new Kept());
  await asked.promise;
  const reason = new GatewayError('backend_timeout', 'Too slow.');
  brake.pull(reason);
  brake.pull(new Error('Only the first counts.'));
  await assert.rejects(exchange, reason);
  await closed(server.sockets[0]!);
  await assert.rejects(transport.exchange({ ...post('/', '{}'), brake }, new Kept()), reason);
  assert.equal(server.requests.length, 1);
});

test('closing ends what runs with a failure, and what comes later at once', async (t) => {
  const asked = Promise.withResolvers<void>();
  const server = await startServer(t, () => asked.resolve());
  const transport = open(t, server.origin);
  const running = failureOf(transport.exchange(post('/', '{}'), new Kept()));
  await asked.promise;
  await transport.close();
  assert.equal(await running, 'The back end was closed.');
  await closed(server.sockets[0]!);
  assert.equal(await failureOf(transport.exchange(post('/', '{}'), new Kept())), 'The back end was closed.');
  await transport.close();
});
