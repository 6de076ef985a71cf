// What a check of the sources says where they answer, refuse, are silent or are not there: against stand-ins for all of them.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import type { Source } from '../catalogue.ts';
import { TIMINGS } from '../source-context.ts';
import { CONTENT, hubEntry, hubFor, temporary } from '../stand-in-hub.test.ts';
import { probeSources, type SourceProbe } from './source-probe.ts';

const SOURCES: readonly Source[] = [
  { kind: 'huggingface', repo: 'a/b', file: 'c', revision: 'main' },
  {
    kind: 'parts',
    parts: [
      { source: { kind: 'wheel', package: 'tiny', version: '1', member: 'c' } },
      { source: { kind: 'modelscope', repo: 'a/b', file: 'c', revision: 'master' } },
    ],
  },
];

/** `pip` and `npm` are bodies of JavaScript functions that see `args` and `fail`. */
async function ask(
  context: TestContext,
  scripts: { pip?: string; npm?: string } = {},
  env: Record<string, string> = {},
  reachMs = 30_000,
): Promise<SourceProbe[]> {
  const folder = temporary(context);
  const fail = `const args = process.argv.slice(2);
    const fail = (text) => { process.stderr.write(text + '\\n'); process.exitCode = 1; };`;
  writeFileSync(join(folder, 'pip.cjs'), `${fail} ${scripts.pip ?? ''}`);
  writeFileSync(join(folder, 'npm-cli.js'), `${fail} ${scripts.npm ?? ''}`);
  const hub = await hubFor(context, CONTENT);
  return await probeSources({
    catalogue: [hubEntry({ sources: SOURCES })],
    env: {
      HF_ENDPOINT: hub.endpoint,
      MODELSCOPE_ENDPOINT: 'http://127.0.0.1:9',
      npm_execpath: join(folder, 'npm-cli.js'),
      ...env,
    },
    python: [process.execPath, join(folder, 'pip.cjs')],
    timings: { ...TIMINGS, reachMs, startMs: 30_000 },
    signal: new AbortController().signal,
  });
}

suite('a check of the sources', { concurrency: true }, () => {
  test('those that answer and those that do not, one of each kind', async (context) => {
    const pip = `if (args[2] !== 'index' || args[4] !== 'tiny') fail('wrong');`;
    const found = await ask(context, { pip });
    assert.deepEqual(
      found.map(({ kind, state }) => [kind, state]),
      [
        ['huggingface', 'reached'],
        ['modelscope', 'unreached'],
        ['wheel', 'reached'],
        ['npm', 'reached'],
      ],
    );
    assert.match(found[0]?.text ?? '', /^127\.0\.0\.1:\d+ answers\.$/);
    assert.match(found[1]?.text ?? '', /^127\.0\.0\.1:9 cannot be reached/);
    assert.equal(found[2]?.text, 'The package index answers pip.');
    assert.equal(found[3]?.text, 'The registry answers npm.');
  });

  test('a tool that fails, is silent, or is too old, and no address of its own', async (context) => {
    const pip = `fail('WARNING: Max retries exceeded with url http://me:secret@host');`;
    const npm = `fail('npm error code E404 http://me:secret@host');`;
    const found = await ask(context, { pip, npm }, { HF_HUB_OFFLINE: '1' });
    assert.deepEqual(
      found.filter(({ kind }) => kind !== 'modelscope').map(({ text }) => text),
      [
        'The hub is not asked, because HF_HUB_OFFLINE is set.',
        'The package index cannot be reached by pip.',
        'The npm registry does not have empty-npm-package@1.0.0.',
      ],
    );
    const silent = `console.error('npm info using npm@11'); setInterval(() => {}, 1000);`;
    const quiet = await ask(context, { npm: silent }, {}, 600);
    assert.equal(quiet.at(-1)?.text, 'The npm registry did not answer within 0.6 s.');
    const old = await ask(context, { pip: `fail('ERROR: unknown command "index"');` });
    const wheel = old.find(({ kind }) => kind === 'wheel');
    assert.match(wheel?.text ?? '', /too old to be asked/);
    assert.equal(wheel?.state, 'unknown');
  });

  test('no interpreter, and an abort', async (context) => {
    const folder = temporary(context);
    const options = {
      catalogue: [hubEntry({ sources: [{ kind: 'wheel', package: 'tiny', version: '1', member: 'c' }] })],
      env: { npm_execpath: join(folder, 'npm-cli.js') },
      python: [join(folder, 'no-python')],
      timings: TIMINGS,
    };
    writeFileSync(join(folder, 'npm-cli.js'), '');
    const [wheel] = await probeSources({ ...options, signal: new AbortController().signal });
    assert.match(wheel?.text ?? '', /^There is no .*no-python here\.$/);
    const reason = new Error('Ctrl-C');
    await assert.rejects(probeSources({ ...options, signal: AbortSignal.abort(reason) }), reason);
  });
});
