// The reading of requests: alike however the bytes are cut, one after another, and never without a bound.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type PlainRequest, RequestReader } from './request-reader.ts';

function readAll(parts: readonly Buffer[]): PlainRequest[] {
  const found: PlainRequest[] = [];
  const reader = new RequestReader((request) => found.push(request));
  for (const part of parts) reader.push(part);
  return found;
}

const BODY = '{"prompt":"你好"}';
const BYTES = Buffer.from(
  `POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\ncontent-length: ${Buffer.byteLength(BODY)}\r\n\r\n${BODY}` +
    'GET /health HTTP/1.1\r\nHost: x\r\n\r\n' +
    'POST /a HTTP/1.1\r\nContent-Length:0\r\n\r\n',
);
const REQUESTS = [
  { method: 'POST', path: '/v1/chat/completions', body: Buffer.from(BODY).toString('latin1') },
  { method: 'GET', path: '/health', body: '' },
  { method: 'POST', path: '/a', body: '' },
];

test('requests are read alike however they are cut', () => {
  assert.deepEqual(readAll([BYTES]), REQUESTS);
  assert.deepEqual(readAll(Array.from(BYTES, (byte) => Buffer.from([byte]))), REQUESTS);
  fc.assert(
    fc.property(fc.array(fc.nat(BYTES.length), { maxLength: 8 }), (cuts) => {
      const places = [0, ...cuts.sort((a, b) => a - b), BYTES.length];
      const parts = places.slice(1).map((place, index) => BYTES.subarray(places[index], place));
      assert.deepEqual(readAll(parts), REQUESTS);
    }),
  );
});

test('a request is told once its last byte is there, and not before', () => {
  assert.deepEqual(readAll([Buffer.from('POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab')]), []);
  assert.deepEqual(readAll([Buffer.from('GET / HTTP/1.1\r\n\r')]), []);
});

test('what cannot be read is an error', () => {
  const pushing = (text: string) => () => readAll([Buffer.from(text)]);
  assert.throws(pushing('POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n'), /without a length/);
  assert.throws(pushing('POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n'), /too long/);
  assert.throws(pushing('x'.repeat(70_000)), /too long/);
});
