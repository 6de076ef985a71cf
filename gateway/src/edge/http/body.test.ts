// Guards the reading of bodies over a real socket: whole or refused, bounded in bytes and in silence, and a client that
// leaves in the middle is an ordinary event.
import assert from 'node:assert/strict';
import { request as send } from 'node:http';
import { connect } from 'node:net';
import { test } from 'node:test';
import type { GatewayError } from '../../core/errors.ts';
import { type BodyLimits, readBody } from './body.ts';
import { serving } from './http-testing.ts';
import { Request } from './request.ts';

type Result = { readonly body: string } | { readonly code: string; readonly message: string };
const ENOUGH: BodyLimits = { maxBytes: 1_000, stallMs: 30_000 };

/** What became of the one body that `write` sends; whatever was started ends with it. */
function readFrom(write: (port: number) => { destroy(): unknown }, limits = ENOUGH): Promise<Result> {
  const read = Promise.withResolvers<Result>();
  return serving(
    (request, response) => {
      readBody(request, limits)
        .then(
          (body) => ({ body: body.toString() }),
          ({ code, message }: GatewayError) => ({ code, message }),
        )
        .then((result) => {
          response.begin(200, {});
          response.end();
          read.resolve(result);
        });
    },
    async (port) => {
      const client = write(port);
      try {
        return await read.promise;
      } finally {
        client.destroy();
      }
    },
  );
}

/** Sends bytes as they are. */
const raw =
  (...pieces: string[]) =>
  (port: number) => {
    const socket = connect(port, '127.0.0.1').on('error', () => {});
    for (const piece of pieces) socket.write(piece);
    return socket;
  };
const head = (...lines: string[]) =>
  `POST / HTTP/1.1\r\nHost: x\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`;

async function refusal(write: (port: number) => { destroy(): unknown }, limits = ENOUGH) {
  const result = await readFrom(write, limits);
  assert.ok('code' in result, `read ${JSON.stringify(result)}`);
  return result;
}

test('a body is read whole, in one piece, in many, or empty', async () => {
  assert.deepEqual(await readFrom(raw(head('Content-Length: 5'), 'hello')), { body: 'hello' });
  assert.deepEqual(await readFrom(raw(head('Content-Length: 5'), 'he', 'll', 'o')), { body: 'hello' });
  assert.deepEqual(await readFrom(raw(head('Content-Length: 0'))), { body: '' });
  assert.deepEqual(await readFrom(raw(head())), { body: '' });
  const chunks = [head('Transfer-Encoding: chunked'), '2\r\nhe\r\n', '3\r\nllo\r\n', '0\r\n\r\n'];
  assert.deepEqual(await readFrom(raw(...chunks)), { body: 'hello' });
});

test('a body as large as the limit is read, one byte more is refused, with or without a length', async () => {
  const limit = 'x'.repeat(ENOUGH.maxBytes);
  assert.deepEqual(await readFrom(raw(head('Content-Length: 1000'), limit)), { body: limit });
  assert.equal((await refusal(raw(head('Content-Length: 1001'), `${limit}x`))).code, 'body_too_large');
  const chunked = raw(head('Transfer-Encoding: chunked'), `3e9\r\n${limit}x\r\n0\r\n\r\n`);
  const { code, message } = await refusal(chunked);
  assert.equal(code, 'body_too_large');
  assert.match(message, /1000 bytes/);
});

test('a length over the limit is refused before any of it has come', async () => {
  assert.equal((await refusal(raw(head('Content-Length: 999999999999')))).code, 'body_too_large');
});

test('chunks without end are refused as soon as they are too many', async () => {
  const endless = (port: number) => {
    const request = send({ port, host: '127.0.0.1', method: 'POST' }).on('error', () => {});
    request.write('x'.repeat(600));
    request.write('x'.repeat(600));
    return request;
  };
  assert.equal((await refusal(endless)).code, 'body_too_large');
});

test('a body that stops in the middle is given up after the limit of silence', async () => {
  const limits = { maxBytes: 1_000, stallMs: 20 };
  assert.equal((await refusal(raw(head('Content-Length: 5'), 'he'), limits)).code, 'request_timeout');
  assert.equal((await refusal(raw(head('Content-Length: 5')), limits)).code, 'request_timeout');
  const { code, message } = await refusal(raw(head('Transfer-Encoding: chunked'), '5\r\nhe'), limits);
  assert.equal(code, 'request_timeout');
  assert.match(message, /0\.02 s/);
});

test('what counts is silence and not length: a slow body that keeps coming is read', async (context) => {
  // Node's own mock of timers knows no refresh().
  let [now, due] = [0, 0];
  let fire = () => {};
  context.mock.method(globalThis, 'setTimeout', (callback: () => void, ms: number) => {
    const timer = {
      unref: () => timer,
      refresh: () => {
        due = now + ms;
        return timer;
      },
    };
    fire = callback;
    return timer.refresh();
  });
  const head = { method: 'POST', target: '/', headers: {}, isOld: false, keepsAlive: true };
  const request = new Request(
    { ...head, awaitsContinue: false, hasBody: true, asksForUpgrade: false },
    () => {},
  );
  const reading = readBody(request, { maxBytes: 1_000, stallMs: 100 });
  for (const letter of 'hello') {
    now += 99;
    if (now >= due) fire();
    request.push(Buffer.from(letter));
    await new Promise(setImmediate);
  }
  request.end();
  assert.equal((await reading).toString(), 'hello');
});

test('a client that leaves in the middle of its body is cancelled', async () => {
  const leaving = (port: number) => {
    const socket = connect(port, '127.0.0.1');
    socket.write(head('Content-Length: 5'));
    socket.write('he', () => socket.destroy());
    return socket;
  };
  assert.equal((await refusal(leaving)).code, 'cancelled');
});

test('what is no HTTP in the middle of a body is told as such', async () => {
  const { code } = await refusal(raw(head('Transfer-Encoding: chunked'), '2\r\nhello\r\n'));
  assert.equal(code, 'invalid_request');
});

test('a client that waits to be told to send its body is told', async () => {
  const waiting = (port: number) => {
    const socket = connect(port, '127.0.0.1').on('error', () => {});
    socket.write(head('Content-Length: 5', 'Expect: 100-continue'));
    socket.on('data', (bytes) => {
      if (bytes.toString() === 'HTTP/1.1 100 Continue\r\n\r\n') socket.write('hello');
    });
    return socket;
  };
  assert.deepEqual(await readFrom(waiting), { body: 'hello' });
});

test('a compressed body is refused by name; one that is said to be plain is read', async () => {
  for (const encoding of ['gzip', 'br', 'gzip, identity']) {
    const { code, message } = await refusal(
      raw(head('Content-Length: 2', `Content-Encoding: ${encoding}`), 'ab'),
    );
    assert.equal(code, 'invalid_request', encoding);
    assert.match(message, /Content-Encoding/);
  }
  for (const encoding of ['identity', 'Identity']) {
    const plain = raw(head('Content-Length: 2', `Content-Encoding: ${encoding}`), 'ab');
    assert.deepEqual(await readFrom(plain), { body: 'ab' }, encoding);
  }
});
