// One writer at a time in a store, across processes. The lock is the operating system's own lock on a file, taken
// through SQLite because Node has no other way to one: when its owner dies, however it dies, the kernel lets go. So
// there is no stale lock to judge and no take-over that could race. Never hold it for anything but changing the store.
import { stat } from 'node:fs/promises';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { readJson, writeJson } from './json-file.ts';
import { ModelStoreError, reasonOf } from './model-store-error.ts';
import type { PullProgress } from './progress.ts';

const POLL_MS = 200;
const REPORT_MS = 1_000;
const SQLITE_BUSY = 5;

export interface StoreLockOptions {
  /** The lock file; made if missing, never removed. Beside it `<path>.json` tells what the owner does. */
  readonly path: string;
  readonly signal: AbortSignal;
  /** Called once, when somebody else has the lock. */
  readonly onWait: () => void;
  /** What the owner said of its progress, as often as it changes. */
  readonly onOwnerProgress: (progress: PullProgress) => void;
  /** How long the owner may say nothing before the wait ends with an error, in ms. */
  readonly silenceMs: number;
}

export interface StoreLock {
  /** Lets those who wait see that, and what, is going on. Cheap: at most one write a second, and none is waited for. */
  report(progress?: PullProgress): void;
  release(): Promise<void>;
}

/** Rejects with `busy` when the owner is silent for too long, and with the signal's reason when aborted. */
export async function acquireStoreLock(options: StoreLockOptions): Promise<StoreLock> {
  const { path, signal } = options;
  const reportPath = `${path}.json`;
  let waited = false;
  let seen = '';
  let lastSignOfLife = performance.now();
  for (;;) {
    signal.throwIfAborted();
    const release = tryLock(path);
    if (release) return holdLock(reportPath, release);
    if (!waited) options.onWait();
    waited = true;
    const report = await ownerReport(reportPath);
    if (report && report.stamp !== seen) {
      // The first report read may be old; what counts as a sign of life is only a change that we saw.
      seen = report.stamp;
      lastSignOfLife = performance.now();
      if (report.progress) options.onOwnerProgress(report.progress);
    }
    if (performance.now() - lastSignOfLife > options.silenceMs) {
      throw new ModelStoreError(
        'busy',
        `Another process has held the model store for ${Math.round(options.silenceMs / 1000)} s without moving. End it and start again.`,
      );
    }
    await sleep(POLL_MS, undefined, { signal }).catch(() => signal.throwIfAborted());
  }
}

function tryLock(path: string): (() => void) | undefined {
  let file: DatabaseSync | undefined;
  try {
    file = new DatabaseSync(path, { timeout: 0 });
    const held = file;
    held.exec('BEGIN IMMEDIATE');
    return () => held.close();
  } catch (thrown) {
    file?.close();
    if (thrown instanceof Error && 'errcode' in thrown && thrown.errcode === SQLITE_BUSY) return undefined;
    throw new ModelStoreError(
      'store',
      `The model store cannot be locked (${path}: ${reasonOf(thrown)}). Set SLUICE_HOME to a folder on a local disk that this user may write.`,
      thrown,
    );
  }
}

function holdLock(reportPath: string, release: () => void): StoreLock {
  let reportedAt = Number.NEGATIVE_INFINITY;
  let writing = Promise.resolve();
  return {
    report(progress) {
      const now = performance.now();
      if (now - reportedAt < REPORT_MS) return;
      reportedAt = now;
      // A report is a courtesy: that it cannot be written must not end the work that it is about.
      writing = writing.then(() => writeJson(reportPath, { pid: process.pid, progress })).catch(() => {});
    },
    async release() {
      await writing;
      release();
    },
  };
}

async function ownerReport(path: string): Promise<{ stamp: string; progress?: PullProgress } | undefined> {
  try {
    const { mtimeMs, ino } = await stat(path);
    const report = await readJson(path);
    const stamp = `${mtimeMs} ${ino}`;
    if (typeof report !== 'object' || report === null || !('progress' in report)) return { stamp };
    return { stamp, progress: report.progress as PullProgress };
  } catch {
    return undefined;
  }
}
