// Checks prefix-store.ts and state-folder.ts on real files with sequences that only remember.
// It must never load a model.
import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { PrefixStore, type StatefulSequence } from './prefix-store.ts';
import { makeStateFolder } from './state-folder.ts';

const root = mkdtempSync(join(tmpdir(), 'sluice-prefix-test-'));
after(() => rmSync(root, { recursive: true, force: true }));

class Sequence implements StatefulSequence {
  contextTokens: readonly number[] = [];
  readonly canTruncate = true;
  failing = false;

  async truncate(length: number): Promise<void> {
    this.contextTokens = this.contextTokens.slice(0, length);
  }

  async saveState(file: string): Promise<void> {
    writeFileSync(file, JSON.stringify(this.contextTokens));
    if (this.failing) throw new Error('no space left');
  }

  async loadState(file: string): Promise<void> {
    this.contextTokens = JSON.parse(readFileSync(file, 'utf8'));
  }
}

function setUp(options: { maxBytes?: number; canTruncate?: boolean } = {}) {
  const folder = mkdtempSync(join(root, 'store-'));
  const logs: string[] = [];
  const store = new PrefixStore({
    folder,
    maxBytes: options.maxBytes ?? 1_000_000,
    canTruncate: options.canTruncate ?? true,
    log: (message) => logs.push(message),
  });
  const keep = async (tenant: string, tokens: readonly number[]): Promise<void> => {
    const sequence = new Sequence();
    sequence.contextTokens = tokens;
    await store.keep(tenant, sequence);
  };
  return { store, folder, logs, keep };
}

const range = (from: number, count: number): number[] =>
  Array.from({ length: count }, (_, index) => from + index);

test('a beginning is worth keeping once a second prompt of the tenant has it', () => {
  const { store } = setUp();
  const first = [...range(1, 100), 500];
  store.remember('a', first);
  assert.equal(store.worthKeeping('a', first), undefined, 'alone');
  assert.equal(store.worthKeeping('b', [...range(1, 100), 600]), undefined, 'another tenant');
  assert.equal(store.worthKeeping('a', [...range(1, 100), 600]), 100);
  assert.equal(store.worthKeeping('a', [...range(1, 20), 600]), undefined, 'too short to gain');
  assert.equal(store.worthKeeping('a', range(1, 100)), 99, 'its last token must be computed');
});

test('what is kept already is not worth keeping again, and a longer one is', async () => {
  const { store, keep } = setUp();
  store.remember('a', [...range(1, 200), 500]);
  await keep('a', range(1, 100));
  assert.equal(store.worthKeeping('a', [...range(1, 110), 600]), undefined);
  assert.equal(store.worthKeeping('a', [...range(1, 200), 600]), 200);
});

test('the longest kept prefix is restored, cut to what is common', async () => {
  const { store, keep } = setUp();
  await keep('a', range(1, 50));
  await keep('a', range(1, 100));
  const sequence = new Sequence();
  assert.equal(await store.restore('a', [...range(1, 80), 999], sequence), 80);
  assert.deepEqual(sequence.contextTokens, range(1, 80));
  assert.equal(await store.restore('b', range(1, 100), sequence), 0, 'another tenant');
});

test('a state that cannot be cut is only restored whole', async () => {
  const { store, keep } = setUp({ canTruncate: false });
  await keep('a', range(1, 50));
  await keep('a', range(1, 100));
  assert.equal(store.covered('a', [...range(1, 80), 999]), 50);
});

test('the bound holds, and the least recently used goes first', async () => {
  const { store, folder, keep } = setUp({ maxBytes: 1_000 });
  const tokens = (start: number): number[] => range(start, 80);
  await keep('a', tokens(100));
  await keep('a', tokens(300));
  await keep('a', tokens(500));
  assert.ok(await store.restore('a', [...tokens(100), 1], new Sequence()));
  await keep('a', tokens(700));
  const size = readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
  assert.ok(size <= 1_000, `${size} bytes`);
  assert.equal(store.covered('a', [...tokens(100), 1]), 80);
  assert.equal(store.covered('a', [...tokens(300), 1]), 0);
});

test('a file that was changed, cut or removed is never given to the engine', async () => {
  const tamper: ((file: string) => void)[] = [
    (file) => writeFileSync(file, readFileSync(file, 'utf8').replace('7', '8')),
    (file) => writeFileSync(file, '['),
    (file) => rmSync(file),
    (file) => {
      // Even one that looks the same again.
      const { atime, mtime } = statSync(file);
      writeFileSync(file, readFileSync(file, 'utf8'));
      utimesSync(file, atime, mtime);
    },
  ];
  for (const change of tamper) {
    const { store, folder, logs, keep } = setUp();
    await keep('a', range(1, 50));
    const sequence = new Sequence();
    sequence.contextTokens = [42];
    sequence.loadState = () => assert.fail('it was read');
    change(join(folder, readdirSync(folder)[0]!));
    assert.equal(await store.restore('a', [...range(1, 50), 9], sequence), 0);
    assert.deepEqual(sequence.contextTokens, []);
    assert.equal(store.covered('a', [...range(1, 50), 9]), 0);
    assert.deepEqual(readdirSync(folder), []);
    assert.equal(logs.length, 1);
  }
});

test('what cannot be written leaves nothing behind', async () => {
  const { store, folder, logs } = setUp();
  const sequence = new Sequence();
  sequence.contextTokens = range(1, 50);
  sequence.failing = true;
  await store.keep('a', sequence);
  assert.deepEqual(readdirSync(folder), []);
  assert.equal(store.covered('a', range(1, 60)), 0);
  assert.match(logs[0]!, /no space left/);
  const prompts = Array.from({ length: 100 }, (_, index) => [...range(1, 40), 1_000 + index]);
  assert.ok(
    prompts.slice(1).every((tokens, index) => {
      store.remember('a', prompts[index]!);
      return store.worthKeeping('a', tokens) === undefined;
    }),
    'not tried again at once',
  );
  store.remember('a', prompts[99]!);
  assert.equal(store.worthKeeping('a', [...range(1, 40), 7]), 40);
});

test('0 bytes keep nothing', () => {
  const { store } = setUp({ maxBytes: 0 });
  store.remember('a', range(1, 100));
  assert.equal(store.worthKeeping('a', [...range(1, 90), 7]), undefined);
});

test('the folder is made where there is room, is its user’s alone, and is removed', () => {
  const roomy = mkdtempSync(join(root, 'place-'));
  const folder = makeStateFolder(1_000_000, [join(root, 'absent'), roomy]);
  assert.ok(folder.path.startsWith(roomy));
  assert.equal(folder.maxBytes, 1_000_000);
  assert.equal(statSync(folder.path).mode & 0o777, 0o700);
  writeFileSync(join(folder.path, '1.state'), 'x');
  folder.remove();
  folder.remove();
  assert.ok(!existsSync(folder.path));
});

test('what a process that was killed left behind is removed, and nothing else', () => {
  const place = mkdtempSync(join(root, 'place-'));
  const started = Math.round(performance.timeOrigin);
  // No process has this number: it is above what kernels give.
  const dead = join(place, 'sluice-states-4194999.5-abc');
  const earlierOfOurNumber = join(place, `sluice-states-${process.pid}.${started - 1000}-abc`);
  const living = join(place, 'sluice-states-1.5-abc');
  const other = join(place, 'sluice-other');
  for (const path of [dead, earlierOfOurNumber, living, other]) mkdirSync(path);
  const first = makeStateFolder(1, [place]);
  const second = makeStateFolder(1, [place]);
  assert.deepEqual(
    [dead, earlierOfOurNumber, living, other, first.path].map((path) => existsSync(path)),
    [false, false, true, true, true],
  );
  first.remove();
  second.remove();
});
