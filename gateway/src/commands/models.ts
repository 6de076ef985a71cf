// `sluice models …`: the model store, for people. Lists go to standard output, progress and notes to standard error.
import { loadConfig, wantsColour } from '../config.ts';
import { openStore } from '../main.ts';
import type { ModelStore } from '../models/model-store.ts';
import { createProgressRenderer, formatBytes } from '../models/progress-renderer.ts';
import { fail } from './terminal.ts';

export async function listModels({ json }: { readonly json?: boolean }): Promise<void> {
  await withStore(async (store) => {
    const models = await store.list();
    if (json) {
      process.stdout.write(`${JSON.stringify(models, undefined, 2)}\n`);
      return;
    }
    const width = Math.max(...models.map(({ name }) => name.length));
    for (const { name, about, licence, bytes, isStored, isDefault } of models) {
      const state = isStored
        ? isDefault
          ? 'in the store, served by default'
          : 'in the store'
        : 'can be pulled';
      process.stdout.write(
        `${name.padEnd(width)}  ${formatBytes(bytes).padStart(8)}  ${licence}  (${state})\n`,
      );
      if (about) process.stdout.write(`${' '.repeat(width)}  ${about}\n`);
    }
  });
}

export async function pullModel(name: string): Promise<void> {
  await withStore(async (store, call) => {
    const { file, wasThere } = await store.pull(name, call);
    process.stdout.write(`${name} ${wasThere ? 'was there' : 'is there now'}: ${file}\n`);
  });
}

export async function removeModel(name: string): Promise<void> {
  await withStore(async (store, call) => {
    const { bytes } = await store.remove(name, call);
    process.stdout.write(`${name} is removed (${formatBytes(bytes)}).\n`);
  });
}

/** Exits 1 if a stored file is not what was pulled. */
export async function verifyModels(name: string | undefined): Promise<void> {
  await withStore(async (store, call) => {
    const results = await store.verify(name, call);
    if (results.length === 0) process.stdout.write('There is no model in the store.\n');
    for (const result of results) {
      const remedy =
        result.state === 'ok' ? '' : `: "sluice models remove ${result.name}", then pull it again`;
      process.stdout.write(`${result.name}  ${result.state}${remedy}\n`);
      process.stdout.write(`  SHA-256 ${result.sha256}\n`);
      if (result.rewrittenFrom) process.stdout.write(`  re-written here from ${result.rewrittenFrom}\n`);
      if (result.state !== 'ok') process.exitCode = 1;
    }
  });
}

type Call = Parameters<ModelStore['pull']>[1];

/** Ctrl-C ends the work where it can go on later. */
async function withStore(work: (store: ModelStore, call: Call) => Promise<void>): Promise<void> {
  const config = loadConfig({});
  const isTerminal = process.stderr.isTTY === true && wantsColour(true, config.env);
  const progress = createProgressRenderer({
    write: (text) => process.stderr.write(text),
    isTerminal,
    columns: () => process.stderr.columns,
  });
  const store = openStore(config, (line) => {
    progress.clear();
    process.stderr.write(`${line}\n`);
  });
  const interrupt = new AbortController();
  process.once('SIGINT', () => interrupt.abort(new Error('Interrupted: what has arrived is kept.')));
  try {
    await work(store, { signal: interrupt.signal, onProgress: (event) => progress.show(event) });
    progress.clear();
  } catch (thrown) {
    progress.clear();
    fail((thrown as Error).message);
  }
}
