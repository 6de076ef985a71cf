// Guards the frames that are made here against the library's own reader, around every length at which their head changes.
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import { WebSocket } from 'ws';
import { framesIn } from '../../../test/e2e/socket-client.ts';
import { textFrames } from './text-frames.ts';

const LENGTHS = [0, 1, 125, 126, 127, 65_535, 65_536, 100_000];

test('texts of any length and script are read back as they were', () => {
  const text = fc.oneof(
    fc.string({ unit: 'grapheme' }),
    fc.constantFrom(...LENGTHS).map((length) => 'x'.repeat(length)),
    fc.nat(70_000).map((length) => '量'.repeat(length / 3)),
  );
  fc.assert(
    fc.property(fc.array(text, { maxLength: 5 }), (texts) => {
      assert.deepEqual(
        framesIn(textFrames(texts)).map(({ opcode, payload }) => [opcode, payload.toString()]),
        texts.map((one) => [1, one]),
      );
    }),
    { numRuns: 50 },
  );
});

test("a client's library takes them", async () => {
  const texts = LENGTHS.map((length) => '量'.repeat(length));
  const server = createServer((socket) => {
    socket.once('data', (request) => {
      const [, key] = /sec-websocket-key: (\S+)/i.exec(request.toString())!;
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
          `Sec-WebSocket-Accept: ${hash('sha1', `${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`, 'base64')}\r\n\r\n`,
      );
      socket.write(textFrames(texts));
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = new WebSocket(`ws://127.0.0.1:${(server.address() as { port: number }).port}`);
  try {
    const received: string[] = [];
    client.on('message', (data) => received.push(String(data)));
    while (received.length < texts.length) await once(client, 'message');
    assert.deepEqual(received, texts);
  } finally {
    client.terminate();
    server.close();
  }
});
