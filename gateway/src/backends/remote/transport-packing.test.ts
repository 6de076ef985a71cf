// Guards answers that come packed although nobody asked for it: unpacked as they come, in bounded memory, and without the
// headers of the packed form.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { brotliCompressSync, constants, createGzip, deflateRawSync, deflateSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { Transport } from './transport.ts';
import { Kept, post, startServer } from './transport-testing.ts';
import { type Packing, Unpacker } from './unpacker.ts';

const TEXT = 'data: {"量":"子"}\n\n'.repeat(500);
const PACKERS: readonly (readonly [
  name: string,
  packing: Packing,
  pack: (plain: string | Uint8Array) => Buffer,
])[] = [
  ['gzip', 'gzip', gzipSync],
  ['deflate with its head', 'deflate', deflateSync],
  ['deflate without', 'deflate', deflateRawSync],
  ['brotli', 'br', brotliCompressSync],
];

/** Asks a server that sends these bytes as its whole body. */
async function receive(t: TestContext, encoding: string, body: Buffer, kept = new Kept()) {
  const server = await startServer(t, ({ socket }) => {
    socket.write(
      `HTTP/1.1 200 OK\r\ncontent-encoding: ${encoding}\r\ncontent-length: ${body.length}\r\n\r\n`,
    );
    socket.write(body);
  });
  const transport = new Transport({ origin: server.origin, env: {} });
  t.after(() => transport.close());
  return { kept, exchange: transport.exchange(post('/', '{}'), kept) };
}

for (const [name, packing, pack] of PACKERS) {
  test(`an answer in ${name} is read as if it had come plain`, async (t) => {
    const { exchange, kept } = await receive(t, packing, pack(TEXT));
    await exchange;
    assert.equal(kept.text, TEXT);
    assert.deepEqual(
      [kept.headers['content-encoding'], kept.headers['content-length']],
      [undefined, undefined],
    );
  });

  test(`an answer in ${name} that stops in the middle is cut`, async (t) => {
    const whole = pack(TEXT);
    const { exchange } = await receive(t, packing, whole.subarray(0, whole.length - 6));
    await assert.rejects(
      exchange,
      /^GatewayError: The back end closed the connection in the middle of its answer\.$/,
    );
  });

  test(`${name} may be cut anywhere`, async () => {
    const property = fc.asyncProperty(
      fc.uint8Array({ maxLength: 200 }),
      fc.array(fc.nat(40)),
      async (bytes, sizes) => {
        const pieces: Buffer[] = [];
        const ended = Promise.withResolvers<void>();
        const unpacker = new Unpacker(packing, {
          data: (bytes) => pieces.push(bytes),
          drain: () => {},
          end: ended.resolve,
          fail: ended.reject,
        });
        let rest = pack(bytes);
        for (const size of sizes) {
          unpacker.write(rest.subarray(0, size));
          rest = rest.subarray(size);
        }
        unpacker.write(rest);
        unpacker.end();
        await ended.promise;
        assert.deepEqual(Buffer.concat(pieces), Buffer.from(bytes));
      },
    );
    await fc.assert(property, { numRuns: 50 });
  });
}

test('an unpacker says when it has enough, and when it can take more', async () => {
  const drained = Promise.withResolvers<void>();
  const unpacker = new Unpacker('gzip', {
    data: () => {},
    drain: drained.resolve,
    end: () => {},
    fail: drained.reject,
  });
  const packed = gzipSync(randomBytes(8 * 1024 * 1024));
  assert.equal(unpacker.write(packed.subarray(0, 100)), true);
  assert.equal(unpacker.write(packed.subarray(100)), false);
  await drained.promise;
  unpacker.destroy();
});

test('a packed stream is unpacked as it comes', async (t) => {
  const packer = createGzip({ flush: constants.Z_SYNC_FLUSH });
  const server = await startServer(t, ({ socket }) => {
    socket.write('HTTP/1.1 200 OK\r\ncontent-encoding: GZIP\r\n\r\n');
    packer.pipe(socket);
    packer.write('0');
  });
  const transport = new Transport({ origin: server.origin, env: {} });
  t.after(() => transport.close());
  // The next word is only sent once the last one has come.
  const kept: Kept = new Kept(() => {
    if (kept.text.length < 5) packer.write(`${kept.text.length}`);
    else packer.end();
  });
  await transport.exchange(post('/', '{}'), kept);
  assert.equal(kept.text, '01234');
});

test('a small answer that unpacks to a flood ends early', async (t) => {
  const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024));
  const { exchange, kept } = await receive(t, 'gzip', bomb);
  await assert.rejects(
    exchange,
    /^GatewayError: The back end's answer unpacks to far more than it should\.$/,
  );
  assert.ok(kept.bytes < 32 * 1024 * 1024, `${kept.bytes} bytes were read`);
});

test('a reader that has enough ends a packed answer with its own error', async (t) => {
  const thrown = new Error('enough');
  const kept = new Kept(() => {
    throw thrown;
  });
  const { exchange } = await receive(t, 'gzip', gzipSync(Buffer.alloc(512 * 1024)), kept);
  await assert.rejects(exchange, thrown);
});

test('a large packed answer comes whole, though its reader is slower than the network', async (t) => {
  const text = Array.from({ length: 200_000 }, (_, index) => (index * 2_654_435_761) % 4_294_967_296).join(
    ' ',
  );
  const { exchange, kept } = await receive(t, 'gzip', gzipSync(text));
  await exchange;
  assert.equal(kept.text, text);
});

test('an empty body is no packed one, and an unknown packing or a wrong one is the back end’s failure', async (t) => {
  const empty = await receive(t, 'gzip', Buffer.alloc(0));
  await empty.exchange;
  assert.deepEqual([empty.kept.status, empty.kept.text], [200, '']);
  const unknown = await receive(t, 'zstd', Buffer.from('x'));
  await assert.rejects(unknown.exchange, /packed its answer in a way that the gateway does not know/);
  const wrong = await receive(t, 'gzip', Buffer.from('{"plain":true}'));
  await assert.rejects(wrong.exchange, /could not be unpacked/);
});
