// The real things that tests need: a model, a Python with clients. Each is fetched once and kept beside the tests;
// where one cannot be had, the tests that need it say so and are skipped.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { openStore } from '../src/main.ts';

const PARTS = new URL('../../.test-parts/', import.meta.url).pathname;
const MODEL = 'smollm2-135m-instruct';
const PULL_LIMIT_MS = 300_000;

/** A store that holds the test model, if it could be had. */
export const TEST_HOME = `${PARTS}home`;
/** The Python of the client tests' virtual environment. */
export const TEST_PYTHON = `${PARTS}venv/bin/python`;

/** Fetches the test model and tells the tests where it is by SLUICE_TEST_MODEL. */
export async function provideTestModel(): Promise<void> {
  if (process.env.SLUICE_TEST_MODEL) return;
  const env = { ...process.env, SLUICE_HOME: TEST_HOME };
  const store = openStore({ env, homedir: PARTS }, (line) => console.log(line));
  try {
    const signal = AbortSignal.timeout(PULL_LIMIT_MS);
    const model = await store.resolve(MODEL, { signal, onProgress: () => {} });
    process.env.SLUICE_TEST_MODEL = model.file;
  } catch (thrown) {
    console.log(`No test model: ${(thrown as Error).message}`);
  }
}

/** Why a test that needs the model cannot run; undefined if it can. */
export function missingModel(): string | undefined {
  return process.env.SLUICE_TEST_MODEL ? undefined : 'no model: it could not be fetched';
}

/** Why a test that needs these Python packages cannot run; undefined if it can. */
export function missingPython(...packages: readonly string[]): string | undefined {
  if (!existsSync(TEST_PYTHON)) return 'no Python environment: "npm run test:parts" makes it';
  // What is installed, not what can be imported: an import takes seconds.
  const look = `from importlib.metadata import version\nfor name in ${JSON.stringify(packages)}: version(name)`;
  return spawnSync(TEST_PYTHON, ['-c', look]).status === 0
    ? undefined
    : `the Python environment lacks ${packages.join(' or ')}: "npm run test:parts" mends it`;
}
