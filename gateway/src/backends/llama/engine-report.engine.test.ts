// What the engine says of itself, from a real process; and processes that hang, crash or cannot load.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { reportEngine } from './engine-report.ts';

const signal = new AbortController().signal;

function child(context: TestContext, source: string): URL {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-report-'));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'child.mjs');
  writeFileSync(file, source);
  return pathToFileURL(file);
}

test('the real one: its release, its kernels, and the threads that it takes', async () => {
  const { cores, threads, engine, reason } = await reportEngine({ gpu: false, signal });
  assert.equal(reason, undefined);
  assert.ok(engine);
  assert.match(engine.release, /./);
  assert.equal(engine.gpu, process.platform === 'darwin' ? engine.gpu : false);
  if (process.platform === 'linux' && process.arch === 'x64') {
    assert.match(engine.cpuVariant ?? '', /^\w+$/);
    assert.ok(engine.instructions.includes('SSE3'), `${engine.instructions}`);
  }
  assert.ok(threads >= 1 && threads <= cores);
  assert.equal((await reportEngine({ gpu: false, signal, threads: 3 })).threads, 3);
});

test('one that cannot load, crashes or hangs is a reason, not an error', async (context) => {
  const cases: [string, RegExp][] = [
    [
      `process.stderr.write('GLIBC_2.99 not found\\n', () => process.exit(1));`,
      /cannot be loaded: GLIBC_2.99 not found\.$/,
    ],
    [`process.kill(process.pid, 'SIGSEGV');`, /cannot be loaded: SIGSEGV\.$/],
    [`setInterval(() => {}, 1000);`, /did not load within 0\.3 s/],
  ];
  for (const [source, words] of cases) {
    const limitMs = source.includes('setInterval') ? 300 : 20_000;
    const { engine, reason } = await reportEngine({
      gpu: false,
      signal,
      limitMs,
      childFile: child(context, source),
    });
    assert.equal(engine, undefined);
    assert.match(reason ?? '', words);
  }
});

test('an abort ends the process and says its own reason', async (context) => {
  const reason = new Error('Ctrl-C');
  const childFile = child(context, 'setInterval(() => {}, 1000);');
  await assert.rejects(reportEngine({ gpu: false, signal: AbortSignal.abort(reason), childFile }), reason);
});
