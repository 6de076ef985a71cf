// Brings one model of the catalogue into the store: source after source, then size, checksum and header, then one rename.
// The caller holds the store's lock. Nothing gets to the model's place that was not checked, and nothing is chosen here.
import { mkdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import type { CatalogueEntry, Source } from './catalogue.ts';
import { checkGguf } from './gguf.ts';
import { hashFile } from './hash-file.ts';
import type { Environment } from './home.ts';
import { ModelStoreError, type ModelStoreErrorCode, reasonOf } from './model-store-error.ts';
import { PartFile } from './part-file.ts';
import { createProgressMeter, type OnProgress, type ProgressMeter } from './progress.ts';
import { formatBytes } from './progress-renderer.ts';
import type { Announcement, Fetched, SourceContext, Timings } from './source-context.ts';
import { fetchFromSource } from './sources.ts';
import { freeDiskBytes, type StoredModel, type StoreFiles, syncFolder } from './store-files.ts';

/** Above this a person wants to know before it begins. */
export const ANNOUNCE_BYTES = 200_000_000;

/** No other source helps against these. */
const HOPELESS: ReadonlySet<ModelStoreErrorCode> = new Set(['no_space', 'store', 'busy']);

export interface PullJob {
  readonly entry: CatalogueEntry;
  /** The hash of an earlier pull, hex, where the catalogue has none. */
  readonly recordedSha256: string | undefined;
  readonly files: StoreFiles;
  readonly env: Environment;
  readonly python: readonly string[];
  readonly signal: AbortSignal;
  readonly onProgress: OnProgress;
  /** Awaited before a large download; what it throws ends the pull. */
  readonly onAnnounce: (announcement: Announcement) => void | Promise<void>;
  readonly say: (line: string) => void;
  readonly timings: Timings;
}

/**
 * Resolves when the model is in its place and recorded. Throws ModelStoreError: `unreachable` only if nothing was
 * downloaded from any source, else the code of what went wrong; and the signal's reason when aborted.
 */
export async function pullModel(job: PullJob): Promise<StoredModel> {
  const { entry } = job;
  const folder = job.files.folderOf(entry.name);
  try {
    await mkdir(folder, { recursive: true });
  } catch (thrown) {
    throw new ModelStoreError('store', `${folder} cannot be made: ${reasonOf(thrown)}.`, thrown);
  }
  const failures: ModelStoreError[] = [];
  for (const [index, source] of entry.sources.entries()) {
    try {
      return await pullFrom(job, source, folder);
    } catch (thrown) {
      job.signal.throwIfAborted();
      if (!(thrown instanceof ModelStoreError) || HOPELESS.has(thrown.code)) throw thrown;
      failures.push(thrown);
      if (index < entry.sources.length - 1)
        job.say(`${thrown.message} Passed over; the next source is tried.`);
    }
  }
  throw summary(entry, failures);
}

function summary(entry: CatalogueEntry, failures: readonly ModelStoreError[]): ModelStoreError {
  const [first] = failures;
  if (first && failures.length === 1) return first;
  const worst = failures.findLast((failure) => failure.code !== 'unreachable');
  const reasons = failures.map((failure) => failure.message).join(' ');
  return new ModelStoreError(
    worst?.code ?? 'unreachable',
    reasons || `No source is known for ${entry.title}.`,
    worst ?? first,
  );
}

async function pullFrom(job: PullJob, source: Source, folder: string): Promise<StoredModel> {
  const { entry, signal } = job;
  const part = new PartFile(join(folder, `${entry.file}.part`), entry.title);
  const meter = createProgressMeter(entry, job.onProgress);
  const context: SourceContext = {
    entry,
    sha256: entry.sha256 ?? job.recordedSha256,
    env: job.env,
    python: job.python,
    signal,
    meter,
    say: job.say,
    folder,
    part,
    timings: job.timings,
    begin: (bytes, diskBytes, from) => begin(job, folder, bytes, diskBytes, from),
  };
  for (let isSecond = false; ; isSecond = true) {
    const fetched = await fetchFromSource(source, context);
    signal.throwIfAborted();
    try {
      const { bytes, sha256 } = await check(entry, part, fetched, context.sha256, signal, meter);
      return await settle(job, folder, part, { bytes, sha256, from: fetched.from });
    } catch (thrown) {
      const isBadFile = thrown instanceof ModelStoreError && thrown.code !== 'store';
      if (isBadFile) await part.discard();
      // Two halves of different files look like this; one honest try from the start tells.
      if (!isBadFile || !fetched.resumed || isSecond) throw thrown;
      job.say(
        `What was put together of ${entry.title} is not whole: it is fetched once more, from the start.`,
      );
    }
  }
}

async function begin(
  job: PullJob,
  folder: string,
  bytes: number,
  diskBytes: number,
  from: string,
): Promise<void> {
  const { entry } = job;
  const free = await freeDiskBytes(folder);
  if (free !== undefined && free < diskBytes) {
    throw new ModelStoreError(
      'no_space',
      `${entry.title} needs ${formatBytes(diskBytes)} at ${folder}, and ${formatBytes(free)} are free. Make room, or set SLUICE_HOME to another disk.`,
    );
  }
  if (bytes <= ANNOUNCE_BYTES) return;
  await job.onAnnounce({ name: entry.name, title: entry.title, licence: entry.licence, bytes, from });
  job.signal.throwIfAborted();
}

/** Throws `checksum`, `cut` or `not_gguf` about the model, not about the part's file name. */
async function check(
  entry: CatalogueEntry,
  part: PartFile,
  fetched: Fetched,
  knownSha256: string | undefined,
  signal: AbortSignal,
  meter: ProgressMeter,
): Promise<{ bytes: number; sha256: string }> {
  const bytes = await part.bytes();
  const wrong = `${entry.title} from ${fetched.from} is not what it should be`;
  if (entry.bytes !== undefined && bytes !== entry.bytes) {
    throw new ModelStoreError(
      'checksum',
      `${wrong}: it has ${bytes} bytes, not ${entry.bytes}. It was removed.`,
    );
  }
  meter.begin('checking', 0, bytes);
  const sha256 = await hashFile(part.path, { signal, onBytes: (at) => meter.at(at) });
  meter.end();
  if (sha256 !== (knownSha256 ?? fetched.sha256 ?? sha256)) {
    throw new ModelStoreError('checksum', `${wrong}: its SHA-256 differs. It was removed.`);
  }
  try {
    await checkGguf(part.path);
  } catch (thrown) {
    if (!(thrown instanceof ModelStoreError) || thrown.code === 'store') throw thrown;
    const what = thrown.code === 'cut' ? 'its end is missing' : 'it is no GGUF model';
    throw new ModelStoreError(thrown.code, `${wrong}: ${what}. It was removed.`, thrown);
  }
  return { bytes, sha256 };
}

async function settle(
  job: PullJob,
  folder: string,
  part: PartFile,
  found: { bytes: number; sha256: string; from: string },
): Promise<StoredModel> {
  const { entry, files } = job;
  const model: StoredModel = {
    name: entry.name,
    title: entry.title,
    licence: entry.licence,
    file: entry.file,
    bytes: found.bytes,
    sha256: found.sha256,
    source: found.from,
    pulledAt: new Date().toISOString(),
  };
  try {
    await rename(part.path, files.fileOf(model));
  } catch (thrown) {
    throw new ModelStoreError(
      'store',
      `${entry.title} cannot be put into its place: ${reasonOf(thrown)}.`,
      thrown,
    );
  }
  await syncFolder(folder);
  await files.write(model);
  await part.forget();
  return model;
}
