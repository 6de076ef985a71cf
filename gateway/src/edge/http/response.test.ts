// Responses on the wire: their frames, and the waiting for a client: what the system has taken is not waited for, what it has not
// is, and no client is for ever.
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { serving } from './http-testing.ts';
import { HttpListener } from './listener.ts';
import type { Request } from './request.ts';
import type { Response } from './response.ts';

const LARGE_PIECE = 'x'.repeat(100_000);
const LARGE_PIECES = 200;

async function answer({ target }: Request, response: Response): Promise<void> {
  response.begin(200, { 'content-type': 'text/plain' });
  if (target === '/large') {
    let drains = 0;
    for (let piece = 0; piece < LARGE_PIECES; piece += 1) {
      if (response.write(LARGE_PIECE)) continue;
      drains += 1;
      await response.flows(10_000);
    }
    response.end(`${drains}`);
    return;
  }
  if (target === '/bytes') {
    response.flushHead();
    response.write(Buffer.from('量子\n'));
    response.write(Buffer.alloc(0));
    response.write(Buffer.from('😀 and more\n'));
    response.end();
    return;
  }
  response.write('量子\n');
  response.write('😀 and more\n');
  response.end();
}

const listener = new HttpListener({
  headerTimeoutMs: 10_000,
  onExchange: (request, response) => void answer(request, response),
  takesOver: () => false,
  onTakenOver: () => {},
});
let port = 0;
before(async () => {
  ({ port } = await listener.listen('127.0.0.1', 0));
});
after(() => listener.close());

/** `lateMs`: when it begins to read. */
function ask(request: string, lateMs = 0): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(request));
    const parts: Buffer[] = [];
    const read = (bytes: Buffer) => {
      parts.push(bytes);
      if (bytes.toString('latin1').endsWith('0\r\n\r\n')) socket.destroy();
    };
    setTimeout(() => socket.on('data', read), lateMs);
    socket.on('close', () => resolve(Buffer.concat(parts).toString('utf8')));
    socket.on('error', reject);
  });
}

test('each piece is a chunk with its length in bytes, and an empty one ends the body', async () => {
  const answer = await ask('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  assert.match(answer, /transfer-encoding: chunked/i);
  assert.ok(answer.endsWith('\r\n\r\n7\r\n量子\n\r\ne\r\n😀 and more\n\r\n0\r\n\r\n'), answer);
});

test('bytes are framed as texts are, also behind a head that left before them', async () => {
  const answer = await ask('GET /bytes HTTP/1.1\r\nHost: x\r\n\r\n');
  assert.ok(answer.endsWith('\r\n\r\n7\r\n量子\n\r\ne\r\n😀 and more\n\r\n0\r\n\r\n'), answer);
});

test('an HTTP client reads it as it was', async () => {
  const response = await fetch(`http://127.0.0.1:${port}/`);
  assert.equal(await response.text(), '量子\n😀 and more\n');
});

test('a pipelined second request gets its own whole answer', async () => {
  const one = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n';
  const last = 'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';
  const socket = connect(port, '127.0.0.1', () => socket.write(one + last));
  let text = '';
  for await (const bytes of socket) text += (bytes as Buffer).toString('utf8');
  assert.equal(text.split('HTTP/1.1 200').length - 1, 2);
  assert.equal(text.split('0\r\n\r\n').length - 1, 2);
});

test('a reader that is slow is waited for, and gets all of it', { timeout: 10_000 }, async () => {
  const answer = await ask('GET /large HTTP/1.1\r\nHost: x\r\n\r\n', 20);
  const text = answer.slice(answer.indexOf('\r\n\r\n') + 4);
  const frame = `${LARGE_PIECE.length.toString(16)}\r\n${LARGE_PIECE}\r\n`;
  assert.ok(text.startsWith(frame.repeat(LARGE_PIECES)));
  assert.match(text.slice(frame.length * LARGE_PIECES), /^\d+\r\n[1-9]\d*\r\n0\r\n\r\n$/);
});

test('an answer to HEAD has no body', async () => {
  const answer = await ask('HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  assert.ok(answer.endsWith('\r\n\r\n'), answer);
  assert.equal(answer.split('\r\n\r\n').length, 2);
});

test('an answer without a body ends with its head, and the next one follows', async () => {
  const silent = (_: Request, response: Response) => {
    response.begin(204, {});
    response.end();
  };
  const one = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n';
  await serving(silent, async (own) => {
    const socket = connect(own, '127.0.0.1', () =>
      socket.write(one + one.replace('Host', 'Connection: close\r\nHost')),
    );
    let text = '';
    for await (const bytes of socket) text += (bytes as Buffer).toString();
    assert.match(
      text,
      /^HTTP\/1\.1 204 No Content\r\n(?:[^\r]+\r\n)+\r\nHTTP\/1\.1 204 No Content\r\n(?:[^\r]+\r\n)+\r\n$/,
    );
    assert.doesNotMatch(text, /transfer-encoding/);
  });
});

test('HTTP/1.0 gets no frames', async () => {
  const answer = await ask('GET / HTTP/1.0\r\nHost: x\r\n\r\n');
  assert.ok(answer.endsWith('\r\n\r\n量子\n😀 and more\n'), answer);
});

const MUCH = 'x'.repeat(64 * 1024 * 1024);

/** What `look` sees of the response to a request whose client reads nothing. */
function respond<Seen>(look: (response: Response) => Seen | Promise<Seen>): Promise<Seen> {
  const seen = Promise.withResolvers<Seen>();
  return serving(
    (_request, response) => {
      response.begin(200, {});
      Promise.resolve(look(response)).then(seen.resolve, seen.reject);
    },
    async (own) => {
      const client = connect(own, '127.0.0.1').on('error', () => {});
      client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
      try {
        return await seen.promise;
      } finally {
        client.destroy();
      }
    },
  );
}

test('a short answer is taken as soon as it has ended, and not before', async () => {
  const seen = await respond((response) => {
    response.write('short');
    const before = response.isTaken;
    response.end();
    return [before, response.isTaken];
  });
  assert.deepEqual(seen, [false, true]);
});

test('an answer that its client does not read is not taken, and its connection is cut', async () => {
  const seen = await respond(async (response) => {
    response.end(MUCH);
    const atOnce = response.isTaken;
    const code = await response.taken(50)?.catch((thrown) => thrown.code);
    return [atOnce, code, response.isLost];
  });
  assert.deepEqual(seen, [false, 'slow_reader', true]);
});

test('an answer whose client has left is never taken', async () => {
  const seen = await respond(async (response) => {
    response.destroy();
    response.end('too late');
    return [response.isTaken, await response.taken(30_000)?.catch((thrown) => thrown.code)];
  });
  assert.deepEqual(seen, [false, 'cancelled']);
});
