// Guards the ways to a back end that are not straight: a name that moves, a proxy that forwards, a proxy's tunnel, TLS.
import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { createServer } from 'node:tls';
import type { Lookup } from './name-addresses.ts';
import { Transport, type TransportOptions } from './transport.ts';
import { closed, Kept, plainAnswer, post, startServer } from './transport-testing.ts';

function open(t: TestContext, origin: string, options: Partial<TransportOptions> = {}): Transport {
  const transport = new Transport({ origin, env: {}, ...options });
  t.after(() => transport.close());
  return transport;
}

async function ask(transport: Transport): Promise<string> {
  const kept = new Kept();
  await transport.exchange(post('/v1/x', '{}'), kept);
  return kept.text;
}

const sentence = (text: string) => ({ name: 'GatewayError', code: 'backend_failed', message: text });

/** A name that a test moves, and a clock that it turns. */
class Moving {
  address = '127.0.0.1';
  clockMs = 0;
  readonly now = (): number => this.clockMs;
  readonly lookup: Lookup = (_name, answer) => answer(null, [{ address: this.address, family: 4 }]);
}

/** Two servers on one port, at two addresses of this machine; undefined where the system has only one. */
async function startTwo(t: TestContext) {
  const answer =
    (body: string) =>
    ({ socket }: { socket: Socket }) =>
      void socket.write(plainAnswer(body));
  const old = await startServer(t, answer('old'));
  const moved = await startServer(t, answer('new'), { host: '127.0.0.2', port: old.port }).catch(
    () => undefined,
  );
  return moved && { old, moved };
}

test('a name that moves is followed when its look-up is over, though the old address still answers', async (t) => {
  const two = await startTwo(t);
  if (!two) return t.skip('the system has no second loopback address');
  const moving = new Moving();
  const { lookup, now } = moving;
  const transport = open(t, `http://moving.test:${two.old.port}`, { lookup, now, idleMs: 3_600_000 });
  assert.equal(await ask(transport), 'old');
  moving.address = '127.0.0.2';
  moving.clockMs = 9_999;
  assert.equal(await ask(transport), 'old');
  moving.clockMs = 30_000;
  assert.equal(await ask(transport), 'new');
  // The second of two that go at once finds the old connection, which is of no use any more.
  assert.deepEqual(await Promise.all([ask(transport), ask(transport)]), ['new', 'new']);
  await closed(two.old.sockets[0]!);
  assert.equal(two.old.requests.length, 2);
});

test('a name that is looked up again and has not moved keeps its idle connections', async (t) => {
  const server = await startServer(t, ({ socket }) => socket.write(plainAnswer('same')));
  const moving = new Moving();
  const { lookup, now } = moving;
  const transport = open(t, `http://moving.test:${server.port}`, { lookup, now, idleMs: 3_600_000 });
  assert.equal(await ask(transport), 'same');
  moving.clockMs = 30_000;
  assert.equal(await ask(transport), 'same');
  assert.deepEqual(await Promise.all([ask(transport), ask(transport)]), ['same', 'same']);
  assert.equal(server.sockets.length, 2);
});

test('while its look-up holds, a dead address costs one request, and the next goes to the new one', async (t) => {
  const two = await startTwo(t);
  if (!two) return t.skip('the system has no second loopback address');
  const moving = new Moving();
  const { lookup, now } = moving;
  const transport = open(t, `http://moving.test:${two.old.port}`, { lookup, now });
  assert.equal(await ask(transport), 'old');
  moving.address = '127.0.0.2';
  await two.old.stop();
  await assert.rejects(ask(transport), sentence('The back end refused the connection.'));
  assert.equal(await ask(transport), 'new');
});

test('a plain request through a proxy names the whole URL, and proves who asks', async (t) => {
  const proxy = await startServer(t, ({ socket }) => socket.write(plainAnswer('through')));
  const env = { HTTP_PROXY: `http://me:secret@127.0.0.1:${proxy.port}` };
  const transport = open(t, 'http://upstream.test:8000', {
    env,
    lookup: (name) => assert.fail(`${name} was looked up`),
  });
  assert.equal(await ask(transport), 'through');
  assert.equal(await ask(transport), 'through');
  const { text } = proxy.requests[0]!;
  assert.match(text, /^POST http:\/\/upstream\.test:8000\/v1\/x HTTP\/1\.1\r\nhost: upstream\.test:8000\r\n/);
  assert.match(
    text,
    new RegExp(`\r\nproxy-authorization: Basic ${Buffer.from('me:secret').toString('base64')}\r\n`),
  );
  assert.equal(proxy.sockets.length, 1);
});

test('a proxy that wants another user, or is not there', async (t) => {
  const proxy = await startServer(t, ({ socket }) =>
    socket.write('HTTP/1.1 407 Who?\r\ncontent-length: 0\r\n\r\n'),
  );
  const env = { http_proxy: `127.0.0.1:${proxy.port}`, https_proxy: `127.0.0.1:${proxy.port}` };
  const refused = sentence('The proxy did not open a way to the back end.');
  await assert.rejects(ask(open(t, 'http://upstream.test', { env })), refused);
  await assert.rejects(ask(open(t, 'https://upstream.test', { env })), refused);
  await proxy.stop();
  const gone = sentence('The proxy before the back end cannot be reached.');
  await assert.rejects(ask(open(t, 'http://upstream.test', { env })), gone);
  await assert.rejects(ask(open(t, 'https://upstream.test', { env })), gone);
});

test('a client that leaves while the proxy is silent closes the socket', async (t) => {
  const asked = Promise.withResolvers<void>();
  const proxy = await startServer(t, () => asked.resolve());
  const client = new AbortController();
  const transport = open(t, 'https://upstream.test', { env: { HTTPS_PROXY: `127.0.0.1:${proxy.port}` } });
  const exchange = transport.exchange(post('/', '{}', client.signal), new Kept());
  await asked.promise;
  assert.match(
    proxy.requests[0]!.text,
    /^CONNECT upstream\.test:443 HTTP\/1\.1\r\nhost: upstream\.test:443\r\n/,
  );
  client.abort(new Error('left'));
  await assert.rejects(exchange, /left/);
  await closed(proxy.sockets[0]!);
});

test('TLS: a certificate that we trust, one that we do not, one for another name, and no TLS at all', async (t) => {
  const { port, certificate } = await startSecure(t);
  const lookup: Lookup = (_name, answer) => answer(null, [{ address: '127.0.0.1', family: 4 }]);
  const trusting = { lookup, ca: certificate };
  assert.equal(await ask(open(t, `https://upstream.test:${port}`, trusting)), 'secure');
  assert.equal(await ask(open(t, `https://127.0.0.1:${port}`, trusting)), 'secure');
  const distrusted = sentence("The back end's certificate is not trusted.");
  await assert.rejects(ask(open(t, `https://upstream.test:${port}`, { lookup })), distrusted);
  await assert.rejects(ask(open(t, `https://other.test:${port}`, trusting)), distrusted);
  const onConnection = (socket: Socket) => void socket.end('HTTP/1.1 400 No\r\n\r\n');
  const plain = await startServer(t, () => {}, { onConnection });
  await assert.rejects(
    ask(open(t, `https://upstream.test:${plain.port}`, trusting)),
    sentence('No secure connection to the back end could be made.'),
  );
});

test('TLS: the second handshake goes on from the first session', async (t) => {
  const { port, certificate, reused } = await startSecure(t, 'connection: close');
  const transport = open(t, `https://127.0.0.1:${port}`, { ca: certificate });
  assert.equal(await ask(transport), 'secure');
  assert.equal(await ask(transport), 'secure');
  assert.deepEqual(reused, [false, true]);
});

test('TLS: a client that leaves in the middle of the handshake closes the socket', async (t) => {
  const connected = Promise.withResolvers<void>();
  const silent = await startServer(t, () => {}, { onConnection: () => connected.resolve() });
  const client = new AbortController();
  const exchange = open(t, `https://127.0.0.1:${silent.port}`).exchange(
    post('/', '{}', client.signal),
    new Kept(),
  );
  await connected.promise;
  client.abort(new Error('left'));
  await assert.rejects(exchange, /left/);
  await closed(silent.sockets[0]!);
});

test('TLS through a tunnel: the proxy sees no request, and the certificate is the back end’s', async (t) => {
  const { port, certificate } = await startSecure(t);
  const proxy = await startServer(t, ({ socket }) => {
    socket.removeAllListeners('data');
    const onward = connect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\nx: y\r\n\r\n');
      socket.pipe(onward).pipe(socket);
    });
    onward.on('error', () => socket.destroy());
    socket.on('close', () => onward.destroy());
  });
  const transport = open(t, 'https://upstream.test', {
    ca: certificate,
    env: { HTTPS_PROXY: `http://me:secret@127.0.0.1:${proxy.port}` },
  });
  assert.equal(await ask(transport), 'secure');
  assert.equal(await ask(transport), 'secure');
  assert.equal(proxy.requests.length, 1);
  assert.match(proxy.requests[0]!.text, /\r\nproxy-authorization: Basic \S+\r\n\r\n$/);
});

/** A server with a certificate of its own for upstream.test and 127.0.0.1. */
async function startSecure(t: TestContext, ...headers: string[]) {
  const { key, certificate } = selfSigned('upstream.test', [127, 0, 0, 1]);
  const reused: boolean[] = [];
  const sockets = new Set<Socket>();
  const server = createServer({ key, cert: certificate }, (socket) => {
    reused.push(socket.isSessionReused());
    socket.on('error', () => {});
    socket.on('data', () => socket.write(plainAnswer('secure', ...headers)));
  });
  server.on('connection', (socket) => sockets.add(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, certificate, reused };
}

/** A certificate that signs itself, in DER built by hand: Node makes keys, but no certificates. */
function selfSigned(name: string, address: readonly number[]) {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const der = (tag: number, ...parts: (Buffer | readonly number[])[]): Buffer => {
    const content = Buffer.concat(parts.map((part) => Buffer.from(part)));
    const length =
      content.length < 0x80 ? [content.length] : [0x82, content.length >> 8, content.length & 0xff];
    return Buffer.concat([Buffer.from([tag, ...length]), content]);
  };
  const sequence = (...parts: Buffer[]) => der(0x30, ...parts);
  const time = (ms: number) =>
    der(0x17, Buffer.from(`${new Date(ms).toISOString().replace(/[-:T]/g, '').slice(2, 14)}Z`));
  const day = 86_400_000;
  const ecdsaWithSha256 = sequence(der(0x06, [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]));
  const named = sequence(der(0x31, sequence(der(0x06, [0x55, 0x04, 0x03]), der(0x0c, Buffer.from(name)))));
  const alternatives = sequence(der(0x82, Buffer.from(name)), der(0x87, address));
  const body = sequence(
    der(0xa0, der(0x02, [2])),
    der(0x02, [1]),
    ecdsaWithSha256,
    named,
    sequence(time(Date.now() - day), time(Date.now() + 30 * day)),
    named,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(
      0xa3,
      sequence(
        sequence(der(0x06, [0x55, 0x1d, 0x13]), der(0x04, sequence(der(0x01, [0xff])))),
        sequence(der(0x06, [0x55, 0x1d, 0x11]), der(0x04, alternatives)),
      ),
    ),
  );
  const signature = sign('sha256', body, privateKey);
  const whole = sequence(body, ecdsaWithSha256, der(0x03, [0], signature));
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    certificate: `-----BEGIN CERTIFICATE-----\n${whole.toString('base64')}\n-----END CERTIFICATE-----\n`,
  };
}
