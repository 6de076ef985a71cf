// What a person runs before every commit: types, lint and format, unit tests with the architecture's rules.
import { spawn } from 'node:child_process';

const root = new URL('../..', import.meta.url).pathname;
const steps: readonly (readonly [name: string, command: string, ...args: string[]])[] = [
  ['types', 'tsc', '-p', '.'],
  ['lint and format', 'biome', 'check', '--error-on-warnings', '.'],
  ['unit tests', 'node', 'gateway/test/run.ts', 'unit'],
];

for (const [name, command, ...args] of steps) {
  const startedAt = performance.now();
  const code = await new Promise<number | null>((resolve, reject) => {
    spawn(command, args, { cwd: root, stdio: 'inherit' }).on('error', reject).on('exit', resolve);
  });
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  console.log(`${code === 0 ? 'ok' : 'FAILED'}: ${name} (${seconds} s)`);
  if (code !== 0) process.exit(1);
}
