// Runs a benchmark and writes its figures, with what they were measured on, to bench/results/NAME.json.
//   npm run bench -- NAME
import { execFileSync } from 'node:child_process';
import { globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { basename } from 'node:path';

const root = new URL('.', import.meta.url).pathname;
const names = globSync('scenarios/*.ts', { cwd: root }).map((file) => basename(file, '.ts'));
const [name = ''] = process.argv.slice(2);
if (!names.includes(name)) {
  console.error(`npm run bench -- NAME, where NAME is one of: ${names.sort().join(', ')}`);
  process.exit(2);
}

interface Scenario {
  readonly run: () => Promise<object>;
  /** The figures as a picture (SVG), where they are a curve. */
  readonly draw?: (figures: object) => string;
}

const { run, draw } = (await import(`./scenarios/${name}.ts`)) as Scenario;
const startedAt = new Date();
const figures = await run();
const { version } = JSON.parse(readFileSync(`${root}../gateway/package.json`, 'utf8'));
const result = {
  name,
  command: `npm run bench -- ${name}`,
  startedAt: startedAt.toISOString(),
  seconds: Math.round((Date.now() - startedAt.getTime()) / 1000),
  sluice: version,
  commit:
    git('rev-parse', '--short', 'HEAD') +
    (git('status', '--porcelain', '--', '../gateway/src') ? ' (and changes)' : ''),
  machine: {
    cpu: cpus()[0]?.model,
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
  },
  figures,
};
mkdirSync(`${root}results`, { recursive: true });
writeFileSync(`${root}results/${name}.json`, `${JSON.stringify(result, undefined, 2)}\n`);
if (draw) writeFileSync(`${root}results/${name}.svg`, draw(figures));
console.log(JSON.stringify(figures, undefined, 2));
console.log(`written: bench/results/${name}.json`);
process.exit(0);

function git(...args: string[]): string {
  return execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim();
}
