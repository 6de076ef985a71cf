// Checks supervisor.ts with children that misbehave on purpose, and no model.
// It must never leave a child behind.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { isAlive } from '../../../test/processes.ts';
import type { LogLevel } from '../../core/log.ts';
import { Supervisor, type SupervisorTiming } from './supervisor.ts';

const folder = mkdtempSync(join(tmpdir(), 'sluice-supervisor-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const childFile = join(folder, 'child.mjs');
// The model's name says how it misbehaves.
writeFileSync(
  childFile,
  `process.on('disconnect', () => process.exit());
let mode;
process.on('message', (m) => {
  if (m.type === 'load') {
    mode = m.settings.modelFile;
    if (mode === 'refuses') return process.send({ type: 'load-failed', message: 'it is cut short.' });
    if (mode === 'aborts') { process.stderr.write('GGML_ASSERT failed\\n'); return process.abort(); }
    process.send({ type: 'ready', contextTokens: 64, contextBytes: 1, sequences: 3, thinks: true, purpose: 'embed' });
    if (mode === 'dies') setTimeout(() => process.exit(3), 5);
    if (mode === 'hangs') setTimeout(() => { for (;;); }, 5);
    if (mode === 'stays') process.on('message', () => {});
  }
  if (m.type === 'ping') process.send({ type: 'pong', rssBytes: mode === 'swells' ? 2e9 : 1 });
  if (m.type === 'exit' && mode !== 'stays') process.exit();
});`,
);

interface Watched {
  readonly supervisor: Supervisor;
  readonly downs: string[];
  readonly logs: [LogLevel, string][];
  /** Resolves when `condition` holds; fails after 10 s. */
  until(condition: () => boolean): Promise<void>;
}

function watch(mode: string, timing: Partial<SupervisorTiming> = {}): Watched {
  const downs: string[] = [];
  const logs: [LogLevel, string][] = [];
  const supervisor = new Supervisor({
    childFile: pathToFileURL(childFile),
    settings: {
      modelFile: mode,
      sequences: 1,
      contextTokens: 64,
      threads: 1,
      mostThreads: 1,
      gpu: false,
      busySeconds: 0.3,
      stateFolder: '',
      stateBytes: 0,
    },
    memoryLimitBytes: () => 1e9,
    log: (level, message) => void logs.push([level, message]),
    onStep: () => {},
    onDown: (reason) => void downs.push(reason),
    onChange: () => {},
    timing,
  });
  const until = async (condition: () => boolean): Promise<void> => {
    const deadline = performance.now() + 10_000;
    while (!condition()) {
      assert.ok(performance.now() < deadline, `timed out in state ${supervisor.state}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  return { supervisor, downs, logs, until };
}

test('ready, killed, ready again with another process, closed without a trace', async () => {
  const { supervisor, downs, until } = watch('well');
  await supervisor.start();
  const first = supervisor.pid;
  assert.deepEqual([supervisor.contextTokens, supervisor.sequences, supervisor.purpose], [64, 3, 'embed']);
  process.kill(first ?? 0, 'SIGKILL');
  await until(() => supervisor.state === 'restarting');
  assert.match(downs[0] ?? '', /SIGKILL/);
  await until(() => supervisor.state === 'ready');
  const second = supervisor.pid;
  assert.notEqual(second, first);
  await supervisor.close();
  await supervisor.close();
  assert.equal(supervisor.state, 'closed');
  assert.ok(second !== undefined);
  assert.equal(isAlive(second), false);
});

test('the first load that fails is final, and says why in one sentence', async () => {
  const refuses = watch('refuses');
  await assert.rejects(
    refuses.supervisor.start(),
    /^Error: The engine could not start: the model could not be loaded: it is cut short\.$/,
  );
  assert.equal(refuses.supervisor.state, 'failed');
  const aborts = watch('aborts');
  await assert.rejects(aborts.supervisor.start(), /SIGABRT/);
  assert.equal(aborts.supervisor.state, 'failed');
  assert.equal(aborts.supervisor.pid, undefined);
});

test('it gives up loudly on a process that keeps dying', async () => {
  const { supervisor, downs, logs, until } = watch('dies');
  await supervisor.start();
  await until(() => supervisor.state === 'failed');
  assert.equal(downs.length, 5);
  assert.ok(logs.some(([level, message]) => level === 'error' && /not started again/.test(message)));
  await supervisor.close();
});

test('a process that does not answer is killed', async () => {
  const { supervisor, downs, until } = watch('hangs', { pingMs: 20, hungMs: 200 });
  await supervisor.start();
  await until(() => downs.length > 0);
  assert.match(downs[0] ?? '', /did not answer/);
  await supervisor.close();
});

test('a process over its memory limit is killed', async () => {
  const { supervisor, downs, until } = watch('swells', { pingMs: 20 });
  await supervisor.start();
  await until(() => downs.length > 0);
  assert.match(downs[0] ?? '', /MiB/);
  await supervisor.close();
});

test('a process that will not exit is killed when closing', async () => {
  const { supervisor } = watch('stays', { exitMs: 50 });
  await supervisor.start();
  const { pid } = supervisor;
  await supervisor.close();
  assert.ok(pid !== undefined);
  assert.equal(isAlive(pid), false);
});

test('closing while loading, and while waiting to restart, leaves nothing', async () => {
  const loading = watch('well');
  const start = loading.supervisor.start();
  const { pid } = loading.supervisor;
  await loading.supervisor.close();
  await assert.rejects(start, /closed before it was ready/);
  assert.ok(pid !== undefined);
  assert.equal(isAlive(pid), false);

  const dying = watch('dies');
  await dying.supervisor.start();
  await dying.until(() => dying.downs.length === 3 && dying.supervisor.pid === undefined);
  await dying.supervisor.close();
  await new Promise((resolve) => setTimeout(resolve, 400));
  assert.equal(dying.supervisor.pid, undefined);
});
