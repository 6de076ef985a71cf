// Python programs to compare with, out of the package index, each version pinned. They live in environments under
// .test-parts/, made on the first run. It must never touch the machine's own Python packages.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';

export interface PythonPackage {
  readonly name: string;
  readonly version: string;
  /** As the installer writes them, such as `[proxy]`. */
  readonly extras?: string;
  /** The environment's folder under .test-parts/. */
  readonly environment: string;
}

/** The folder of the environment's programs, once the package is there. Throws if it cannot be brought. */
export function pythonPrograms({ name, version, extras = '', environment }: PythonPackage): string {
  const folder = new URL(`../../.test-parts/${environment}`, import.meta.url).pathname;
  const interpreter = `${folder}/bin/python`;
  const run = (command: string, ...args: string[]) => execFileSync(command, args, { stdio: 'ignore' });
  if (!existsSync(interpreter)) run('python3', '-m', 'venv', folder);
  try {
    run(
      interpreter,
      '-c',
      `from importlib.metadata import version; assert version('${name}') == '${version}'`,
    );
  } catch {
    run(interpreter, '-m', 'pip', 'install', '--quiet', `${name}${extras}==${version}`);
  }
  return `${folder}/bin`;
}
