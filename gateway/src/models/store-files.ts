// What lies where in the store, and the records beside the weights. A record is written last and removed first: where
// there is one, the weights were whole and checked once. It never fetches and never takes the lock: its callers do.
import type { Stats } from 'node:fs';
import { mkdir, open, readdir, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { isModelName } from './home.ts';
import { readJson, writeJson } from './json-file.ts';
import { ModelStoreError, reasonOf, systemCode } from './model-store-error.ts';

const weightsSchema = z.object({
  /** A bare file name: a record must not lead out of its folder. */
  file: z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$/),
  bytes: z.int().min(1),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});
const recordSchema = weightsSchema.extend({
  name: z.string().refine(isModelName),
  title: z.string(),
  licence: z.string(),
  /** The weights that were fetched, where those of the record were made of them here. They need not be there any more. */
  rewrittenFrom: weightsSchema.optional(),
  /** Where it came from, for people. */
  source: z.string(),
  pulledAt: z.string(),
});
/** A model in the store, as its record has it. */
export type StoredModel = z.output<typeof recordSchema>;

const choiceSchema = z.object({ model: z.string().refine(isModelName), chosenAt: z.string() });

const RECORD = 'model.json';

export class StoreFiles {
  readonly home: string;
  readonly lockPath: string;
  readonly #models: string;
  readonly #choicePath: string;

  constructor(home: string) {
    this.home = home;
    this.lockPath = join(home, 'store.lock');
    this.#models = join(home, 'models');
    this.#choicePath = join(home, 'default-model.json');
  }

  /** The folder of one model. Throws `unknown_model` for what can be no name, so no path gets out of the store. */
  folderOf(name: string): string {
    if (!isModelName(name)) throw unknownModel(name, []);
    return join(this.#models, name);
  }

  fileOf(model: { readonly name: string; readonly file: string }): string {
    return join(this.folderOf(model.name), model.file);
  }

  /** Makes the store's own folder. Throws `store`. */
  async prepare(): Promise<void> {
    await this.#guard(() => mkdir(this.#models, { recursive: true }));
  }

  /** The record; undefined if there is none, or none that can be read: then the model is fetched again. */
  async read(name: string): Promise<StoredModel | undefined> {
    if (!isModelName(name)) return undefined;
    const found = recordSchema.safeParse(
      await readJson(join(this.folderOf(name), RECORD)).catch(nothingIfBroken),
    );
    return found.success && found.data.name === name ? found.data : undefined;
  }

  async readAll(): Promise<StoredModel[]> {
    const names = await readdir(this.#models).catch(() => []);
    const found = await Promise.all(names.sort().map((name) => this.read(name)));
    return found.filter((record) => record !== undefined);
  }

  async write(model: StoredModel): Promise<void> {
    const folder = this.folderOf(model.name);
    await this.#guard(async () => {
      await writeJson(join(folder, RECORD), model);
      await syncFolder(folder);
    });
  }

  /** Takes away the record, the weights and whatever is left of tries; false if there was nothing. Throws `store`. */
  async remove(name: string): Promise<boolean> {
    const folder = this.folderOf(name);
    if (!(await statOf(folder))) return false;
    await this.#guard(async () => {
      await rm(join(folder, RECORD), { force: true });
      await rm(folder, { recursive: true, force: true, maxRetries: 3 });
    });
    return true;
  }

  /** The recorded choice, if there is one that can be read. */
  async readChoice(): Promise<string | undefined> {
    const found = choiceSchema.safeParse(await readJson(this.#choicePath).catch(nothingIfBroken));
    return found.success ? found.data.model : undefined;
  }

  async writeChoice(model: string): Promise<void> {
    await this.#guard(() => writeJson(this.#choicePath, { model, chosenAt: new Date().toISOString() }));
  }

  async forgetChoice(): Promise<void> {
    await this.#guard(() => rm(this.#choicePath, { force: true }));
  }

  async #guard<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (thrown) {
      throw new ModelStoreError(
        'store',
        `The model store at ${this.home} cannot be changed: ${reasonOf(thrown)}. Set SLUICE_HOME to a folder that this user may write.`,
        thrown,
      );
    }
  }
}

export function unknownModel(name: string, known: readonly string[]): ModelStoreError {
  const list = known.length > 0 ? ` There are: ${known.join(', ')}.` : '';
  return new ModelStoreError(
    'unknown_model',
    `There is no model of the name ${JSON.stringify(name.slice(0, 100))}.${list}`,
  );
}

/** Undefined where there is nothing. */
export async function statOf(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (thrown) {
    const code = systemCode(thrown);
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ENAMETOOLONG') return undefined;
    throw new ModelStoreError('store', `${path} cannot be read: ${reasonOf(thrown)}.`, thrown);
  }
}

/** Makes a rename last through a power cut. Not every system can; that it cannot is no reason to fail. */
export async function syncFolder(path: string): Promise<void> {
  try {
    const handle = await open(path, 'r');
    await handle.sync().finally(() => handle.close());
  } catch {}
}

/** For this user; undefined where the system does not say. */
export async function freeDiskBytes(folder: string): Promise<number | undefined> {
  try {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  } catch {
    return undefined;
  }
}

function nothingIfBroken(thrown: unknown): undefined {
  if (thrown instanceof SyntaxError) return undefined;
  throw new ModelStoreError('store', `The model store cannot be read: ${reasonOf(thrown)}.`, thrown);
}
