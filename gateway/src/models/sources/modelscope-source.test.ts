// Pulls from a stand-in for ModelScope, real sockets and all: what it is asked, who sees the token, and each way in which it can
// refuse. Its list and its addresses are those that ModelScope's own client uses; for the bytes on their way see download.test.ts.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { suite, type TestContext, test } from 'node:test';
import { sampleGguf } from '../sample-gguf.ts';
import { breakOnceKept, CONTENT, refusedPull, type StandInHub, setUpHub } from '../stand-in-hub.test.ts';

const SOURCE = {
  kind: 'modelscope',
  repo: 'some one/Sample-GGUF',
  file: 'part/sample q4.gguf',
  revision: 'v1.0',
} as const;

type Options = Parameters<typeof setUpHub>[1];

/** The list is what the hub publishes, unless `list` says otherwise. */
async function setUp(context: TestContext, options: Options & { list?: (hub: StandInHub) => unknown } = {}) {
  const { list = honestList, ...rest } = options;
  const set = await setUpHub(context, { ...rest, entry: { sources: [SOURCE], ...rest.entry } });
  const asked: URL[] = [];
  set.hub.onHub = (request, response) => {
    const url = new URL(request.url ?? '', set.hub.endpoint);
    asked.push(url);
    if (!url.pathname.endsWith('/repo/files')) return undefined;
    const answer = list(set.hub);
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(typeof answer === 'string' ? answer : JSON.stringify(answer));
    return true;
  };
  return { ...set, asked };
}

function honestList(hub: StandInHub) {
  const other = { Path: 'README.md', Name: 'README.md', Type: 'blob', Size: 12, Sha256: 'f'.repeat(64) };
  const folder = { Path: SOURCE.file, Name: 'x', Type: 'tree', Size: 0, Sha256: '' };
  const file = {
    Path: SOURCE.file,
    Name: 'sample q4.gguf',
    Type: 'blob',
    Size: hub.statedBytes,
    Sha256: hub.sha256 ?? '',
    Revision: 'c'.repeat(40),
    IsLFS: true,
  };
  return { Code: 200, Success: true, Data: { Files: [other, folder, file] } };
}

suite('ModelScope', { concurrency: true }, () => {
  test('a pull: list, bytes, and a token that the server of the bytes never sees', async (context) => {
    const { hub, store, file, asked } = await setUp(context, { env: { MODELSCOPE_API_TOKEN: 'ms-secret' } });
    const pulled = await store.pull('sample');
    assert.deepEqual(readFileSync(file), CONTENT);
    assert.equal(pulled.sha256, hub.sha256);
    const [list, bytes] = asked;
    assert.equal(list?.pathname, '/api/v1/models/some%20one/Sample-GGUF/repo/files');
    assert.deepEqual(Object.fromEntries(list?.searchParams ?? []), { Revision: 'v1.0', Recursive: 'True' });
    assert.equal(bytes?.pathname, '/api/v1/models/some%20one/Sample-GGUF/repo');
    assert.deepEqual(Object.fromEntries(bytes?.searchParams ?? []), {
      Revision: 'v1.0',
      FilePath: SOURCE.file,
    });
    assert.equal(hub.last('hub GET').authorization, 'Bearer ms-secret');
    assert.equal(hub.last('hub GET').cookie, 'm_session_id=ms-secret');
    assert.equal(hub.count('store GET'), 1);
    assert.equal(hub.last('store GET').authorization, undefined);
    assert.equal(hub.last('store GET').cookie, undefined);
  });

  test('a connection that breaks is taken up where it broke', async (context) => {
    const { hub, store, file } = await setUp(context);
    hub.onStore = (request, response) => {
      hub.onStore = undefined;
      return breakOnceKept(700_000, hub, `${file}.part`)(request, response);
    };
    await store.pull('sample');
    assert.deepEqual(readFileSync(file), CONTENT);
    assert.match(hub.last('store GET').range ?? '', /^bytes=[1-9]/);
  });

  test('another file than the catalogue’s is not fetched, and wrong bytes are removed', async (context) => {
    const known = await setUp(context, { entry: { sha256: 'a'.repeat(64) } });
    await refusedPull(known.store, 'checksum', /its checksum differs/);
    assert.equal(known.hub.count('store GET'), 0);
    const { hub, store, file } = await setUp(context);
    hub.content = sampleGguf({ values: 500_000, seed: 9 });
    await refusedPull(store, 'checksum', /SHA-256 differs. It was removed/);
    assert.ok(!existsSync(file));
  });

  test('a file with no checksum in the list is taken, said, and recorded', async (context) => {
    const { hub, store, said } = await setUp(context);
    const { sha256 } = hub;
    hub.sha256 = undefined;
    assert.equal((await store.pull('sample')).sha256, sha256);
    assert.match(said.join('\n'), /states no checksum/);
  });

  test('lists that are none, and refusals, in words', async (context) => {
    const odd: [unknown, RegExp][] = [
      ['<html>log in</html>', /does not list the files/],
      [{ Code: 10010205001, Message: 'secret', Success: false }, /does not list the files/],
      [{ Data: { Files: [{ Path: 7 }] } }, /does not list the files/],
      [{ Data: { Files: [] } }, /has no part\/sample q4.gguf in some one\/Sample-GGUF/],
      ['x'.repeat(9 * 1024 * 1024), /without an end/],
    ];
    for (const [list, words] of odd) {
      const { store } = await setUp(context, { list: () => list });
      const { message } = await refusedPull(store, 'unreachable', words);
      assert.doesNotMatch(message, /secret/);
    }
    const statuses: [number, RegExp][] = [
      [404, /has no some one\/Sample-GGUF at v1.0 \(404\)/],
      [401, /set MODELSCOPE_API_TOKEN/],
      [503, /answered 503/],
    ];
    const { hub, store } = await setUp(context);
    for (const [status, words] of statuses) {
      hub.onHub = (_request, response) => {
        response.writeHead(status).end('secret details');
        return true;
      };
      await refusedPull(store, 'unreachable', words);
    }
    const token = await setUp(context, { env: { MODELSCOPE_API_TOKEN: 'ms-secret' } });
    token.hub.onHub = (_request, response) => {
      response.writeHead(403).end();
      return true;
    };
    const refused = await refusedPull(
      token.store,
      'unreachable',
      /the token in MODELSCOPE_API_TOKEN may not/,
    );
    assert.doesNotMatch(`${refused.message}${refused.stack}`, /ms-secret/);
  });

  test('a service that never answers, or never ends, is passed over in time', async (context) => {
    for (const isBegun of [false, true]) {
      const { hub, store } = await setUp(context, { timings: { reachMs: 300 } });
      hub.onHub = (_request, response) => {
        if (isBegun) response.writeHead(200, { 'content-type': 'application/json' }).write('{"Data":');
        return true;
      };
      await refusedPull(store, 'unreachable', /did not answer within 0\.3 s/);
    }
  });

  test('the older name of the setting, a bare host, and an address that is none', async (context) => {
    const old = await setUp(context, { env: { MODELSCOPE_ENDPOINT: '', MODELSCOPE_DOMAIN: 'ftp://mirror' } });
    await refusedPull(old.store, 'unreachable', /MODELSCOPE_DOMAIN is not/);
    const wrong = await setUp(context, { env: { MODELSCOPE_ENDPOINT: 'ftp://mirror' } });
    await refusedPull(wrong.store, 'unreachable', /MODELSCOPE_ENDPOINT is not/);
    const bare = await setUp(context, { env: { MODELSCOPE_ENDPOINT: '127.0.0.1:9' } });
    await refusedPull(bare.store, 'unreachable', /^127.0.0.1:9 cannot be reached/);
  });
});
