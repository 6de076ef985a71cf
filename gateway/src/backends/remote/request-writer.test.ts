// Guards what is sent: one request and no more, each character in its own encoding.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GatewayError } from '../../core/errors.ts';
import { RequestWriter } from './request-writer.ts';

const writer = new RequestWriter({ host: 'h:8000', pathPrefix: '', headers: { 'user-agent': 'x' } });

test('a request is its lines and its body', () => {
  assert.equal(
    writer
      .write({ method: 'POST', path: '/v1/a?b=c', headers: { x: 'é' }, body: '{"m":"深"}' })
      .toString('latin1'),
    `POST /v1/a?b=c HTTP/1.1\r\nhost: h:8000\r\nconnection: keep-alive\r\nuser-agent: x\r\nx: é\r\ncontent-length: 11\r\n\r\n${Buffer.from('{"m":"深"}').toString('latin1')}`,
  );
  assert.equal(
    writer.write({ method: 'GET', path: '/', headers: {} }).toString(),
    'GET / HTTP/1.1\r\nhost: h:8000\r\nconnection: keep-alive\r\nuser-agent: x\r\n\r\n',
  );
  assert.match(
    writer.write({ method: 'POST', path: '/', headers: {}, body: '' }).toString(),
    /content-length: 0\r\n\r\n$/,
  );
});

test('a proxy is asked for the whole address', () => {
  const proxied = new RequestWriter({ host: 'h', pathPrefix: 'http://h', headers: {} });
  assert.match(
    proxied.write({ method: 'GET', path: '/x', headers: {} }).toString(),
    /^GET http:\/\/h\/x HTTP\/1\.1\r\nhost: h\r\n/,
  );
});

test('what would be more than the one header or request that it is is not sent', () => {
  for (const headers of [
    { x: 'a\r\nb: c' },
    { x: 'a\nb' },
    { x: 'a\rb' },
    { x: 'a\0' },
    { x: '深' },
    { 'x: a\r\nb': 'c' },
    { 'x y': 'a' },
    { '': 'a' },
  ] as Record<string, string>[]) {
    assert.throws(
      () => writer.write({ method: 'POST', path: '/', headers, body: '' }),
      (thrown) =>
        thrown instanceof GatewayError &&
        thrown.message === 'The request could not be written for the back end.',
      JSON.stringify(headers),
    );
  }
  for (const path of ['/a b', '/a\r\nx: y', '', '/深'])
    assert.throws(() => writer.write({ method: 'GET', path, headers: {} }), GatewayError, path);
});
