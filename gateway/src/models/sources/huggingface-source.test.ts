// Pulls from a hub, real sockets and all: what it is asked, what it may see, and each way in which it can refuse.
// For what happens to the bytes on their way see download.test.ts.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { createServer } from 'node:net';
import { suite, test } from 'node:test';
import type { PullProgress } from '../progress.ts';
import { TIMINGS } from '../source-context.ts';
import { addressOf, CONTENT, listen, refusedPull, sendBytes, setUpHub, stop } from '../stand-in-hub.test.ts';

suite('the hub', { concurrency: true }, () => {
  test('a pull: bytes, record, progress, and a token that only the hub sees', async (context) => {
    const { hub, store, file, folder } = await setUpHub(context, { env: { HF_TOKEN: 'hf_secret' } });
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

  test('the hub has another file than the catalogue: nothing is fetched', async (context) => {
    const { hub, store } = await setUpHub(context, { entry: { sha256: 'a'.repeat(64) } });
    await refusedPull(store, 'checksum', /its checksum differs/);
    assert.equal(hub.count('store GET'), 0);
  });

  test('a file with no checksum anywhere is taken, said, and recorded', async (context) => {
    const { hub, store, said } = await setUpHub(context);
    const { sha256 } = hub;
    hub.sha256 = undefined;
    hub.etag = undefined;
    assert.equal((await store.pull('sample')).sha256, sha256);
    assert.match(said.join('\n'), /states no checksum/);
  });

  test('refusals of the hub, in words', async (context) => {
    const { hub, store } = await setUpHub(context);
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
      const { message } = await refusedPull(store, 'unreachable', words);
      assert.doesNotMatch(message, /secret/);
    }
    hub.onHub = (request, response) => {
      response.writeHead(302, { location: request.url }).end();
      return true;
    };
    await refusedPull(store, 'unreachable', /circles/);
    hub.onHub = (_request, response) => {
      response.writeHead(302, { location: 'file:///etc/passwd' }).end();
      return true;
    };
    await refusedPull(store, 'unreachable', /an address that is none/);
  });

  test('a rejected token is named, and never printed', async (context) => {
    const { hub, store } = await setUpHub(context, { env: { HF_TOKEN: 'hf_secret' } });
    hub.onHub = (_request, response) => {
      response.writeHead(403).end();
      return true;
    };
    const { message, stack } = await refusedPull(
      store,
      'unreachable',
      /the token in HF_TOKEN may not see it/,
    );
    assert.doesNotMatch(`${message}${stack}`, /hf_secret/);
  });

  test('a hub that accepts and never answers is passed over in time', async (context) => {
    // Four seconds is what users have; wheel-source.parts.test.ts waits for them.
    assert.equal(TIMINGS.reachMs, 4_000);
    const { hub, store } = await setUpHub(context, { timings: { reachMs: 400 } });
    hub.onHub = () => true;
    const start = performance.now();
    await refusedPull(store, 'unreachable', /did not answer within 0\.4 s/);
    const took = performance.now() - start;
    assert.ok(took >= 390 && took < 2_000, `${took} ms`);
  });

  test('a hub that is not there, or is none', async (context) => {
    const closed = await listen(() => {});
    const address = addressOf(closed);
    await stop(closed);
    const one = await setUpHub(context, { env: { HF_ENDPOINT: address } });
    await refusedPull(one.store, 'unreachable', /cannot be reached: nothing listens there/);
    const two = await setUpHub(context, { env: { HF_ENDPOINT: 'ftp://mirror' } });
    await refusedPull(two.store, 'unreachable', /HF_ENDPOINT is not/);
    const three = await setUpHub(context, { env: { HF_HUB_OFFLINE: '1' } });
    await refusedPull(three.store, 'unreachable', /HF_HUB_OFFLINE/);
    assert.equal(three.hub.seen.length, 0);
  });

  test('a large download is announced first, and can be declined', async (context) => {
    const { hub, store, said } = await setUpHub(context);
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
    await refusedPull(store, 'checksum', /states/);
    assert.match(said[0] ?? '', /^Fetching Sample: 300 MB, licence MIT, from /);
  });

  test('a disk with too little room is said before anything is fetched', async (context) => {
    const { hub, store } = await setUpHub(context);
    hub.statedBytes = 9e14;
    await refusedPull(store, 'no_space', /needs 900000.00 GB at .*SLUICE_HOME/);
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
    const through = await setUpHub(context, { env: { http_proxy: bare } });
    await through.store.pull('sample');
    assert.ok(forwarded.length >= 3, `${forwarded}`);
    assert.ok(forwarded.every((url) => url.startsWith('http://127.0.0.1:')));
    forwarded.length = 0;
    const around = await setUpHub(context, { env: { HTTP_PROXY: bare, NO_PROXY: '127.0.0.1' } });
    await around.store.pull('sample');
    assert.deepEqual(forwarded, []);
    const wrong = await setUpHub(context, { env: { HTTPS_PROXY: 'http://[' } });
    await refusedPull(wrong.store, 'unreachable', /not the address of a proxy/);
  });

  test('a port that is no HTTP server', async (context) => {
    const odd = createServer((socket) => socket.resume().end('SSH-2.0-OpenSSH\r\n'));
    await new Promise<void>((resolve) => odd.listen(0, '127.0.0.1', resolve));
    context.after(() => new Promise((resolve) => odd.close(resolve)));
    const { port } = odd.address() as { port: number };
    const { store } = await setUpHub(context, { env: { HF_ENDPOINT: `http://127.0.0.1:${port}` } });
    await refusedPull(store, 'unreachable', /cannot be reached/);
  });

  test('bytes that another origin redirects to are counted on, not the first answer', async (context) => {
    const { hub, store, file } = await setUpHub(context);
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
});
