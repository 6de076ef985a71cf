// The frames on the wire: they are ours, so a Node that changes beneath us must show here.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { after, before, test } from 'node:test';
import { ChunkedBody } from './chunked-body.ts';

const LARGE_PIECE = 'x'.repeat(100_000);
const LARGE_PIECES = 200;

const server = createServer(async (request, response) => {
  const body = new ChunkedBody(response, () => response.writeHead(200, { 'content-type': 'text/plain' }));
  if (request.url === '/large') {
    let drains = 0;
    for (let piece = 0; piece < LARGE_PIECES; piece += 1) {
      if (body.write(LARGE_PIECE)) continue;
      drains += 1;
      await once(response, 'drain');
    }
    body.end(`${drains}`);
    return;
  }
  if (request.url === '/bytes') {
    body.begin();
    body.write(Buffer.from('量子\n'));
    body.write(Buffer.alloc(0));
    body.write(Buffer.from('😀 and more\n'));
    body.end('');
    return;
  }
  body.write('量子\n');
  body.write('😀 and more\n');
  body.end('');
});
before(() => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve)));
after(() => {
  server.close();
  server.closeAllConnections();
});

/** `lateMs`: when it begins to read. */
function ask(request: string, lateMs = 0): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1', () => socket.write(request));
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
  const response = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  assert.equal(await response.text(), '量子\n😀 and more\n');
});

test('a pipelined second request gets its own whole answer', async () => {
  const one = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n';
  const last = 'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1', () => socket.write(one + last));
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

test('HTTP/1.0 gets no frames', async () => {
  const answer = await ask('GET / HTTP/1.0\r\nHost: x\r\n\r\n');
  assert.ok(answer.endsWith('\r\n\r\n量子\n😀 and more\n'), answer);
});
