// Runs the tests and ends with one plain line: `N passed, N failed, N skipped`.
//   node gateway/test/run.ts            all of them
//   node gateway/test/run.ts unit       those that need no model, no network and no second program
//   node gateway/test/run.ts PART...    the files whose path holds one of the words
// A test whose part is missing on this machine is skipped and says why. With SLUICE_REQUIRE_PARTS=1, as in CI, a
// skipped test is a failure.
import { globSync } from 'node:fs';
import { relative } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { provideTestModel } from './parts.ts';

const root = new URL('../..', import.meta.url).pathname;
const words = process.argv.slice(2);
const requiresParts = process.env.SLUICE_REQUIRE_PARTS === '1';

/** Needs a model, a Python, an engine, or a machine to itself. */
const HEAVY = /\.(engine|parts)\.test\.ts$|\/test\/(e2e|soak|hard-cases)\//;
const UNIT_FILE_LIMIT_MS = 60_000;
const HEAVY_FILE_LIMIT_MS = 600_000;

const files = globSync(['gateway/{src,test}/**/*.test.ts', 'bench/*.test.ts'], { cwd: root })
  .map((file) => `${root}${file}`)
  .sort();
const isWanted = (file: string) => words.length === 0 || words.some((word) => file.includes(word));
const light = files.filter((file) => !HEAVY.test(file));
const heavy = files.filter((file) => HEAVY.test(file));
const onlyUnit = words.length === 1 && words[0] === 'unit';

let passed = 0;
let failed = 0;
const skipped: string[] = [];

await runFiles(onlyUnit ? light : light.filter(isWanted), true, UNIT_FILE_LIMIT_MS);
const heavyWanted = onlyUnit ? [] : heavy.filter(isWanted);
if (heavyWanted.length > 0) {
  await provideTestModel();
  // One at a time: they measure what a loaded machine does, and should not be each other's load.
  await runFiles(heavyWanted, false, HEAVY_FILE_LIMIT_MS);
}

for (const reason of skipped) console.log(`skipped: ${reason}`);
if (requiresParts && skipped.length > 0) {
  console.log('SLUICE_REQUIRE_PARTS=1: every skipped test counts as failed.');
  failed += skipped.length;
}
console.log(`${passed} passed, ${failed} failed, ${skipped.length} skipped`);
process.exit(failed > 0 || passed === 0 ? 1 : 0);

async function runFiles(paths: string[], concurrency: boolean, timeout: number): Promise<void> {
  if (paths.length === 0) return;
  const stream = run({
    files: paths,
    concurrency,
    timeout,
    execArgv: ['--disable-warning=ExperimentalWarning'],
  });
  stream.on('test:pass', ({ name, skip, file, details }) => {
    if (details.type === 'suite') return;
    if (skip === undefined) passed += 1;
    else
      skipped.push(`${relative(root, file ?? '')}: ${name}${typeof skip === 'string' ? ` (${skip})` : ''}`);
  });
  stream.on('test:fail', ({ details }) => {
    if (details.type !== 'suite') failed += 1;
  });
  const output = stream.compose(new spec());
  output.pipe(process.stdout, { end: false });
  await new Promise((resolve) => output.once('end', resolve));
}
