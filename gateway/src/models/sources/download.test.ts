// Downloads from a server that misbehaves in every way we could think of: what breaks is resumed, what lies is refused in
// a sentence, and nothing half-made is ever in a model's place.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { ModelStore } from '../model-store.ts';
import { sampleGguf } from '../sample-gguf.ts';
import { breakAfter, CONTENT, hubEntry, refusedPull, setUpHub } from '../stand-in-hub.test.ts';

suite('downloads', { concurrency: true }, () => {
  test('a connection that breaks is taken up where it broke', async (context) => {
    const { hub, store, file } = await setUpHub(context);
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
    const { hub, home, store, file } = await setUpHub(context, { timings: { retryDelaysMs: [] } });
    hub.onStore = breakAfter(700_000, hub);
    await refusedPull(store, 'broken', /connection was cut.*What arrived is kept/);
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
    const { hub, store, folder, file } = await setUpHub(context);
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
    const { hub, store, file } = await setUpHub(context);
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
    await refusedPull(store, 'checksum', /SHA-256 differs/);
    assert.ok(!existsSync(file));
    // And now the hub itself has another: what is left of the first is not used.
    hub.publish(CONTENT);
    hub.onStore = (request, response) => {
      if (!request.headers.range) return breakAfter(700_000, hub)(request, response);
      response.writeHead(503).end();
      return true;
    };
    await refusedPull(store, 'broken', /kept/);
    hub.onStore = undefined;
    hub.publish(newer);
    const before = hub.seen.length;
    await store.pull('sample');
    assert.deepEqual(readFileSync(file), newer);
    assert.ok(hub.seen.slice(before).every(({ headers }) => headers.range === undefined));
  });

  test('a server that joins two versions in spite of If-Range is found out, and the file fetched anew', async (context) => {
    const { hub, store, said, file } = await setUpHub(context);
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
    const { hub, store, folder } = await setUpHub(context);
    hub.content = sampleGguf({ values: 500_000, seed: 9 });
    await refusedPull(store, 'checksum', /SHA-256 differs. It was removed/);
    assert.deepEqual(readdirSync(folder), []);
  });

  test('a page in place of a model is no model', async (context) => {
    const { hub, store, folder } = await setUpHub(context);
    hub.publish(Buffer.from('<html>Please log in to this network</html>'));
    await refusedPull(store, 'not_gguf', /no GGUF model. It was removed/);
    assert.deepEqual(readdirSync(folder), []);
  });

  test('the server of the bytes fails a few times, and then does not', async (context) => {
    const { hub, store, file } = await setUpHub(context);
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
    const { hub, store, file, folder } = await setUpHub(context);
    // More than it should be, and no length stated.
    hub.onStore = (_request, response) => {
      response.writeHead(200);
      response.end(Buffer.concat([CONTENT, CONTENT]));
      return true;
    };
    await refusedPull(store, 'checksum', /sent more of Sample than there should be/);
    assert.deepEqual(readdirSync(folder), []);
    // Another length than the hub's.
    hub.onStore = (_request, response) => {
      response.writeHead(200, { 'content-length': 1000 });
      response.end(CONTENT.subarray(0, 1000));
      return true;
    };
    await refusedPull(store, 'checksum', /states 1000 bytes where 2000\d+ are expected/);
    // Less, and a clean end: it never becomes whole.
    hub.onStore = (request, response) => {
      if (request.headers.range) response.writeHead(503).end();
      else response.writeHead(200, { etag: hub.etag }).end(CONTENT.subarray(0, 1000));
      return true;
    };
    await refusedPull(store, 'broken', /broke off/);
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
    const { hub, store } = await setUpHub(context, { timings: { stallMs: 150, retryDelaysMs: [5] } });
    hub.onStore = (request, response) => {
      if (request.headers.range) return true;
      response.writeHead(200, { 'content-length': CONTENT.length, etag: hub.etag });
      response.write(CONTENT.subarray(0, 1000));
      return true;
    };
    await refusedPull(store, 'broken', /nothing came for/);
  });
});
