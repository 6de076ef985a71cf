// A model of the store in the form that suits the engine: after a pull, at the next use of one that lies there as it was
// fetched, and never at the price of a model that could be used before.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
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
import { after, suite, type TestContext, test } from 'node:test';
import { CATALOGUE, type CatalogueEntry } from './catalogue.ts';
import { rewriteGguf } from './gguf-rewrite.ts';
import { ModelStore } from './model-store.ts';
import { ModelStoreError } from './model-store-error.ts';
import { createProgressMeter } from './progress.ts';
import { SAMPLE_METADATA, sampleGguf, sampleQ4Blocks } from './sample-gguf.ts';
import { hubEntry, hubFor, temporary } from './stand-in-hub.test.ts';

const BLOCKS = 30_000;
const FETCHED = sampleGguf({
  metadata: [...SAMPLE_METADATA, ['general.file_type', 3]],
  tensors: [{ name: 'large', dimensions: [32, BLOCKS], type: 3, data: sampleQ4Blocks(BLOCKS) }],
});
const FETCHED_SHA256 = createHash('sha256').update(FETCHED).digest('hex');
/** Nothing listens on port 1. */
const DEAD = 'http://127.0.0.1:1';
const PLAIN = hubEntry({
  name: 'small',
  title: 'Small (Q4_1)',
  bytes: FETCHED.length,
  aboutBytes: FETCHED.length,
  sha256: FETCHED_SHA256,
});

const scratch = mkdtempSync(join(tmpdir(), 'sluice-rewrite-'));
after(() => rmSync(scratch, { recursive: true, force: true }));
const [from, to] = [join(scratch, 'from.gguf'), join(scratch, 'to.gguf')];
writeFileSync(from, FETCHED);
const made = await rewriteGguf({
  from,
  to,
  title: 'S',
  signal: new AbortController().signal,
  meter: createProgressMeter(PLAIN, () => {}),
});
const expected = readFileSync(to);
/** The same model with what it is to become. */
const entry: CatalogueEntry = {
  ...PLAIN,
  rewrite: { to: 'Q8_0', title: 'Small (Q8_0)', file: 'sample.Q8_0.gguf', ...made },
};

function open(home: string, catalogue: CatalogueEntry, endpoint = DEAD) {
  const said: string[] = [];
  const store = new ModelStore({
    home,
    env: { HF_ENDPOINT: endpoint },
    say: (line) => said.push(line),
    freeMemoryBytes: 8e9,
    catalogue: [catalogue],
    timings: { retryDelaysMs: [5] },
  });
  return { store, said, folder: join(home, 'models', 'small') };
}

/** A store that an older version filled: the model as it was fetched, and recorded so. */
async function olderStore(context: TestContext): Promise<string> {
  const home = temporary(context);
  const hub = await hubFor(context, FETCHED);
  await open(home, PLAIN, hub.endpoint).store.resolve(undefined);
  assert.deepEqual(readdirSync(join(home, 'models', 'small')), ['model.json', 'sample.gguf']);
  return home;
}

const IS_REWRITTEN = /^Small \(Q4_1\) is re-written as Q8_0/;
const IS_USED = /^Small \(Q4_1\) is used as it is, not re-written: /;

suite('a model that is re-written', { concurrency: true }, () => {
  test('after the pull it lies there in its new form alone, and both hashes are known', async (context) => {
    const home = temporary(context);
    const hub = await hubFor(context, FETCHED);
    const { store, said, folder } = open(home, entry, hub.endpoint);
    const phases = new Set<string>();
    const model = await store.resolve(undefined, { onProgress: ({ phase }) => phases.add(phase) });
    assert.ok(readFileSync(model.file).equals(expected));
    assert.deepEqual(model, {
      name: 'small',
      title: 'Small (Q8_0)',
      licence: 'MIT',
      file: join(folder, 'sample.Q8_0.gguf'),
      bytes: expected.length,
      sha256: entry.rewrite?.sha256,
    });
    assert.deepEqual([...phases], ['downloading', 'checking', 'rewriting']);
    assert.deepEqual(readdirSync(folder).sort(), ['model.json', 'sample.Q8_0.gguf']);
    assert.match(said.at(-2) ?? '', IS_REWRITTEN);
    assert.match(said.at(-1) ?? '', /^Small \(Q8_0\) is the model of this machine/);
    const ok = { name: 'small', title: 'Small (Q8_0)', state: 'ok', rewrittenFrom: FETCHED_SHA256 };
    assert.deepEqual(await store.verify(), [{ ...ok, sha256: model.sha256 }]);
    // Once only.
    const later = open(home, entry);
    assert.deepEqual(await later.store.resolve(undefined), model);
    assert.deepEqual(later.said, []);
  });

  test('as an older version left it: re-written at its next use, with no look outside', async (context) => {
    for (const use of ['a start', 'a start by name', 'a pull']) {
      const home = await olderStore(context);
      const { store, said, folder } = open(home, entry);
      const { file } =
        use === 'a pull'
          ? await store.pull('small')
          : await store.resolve(use === 'a start' ? undefined : 'small');
      assert.ok(readFileSync(file).equals(expected), use);
      assert.equal(said.length, 1, said.join('\n'));
      assert.match(said[0] ?? '', IS_REWRITTEN);
      assert.deepEqual(readdirSync(folder).sort(), ['model.json', 'sample.Q8_0.gguf']);
    }
  });

  test('a model that is not yet the chosen one is chosen in its new form', async (context) => {
    const home = await olderStore(context);
    rmSync(join(home, 'default-model.json'));
    const { store, said } = open(home, entry);
    assert.equal((await store.resolve(undefined)).title, 'Small (Q8_0)');
    assert.match(said.join('\n'), /Small \(Q8_0\) is the model of this machine/);
  });

  test('the new form is checked like any other, and fetched and made again where it is not whole', async (context) => {
    const home = await olderStore(context);
    const { store } = open(home, entry);
    const { file } = await store.resolve('small');
    const bytes = readFileSync(file);
    bytes[bytes.length - 5] = (bytes.at(-5) ?? 0) ^ 1;
    writeFileSync(file, bytes);
    assert.equal((await store.verify('small'))[0]?.state, 'wrong');
    truncateSync(file, 1_000);
    const hub = await hubFor(context, FETCHED);
    const again = await open(home, entry, hub.endpoint).store.resolve('small');
    assert.ok(readFileSync(again.file).equals(expected));
    assert.equal((await store.verify('small'))[0]?.state, 'ok');
  });

  test('a store that cannot be locked or written, or a full disk: it is used as it is', async (context) => {
    const locked = await olderStore(context);
    rmSync(join(locked, 'store.lock'));
    mkdirSync(join(locked, 'store.lock'));
    const noRoom = { ...entry, rewrite: { ...entry.rewrite!, bytes: Number.MAX_SAFE_INTEGER } };
    const cases: [string, CatalogueEntry, RegExp][] = [
      [locked, entry, /cannot be locked/],
      [await olderStore(context), noRoom, /As Q8_0 it needs .* are free/],
    ];
    for (const [home, catalogue, why] of cases) {
      const { store, said, folder } = open(home, catalogue);
      // Of a process that was killed: it must not be what takes the room.
      if (catalogue === noRoom) writeFileSync(join(folder, 'sample.Q8_0.gguf.rewriting'), 'half');
      for (const name of [undefined, 'small']) {
        const { title, file } = await store.resolve(name);
        assert.equal(title, 'Small (Q4_1)');
        assert.ok(readFileSync(file).equals(FETCHED));
      }
      assert.equal(said.length, 2);
      for (const line of said) {
        assert.match(line, IS_USED);
        assert.match(line, why);
      }
      assert.deepEqual(readdirSync(folder).sort(), ['model.json', 'sample.gguf']);
    }
  });

  test('a result that is not what the catalogue names is not used', async (context) => {
    const home = await olderStore(context);
    const { store, said, folder } = open(home, entry);
    const file = join(folder, 'sample.gguf');
    const bytes = readFileSync(file);
    bytes[bytes.length - 5] = (bytes.at(-5) ?? 0) ^ 1;
    writeFileSync(file, bytes);
    assert.equal((await store.resolve(undefined)).file, file);
    assert.match(said[1] ?? '', /is used as it is, .*"sluice models verify small"/);
    assert.deepEqual(readdirSync(folder).sort(), ['model.json', 'sample.gguf']);
  });

  test('an abort in the middle leaves the model as it was, and the next use goes well', async (context) => {
    const home = await olderStore(context);
    const { store, said, folder } = open(home, entry);
    const controller = new AbortController();
    // Also where the reason looks like one to use the model as it is.
    const reason = new ModelStoreError('store', 'enough');
    const work = store.resolve(undefined, {
      signal: controller.signal,
      onProgress: ({ phase }) => phase === 'rewriting' && controller.abort(reason),
    });
    await assert.rejects(work, /enough/);
    assert.deepEqual(readdirSync(folder).sort(), ['model.json', 'sample.gguf']);
    assert.equal(said.length, 1);
    assert.equal((await store.resolve(undefined)).title, 'Small (Q8_0)');
  });

  test('what a process that was killed left of a try is no obstacle', async (context) => {
    const home = await olderStore(context);
    const { store, folder } = open(home, entry);
    writeFileSync(join(folder, 'sample.Q8_0.gguf.rewriting'), 'half');
    // Killed between the rename and the record.
    writeFileSync(join(folder, 'sample.Q8_0.gguf'), expected);
    assert.equal((await store.resolve(undefined)).title, 'Small (Q8_0)');
    assert.deepEqual(readdirSync(folder).sort(), ['model.json', 'sample.Q8_0.gguf']);
  });

  test("a user's own file is used where it lies, whatever its format", async (context) => {
    const folder = temporary(context);
    const path = join(folder, 'Mine.gguf');
    writeFileSync(path, FETCHED);
    const { store, said } = open(join(folder, 'store'), entry);
    assert.equal((await store.resolve(path)).file, path);
    assert.deepEqual(said, []);
    assert.deepEqual(readdirSync(folder), ['Mine.gguf']);
  });

  test('an entry with a rewrite names the hash of what is fetched, and another file', () => {
    const entries = CATALOGUE.filter(({ rewrite }) => rewrite);
    assert.ok(entries.length > 0);
    for (const { sha256, file, title, rewrite } of entries) {
      assert.match(sha256 ?? '', /^[0-9a-f]{64}$/);
      assert.match(rewrite?.sha256 ?? '', /^[0-9a-f]{64}$/);
      assert.notEqual(rewrite?.file, file);
      assert.ok(rewrite?.title.includes(rewrite.to) && !title.includes(rewrite.to));
    }
  });
});
