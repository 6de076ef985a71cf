// Which kinds of sources answer from here, asked as a pull would ask, all at once and each within its limit.
// It fetches no model, changes nothing on the disk that lasts, and holds no address of a private index in its words.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { CatalogueEntry, SingleSource, Source } from '../catalogue.ts';
import type { Environment } from '../home.ts';
import { ModelStoreError } from '../model-store-error.ts';
import type { Timings } from '../source-context.ts';
import { createHttpClient } from './http-client.ts';
import { inspectOnHub } from './huggingface-source.ts';
import { inspectOnModelScope } from './modelscope-source.ts';
import { NPM_ARGUMENTS, npmRefusal } from './npm-source.ts';
import { npmCommand, startTool } from './tool-process.ts';
import { pipRefusal } from './wheel-source.ts';

/** Small, public, and known to every mirror of the registry. */
const NPM_SAMPLE = 'empty-npm-package@1.0.0';
const PACKAGE_INDEX = { index: 'The package index', answer: 'The package index answers pip.' };
const NPM_REGISTRY = { index: 'The npm registry', answer: 'The registry answers npm.' };

export interface ProbeOptions {
  readonly catalogue: readonly CatalogueEntry[];
  readonly env: Environment;
  /** The Python interpreter and its first arguments. */
  readonly python: readonly string[];
  readonly timings: Timings;
  readonly signal: AbortSignal;
}

export interface SourceProbe {
  readonly kind: SingleSource['kind'];
  /** `unknown`: it cannot be asked without a pull, which may work. */
  readonly state: 'reached' | 'unreached' | 'unknown';
  /** Who answers, or why nobody does: a sentence. */
  readonly text: string;
}

/** One of each kind that can be asked: those of the catalogue, and npm. Rejects only with the signal's reason. */
export async function probeSources(options: ProbeOptions): Promise<SourceProbe[]> {
  const sources = options.catalogue.flatMap((entry) => entry.sources.flatMap(singles));
  const probes: Promise<SourceProbe>[] = [];
  const hub = sources.find((source) => source.kind === 'huggingface');
  if (hub) {
    probes.push(
      probe('huggingface', async () => {
        await using http = createHttpClient(options.env);
        return `${(await inspectOnHub(http, hub, options)).endpoint.host} answers.`;
      }),
    );
  }
  const modelScope = sources.find((source) => source.kind === 'modelscope');
  if (modelScope) {
    probes.push(
      probe('modelscope', async () => {
        await using http = createHttpClient(options.env);
        return `${(await inspectOnModelScope(http, modelScope, options)).endpoint.host} answers.`;
      }),
    );
  }
  const wheel = sources.find((source) => source.kind === 'wheel');
  if (wheel) {
    const args = ['-m', 'pip', 'index', 'versions', wheel.package, '--disable-pip-version-check'];
    const limits = ['--no-input', '--timeout', '4', '--retries', '0'];
    probes.push(
      probe('wheel', () =>
        askTool(options, options.python, [...args, ...limits], PACKAGE_INDEX, (errors) => {
          if (/unknown command/.test(errors)) {
            return new CannotAsk('pip is too old to be asked; a pull may work all the same.');
          }
          return pipRefusal(errors, wheel.package, options.python);
        }),
      ),
    );
  }
  probes.push(
    probe('npm', () =>
      askTool(
        options,
        npmCommand(options.env),
        ['view', NPM_SAMPLE, 'version', ...NPM_ARGUMENTS],
        NPM_REGISTRY,
        (errors) => npmRefusal(errors, NPM_SAMPLE),
      ),
    ),
  );
  const found = await Promise.all(probes);
  options.signal.throwIfAborted();
  return found;
}

function singles(source: Source): readonly SingleSource[] {
  return source.kind === 'parts' ? source.parts.map((part) => part.source) : [source];
}

/** `ask` resolves to a sentence about who answered, or throws why nobody did. */
async function probe(kind: SourceProbe['kind'], ask: () => Promise<string>): Promise<SourceProbe> {
  try {
    return { kind, state: 'reached', text: await ask() };
  } catch (thrown) {
    if (thrown instanceof CannotAsk) return { kind, state: 'unknown', text: thrown.message };
    const text = thrown instanceof ModelStoreError ? thrown.message : 'It could not be asked.';
    return { kind, state: 'unreached', text };
  }
}

/** The message is a sentence. */
class CannotAsk extends Error {}

/** Its first line says that it runs; from then on the index has its time. */
async function askTool(
  { env, signal, timings }: ProbeOptions,
  command: readonly string[],
  args: readonly string[],
  { index, answer }: { readonly index: string; readonly answer: string },
  failure: (errors: string) => Error,
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-probe-'));
  const stop = new AbortController();
  let isOver = false;
  const silent = (ms: number) =>
    new ModelStoreError('unreachable', `${index} did not answer within ${ms / 1000} s.`);
  let timer = setTimeout(() => stop.abort(silent(timings.startMs)), timings.startMs);
  const both = AbortSignal.any([signal, stop.signal]);
  try {
    const tool = startTool({
      command,
      args,
      // No cache of the user's is filled, and none answers in the place of the index.
      env: { ...env, npm_config_cache: folder, PIP_NO_CACHE_DIR: '1' },
      cwd: folder,
      signal: both,
    });
    tool.stdout.resume();
    createInterface({ input: tool.stderr }).once('line', () => {
      clearTimeout(timer);
      if (!isOver) timer = setTimeout(() => stop.abort(silent(timings.reachMs)), timings.reachMs);
    });
    const { code, errors, isMissing } = await tool.ended;
    both.throwIfAborted();
    if (isMissing) throw new ModelStoreError('unreachable', `There is no ${command[0]} here.`);
    if (code !== 0) throw failure(errors);
    return answer;
  } finally {
    isOver = true;
    clearTimeout(timer);
    await rm(folder, { recursive: true, force: true });
  }
}
