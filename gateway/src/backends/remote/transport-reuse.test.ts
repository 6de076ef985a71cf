// Guards the re-use of connections: a request is sent again exactly once, and only where a used connection broke before
// a byte of an answer came; connections that were left idle are closed before the server's own time.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { GatewayError } from '../../core/errors.ts';
import { Transport, type TransportOptions } from './transport.ts';
import { closed, Kept, plainAnswer, post, type SeenRequest, startServer } from './transport-testing.ts';

const RESET = /closed the connection before it answered/;

function open(t: TestContext, origin: string, options: Partial<TransportOptions> = {}): Transport {
  const transport = new Transport({ origin, env: {}, ...options });
  t.after(() => transport.close());
  return transport;
}

async function ask(transport: Transport, body = '{}'): Promise<string> {
  const kept = new Kept();
  await transport.exchange(post('/', body), kept);
  return kept.text;
}

/** Which request of which connection, for all that the server saw. */
const seen = (requests: readonly SeenRequest[]) =>
  requests.map(({ connection, turn }) => `${connection}.${turn}`).join(' ');

test('a connection is used again, the last one first', async (t) => {
  const server = await startServer(t, ({ socket, connection }) => socket.write(plainAnswer(`${connection}`)));
  const transport = open(t, server.origin);
  for (let turn = 0; turn < 3; turn += 1) assert.equal(await ask(transport), '1');
  assert.equal(seen(server.requests), '1.1 1.2 1.3');
});

test('calls at the same time have a connection each', async (t) => {
  const waiting: SeenRequest[] = [];
  const server = await startServer(t, (request) => {
    if (waiting.push(request) < 20) return;
    for (const { socket, text } of waiting) socket.write(plainAnswer(text.split('\r\n\r\n')[1]!));
  });
  const transport = open(t, server.origin);
  const bodies = Array.from({ length: 20 }, (_, index) => `${index}`);
  assert.deepEqual(await Promise.all(bodies.map((body) => ask(transport, body))), bodies);
  assert.equal(server.sockets.length, 20);
});

for (const end of ['end', 'resetAndDestroy'] as const) {
  test(`a used connection that breaks before a byte: once more, on a new one (${end})`, async (t) => {
    const server = await startServer(t, ({ socket, connection, turn }) => {
      if (connection === 1 && turn === 2) socket[end]();
      else socket.write(plainAnswer(`${connection}.${turn}`));
    });
    const transport = open(t, server.origin);
    assert.equal(await ask(transport), '1.1');
    assert.equal(await ask(transport, '{"again":true}'), '2.1');
    assert.equal(seen(server.requests), '1.1 1.2 2.1');
    const [, first, second] = server.requests;
    assert.equal(second!.text, first!.text);
  });

  test(`what breaks on the new connection too is not sent a third time (${end})`, async (t) => {
    const server = await startServer(t, ({ socket, connection, turn }) => {
      if (connection === 1 && turn === 1) socket.write(plainAnswer('one'));
      else socket[end]();
    });
    const transport = open(t, server.origin);
    await ask(transport);
    await assert.rejects(ask(transport), RESET);
    assert.equal(seen(server.requests), '1.1 1.2 2.1');
  });

  test(`a new connection that breaks: the request is not sent again (${end})`, async (t) => {
    const server = await startServer(t, ({ socket }) => socket[end]());
    await assert.rejects(ask(open(t, server.origin)), RESET);
    assert.equal(seen(server.requests), '1.1');
  });

  test(`a byte of an answer came: the request is not sent again (${end})`, async (t) => {
    const server = await startServer(t, ({ socket, turn }) => {
      if (turn === 1) socket.write(plainAnswer('one'));
      // With a reset the byte could be lost on the way; so it follows later.
      else socket.write('H', () => setTimeout(() => socket[end](), 20));
    });
    const transport = open(t, server.origin);
    await ask(transport);
    await assert.rejects(ask(transport), RESET);
    assert.equal(seen(server.requests), '1.1 1.2');
  });
}

test('a client that gives up on a used connection is not a reason to send again', async (t) => {
  const second = Promise.withResolvers<SeenRequest>();
  const server = await startServer(t, (request) => {
    if (request.turn === 1) request.socket.write(plainAnswer('one'));
    else second.resolve(request);
  });
  const transport = open(t, server.origin);
  await ask(transport);
  const client = new AbortController();
  const reason = new GatewayError('deadline_exceeded', 'The first token did not come before the deadline.');
  const exchange = transport.exchange(post('/', '{}', client.signal), new Kept());
  const { socket } = await second.promise;
  client.abort(reason);
  await assert.rejects(exchange, reason);
  await closed(socket);
  assert.equal(seen(server.requests), '1.1 1.2');
});

test('the other idle connections are as old as the one that was dead: they go with it', async (t) => {
  const waiting: SeenRequest[] = [];
  const server = await startServer(t, (request) => {
    if (request.connection > 2) request.socket.write(plainAnswer('new'));
    else if (request.turn > 1) request.socket.resetAndDestroy();
    else if (waiting.push(request) === 2) for (const { socket } of waiting) socket.write(plainAnswer('old'));
  });
  const transport = open(t, server.origin);
  assert.deepEqual(await Promise.all([ask(transport), ask(transport)]), ['old', 'old']);
  assert.equal(await ask(transport), 'new');
  // The second of these two would get the other old one, were it still there.
  assert.deepEqual(await Promise.all([ask(transport), ask(transport)]), ['new', 'new']);
  await Promise.all([closed(server.sockets[0]!), closed(server.sockets[1]!)]);
  assert.equal(server.requests.filter(({ connection, turn }) => connection <= 2 && turn > 1).length, 1);
});

test('a server that promises to keep the connection and closes it after each stream', async (t) => {
  const server = await startServer(t, ({ socket }) => {
    socket.write('HTTP/1.1 200 OK\r\nkeep-alive: timeout=5, max=100\r\nconnection: keep-alive\r\n');
    socket.end('transfer-encoding: chunked\r\n\r\n5\r\ndata:\r\n0\r\n\r\n');
  });
  const transport = open(t, server.origin);
  for (let turn = 0; turn < 40; turn += 1) assert.equal(await ask(transport), 'data:');
  const lanes = Array.from({ length: 8 }, async () => {
    for (let turn = 0; turn < 10; turn += 1) assert.equal(await ask(transport), 'data:');
  });
  await Promise.all(lanes);
});

test('a connection whose last answer said so is not used again', async (t) => {
  const server = await startServer(t, ({ socket }) => socket.write(plainAnswer('one', 'connection: close')));
  const transport = open(t, server.origin);
  await ask(transport);
  await ask(transport);
  assert.equal(seen(server.requests), '1.1 2.1');
});

test('an idle connection is closed in time, sooner or later where the server says so', async (t) => {
  const server = await startServer(t, ({ socket }) => socket.write(plainAnswer('one')));
  await ask(open(t, server.origin, { idleMs: 5 }));
  await closed(server.sockets[0]!);
  const hinting = await startServer(t, ({ socket }) =>
    socket.write(plainAnswer('one', 'keep-alive: timeout=1')),
  );
  await ask(open(t, hinting.origin, { idleMs: 3_600_000 }));
  await closed(hinting.sockets[0]!);
  const patient = await startServer(t, ({ socket }) =>
    socket.write(plainAnswer('one', 'keep-alive: timeout=75')),
  );
  const transport = open(t, patient.origin, { idleMs: 5 });
  await ask(transport);
  await sleep(50);
  await ask(transport);
  assert.equal(seen(patient.requests), '1.1 1.2');
});

test('a connection whose answer was not read to its end is closed', async (t) => {
  const server = await startServer(t, ({ socket }) => socket.write(plainAnswer('much')));
  const transport = open(t, server.origin);
  const reader = {
    head: () => {
      throw new Error('enough');
    },
    data: () => {},
  };
  await assert.rejects(transport.exchange(post('/', '{}'), reader), /enough/);
  await closed(server.sockets[0]!);
  assert.equal(await ask(transport), 'much');
  assert.equal(seen(server.requests), '1.1 2.1');
});

test('what nobody asked for is never taken for the next answer', async (t) => {
  const stray = plainAnswer('stray');
  for (const isLater of [false, true]) {
    const server = await startServer(t, ({ socket, connection }) => {
      const answer = plainAnswer(`${connection}`);
      if (connection > 1) socket.write(answer);
      else if (isLater) socket.write(answer, () => setTimeout(() => socket.write(stray), 5));
      else socket.write(answer + stray);
    });
    const transport = open(t, server.origin);
    assert.equal(await ask(transport), '1');
    if (isLater) await closed(server.sockets[0]!);
    assert.equal(await ask(transport), '2');
    await closed(server.sockets[0]!);
  }
});

test('what came before a request had left is not its answer: servers that give up say so', async (t) => {
  const server = await startServer(t, ({ socket, connection }) => socket.write(plainAnswer(`${connection}`)));
  const transport = open(t, server.origin);
  assert.equal(await ask(transport), '1');
  const asked = Promise.withResolvers<string>();
  // In the same turn: what the network brings is read before what is to leave at its end.
  setImmediate(() => {
    server.sockets[0]!.end('HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n');
    asked.resolve(ask(transport));
  });
  assert.equal(await asked.promise, '2');
  assert.equal(seen(server.requests), '1.1 2.1');
});

test('a connection on which an answer came before its request had left is not used again', async (t) => {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    // It reads no further: what is too large is refused by its first bytes.
    socket.once('data', () => socket.pause().write(plainAnswer(`${sockets.length}`)));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const transport = open(t, `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  assert.equal(await ask(transport, 'x'.repeat(32 * 1024 * 1024)), '1');
  assert.equal(await ask(transport, '{}'), '2');
});
