// Several processes on one store: they download once, and one that was killed holds nobody up.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import type { CatalogueEntry } from './catalogue.ts';
import { rewriteGguf } from './gguf-rewrite.ts';
import { createProgressMeter } from './progress.ts';
import { sampleGguf, sampleQ4Blocks } from './sample-gguf.ts';
import { hubEntry, hubFor, type StandInHub, temporary } from './stand-in-hub.test.ts';

const CONTENT = sampleGguf({ values: 200_000 });

const BIG = hubEntry({ name: 'big', title: 'Big', wantsMemoryBytes: 4e9 });
const SMALL = hubEntry({ name: 'small', title: 'Small' });

const CHILD = `
import { ModelStore } from ${JSON.stringify(new URL('./model-store.ts', import.meta.url).href)};
const { home, endpoint, catalogue, wanted } = JSON.parse(process.argv[1]);
const store = new ModelStore({ home, env: { HF_ENDPOINT: endpoint }, say: (line) => console.log(line), freeMemoryBytes: 8e9, catalogue });
const phases = new Set();
const onProgress = ({ phase }) => {
  if (!phases.has(phase)) console.log('phase', phase);
  phases.add(phase);
};
const model = await store.resolve(wanted ?? undefined, { onProgress });
console.log('done', model.name, [...phases].join(' '));
`;

interface Child {
  readonly process: ChildProcess;
  readonly ended: Promise<{ code: number | null; output: string }>;
  output(): string;
}

function startChild(
  context: TestContext,
  home: string,
  hub: StandInHub,
  catalogue: CatalogueEntry[],
  wanted?: string,
): Child {
  const setup = JSON.stringify({ home, endpoint: hub.endpoint, catalogue, wanted });
  const child = spawn(process.execPath, ['--input-type=module', '-e', CHILD, setup], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  context.after(() => child.kill('SIGKILL'));
  let output = '';
  child.stdout.on('data', (text) => {
    output += text;
  });
  child.stderr.on('data', (text) => {
    output += text;
  });
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, output }));
  return { process: child, ended, output: () => output };
}

async function until(what: string, isTrue: () => boolean): Promise<void> {
  const end = performance.now() + 30_000;
  while (!isTrue()) {
    if (performance.now() > end) assert.fail(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

suite('several processes', { concurrency: true }, () => {
  test('two processes that start at once download once', async (context) => {
    const home = temporary(context);
    const hub = await hubFor(context, CONTENT);
    let finish: (() => void) | undefined;
    hub.onStore = (_request, response) => {
      response.writeHead(200, { 'content-length': CONTENT.length, etag: hub.etag });
      response.write(CONTENT.subarray(0, 300_000));
      finish = () => response.end(CONTENT.subarray(300_000));
      return true;
    };
    const children = [1, 2].map(() => startChild(context, home, hub, [BIG, SMALL]));
    // The owner tells once a second how far it is: only then does the other one know.
    await until('a wait', () => children.some(({ output }) => output().includes('phase waiting')));
    finish?.();
    const results = await Promise.all(children.map(({ ended }) => ended));
    for (const { code, output } of results) {
      assert.equal(code, 0, output);
      assert.match(output, /done big/);
    }
    assert.equal(hub.count('store GET'), 1);
    const waited = results.filter(({ output }) =>
      output.includes('Another process is at work in the model store'),
    );
    assert.equal(waited.length, 1);
    assert.match(waited[0]?.output ?? '', /done big .*waiting/);
  });

  test('two processes on a model that is to be re-written do so once, and both get the new form', async (context) => {
    const home = temporary(context);
    const blocks = 40_000;
    const content = sampleGguf({
      tensors: [{ name: 'large', dimensions: [32, blocks], type: 3, data: sampleQ4Blocks(blocks) }],
    });
    const hub = await hubFor(context, content);
    const sha256 = createHash('sha256').update(content).digest('hex');
    const plain = hubEntry({ name: 'small', title: 'Small', aboutBytes: content.length, sha256 });
    const first = await startChild(context, home, hub, [plain]).ended;
    assert.equal(first.code, 0, first.output);
    const folder = join(home, 'models', 'small');
    const made = await rewriteGguf({
      from: join(folder, 'sample.gguf'),
      to: join(home, 'expected.gguf'),
      title: 'Small',
      signal: new AbortController().signal,
      meter: createProgressMeter(plain, () => {}),
    });
    const rewrite = { to: 'Q8_0', title: 'New', file: 'new.gguf', ...made } as const;
    const children = [1, 2].map(() => startChild(context, home, hub, [{ ...plain, rewrite }]));
    const results = await Promise.all(children.map(({ ended }) => ended));
    for (const { code, output } of results) {
      assert.equal(code, 0, output);
      assert.match(output, /done small/);
      assert.doesNotMatch(output, /used as it is/);
    }
    assert.equal(results.filter(({ output }) => output.includes('re-written as Q8_0')).length, 1);
    assert.deepEqual(readdirSync(folder).sort(), ['model.json', 'new.gguf']);
    assert.deepEqual(readFileSync(join(folder, 'new.gguf')), readFileSync(join(home, 'expected.gguf')));
    assert.equal(hub.count('store GET'), 1);
  });

  test('a process that is killed with the lock in its hand blocks nobody, and its part is gone on with', async (context) => {
    const home = temporary(context);
    const hub = await hubFor(context, CONTENT);
    hub.onStore = (request, response) => {
      if (request.headers.range) return undefined;
      response.writeHead(200, { 'content-length': CONTENT.length, etag: hub.etag });
      response.write(CONTENT.subarray(0, 300_000));
      return true;
    };
    const first = startChild(context, home, hub, [BIG], 'big');
    const part = join(home, 'models', 'big', 'sample.gguf.part');
    await until('a part', () => existsSync(part) && readFileSync(part).length === 300_000);
    const second = startChild(context, home, hub, [BIG], 'big');
    await until('a wait', () => second.output().includes('Another process'));
    first.process.kill('SIGKILL');
    const { code, output } = await second.ended;
    assert.equal(code, 0, output);
    assert.equal(hub.last('store GET').range, 'bytes=300000-');
    assert.deepEqual(readFileSync(join(home, 'models', 'big', 'sample.gguf')), CONTENT);
  });
});
