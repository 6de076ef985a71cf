// What the doctor finds, case by case: the model that would be served, the port and who holds it, settings, memory and room; and
// how findings look. The whole command is run in doctor.engine.test.ts.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import { loadConfig } from '../config.ts';
import type { CatalogueEntry } from '../models/catalogue.ts';
import { sampleGguf } from '../models/sample-gguf.ts';
import type { SourceProbe } from '../models/sources/source-probe.ts';
import {
  checkCores,
  checkEngine,
  checkGpu,
  checkMemory,
  checkSettings,
  checkSource,
  checkStore,
} from './doctor-checks.ts';
import { type Check, renderChecks } from './doctor-finding.ts';
import { findServedModel, type ModelQuestion } from './doctor-model.ts';
import { checkPort, holderOf } from './doctor-port.ts';

const CONTENT = sampleGguf();
const REACHED: SourceProbe[] = [{ kind: 'huggingface', state: 'reached', text: '' }];
const ENGINE = {
  gpu: false,
  release: 'b1',
  cpuVariant: 'zen4',
  instructions: ['AVX2'],
  gpuBuilds: [],
} as const;

function entry(
  name: string,
  wantsMemoryBytes: number,
  changes: Partial<CatalogueEntry> = {},
): CatalogueEntry {
  return {
    name,
    title: `Model ${name}`,
    about: '',
    licence: 'MIT',
    file: `${name}.gguf`,
    aboutBytes: 1_000_000,
    wantsMemoryBytes,
    sources: [{ kind: 'huggingface', repo: 'a/b', file: 'c', revision: 'main' }],
    ...changes,
  };
}

const CATALOGUE = [entry('big', 4e9), entry('middle', 2e9), entry('small', 0)];

function temporary(context: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-doctor-'));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A store that holds these models; a content that is not the recorded size is a damaged one. */
function store(
  context: TestContext,
  models: Readonly<Record<string, Buffer | undefined>>,
  choice?: string,
): string {
  const home = temporary(context);
  for (const [name, content] of Object.entries(models)) {
    const folder = join(home, 'models', name);
    mkdirSync(folder, { recursive: true });
    if (content) writeFileSync(join(folder, `${name}.gguf`), content);
    writeFileSync(
      join(folder, 'model.json'),
      JSON.stringify({
        ...{ name, title: `Stored ${name}`, licence: 'MIT', file: `${name}.gguf`, bytes: CONTENT.length },
        ...{ sha256: 'a'.repeat(64), source: 'a test', pulledAt: 'once' },
      }),
    );
  }
  if (choice) {
    writeFileSync(join(home, 'default-model.json'), JSON.stringify({ model: choice, chosenAt: 'once' }));
  }
  return home;
}

async function found(home: string, changes: Partial<ModelQuestion> = {}) {
  const question = { config: {}, home, freeMemoryBytes: 8e9, probes: REACHED, catalogue: CATALOGUE };
  const { check, ...rest } = await findServedModel({ ...question, ...changes } as ModelQuestion);
  return { ...check, ...rest };
}

suite('the model that would be served', { concurrency: true }, () => {
  test('the recorded choice, whole, damaged, missing, and nowhere to be had', async (context) => {
    const whole = await found(store(context, { small: CONTENT, big: CONTENT }, 'small'));
    assert.equal(whole.state, 'ok');
    assert.match(whole.text, /^Stored small, the recorded choice: .*small\.gguf, GGUF, .*, whole\.$/);
    assert.equal(whole.diskBytes, 0);
    const cut = store(context, { small: CONTENT.subarray(0, 50) }, 'small');
    assert.match((await found(cut)).text, /its file has 50 bytes, not \d+: the next start fetches it/);
    assert.equal((await found(cut)).state, 'note');
    assert.ok((await found(cut)).diskBytes >= 1_000_000);
    assert.equal((await found(cut, { probes: [] })).state, 'problem');
    const page = store(context, { small: Buffer.alloc(CONTENT.length, '<') }, 'small');
    assert.match((await found(page)).text, /its file is damaged/);
    const gone = store(context, { other: undefined }, 'other');
    assert.match((await found(gone)).text, /its file is missing, and no source of it is known/);
    assert.equal((await found(gone)).state, 'problem');
  });

  test('without a choice: what is there and suits, then what can be fetched and suits', async (context) => {
    const both = store(context, { small: CONTENT, middle: CONTENT });
    assert.match((await found(both)).text, /^Stored middle, chosen at the next start/);
    assert.match((await found(both, { freeMemoryBytes: 1e9 })).text, /^Stored small/);
    const own = store(context, { mine: CONTENT, big: CONTENT });
    assert.match((await found(own, { freeMemoryBytes: 1e9 })).text, /^Stored mine/);
    const empty = store(context, {});
    assert.match((await found(empty)).text, /^None yet: the first start fetches Model big \(1\.0 MB\)\.$/);
    assert.match((await found(empty, { freeMemoryBytes: 3e9 })).text, /fetches Model middle/);
    const none = await found(empty, { probes: [{ kind: 'huggingface', state: 'unreached', text: '' }] });
    assert.equal(none.state, 'problem');
    assert.match(none.text, /--model FILE/);
    const unsure = await found(empty, { probes: [{ kind: 'huggingface', state: 'unknown', text: '' }] });
    assert.equal(unsure.state, 'note');
    const [part] = CATALOGUE[0]!.sources;
    const wheel = { kind: 'wheel', package: 'a', version: '1', member: 'c' } as const;
    const parts = [{ source: part }, { source: wheel }] as const;
    const inParts = [entry('parts', 0, { sources: [{ kind: 'parts', parts: parts as never }] })];
    assert.equal((await found(empty, { catalogue: inParts })).state, 'problem');
  });

  test('a file or a name of the configuration, and other back ends', async (context) => {
    const home = store(context, { small: CONTENT });
    const file = join(home, 'models', 'small', 'small.gguf');
    assert.match((await found(home, { config: { model: file } as never })).text, /^Sample: .*whole\.$/);
    const missing = await found(home, { config: { model: `${file}.x/y` } as never });
    assert.deepEqual([missing.state, /There is no file/.test(missing.text)], ['problem', true]);
    assert.match((await found(home, { config: { model: 'small' } as never })).text, /the configured model/);
    assert.equal((await found(home, { config: { model: 'unheard-of' } as never })).state, 'problem');
    const fake = await found(home, { config: { backends: [] } as never });
    assert.deepEqual([fake.state, fake.memoryBytes], ['ok', undefined]);
  });
});

suite('the port', { concurrency: true }, () => {
  test('free, any, held by whom, and no address of this machine', async (context) => {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const held = await checkPort('127.0.0.1', port);
    assert.equal(held.state, 'problem');
    if (process.platform === 'linux') {
      assert.equal(holderOf(port)?.pid, process.pid);
      assert.match(held.text, new RegExp(`held by process ${process.pid} \\(`));
    }
    server.close();
    await once(server, 'close');
    assert.equal((await checkPort('127.0.0.1', port)).state, 'ok');
    assert.equal(holderOf(port), undefined);
    assert.equal((await checkPort('127.0.0.1', 0)).state, 'ok');
    const nowhere = await checkPort('203.0.113.7', 8080);
    assert.deepEqual([nowhere.state, /no address of this machine/.test(nowhere.text)], ['problem', true]);
    context.diagnostic(held.text);
  });

  test('held by Sluice itself: nothing is wrong, and its arguments stay its own', {
    skip: process.platform === 'linux' ? false : 'only Linux says who listens',
  }, async (context) => {
    const script = join(temporary(context), 'sluice.js');
    writeFileSync(
      script,
      `require('node:net').createServer().listen(0, '127.0.0.1', function () { console.log(this.address().port); });`,
    );
    const child = spawn(process.execPath, [script, 'serve', '--key', 'sk-secret'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    context.after(() => child.kill('SIGKILL'));
    const [line] = await once(child.stdout, 'data');
    const check = await checkPort('127.0.0.1', Number(String(line)));
    assert.equal(check.state, 'note');
    assert.match(check.text, new RegExp(`Sluice serves on .* already \\(process ${child.pid}\\)`));
    assert.doesNotMatch(check.text, /sk-secret/);
  });
});

suite('what else is found', { concurrency: true }, () => {
  test('settings: keys for the network, and never the keys themselves', () => {
    const open = checkSettings(loadConfig({ host: '0.0.0.0' }, {}), undefined);
    assert.deepEqual([open.state, /needs keys/.test(open.text)], ['problem', true]);
    const keyed = checkSettings(loadConfig({ host: '0.0.0.0' }, { SLUICE_API_KEYS: 'sk-secret' }), 'x.yaml');
    assert.deepEqual([keyed.state, keyed.text], ['ok', 'x.yaml is good.']);
  });

  test('the engine, its cores and its GPU builds', () => {
    const report = { cores: 4, threads: 3, mostThreads: 4, engine: ENGINE, reason: undefined };
    assert.match(checkEngine(report, true).text, /^llama\.cpp b1 loads, kernels for zen4 \(AVX2\)\.$/);
    const none = { ...report, engine: undefined, reason: 'It cannot be loaded.' };
    assert.equal(checkEngine(none, true).state, 'problem');
    assert.equal(checkEngine(none, false).state, 'note');
    assert.match(
      checkCores(report).text,
      /^4 cores may be used.*the engine takes 3 threads, 4 while nothing else runs\.$/,
    );
    assert.equal(checkCores({ ...report, cores: 1, threads: 1, mostThreads: 1 }).state, 'note');
    assert.equal(checkCores({ ...report, threads: 9, mostThreads: 9 }).state, 'note');
    assert.match(checkGpu(report, false).text, /No GPU build is installed.*npm pkg delete overrides/);
    assert.equal(checkGpu(report, true).state, 'note');
    const built = { ...report, engine: { ...ENGINE, gpuBuilds: ['cuda'] } };
    assert.match(checkGpu(built, false).text, /engine: \{gpu: true\}/);
    assert.match(checkGpu(built, true).text, /none of them can be used/);
    assert.equal(checkGpu({ ...built, engine: { ...built.engine, gpu: 'cuda' } }, true).state, 'ok');
  });

  test('memory, the store’s room, and sources', async (context) => {
    const model = { check: {} as Check, title: 'M', memoryBytes: 1, diskBytes: 0 };
    assert.equal(checkMemory(model).state, 'ok');
    assert.equal(checkMemory({ ...model, memoryBytes: 1e15 }).state, 'note');
    const home = join(temporary(context), 'not', 'made');
    assert.match((await checkStore(home, model)).text, /made at the first start/);
    const full = await checkStore(home, { ...model, diskBytes: 1e18 });
    assert.deepEqual([full.state, /M needs .* set SLUICE_HOME/.test(full.text)], ['problem', true]);
    const hub = { kind: 'huggingface', state: 'unreached', text: 'No.' } as const;
    assert.deepEqual(checkSource(hub), {
      id: 'source huggingface',
      state: 'note',
      text: 'No. HF_ENDPOINT may name a mirror of it.',
    });
  });

  test('findings on a terminal and elsewhere', () => {
    const checks: Check[] = [
      { id: 'a', state: 'ok', text: 'Good.' },
      { id: 'long', state: 'note', text: 'Know this.' },
      { id: 'b', state: 'problem', text: 'Do that.' },
    ];
    const plain = 'ok       a     Good.\nnote     long  Know this.\nPROBLEM  b     Do that.\n';
    assert.equal(renderChecks(checks, false), `${plain}\nServing would not work: one problem above.\n`);
    assert.match(renderChecks(checks.slice(0, 2), false), /\nServing would work: sluice serve\.\n$/);
    assert.ok(renderChecks(checks, true).startsWith('\u001b[32mok     \u001b[0m  a'));
  });
});
