// The store as its callers see it: choosing, listing, checking, removing, and a full disk.
// For several processes at once see store-processes.test.ts.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { ModelStore, type ModelStoreOptions } from './model-store.ts';
import type { PullProgress } from './progress.ts';
import { sampleGguf } from './sample-gguf.ts';
import { hubEntry, hubFor, refused, temporary } from './stand-in-hub.test.ts';

const CONTENT = sampleGguf({ values: 200_000 });
/** Nothing listens on port 1. */
const DEAD = 'http://127.0.0.1:1';

function open(home: string, options: Partial<ModelStoreOptions> = {}): { store: ModelStore; said: string[] } {
  const said: string[] = [];
  const store = new ModelStore({
    home,
    env: { HF_ENDPOINT: DEAD },
    say: (line) => said.push(line),
    freeMemoryBytes: 8e9,
    catalogue: [BIG, SMALL],
    timings: { retryDelaysMs: [5, 10] },
    ...options,
  });
  return { store, said };
}

const BIG = hubEntry({ name: 'big', title: 'Big', wantsMemoryBytes: 4e9 });
const SMALL = hubEntry({ name: 'small', title: 'Small' });

suite('the store', { concurrency: true }, () => {
  test('the first start chooses what fits, records it, and needs nothing outside afterwards', async (context) => {
    const home = temporary(context);
    const hub = await hubFor(context, CONTENT);
    const { store, said } = open(home, { env: { HF_ENDPOINT: hub.endpoint } });
    assert.equal((await store.resolve(undefined)).name, 'big');
    assert.match(said.at(-1) ?? '', /Big is the model of this machine from now on/);
    const requests = hub.seen.length;
    const later = open(home, { freeMemoryBytes: 1e9 });
    assert.equal(
      (await later.store.resolve(undefined)).name,
      'big',
      'the choice stands, though the machine is fuller now',
    );
    assert.deepEqual(later.said, []);
    assert.equal(hub.seen.length, requests);
    assert.deepEqual(
      (await store.list()).map(({ name, isStored, isDefault }) => [name, isStored, isDefault]),
      [
        ['big', true, true],
        ['small', false, false],
      ],
    );
  });

  test('with little memory the smaller one is chosen, and it is said why', async (context) => {
    const hub = await hubFor(context, CONTENT);
    const { store, said } = open(temporary(context), {
      env: { HF_ENDPOINT: hub.endpoint },
      freeMemoryBytes: 2e9,
    });
    assert.equal((await store.resolve(undefined)).name, 'small');
    assert.match(said[0] ?? '', /Big is passed over: it wants 4.00 GB of free memory, and here are 2.00 GB/);
  });

  test('a source that cannot be reached is passed over in one line, a model without one too', async (context) => {
    const home = temporary(context);
    const original = join(home, 'original.gguf');
    writeFileSync(original, CONTENT);
    const small = hubEntry({
      name: 'small',
      title: 'Small',
      sources: [
        ...SMALL.sources,
        { kind: 'file', path: join(home, 'gone.gguf') },
        { kind: 'file', path: original },
      ],
    });
    const { store, said } = open(join(home, 'store'), { catalogue: [BIG, small] });
    const model = await store.resolve(undefined);
    assert.equal(model.name, 'small');
    assert.deepEqual(readFileSync(model.file), CONTENT);
    assert.ok(existsSync(original));
    assert.match(
      said[0] ?? '',
      /^Big is passed over: 127\.0\.0\.1:1 cannot be reached: nothing listens there\.$/,
    );
    assert.match(said[1] ?? '', /^127\.0\.0\.1:1 cannot be reached.* Passed over/);
    assert.match(said[2] ?? '', /gone\.gguf cannot be read.* Passed over/);
    assert.ok(said.every((line) => !line.includes('\n')));
  });

  test('where nothing can be reached, one sentence names the way out', async (context) => {
    const { store } = open(temporary(context));
    const { message } = await refused(
      store.resolve(undefined),
      'unreachable',
      /start with a GGUF file that you have: --model FILE\.$/,
    );
    assert.doesNotMatch(message, /\. \S/, 'one sentence');
  });

  test('what a person pulled is used before anything is fetched', async (context) => {
    const home = temporary(context);
    const hub = await hubFor(context, CONTENT);
    await open(home, { env: { HF_ENDPOINT: hub.endpoint } }).store.pull('small');
    const { store } = open(home);
    assert.equal((await store.resolve(undefined)).name, 'small');
    assert.equal((await store.resolve('small')).name, 'small');
  });

  test('a chosen model that is gone is fetched again; if that fails, the change is said', async (context) => {
    const home = temporary(context);
    const hub = await hubFor(context, CONTENT);
    const env = { HF_ENDPOINT: hub.endpoint };
    const first = await open(home, { env }).store.resolve(undefined);
    await open(home, { env }).store.pull('small');
    truncateSync(first.file, 1000);
    const mended = open(home, { env });
    assert.equal((await mended.store.resolve(undefined)).name, 'big');
    assert.match(mended.said.join('\n'), /Big is in the store, but not whole: it is fetched again/);
    rmSync(first.file);
    const offline = open(home);
    assert.equal((await offline.store.resolve(undefined)).name, 'small');
    assert.match(
      offline.said.join('\n'),
      /big, the model of this machine, is not in the store any more and cannot be fetched/,
    );
  });

  test('what broke in the middle of a first choice does not become a smaller model', async (context) => {
    const hub = await hubFor(context, CONTENT);
    hub.content = sampleGguf({ values: 200_000, seed: 7 });
    const { store } = open(temporary(context), { env: { HF_ENDPOINT: hub.endpoint } });
    await refused(store.resolve(undefined), 'checksum', /Big from .* SHA-256 differs/);
  });

  test('a hash of the first pull is kept: other bytes are refused later', async (context) => {
    const home = temporary(context);
    const hub = await hubFor(context, CONTENT);
    const { store } = open(home, { env: { HF_ENDPOINT: hub.endpoint } });
    const { file } = await store.pull('big');
    rmSync(file);
    hub.publish(sampleGguf({ values: 100, seed: 5 }));
    await refused(store.pull('big'), 'checksum', /its checksum differs/);
    await store.remove('big');
    await store.pull('big');
  });

  test('a path is used where it lies', async (context) => {
    const folder = temporary(context);
    const path = join(folder, 'Mine.gguf');
    writeFileSync(path, CONTENT);
    const { store } = open(join(folder, 'store'));
    assert.deepEqual(await store.resolve(path), {
      name: 'Mine',
      title: 'Sample',
      file: path,
      licence: 'mit',
      bytes: CONTENT.length,
    });
    assert.ok(!existsSync(join(folder, 'store')), 'the store is not even made');
    await refused(store.resolve(join(folder, 'none.gguf')), 'not_found', /There is no file/);
    truncateSync(path, 100_000);
    await refused(store.resolve(path), 'cut', /Mine.gguf is cut/);
    writeFileSync(path, 'hello');
    await refused(store.resolve(path), 'not_gguf', /not a GGUF model/);
    await refused(store.resolve('no-such'), 'unknown_model', /There are: big, small\. .*--model FILE/);
  });

  test('verify tells ok, wrong and missing', async (context) => {
    const home = temporary(context);
    const hub = await hubFor(context, CONTENT);
    const { store } = open(home, { env: { HF_ENDPOINT: hub.endpoint } });
    const { file } = await store.pull('big');
    await store.pull('small');
    const events: PullProgress[] = [];
    const states = async (name?: string) =>
      (await store.verify(name, { onProgress: (event) => events.push(event) })).map(
        (one) => `${one.name} ${one.state}`,
      );
    assert.deepEqual(await states(), ['big ok', 'small ok']);
    assert.equal(events.at(-1)?.phase, 'checking');
    const bytes = readFileSync(file);
    bytes[bytes.length - 5] = (bytes.at(-5) ?? 0) ^ 1;
    writeFileSync(file, bytes);
    assert.deepEqual(await states('big'), ['big wrong']);
    appendFileSync(file, 'x');
    assert.deepEqual(await states('big'), ['big wrong']);
    rmSync(file);
    assert.deepEqual(await states(), ['big missing', 'small ok']);
    await refused(store.verify('nosuch'), 'unknown_model', /nosuch/);
  });

  test('remove takes what is there, and no name leads out of the store', async (context) => {
    const home = temporary(context);
    const outside = join(home, 'outside');
    mkdirSync(join(outside, 'models'), { recursive: true });
    writeFileSync(join(outside, 'precious'), 'x');
    const hub = await hubFor(context, CONTENT);
    const { store, said } = open(join(home, 'store'), { env: { HF_ENDPOINT: hub.endpoint } });
    await refused(store.remove('small'), 'not_found', /small is not in the store/);
    await store.resolve(undefined);
    for (const name of [
      '../outside',
      '..',
      '.',
      '',
      '/etc',
      'a/b',
      'a\\b',
      'BIG',
      'x'.repeat(200),
      '-rf',
      'nosuch',
      'a\u0000b',
    ]) {
      await refused(store.remove(name), 'unknown_model', /There is no model of the name/);
      await refused(store.pull(name), 'unknown_model', /There is no model of the name/);
      await refused(store.verify(name), 'unknown_model', /There is no model of the name/);
    }
    assert.ok(existsSync(join(outside, 'precious')));
    assert.deepEqual(await store.remove('big'), { name: 'big', bytes: CONTENT.length });
    assert.match(said.at(-1) ?? '', /the next start chooses anew/);
    assert.deepEqual(readdirSync(join(home, 'store', 'models')), []);
    assert.equal((await store.list()).filter(({ isStored, isDefault }) => isStored || isDefault).length, 0);
  });

  test('records that lie or are broken lead nowhere', async (context) => {
    const home = temporary(context);
    const hub = await hubFor(context, CONTENT);
    const { store } = open(home, { env: { HF_ENDPOINT: hub.endpoint } });
    const { file } = await store.pull('big');
    const record = join(file, '..', 'model.json');
    const good = JSON.parse(readFileSync(record, 'utf8'));
    for (const bad of [
      '{',
      '[]',
      JSON.stringify({ ...good, file: '../../x.gguf' }),
      JSON.stringify({ ...good, name: 'small' }),
    ]) {
      writeFileSync(record, bad);
      assert.equal((await store.list())[0]?.isStored, false);
      assert.equal((await store.pull('big')).wasThere, false);
    }
    writeFileSync(join(home, 'default-model.json'), '{"model": "../../etc"}');
    assert.equal((await store.resolve(undefined)).name, 'big');
  });

  test('a disk that becomes full is said, and the part removed', async (context) => {
    const home = mkdtempSync(join(tmpdir(), 'sluice-disk-'));
    context.after(() => {
      spawnSync('umount', ['-l', home]);
      rmSync(home, { recursive: true, force: true });
    });
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', home]);
    if (mounted.status !== 0) {
      context.skip('no small file system could be mounted here');
      return;
    }
    const hub = await hubFor(context, CONTENT);
    hub.publish(sampleGguf({ values: 500_000 }));
    // No size is stated anywhere, so the look at the free room finds nothing wrong.
    hub.statedBytes = undefined;
    hub.onHub = (request, response) => {
      if (request.method !== 'HEAD') return undefined;
      response.writeHead(302, { 'x-linked-etag': `"${hub.sha256}"`, location: '/x' }).end();
      return true;
    };
    hub.onStore = (_request, response) => {
      response.writeHead(200, { etag: hub.etag }).end(hub.content);
      return true;
    };
    const small = hubEntry({ name: 'small', title: 'Small', aboutBytes: 900_000 });
    const { store } = open(home, { env: { HF_ENDPOINT: hub.endpoint }, catalogue: [small] });
    writeFileSync(join(home, 'filler'), Buffer.alloc(300_000));
    await refused(store.pull('small'), 'no_space', /needs 900 kB at/);
    rmSync(join(home, 'filler'));
    hub.publish(sampleGguf({ values: 350_000 }));
    await refused(store.pull('small'), 'no_space', /disk became full while Small was fetched.*SLUICE_HOME/);
    assert.deepEqual(readdirSync(join(home, 'models', 'small')), []);
  });

  test('a store that cannot be written says so', async (context) => {
    const home = temporary(context);
    writeFileSync(join(home, 'file'), '');
    const { store } = open(join(home, 'file', 'store'));
    await refused(store.pull('big'), 'store', /cannot be changed.*SLUICE_HOME/);
    await refused(store.resolve(undefined), 'store', /cannot be changed/);
  });
});
