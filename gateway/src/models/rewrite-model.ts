// Brings a model of the store from the form in which it was fetched into the one that suits the engine, once.
// The caller holds the store's lock. What was fetched stays until the new file is written, checked, in its place and
// recorded: a process that is killed on the way, and a try that fails, leave a model that can be used.
import { rename, rm } from 'node:fs/promises';
import type { CatalogueEntry, Rewrite } from './catalogue.ts';
import { rewriteGguf } from './gguf-rewrite.ts';
import { ModelStoreError, reasonOf } from './model-store-error.ts';
import { createProgressMeter, type OnProgress } from './progress.ts';
import { formatBytes } from './progress-renderer.ts';
import { freeDiskBytes, type StoredModel, type StoreFiles, syncFolder } from './store-files.ts';

export interface RewriteJob {
  readonly model: StoredModel;
  readonly rewrite: Rewrite;
  readonly files: StoreFiles;
  readonly signal: AbortSignal;
  readonly onProgress: OnProgress;
  readonly say: (line: string) => void;
}

/** What is to be done to a stored model; undefined where it is done, or is none of the weights that the entry names. */
export function pendingRewrite(model: StoredModel, entry: CatalogueEntry | undefined): Rewrite | undefined {
  return entry?.rewrite && entry.sha256 === model.sha256 ? entry.rewrite : undefined;
}

/**
 * Resolves to the model in its new form. Throws ModelStoreError `no_space`, `checksum` (the result is not what the
 * catalogue names), `not_gguf`, `cut` and `store`, and the signal's reason when aborted: then the model is as it was.
 */
export async function rewriteModel(job: RewriteJob): Promise<StoredModel> {
  const { model, rewrite, files, signal } = job;
  const folder = files.folderOf(model.name);
  const place = files.fileOf({ name: model.name, file: rewrite.file });
  const draft = `${place}.rewriting`;
  // Of a process that was killed: it would take the room that is looked at next.
  await guard(draft, () => rm(draft, { force: true }));
  const free = await freeDiskBytes(folder);
  if (free !== undefined && free < rewrite.bytes) {
    throw new ModelStoreError(
      'no_space',
      `As ${rewrite.to} it needs ${formatBytes(rewrite.bytes)} at ${folder}, and ${formatBytes(free)} are free.`,
    );
  }
  job.say(
    `${model.title} is re-written as ${rewrite.to}, which suits the engine better: once, and from what is here.`,
  );
  const meter = createProgressMeter(model, job.onProgress);
  const made = await rewriteGguf({ from: files.fileOf(model), to: draft, title: model.title, signal, meter });
  if (made.bytes !== rewrite.bytes || made.sha256 !== rewrite.sha256) {
    await rm(draft, { force: true });
    throw new ModelStoreError(
      'checksum',
      `What came out is not what it should be: "sluice models verify ${model.name}" tells whether the stored file is whole.`,
    );
  }
  const rewritten: StoredModel = {
    ...model,
    title: rewrite.title,
    file: rewrite.file,
    bytes: made.bytes,
    sha256: made.sha256,
    rewrittenFrom: { file: model.file, bytes: model.bytes, sha256: model.sha256 },
  };
  await guard(place, () => rename(draft, place));
  await syncFolder(folder);
  await files.write(rewritten);
  // A system that does not give up a file in use keeps it: room is lost then, and nothing else.
  await rm(files.fileOf(model), { force: true }).catch(() => {});
  return rewritten;
}

async function guard(path: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (thrown) {
    throw new ModelStoreError('store', `${path} cannot be written: ${reasonOf(thrown)}.`, thrown);
  }
}
