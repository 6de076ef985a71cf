// Which model `sluice serve` would load on this machine, and whether it is whole: found by looking, as the store would find it.
// It fetches nothing, records no choice, and reads headers and sizes only: `sluice models verify` reads every byte.
import { type Config, usesEngine } from '../config.ts';
import { CATALOGUE, type CatalogueEntry, type Source } from '../models/catalogue.ts';
import { checkGguf } from '../models/gguf.ts';
import { ModelStoreError } from '../models/model-store-error.ts';
import { formatBytes } from '../models/progress-renderer.ts';
import { modelOfFile } from '../models/resolved-model.ts';
import type { SourceProbe } from '../models/sources/source-probe.ts';
import { type StoredModel, StoreFiles, statOf } from '../models/store-files.ts';
import type { Check } from './doctor-finding.ts';

export interface ServedModelFinding {
  readonly check: Check;
  /** For sentences about the memory and the disk. */
  readonly title: string;
  /** What it wants free, in bytes; undefined where there is no model. */
  readonly memoryBytes: number | undefined;
  /** What must still come onto the disk, in bytes. */
  readonly diskBytes: number;
}

export interface ModelQuestion {
  readonly config: Pick<Config, 'model' | 'backends'>;
  readonly home: string;
  readonly freeMemoryBytes: number;
  readonly probes: readonly SourceProbe[];
  readonly catalogue?: readonly CatalogueEntry[];
}

/** Weights alone are not all that a model takes: its windows come on top. */
const MEMORY_FOR_A_FILE = 1.5;

export async function findServedModel(question: ModelQuestion): Promise<ServedModelFinding> {
  try {
    return await find(question);
  } catch (thrown) {
    if (!(thrown instanceof ModelStoreError)) throw thrown;
    return nothing('problem', thrown.message);
  }
}

async function find(question: ModelQuestion): Promise<ServedModelFinding> {
  const { config, home, catalogue = CATALOGUE } = question;
  if (!usesEngine(config)) return nothing('ok', 'No model: the configuration names other back ends.');
  const files = new StoreFiles(home);
  const wanted = config.model;
  const entryOf = (name: string) => catalogue.find((entry) => entry.name === name);
  if (wanted !== undefined) {
    const isPath = /[/\\]/.test(wanted) || /\.gguf$/i.test(wanted);
    const isKnown = !isPath && (entryOf(wanted) !== undefined || (await files.read(wanted)) !== undefined);
    if (!isKnown) return await ofFile(wanted);
    return await ofName(wanted, 'the configured model', files, entryOf(wanted), question);
  }
  const recorded = await files.readChoice();
  if (recorded !== undefined) {
    return await ofName(recorded, 'the recorded choice', files, entryOf(recorded), question);
  }
  return await firstChoice(files, catalogue, question);
}

async function ofFile(path: string): Promise<ServedModelFinding> {
  const { title, file, bytes } = await modelOfFile(path);
  const text = `${title}: ${file}, GGUF, ${formatBytes(bytes)}, whole.`;
  return { ...nothing('ok', text), title, memoryBytes: MEMORY_FOR_A_FILE * bytes };
}

async function ofName(
  name: string,
  why: string,
  files: StoreFiles,
  entry: CatalogueEntry | undefined,
  question: ModelQuestion,
): Promise<ServedModelFinding> {
  const stored = await files.read(name);
  const fault = stored && (await faultOf(files, stored));
  if (stored && fault === undefined) return ofStored(stored, files, entry, why);
  const state = stored ? `is in the store, but ${fault}` : 'is not in the store';
  if (!entry) return nothing('problem', `${name}, ${why}, ${state}, and no source of it is known.`);
  if (!canFetch(entry, question.probes)) {
    const advice = 'start with a GGUF file that you have: --model FILE';
    return nothing(
      'problem',
      `${entry.title}, ${why}, ${state}, and none of its sources can be reached: ${advice}.`,
    );
  }
  return ofEntry(entry, `${entry.title}, ${why}, ${state}: the next start fetches it`);
}

/** As the store chooses: first what is there and suits, then what can be fetched and suits, in the catalogue's order. */
async function firstChoice(
  files: StoreFiles,
  catalogue: readonly CatalogueEntry[],
  question: ModelQuestion,
): Promise<ServedModelFinding> {
  const stored = await files.readAll();
  const fits = catalogue.filter((entry) => entry.wantsMemoryBytes <= question.freeMemoryBytes);
  const rank = ({ name }: StoredModel): number => {
    const place = (list: readonly CatalogueEntry[]) => list.findIndex((entry) => entry.name === name);
    if (place(fits) !== -1) return place(fits);
    // What a person put there suits better than what wants more memory than there is.
    return place(catalogue) === -1 ? catalogue.length : catalogue.length + 1 + place(catalogue);
  };
  for (const model of stored.toSorted((a, b) => rank(a) - rank(b))) {
    const entry = catalogue.find(({ name }) => name === model.name);
    if ((await faultOf(files, model)) === undefined)
      return ofStored(model, files, entry, 'chosen at the next start');
  }
  const entry = fits.find((one) => canFetch(one, question.probes));
  if (entry) return ofEntry(entry, `None yet: the first start fetches ${entry.title}`);
  return nothing(
    'problem',
    'No model is in the store, and no source of one can be reached: start with a GGUF file that you have, --model FILE.',
  );
}

function ofStored(
  model: StoredModel,
  files: StoreFiles,
  entry: CatalogueEntry | undefined,
  why: string,
): ServedModelFinding {
  const { title, bytes } = model;
  const text = `${title}, ${why}: ${files.fileOf(model)}, GGUF, ${formatBytes(bytes)}, whole.`;
  return { ...nothing('ok', text), title, memoryBytes: entry?.wantsMemoryBytes || MEMORY_FOR_A_FILE * bytes };
}

function ofEntry(entry: CatalogueEntry, text: string): ServedModelFinding {
  const { title, aboutBytes, wantsMemoryBytes, rewrite } = entry;
  const check: Check = { id: 'model', state: 'note', text: `${text} (${formatBytes(aboutBytes)}).` };
  // The archive that it comes in, or what it is re-written to, lies beside it for a while.
  const diskBytes = aboutBytes + Math.max(aboutBytes, rewrite?.bytes ?? 0);
  return { check, title, memoryBytes: wantsMemoryBytes || MEMORY_FOR_A_FILE * aboutBytes, diskBytes };
}

function nothing(state: Check['state'], text: string): ServedModelFinding {
  return { check: { id: 'model', state, text }, title: 'the model', memoryBytes: undefined, diskBytes: 0 };
}

/** Why it cannot be loaded as it lies; undefined if it can. */
async function faultOf(files: StoreFiles, model: StoredModel): Promise<string | undefined> {
  const file = files.fileOf(model);
  const found = await statOf(file);
  if (!found) return 'its file is missing';
  if (found.size !== model.bytes) return `its file has ${found.size} bytes, not ${model.bytes}`;
  return await checkGguf(file).then(
    () => undefined,
    () => 'its file is damaged',
  );
}

function canFetch(entry: CatalogueEntry, probes: readonly SourceProbe[]): boolean {
  const reached = new Set<string>([
    'file',
    ...probes.filter(({ state }) => state !== 'unreached').map(({ kind }) => kind),
  ]);
  const isReached = (source: Source): boolean =>
    source.kind === 'parts' ? source.parts.every((part) => isReached(part.source)) : reached.has(source.kind);
  return entry.sources.some(isReached);
}
