// Pulls from a hub that misbehaves in every way we could think of, over real sockets: what breaks is resumed, what lies
// is refused in a sentence, and nothing half-made is ever in a model's place.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { CatalogueEntry } from './catalogue.ts';
import type { Environment } from './home.ts';
import { ModelStore, type StoreCallOptions } from './model-store.ts';
import { ModelStoreError, type ModelStoreErrorCode } from './model-store-error.ts';
import type { PullProgress } from './progress.ts';
import { sampleGguf } from './sample-gguf.ts';
import type { Timings } from './source-context.ts';
import { addressOf, breakAfter, hubEntry, listen, sendBytes, startHub, stop } from './stand-in-hub.test.ts';

const FAST: Partial<Timings> = { retryDelaysMs: [5, 10, 20, 40] };
const CONTENT = sampleGguf({ values: 500_000 });

async function setUp(
  context: TestContext,
  {
    entry = {},
    env = {},
    timings = {},
  }: { entry?: Partial<CatalogueEntry>; env?: Environment; timings?: Partial<Timings> } = {},
) {
  const hub = await startHub(CONTENT);
  const home = mkdtempSync(join(tmpdir(), 'sluice-hub-'));
  context.after(async () => {
    await hub.close();
    rmSync(home, { recursive: true, force: true });
  });
  const said: string[] = [];
  const store = new ModelStore({
    home,
    env: { HF_ENDPOINT: hub.endpoint, ...env },
    say: (line) => said.push(line),
    freeMemoryBytes: 1e9,
    catalogue: [hubEntry(entry)],
    timings: { ...FAST, ...timings },
  });
  const folder = join(home, 'models', 'sample');
  return { hub, home, store, said, folder, file: join(folder, 'sample.gguf') };
}

async function refused(
  store: ModelStore,
  code: ModelStoreErrorCode,
  words: RegExp,
  options: StoreCallOptions = {},
) {
  const thrown = await store.pull('sample', options).then(
    () => assert.fail('it was pulled'),
    (error: unknown) => error,
  );
  assert.ok(thrown instanceof ModelStoreError, String(thrown));
  assert.equal(thrown.code, code, thrown.message);
  assert.match(thrown.message, words);
  return thrown;
}

test('a pull: bytes, record, progress, and a token that only the hub sees', async (context) => {
  const { hub, store, file, folder } = await setUp(context, { env: { HF_TOKEN: 'hf_secret' } });
  const events: PullProgress[] = [];
  const pulled = await store.pull('sample', { onProgress: (event) => events.push(event) });
  assert.deepEqual(readFileSync(file), CONTENT);
  assert.equal(pulled.wasThere, false);
  assert.equal(pulled.sha256, hub.sha256);
  assert.deepEqual(readdirSync(folder).sort(), ['model.json', 'sample.gguf']);
  assert.equal(events.at(-1)?.phase, 'checking');
  assert.equal(events.findLast((event) => event.phase === 'downloading')?.bytes, CONTENT.length);
  assert.equal(hub.last('hub HEAD').authorization, 'Bearer hf_secret');
  assert.equal(hub.last('hub GET').authorization, 'Bearer hf_secret');
  assert.equal(hub.count('store GET'), 1);
  assert.equal(hub.last('store GET').authorization, undefined);
  const requests = hub.seen.length;
  assert.equal((await store.pull('sample')).wasThere, true);
  assert.equal(hub.seen.length, requests, 'what is stored is used without a request');
});

test('a connection that breaks is taken up where it broke', async (context) => {
  const { hub, store, file } = await setUp(context);
  hub.onStore = (request, response) => {
    hub.onStore = undefined;
    return breakAfter(700_000, hub)(request, response);
  };
  await store.pull('sample');
  assert.deepEqual(readFileSync(file), CONTENT);
  assert.equal(hub.count('store GET'), 2);
  const { range, 'if-range': ifRange } = hub.last('store GET');
  const start = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1]);
  assert.ok(start > 100_000 && start < 700_000, `from ${start}`);
  assert.equal(ifRange, hub.etag);
});

test('it breaks off for good, what came is kept, and the next run goes on from there', async (context) => {
  const { hub, home, store, file } = await setUp(context, { timings: { retryDelaysMs: [] } });
  hub.onStore = breakAfter(700_000, hub);
  await refused(store, 'broken', /connection was cut.*What arrived is kept/);
  assert.ok(!existsSync(file));
  hub.onStore = undefined;
  const next = new ModelStore({
    home,
    env: { HF_ENDPOINT: hub.endpoint },
    say: () => {},
    freeMemoryBytes: 0,
    catalogue: [hubEntry()],
  });
  await next.pull('sample');
  assert.deepEqual(readFileSync(file), CONTENT);
  assert.match(hub.last('store GET').range ?? '', /^bytes=[1-9]/);
});

test('an aborted pull keeps its part and says the reason of the abort', async (context) => {
  const { hub, store, folder, file } = await setUp(context);
  hub.onStore = (_request, response) => {
    response.writeHead(200, { 'content-length': CONTENT.length, etag: hub.etag });
    response.write(CONTENT.subarray(0, 300_000));
    setTimeout(() => controller.abort(reason), 100);
    return true;
  };
  const controller = new AbortController();
  const reason = new Error('Ctrl-C');
  await assert.rejects(store.pull('sample', { signal: controller.signal }), reason);
  assert.ok(existsSync(join(folder, 'sample.gguf.part')));
  hub.onStore = undefined;
  await store.pull('sample');
  assert.deepEqual(readFileSync(file), CONTENT);
  assert.match(hub.last('store GET').range ?? '', /^bytes=[1-9]/);
});

test('another version between two parts: the parts are never joined', async (context) => {
  const { hub, store, file } = await setUp(context);
  const newer = sampleGguf({ values: 400_000, seed: 2 });
  // The hub still speaks of the old file while the server of the bytes has the new one, of the same size.
  const sameSize = sampleGguf({ values: 500_000, seed: 3 });
  hub.onStore = (request, response) => {
    hub.onStore = undefined;
    hub.content = CONTENT;
    breakAfter(700_000, hub)(request, response);
    hub.content = sameSize;
    hub.etag = '"changed"';
    return true;
  };
  await refused(store, 'checksum', /SHA-256 differs/);
  assert.ok(!existsSync(file));
  // And now the hub itself has another: what is left of the first is not used.
  hub.publish(CONTENT);
  hub.onStore = (request, response) => {
    if (!request.headers.range) return breakAfter(700_000, hub)(request, response);
    response.writeHead(503).end();
    return true;
  };
  await refused(store, 'broken', /kept/);
  hub.onStore = undefined;
  hub.publish(newer);
  const before = hub.seen.length;
  await store.pull('sample');
  assert.deepEqual(readFileSync(file), newer);
  assert.ok(hub.seen.slice(before).every(({ headers }) => headers.range === undefined));
});

test('a server that joins two versions in spite of If-Range is found out, and the file fetched anew', async (context) => {
  const { hub, store, said, file } = await setUp(context);
  const other = sampleGguf({ values: 500_000, seed: 3 });
  let gets = 0;
  hub.onStore = (request, response) => {
    gets += 1;
    if (gets === 1) {
      hub.content = other;
      breakAfter(700_000, hub)(request, response);
      hub.content = CONTENT;
      return true;
    }
    return undefined;
  };
  await store.pull('sample');
  assert.deepEqual(readFileSync(file), CONTENT);
  assert.match(said.join('\n'), /once more, from the start/);
});

test('wrong bytes are removed', async (context) => {
  const { hub, store, folder } = await setUp(context);
  hub.content = sampleGguf({ values: 500_000, seed: 9 });
  await refused(store, 'checksum', /SHA-256 differs. It was removed/);
  assert.deepEqual(readdirSync(folder), []);
});

test('the hub has another file than the catalogue: nothing is fetched', async (context) => {
  const { hub, store } = await setUp(context, { entry: { sha256: 'a'.repeat(64) } });
  await refused(store, 'checksum', /its checksum differs/);
  assert.equal(hub.count('store GET'), 0);
});

test('a file with no checksum anywhere is taken, said, and recorded', async (context) => {
  const { hub, store, said } = await setUp(context);
  const { sha256 } = hub;
  hub.sha256 = undefined;
  hub.etag = undefined;
  assert.equal((await store.pull('sample')).sha256, sha256);
  assert.match(said.join('\n'), /states no checksum/);
});

test('a page in place of a model is no model', async (context) => {
  const { hub, store, folder } = await setUp(context);
  hub.publish(Buffer.from('<html>Please log in to this network</html>'));
  await refused(store, 'not_gguf', /no GGUF model. It was removed/);
  assert.deepEqual(readdirSync(folder), []);
});

test('refusals of the hub, in words', async (context) => {
  const { hub, store } = await setUp(context);
  const cases: [number, RegExp][] = [
    [404, /has no sample.gguf in someone\/Sample-GGUF \(404\)/],
    [401, /refuses someone\/Sample-GGUF \(401\): set HF_TOKEN/],
    [500, /answered 500/],
    [429, /answered 429/],
  ];
  for (const [status, words] of cases) {
    hub.onHub = (_request, response) => {
      response.writeHead(status).end('secret details');
      return true;
    };
    const { message } = await refused(store, 'unreachable', words);
    assert.doesNotMatch(message, /secret/);
  }
  hub.onHub = (request, response) => {
    response.writeHead(302, { location: request.url }).end();
    return true;
  };
  await refused(store, 'unreachable', /circles/);
  hub.onHub = (_request, response) => {
    response.writeHead(302, { location: 'file:///etc/passwd' }).end();
    return true;
  };
  await refused(store, 'unreachable', /an address that is none/);
});

test('a rejected token is named, and never printed', async (context) => {
  const { hub, store } = await setUp(context, { env: { HF_TOKEN: 'hf_secret' } });
  hub.onHub = (_request, response) => {
    response.writeHead(403).end();
    return true;
  };
  const { message, stack } = await refused(store, 'unreachable', /the token in HF_TOKEN may not see it/);
  assert.doesNotMatch(`${message}${stack}`, /hf_secret/);
});

test('the server of the bytes fails a few times, and then does not', async (context) => {
  const { hub, store, file } = await setUp(context);
  let gets = 0;
  hub.onStore = (_request, response) => {
    gets += 1;
    if (gets > 3) return undefined;
    response.writeHead(gets === 2 ? 429 : 503, { 'retry-after': '0' }).end();
    return true;
  };
  await store.pull('sample');
  assert.deepEqual(readFileSync(file), CONTENT);
  assert.equal(gets, 4);
  gets = -1000;
});

test('a server that lies about the length', async (context) => {
  const { hub, store, file, folder } = await setUp(context);
  // More than it should be, and no length stated.
  hub.onStore = (_request, response) => {
    response.writeHead(200);
    response.end(Buffer.concat([CONTENT, CONTENT]));
    return true;
  };
  await refused(store, 'checksum', /sent more of Sample than there should be/);
  assert.deepEqual(readdirSync(folder), []);
  // Another length than the hub's.
  hub.onStore = (_request, response) => {
    response.writeHead(200, { 'content-length': 1000 });
    response.end(CONTENT.subarray(0, 1000));
    return true;
  };
  await refused(store, 'checksum', /states 1000 bytes where 2000\d+ are expected/);
  // Less, and a clean end: it never becomes whole.
  hub.onStore = (request, response) => {
    if (request.headers.range) response.writeHead(503).end();
    else response.writeHead(200, { etag: hub.etag }).end(CONTENT.subarray(0, 1000));
    return true;
  };
  await refused(store, 'broken', /broke off/);
  // Another range than the one asked for.
  hub.onStore = (request, response) => {
    if (!request.headers.range) return undefined;
    response.writeHead(206, { 'content-range': `bytes 0-9/${CONTENT.length}`, 'content-length': 10 });
    response.end(CONTENT.subarray(0, 10));
    return true;
  };
  await store.pull('sample');
  assert.deepEqual(readFileSync(file), CONTENT);
});

test('a server that falls silent in the middle is given up', async (context) => {
  const { hub, store } = await setUp(context, { timings: { stallMs: 150, retryDelaysMs: [5] } });
  hub.onStore = (request, response) => {
    if (request.headers.range) return true;
    response.writeHead(200, { 'content-length': CONTENT.length, etag: hub.etag });
    response.write(CONTENT.subarray(0, 1000));
    return true;
  };
  await refused(store, 'broken', /nothing came for/);
});

test('a hub that accepts and never answers is passed over within 4 s', async (context) => {
  const { hub, store } = await setUp(context, { timings: {} });
  hub.onHub = () => true;
  const start = performance.now();
  await refused(store, 'unreachable', /did not answer within 4 s/);
  const took = performance.now() - start;
  assert.ok(took >= 3_900 && took < 5_000, `${took} ms`);
});

test('a hub that is not there, or is none', async (context) => {
  const closed = await listen(() => {});
  const address = addressOf(closed);
  await stop(closed);
  const one = await setUp(context, { env: { HF_ENDPOINT: address } });
  await refused(one.store, 'unreachable', /cannot be reached: nothing listens there/);
  const two = await setUp(context, { env: { HF_ENDPOINT: 'ftp://mirror' } });
  await refused(two.store, 'unreachable', /HF_ENDPOINT is not/);
  const three = await setUp(context, { env: { HF_HUB_OFFLINE: '1' } });
  await refused(three.store, 'unreachable', /HF_HUB_OFFLINE/);
  assert.equal(three.hub.seen.length, 0);
});

test('a large download is announced first, and can be declined', async (context) => {
  const { hub, store, said } = await setUp(context);
  hub.statedBytes = 300_000_000;
  const asked: unknown[] = [];
  const declined = new Error('No.');
  const onAnnounce = (announcement: unknown) => {
    asked.push(announcement);
    throw declined;
  };
  await assert.rejects(store.pull('sample', { onAnnounce }), declined);
  assert.deepEqual(asked, [
    {
      name: 'sample',
      title: 'Sample',
      licence: 'MIT',
      bytes: 300_000_000,
      from: `${new URL(hub.endpoint).host}/someone/Sample-GGUF`,
    },
  ]);
  assert.equal(hub.count('hub GET'), 0);
  await refused(store, 'checksum', /states/);
  assert.match(said[0] ?? '', /^Fetching Sample: 300 MB, licence MIT, from /);
});

test('a disk with too little room is said before anything is fetched', async (context) => {
  const { hub, store } = await setUp(context);
  hub.statedBytes = 9e14;
  await refused(store, 'no_space', /needs 900000.00 GB at .*SLUICE_HOME/);
  assert.equal(hub.count('hub GET'), 0);
});

test('the proxy of the given environment is used, and NO_PROXY obeyed', async (context) => {
  const forwarded: string[] = [];
  // What undici asks of a proxy for http: the whole address in the request line. For https it is CONNECT.
  const proxy = await listen((request, response) => {
    forwarded.push(request.url ?? '');
    const there = httpRequest(
      request.url ?? '',
      { method: request.method, headers: request.headers },
      (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
      },
    );
    there.on('error', () => response.destroy());
    request.pipe(there);
  });
  context.after(() => stop(proxy));
  const bare = new URL(addressOf(proxy)).host;
  const through = await setUp(context, { env: { http_proxy: bare } });
  await through.store.pull('sample');
  assert.ok(forwarded.length >= 3, `${forwarded}`);
  assert.ok(forwarded.every((url) => url.startsWith('http://127.0.0.1:')));
  forwarded.length = 0;
  const around = await setUp(context, { env: { HTTP_PROXY: bare, NO_PROXY: '127.0.0.1' } });
  await around.store.pull('sample');
  assert.deepEqual(forwarded, []);
  const wrong = await setUp(context, { env: { HTTPS_PROXY: 'http://[' } });
  await refused(wrong.store, 'unreachable', /not the address of a proxy/);
});

test('a port that is no HTTP server', async (context) => {
  const odd = createServer((socket) => socket.resume().end('SSH-2.0-OpenSSH\r\n'));
  await new Promise<void>((resolve) => odd.listen(0, '127.0.0.1', resolve));
  context.after(() => new Promise((resolve) => odd.close(resolve)));
  const { port } = odd.address() as { port: number };
  const { store } = await setUp(context, { env: { HF_ENDPOINT: `http://127.0.0.1:${port}` } });
  await refused(store, 'unreachable', /cannot be reached/);
});

test('bytes that another origin redirects to are counted on, not the first answer', async (context) => {
  const { hub, store, file } = await setUp(context);
  // A mirror that gives the bytes itself, with the hash as its ETag.
  hub.onHub = (request, response) => {
    hub.etag = `"${hub.sha256}"`;
    sendBytes(hub, request, response);
    return true;
  };
  assert.equal((await store.pull('sample')).sha256, hub.sha256);
  assert.deepEqual(readFileSync(file), CONTENT);
  assert.equal(hub.count('store GET'), 0);
});
