// Guards the choice of a proxy, by the rules that people know from other tools, and what is read of its address.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GatewayError } from '../../core/errors.ts';
import { type Environment, proxyFor } from './proxy.ts';

const hostFor = (origin: string, env: Environment) => proxyFor(new URL(origin), env)?.host;

test('each scheme has its proxy; in lower case the name counts more; one for http serves https too', () => {
  const env = { HTTP_PROXY: 'http://a:1', HTTPS_PROXY: 'http://b:2' };
  assert.equal(hostFor('http://x.test', env), 'a');
  assert.equal(hostFor('https://x.test', env), 'b');
  assert.equal(hostFor('https://x.test', { ...env, https_proxy: 'http://c:3' }), 'c');
  assert.equal(hostFor('https://x.test', { HTTP_PROXY: 'http://a:1' }), 'a');
  assert.equal(hostFor('http://x.test', { HTTPS_PROXY: 'http://b:2' }), undefined);
  assert.equal(hostFor('http://x.test', { HTTP_PROXY: '' }), undefined);
});

test('what is on this machine is never sent through a proxy', () => {
  const env = { HTTP_PROXY: 'http://a:1' };
  for (const host of ['localhost', 'LOCALHOST:8000', 'a.localhost', '127.0.0.1:8000', '127.1', '[::1]:8000'])
    assert.equal(hostFor(`http://${host}`, env), undefined, host);
  for (const host of ['10.0.0.1', 'localhost.test', '127.test'])
    assert.equal(hostFor(`http://${host}`, env), 'a', host);
});

test('NO_PROXY names hosts, domains, ports, addresses and nets', () => {
  const cases: readonly (readonly [list: string, without: readonly string[], through: readonly string[]])[] =
    [
      ['*', ['x.test', '10.0.0.1'], []],
      ['x.test', ['x.test', 'a.x.test', 'X.TEST', 'x.test.'], ['ax.test', 'test']],
      ['.x.test, *.y.test', ['a.x.test', 'b.y.test'], ['z.test']],
      ['x.test:8000', ['x.test:8000'], ['x.test', 'x.test:80']],
      ['x.test:80', ['x.test'], ['x.test:8000']],
      ['10.0.0.1 [fd00::1]:9', ['10.0.0.1', '[fd00::1]:9'], ['10.0.0.2', '[fd00::1]:8']],
      ['10.0.0.0/8,fd00::/8', ['10.9.8.7', '[fd12::1]'], ['11.0.0.1', '[fe00::1]', '10.test']],
      ['10.0.0.0/99,/8,0.1', [], ['10.0.0.1']],
    ];
  for (const [list, without, through] of cases) {
    const env = { HTTP_PROXY: 'http://a:1', NO_PROXY: list };
    for (const host of without) assert.equal(hostFor(`http://${host}`, env), undefined, `${host} by ${list}`);
    for (const host of through) assert.equal(hostFor(`http://${host}`, env), 'a', `${host} by ${list}`);
  }
  assert.equal(
    hostFor('http://x.test', { HTTP_PROXY: 'http://a:1', NO_PROXY: 'y', no_proxy: 'x.test' }),
    undefined,
  );
});

test('an address gives host, port and what proves who asks', () => {
  const read = (address: string) => proxyFor(new URL('http://x.test'), { HTTP_PROXY: address });
  assert.deepEqual(read('a:3128'), { isSecure: false, host: 'a', port: 3128, authorization: undefined });
  assert.deepEqual(read('https://[fd00::2]'), {
    isSecure: true,
    host: 'fd00::2',
    port: 443,
    authorization: undefined,
  });
  const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;
  assert.equal(read('http://me:p%40ss@a')?.authorization, basic('me:p@ss'));
  assert.equal(read('http://me:100%@a')?.authorization, basic('me:100%'));
  assert.equal(read('http://a')?.port, 80);
});

test('what is no address of an HTTP proxy is refused, and not shown', () => {
  for (const address of ['socks5://me:secret@a:1', 'http://me:secret@', 'secret file://'])
    assert.throws(
      () => proxyFor(new URL('http://x.test'), { HTTP_PROXY: address }),
      (thrown) =>
        thrown instanceof GatewayError && thrown.code === 'backend_failed' && !/secret/.test(thrown.message),
      address,
    );
});
