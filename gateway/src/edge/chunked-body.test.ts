// The frames on the wire: they are ours, so a Node that changes beneath us must show here.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { after, before, test } from 'node:test';
import { ChunkedBody } from './chunked-body.ts';

const server = createServer((_request, response) => {
  const body = new ChunkedBody(response, () => response.writeHead(200, { 'content-type': 'text/plain' }));
  body.write('量子\n');
  body.write('😀 and more\n');
  body.end('');
});
before(() => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve)));
after(() => server.close());

function ask(request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1', () => socket.write(request));
    let text = '';
    socket.on('data', (bytes) => {
      text += bytes.toString('utf8');
      if (text.endsWith('0\r\n\r\n')) socket.destroy();
    });
    socket.on('close', () => resolve(text));
    socket.on('error', reject);
  });
}

test('each piece is a chunk with its length in bytes, and an empty one ends the body', async () => {
  const answer = await ask('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  assert.match(answer, /transfer-encoding: chunked/i);
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

test('HTTP/1.0 gets no frames', async () => {
  const answer = await ask('GET / HTTP/1.0\r\nHost: x\r\n\r\n');
  assert.ok(answer.endsWith('\r\n\r\n量子\n😀 and more\n'), answer);
});
