// The lock between processes, here between two connections of one: who waits, who gives up, and what is told meanwhile.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { ModelStoreError } from './model-store-error.ts';
import type { PullProgress } from './progress.ts';
import { acquireStoreLock, type StoreLockOptions } from './store-lock.ts';

function optionsIn(context: TestContext): StoreLockOptions {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-lock-'));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  return {
    path: join(folder, 'store.lock'),
    signal: new AbortController().signal,
    onWait: () => {},
    onOwnerProgress: () => {},
    silenceMs: 5_000,
  };
}

test('the second waits, sees the progress of the first, and comes next', async (context) => {
  const options = optionsIn(context);
  const first = await acquireStoreLock(options);
  let waits = 0;
  const told: PullProgress[] = [];
  const second = acquireStoreLock({
    ...options,
    onWait: () => waits++,
    onOwnerProgress: (one) => told.push(one),
  });
  first.report({ model: 'a', title: 'A', phase: 'downloading', bytes: 7 });
  await new Promise((resolve) => setTimeout(resolve, 500));
  await first.release();
  await (await second).release();
  assert.equal(waits, 1);
  assert.deepEqual(told, [{ model: 'a', title: 'A', phase: 'downloading', bytes: 7 }]);
});

test('an owner that says nothing is not waited for without end', async (context) => {
  const options = optionsIn(context);
  const first = await acquireStoreLock(options);
  await assert.rejects(
    acquireStoreLock({ ...options, silenceMs: 300 }),
    (thrown) => thrown instanceof ModelStoreError && thrown.code === 'busy',
  );
  await first.release();
});

test('a wait can be aborted', async (context) => {
  const options = optionsIn(context);
  const first = await acquireStoreLock(options);
  const reason = new Error('enough');
  const controller = new AbortController();
  setTimeout(() => controller.abort(reason), 50);
  await assert.rejects(acquireStoreLock({ ...options, signal: controller.signal }), reason);
  await first.release();
});

test('a place that cannot hold a lock is said', async (context) => {
  const options = optionsIn(context);
  await assert.rejects(
    acquireStoreLock({ ...options, path: join(options.path, 'no', 'folder') }),
    (thrown) =>
      thrown instanceof ModelStoreError && thrown.code === 'store' && /SLUICE_HOME/.test(thrown.message),
  );
});
