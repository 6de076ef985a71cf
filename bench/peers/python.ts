// Python programs to compare with, out of the package index, each version pinned. They live in environments under
// .test-parts/, made on the first run. It must never touch the machine's own Python packages.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';

export interface PythonEnvironment {
  /** Its folder under .test-parts/. */
  readonly name: string;
  /** As the installer writes them, each with its version: `name==1.0`, or `name[extra]==1.0`. */
  readonly requirements: readonly string[];
}

/** The folder of the environment's programs, once all that is required is there. Throws if it cannot be brought. */
export function pythonPrograms({ name, requirements }: PythonEnvironment): string {
  const folder = new URL(`../../.test-parts/${name}`, import.meta.url).pathname;
  const interpreter = `${folder}/bin/python`;
  const run = (command: string, ...args: string[]) => execFileSync(command, args, { stdio: 'ignore' });
  if (!existsSync(interpreter)) run('python3', '-m', 'venv', folder);
  const wanted = requirements.map((one) => one.replace(/\[.*\]/, '').split('=='));
  const look = `from importlib.metadata import version\nfor name, wanted in ${JSON.stringify(wanted)}: assert version(name) == wanted`;
  try {
    run(interpreter, '-c', look);
  } catch {
    run(interpreter, '-m', 'pip', 'install', '--quiet', ...requirements);
  }
  return `${folder}/bin`;
}
