// Puts the gateway in front of real engines, one after the other, and prints what was seen on each as a table.
//   npm run test:engines              llama.cpp's server, a second Sluice, and vLLM where it is there
//   npm run test:engines -- --write   the same, and docs/reference/engines.md gets the table
//   npm run test:engines -- NAME...   the engines whose name holds one of the words
// SLUICE_TEST_VLLM=1 makes vLLM if it is not there: 6 GB of disk and some minutes. Ends with 1 if anything failed.
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { basename } from 'node:path';
import { parseArgs } from 'node:util';
import { missingPython, provideTestModel } from '../parts.ts';
import type { Engine } from './engine.ts';
import { CHECKS, startFront } from './front.ts';
import { startLlamaCpp } from './llama-cpp-engine.ts';
import { type EngineResult, tableOf, withSection } from './results-page.ts';
import { startSecondSluice } from './sluice-engine.ts';
import { killInMidAnswer } from './vllm-death.ts';
import { makeVllm, missingVllm, startVllm } from './vllm-engine.ts';

const PAGE = new URL('../../../docs/reference/engines.md', import.meta.url);

const { positionals: words, values } = parseArgs({
  allowPositionals: true,
  options: { write: { type: 'boolean', default: false } },
});
const isWanted = (name: string) => words.length === 0 || words.some((word) => name.includes(word));
// What was started ends with this process, and a signal alone is no end.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

await provideTestModel();
const modelFile = process.env.SLUICE_TEST_MODEL;
if (!modelFile) throw new Error('There is no model to test with.');

let failed = 0;
const results: EngineResult[] = [];
let transcript: string | undefined;

await tryEngine('llama.cpp', missingPython('xllamacpp'), () => startLlamaCpp(modelFile));
await tryEngine('sluice', undefined, () => startSecondSluice(modelFile));
if (isWanted('vllm')) {
  if (missingVllm() !== undefined && process.env.SLUICE_TEST_VLLM === '1') await makeVllm(modelFile);
  await tryEngine('vllm', missingVllm(), startVllm);
  if (missingVllm() === undefined) transcript = await tryDeath();
}

const table = tableOf(
  CHECKS.map(({ title }) => title),
  results,
);
console.log(`\n${table}\n`);
if (values.write) write();
console.log(`${results.length} engines, ${failed} failed`);
process.exit(failed > 0 || results.length === 0 ? 1 : 0);

/** Every check on one engine; one that fails is told, and the next goes on. */
async function tryEngine(
  name: string,
  missing: string | undefined,
  start: () => Promise<Engine>,
): Promise<void> {
  if (!isWanted(name)) return;
  if (missing !== undefined) {
    console.log(`skipped: ${name} (${missing})`);
    return;
  }
  const engine = await start();
  const front = await startFront(engine);
  const cells: string[] = [];
  try {
    for (const check of CHECKS) {
      try {
        cells.push(await check.run(front));
        console.log(`ok: ${engine.name}: ${check.title}: ${cells.at(-1)}`);
      } catch (thrown) {
        failed += 1;
        cells.push('**no**');
        console.log(`FAILED: ${engine.name}: ${check.title}: ${(thrown as Error).message}`);
      }
    }
  } finally {
    await front.stop();
    await engine.stop();
  }
  results.push({ name: engine.name, version: engine.version, cells });
}

async function tryDeath(): Promise<string | undefined> {
  const vllm = await startVllm();
  try {
    const seen = await killInMidAnswer(vllm, modelFile!);
    console.log(`\n${seen}\n`);
    return seen;
  } catch (thrown) {
    failed += 1;
    console.log(`FAILED: vLLM is killed in mid-answer: ${(thrown as Error).message}`);
    return undefined;
  } finally {
    await vllm.stop();
  }
}

/** Only what was seen is written: an engine that was not there leaves the page as it is. */
function write(): void {
  const day = new Date().toISOString().slice(0, 10);
  const cpu = `${cpus().length} cores (${cpus()[0]?.model.trim()})`;
  const seen = `Seen on ${day}, on ${cpu}, with Node ${process.version} and ${basename(modelFile!)}.`;
  let page = withSection(readFileSync(PAGE, 'utf8'), 'table', `${seen}\n\n${table}`);
  if (transcript !== undefined) page = withSection(page, 'death', transcript);
  writeFileSync(PAGE, page);
}
