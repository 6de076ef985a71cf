// Guards the waiting for a client: what the system has taken is not waited for, what it has not is, and no client is for ever.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { test } from 'node:test';
import { clientTakes, isTaken } from './client-takes.ts';

const MUCH = 'x'.repeat(64 * 1024 * 1024);

/** What `look` sees of the response to a request whose client reads nothing. */
async function respond<Seen>(look: (response: ServerResponse) => Seen | Promise<Seen>): Promise<Seen> {
  const seen = Promise.withResolvers<Seen>();
  const server = createServer((_request, response) => {
    Promise.resolve(look(response)).then(seen.resolve, seen.reject);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1').on('error', () => {});
  client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  try {
    return await seen.promise;
  } finally {
    client.destroy();
    server.closeAllConnections();
    server.close();
  }
}

test('a short answer is taken as soon as it has ended, and not before', async () => {
  const seen = await respond((response) => {
    response.write('short');
    const before = isTaken(response);
    response.end();
    return [before, isTaken(response)];
  });
  assert.deepEqual(seen, [false, true]);
});

test('an answer that its client does not read is not taken, and its connection is cut', async () => {
  const seen = await respond(async (response) => {
    response.end(MUCH);
    const atOnce = isTaken(response);
    const code = await clientTakes(response, 'finish', 50).catch((thrown) => thrown.code);
    return [atOnce, code, response.destroyed];
  });
  assert.deepEqual(seen, [false, 'slow_reader', true]);
});

test('an answer whose client has left is never taken', async () => {
  const seen = await respond(async (response) => {
    response.destroy();
    response.end('too late');
    return [isTaken(response), await clientTakes(response, 'finish', 30_000).catch((thrown) => thrown.code)];
  });
  assert.deepEqual(seen, [false, 'cancelled']);
});
