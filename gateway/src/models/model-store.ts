// The models on this machine: fetched by name, kept, checked, removed, and chosen at the first start.
// What is in the store is used without a look outside. The choice of a model is recorded and never changes in silence;
// one process at a time changes the store, and none of them waits for one that was killed.
import { CATALOGUE, type CatalogueEntry } from './catalogue.ts';
import { checkGguf } from './gguf.ts';
import { hashFile } from './hash-file.ts';
import type { Environment } from './home.ts';
import { ModelStoreError, reasonOf } from './model-store-error.ts';
import { createProgressMeter, type OnProgress, type PullProgress } from './progress.ts';
import { formatBytes } from './progress-renderer.ts';
import { pullModel } from './pull-model.ts';
import {
  type ListedModel,
  modelOfFile,
  type PulledModel,
  type ResolvedModel,
  type VerifiedModel,
} from './resolved-model.ts';
import { pendingRewrite, rewriteModel } from './rewrite-model.ts';
import { type Announcement, TIMINGS, type Timings } from './source-context.ts';
import { defaultPython } from './sources/tool-process.ts';
import { type StoredModel, StoreFiles, statOf, unknownModel } from './store-files.ts';
import { acquireStoreLock } from './store-lock.ts';

const LOCK_SILENCE_MS = 30_000;
const HEARTBEAT_MS = 1_000;

export interface ModelStoreOptions {
  /** The store's folder: see `defaultHome`. */
  readonly home: string;
  /** For the hub's address and token, the proxies, and pip. */
  readonly env: Environment;
  /** Takes one-line notes for people. */
  readonly say: (line: string) => void;
  /** What a model may take here, in bytes. */
  readonly freeMemoryBytes: number;
  readonly platform?: NodeJS.Platform;
  /** The Python interpreter and its first arguments. */
  readonly python?: readonly string[];
  readonly catalogue?: readonly CatalogueEntry[];
  readonly timings?: Partial<Timings>;
}

export interface StoreCallOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: OnProgress;
  /** Awaited before more than 200 MB are fetched, instead of a line to `say`; what it throws ends the call. */
  readonly onAnnounce?: (announcement: Announcement) => void | Promise<void>;
}

interface Call {
  readonly signal: AbortSignal;
  readonly onProgress: OnProgress;
  readonly onAnnounce: (announcement: Announcement) => void | Promise<void>;
}

/** Every method throws ModelStoreError for what a person must know, and the signal's reason when aborted. */
export class ModelStore {
  readonly #options: ModelStoreOptions;
  readonly #catalogue: readonly CatalogueEntry[];
  readonly #files: StoreFiles;

  constructor(options: ModelStoreOptions) {
    this.#options = options;
    this.#catalogue = options.catalogue ?? CATALOGUE;
    this.#files = new StoreFiles(options.home);
  }

  /** The catalogue in its order, then what else is in the store. */
  async list(): Promise<ListedModel[]> {
    const stored = new Map((await this.#files.readAll()).map((model) => [model.name, model]));
    const choice = await this.#files.readChoice();
    const listed = (name: string, entry: CatalogueEntry | undefined): ListedModel => {
      const model = stored.get(name);
      return {
        name,
        title: model?.title ?? entry?.title ?? name,
        ...(entry && { about: entry.about }),
        licence: model?.licence ?? entry?.licence ?? 'unknown',
        bytes: model?.bytes ?? entry?.bytes ?? entry?.aboutBytes ?? 0,
        isStored: model !== undefined,
        isDefault: name === choice,
      };
    };
    const others = [...stored.keys()].filter((name) => !this.#entry(name));
    return [
      ...this.#catalogue.map((entry) => listed(entry.name, entry)),
      ...others.map((name) => listed(name, undefined)),
    ];
  }

  /** Fetches a model of the catalogue, unless it is there. Two calls at once, in any processes, fetch it once. */
  async pull(name: string, options: StoreCallOptions = {}): Promise<PulledModel> {
    const call = this.#call(options);
    const there = await this.#usable(name);
    if (there) return { ...this.#resolved(await this.#inFastForm(there, call)), wasThere: true };
    const entry = this.#entry(name);
    if (!entry) throw await this.#notToBeHad(name);
    return await this.#withLock(call, async (held) => {
      // Whoever had the lock before may have fetched it.
      const meanwhile = await this.#usable(name);
      const model = meanwhile ? await this.#rewrite(meanwhile, held) : await this.#pullEntry(entry, held);
      return { ...this.#resolved(model), wasThere: meanwhile !== undefined };
    });
  }

  /** Takes a model, or what is left of a try to pull it, off the disk; resolves to its name and the bytes of the weights. */
  async remove(name: string, options: StoreCallOptions = {}): Promise<{ name: string; bytes: number }> {
    if (!this.#entry(name) && !(await statOf(this.#files.folderOf(name)))) throw await this.#notToBeHad(name);
    return await this.#withLock(this.#call(options), async () => {
      const bytes = (await this.#files.read(name))?.bytes ?? 0;
      if (!(await this.#files.remove(name)))
        throw new ModelStoreError('not_found', `${name} is not in the store.`);
      if ((await this.#files.readChoice()) === name) {
        await this.#files.forgetChoice();
        this.#options.say(`${name} was the model of this machine; the next start chooses anew.`);
      }
      return { name, bytes };
    });
  }

  /** Reads every byte of one stored model, or of all. */
  async verify(name?: string, options: StoreCallOptions = {}): Promise<VerifiedModel[]> {
    const call = this.#call(options);
    const one = name === undefined ? undefined : await this.#files.read(name);
    if (name !== undefined && !one) {
      if (!this.#entry(name)) throw await this.#notToBeHad(name);
      throw new ModelStoreError('not_found', `${name} is not in the store.`);
    }
    const results: VerifiedModel[] = [];
    for (const model of one ? [one] : await this.#files.readAll()) {
      results.push({
        name: model.name,
        title: model.title,
        state: await this.#stateOf(model, call),
        sha256: model.sha256,
        ...(model.rewrittenFrom && { rewrittenFrom: model.rewrittenFrom.sha256 }),
      });
    }
    return results;
  }

  /**
   * What a server is to load. `wanted`: a path to a GGUF file, which is used where it lies; a name; or undefined for the
   * recorded choice, and where there is none, for the first choice, which is recorded then.
   */
  async resolve(wanted: string | undefined, options: StoreCallOptions = {}): Promise<ResolvedModel> {
    if (wanted === undefined) return await this.#resolveDefault(this.#call(options));
    const isPath = /[/\\]/.test(wanted) || /\.gguf$/i.test(wanted);
    if (!isPath && (this.#entry(wanted) || (await this.#files.read(wanted)))) {
      const { wasThere, ...model } = await this.pull(wanted, options);
      return model;
    }
    if (isPath || (await statOf(wanted))?.isFile()) return await modelOfFile(wanted);
    throw await this.#notToBeHad(wanted, ' Or name a GGUF file: --model FILE.');
  }

  async #resolveDefault(call: Call): Promise<ResolvedModel> {
    const recorded = await this.#files.readChoice();
    // Neither needs the lock, so a store that cannot be written serves as well.
    const found = recorded === undefined ? await this.#bestStored() : await this.#usable(recorded);
    if (found) {
      const ready = await this.#inFastForm(found, call);
      if (recorded === undefined) await this.#record(ready);
      return this.#resolved(ready);
    }
    return await this.#withLock(call, async (held) => this.#resolved(await this.#choose(held)));
  }

  /** With the lock held, so that two first starts choose once. */
  async #choose(call: Call): Promise<StoredModel> {
    const { say, freeMemoryBytes } = this.#options;
    const recorded = await this.#files.readChoice();
    if (recorded !== undefined) {
      const there = await this.#usable(recorded);
      const model = there
        ? await this.#rewrite(there, call)
        : await this.#pullIfReachable(this.#entry(recorded), call);
      if (model instanceof ModelStoreError || model === undefined) {
        say(
          `${recorded}, the model of this machine, is not in the store any more and cannot be fetched: another is chosen.`,
        );
      } else return model;
    }
    const stored = await this.#bestStored();
    if (stored) return await this.#record(await this.#rewrite(stored, call));
    const failures: ModelStoreError[] = [];
    for (const entry of this.#catalogue) {
      if (entry.name === recorded) continue;
      if (entry.wantsMemoryBytes > freeMemoryBytes) {
        const needs = `${formatBytes(entry.wantsMemoryBytes)} of free memory`;
        say(
          `${entry.title} is passed over: it wants ${needs}, and here are ${formatBytes(freeMemoryBytes)}.`,
        );
        continue;
      }
      const model = await this.#pullIfReachable(entry, call);
      if (model instanceof ModelStoreError) failures.push(model);
      else if (model) return await this.#record(model);
    }
    const last = failures.at(-1);
    if (last && failures.every((failure) => failure.code === 'no_space')) throw last;
    throw new ModelStoreError(
      'unreachable',
      'No model can be fetched from here, because no source of one can be reached; start with a GGUF file that you have: --model FILE.',
      last,
    );
  }

  /** The error, already said, where nothing could be had; undefined where there is no such model. */
  async #pullIfReachable(
    entry: CatalogueEntry | undefined,
    call: Call,
  ): Promise<StoredModel | ModelStoreError | undefined> {
    if (!entry) return undefined;
    try {
      return await this.#pullEntry(entry, call);
    } catch (thrown) {
      // What broke in the middle is the user's to decide: a smaller model in its place would be a silent change.
      if (!(thrown instanceof ModelStoreError)) throw thrown;
      if (thrown.code !== 'unreachable' && thrown.code !== 'no_space') throw thrown;
      this.#options.say(`${entry.title} is passed over: ${thrown.message}`);
      return thrown;
    }
  }

  /** Of what is stored: first what suits the machine, in the catalogue's order; what a person pulled is used before anything is fetched. */
  async #bestStored(): Promise<StoredModel | undefined> {
    const rank = (name: string): number => {
      const index = this.#catalogue.findIndex((entry) => entry.name === name);
      const wants = this.#catalogue[index]?.wantsMemoryBytes ?? 0;
      const place = index === -1 ? this.#catalogue.length : index;
      return wants > this.#options.freeMemoryBytes ? place + this.#catalogue.length + 1 : place;
    };
    const stored = await this.#files.readAll();
    for (const { name } of stored.sort((a, b) => rank(a.name) - rank(b.name))) {
      const model = await this.#usable(name);
      if (model) return model;
    }
    return undefined;
  }

  async #record(model: StoredModel): Promise<StoredModel> {
    try {
      await this.#files.writeChoice(model.name);
      this.#options.say(
        `${model.title} is the model of this machine from now on. For another: --model NAME or --model FILE.`,
      );
    } catch (thrown) {
      this.#options.say(`${model.title} is used, but that choice could not be recorded: ${reasonOf(thrown)}`);
    }
    return model;
  }

  async #pullEntry(entry: CatalogueEntry, call: Call): Promise<StoredModel> {
    const { env, say, python, platform = process.platform, timings } = this.#options;
    const record = await this.#files.read(entry.name);
    if (record) say(`${entry.title} is in the store, but not whole: it is fetched again.`);
    const fetched = await pullModel({
      ...call,
      entry,
      recordedSha256: record?.sha256,
      files: this.#files,
      env,
      python: python ?? defaultPython(platform),
      say,
      timings: { ...TIMINGS, ...timings },
    });
    return await this.#rewrite(fetched, call);
  }

  /** Without the lock, which is taken only where there is something to do. */
  async #inFastForm(model: StoredModel, call: Call): Promise<StoredModel> {
    if (!pendingRewrite(model, this.#entry(model.name))) return model;
    try {
      return await this.#withLock(call, async (held) => {
        // Whoever had the lock before may have done it.
        return await this.#rewrite((await this.#usable(model.name)) ?? model, held);
      });
    } catch (thrown) {
      return this.#asItLies(model, thrown, call);
    }
  }

  /** With the lock held. A model that cannot be re-written here is as good as it was. */
  async #rewrite(model: StoredModel, call: Call): Promise<StoredModel> {
    const rewrite = pendingRewrite(model, this.#entry(model.name));
    if (!rewrite) return model;
    try {
      return await rewriteModel({ ...call, model, rewrite, files: this.#files, say: this.#options.say });
    } catch (thrown) {
      return this.#asItLies(model, thrown, call);
    }
  }

  /** Throws what is no word of the store's, and the signal's reason when aborted. */
  #asItLies(model: StoredModel, thrown: unknown, { signal }: Call): StoredModel {
    signal.throwIfAborted();
    if (!(thrown instanceof ModelStoreError)) throw thrown;
    this.#options.say(`${model.title} is used as it is, not re-written: ${thrown.message}`);
    return model;
  }

  /** What can be loaded as it lies: the size and the header are looked at, the bytes are for `verify`. */
  async #usable(name: string): Promise<StoredModel | undefined> {
    const model = await this.#files.read(name);
    if (!model) return undefined;
    const file = this.#files.fileOf(model);
    if ((await statOf(file))?.size !== model.bytes) return undefined;
    return await checkGguf(file).then(
      () => model,
      (thrown: unknown) => {
        if (thrown instanceof ModelStoreError && thrown.code !== 'store') return undefined;
        throw thrown;
      },
    );
  }

  async #stateOf(model: StoredModel, call: Call): Promise<VerifiedModel['state']> {
    const file = this.#files.fileOf(model);
    const found = await statOf(file);
    if (!found) return 'missing';
    if (found.size !== model.bytes) return 'wrong';
    const meter = createProgressMeter(model, call.onProgress);
    meter.begin('checking', 0, model.bytes);
    try {
      const sha256 = await hashFile(file, { signal: call.signal, onBytes: (at) => meter.at(at) });
      meter.end();
      return sha256 === model.sha256 ? 'ok' : 'wrong';
    } catch (thrown) {
      call.signal.throwIfAborted();
      throw new ModelStoreError('store', `${file} cannot be read: ${reasonOf(thrown)}.`, thrown);
    }
  }

  async #withLock<T>(call: Call, work: (held: Call) => Promise<T>): Promise<T> {
    await this.#files.prepare();
    const lock = await acquireStoreLock({
      path: this.#files.lockPath,
      signal: call.signal,
      onWait: () => this.#options.say('Another process is at work in the model store: waiting for it.'),
      onOwnerProgress: (progress) => call.onProgress({ ...progress, phase: 'waiting' }),
      silenceMs: LOCK_SILENCE_MS,
    });
    let latest: PullProgress | undefined;
    // Also while nothing moves here: each source has its own limit for that, and who waits must not guess it.
    const beat = setInterval(() => lock.report(latest), HEARTBEAT_MS);
    lock.report();
    try {
      return await work({
        ...call,
        onProgress(progress) {
          latest = progress;
          call.onProgress(progress);
        },
      });
    } finally {
      clearInterval(beat);
      await lock.release();
    }
  }

  #call(options: StoreCallOptions): Call {
    return {
      signal: options.signal ?? new AbortController().signal,
      onProgress: options.onProgress ?? (() => {}),
      onAnnounce:
        options.onAnnounce ??
        (({ title, bytes, licence, from }) => {
          this.#options.say(`Fetching ${title}: ${formatBytes(bytes)}, licence ${licence}, from ${from}.`);
        }),
    };
  }

  #entry(name: string): CatalogueEntry | undefined {
    return this.#catalogue.find((entry) => entry.name === name);
  }

  async #notToBeHad(name: string, advice = ''): Promise<ModelStoreError> {
    const record = await this.#files.read(name);
    if (record)
      return new ModelStoreError(
        'not_found',
        `${name} is damaged in the store, and no source of it is known.${advice}`,
      );
    const known = new Set([
      ...this.#catalogue.map((entry) => entry.name),
      ...(await this.#files.readAll()).map((model) => model.name),
    ]);
    const unknown = unknownModel(name, [...known]);
    return new ModelStoreError(unknown.code, `${unknown.message}${advice}`);
  }

  #resolved({ name, title, licence, sha256, bytes, file }: StoredModel): ResolvedModel {
    return { name, title, licence, sha256, bytes, file: this.#files.fileOf({ name, file }) };
  }
}
