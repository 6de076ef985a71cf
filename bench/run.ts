// Runs a benchmark and writes its figures, with what they were measured on, to bench/results/NAME.json, and its curves
// to NAME.svg.
//   npm run bench -- NAME [--rounds N]
// With --rounds the files go to .cache/bench/: a shortened run must never replace figures that are cited.
import { execFileSync } from 'node:child_process';
import { existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { basename, relative } from 'node:path';
import { parseArgs } from 'node:util';

const root = new URL('.', import.meta.url).pathname;
const names = globSync('scenarios/*.ts', { cwd: root }).map((file) => basename(file, '.ts'));
const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string' } },
});
const [name = ''] = positionals;
const rounds = values.rounds === undefined ? undefined : Number(values.rounds);
if (!names.includes(name) || (rounds !== undefined && !(Number.isInteger(rounds) && rounds > 0))) {
  console.error(`npm run bench -- NAME [--rounds N], where NAME is one of: ${names.sort().join(', ')}`);
  process.exit(2);
}

interface Scenario {
  /** `rounds`: how often each measurement is taken; a scenario has its own default. */
  readonly run: (rounds?: number) => Promise<object>;
  /** The figures as a picture (SVG), where they are a curve. */
  readonly draw?: (figures: object) => string;
}

const { run, draw } = (await import(`./scenarios/${name}.ts`)) as Scenario;
const startedAt = new Date();
const [loadBefore = 0] = loadavg();
// Before the run: another commit may be made meanwhile.
const commit =
  git('rev-parse', '--short', 'HEAD') +
  (git('status', '--porcelain', '--', '../gateway/src') ? ' (and changes)' : '');
// The servers are ended when this process exits, and a signal alone is no exit.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
const figures = await run(rounds);
const result = {
  name,
  command: `npm run bench -- ${name}${rounds === undefined ? '' : ` --rounds ${rounds}`}`,
  startedAt: startedAt.toISOString(),
  seconds: Math.round((Date.now() - startedAt.getTime()) / 1000),
  sluice: versionIn('gateway/package.json'),
  nodeLlamaCpp: versionIn('node_modules/node-llama-cpp/package.json'),
  commit,
  machine: {
    cpu: cpus()[0]?.model,
    vectors: vectorExtensions(),
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
    /** Of the last minute before the run: well under 1 on a machine that is fit to measure on. */
    loadBefore: Number(loadBefore.toFixed(2)),
  },
  figures,
};
const folder = rounds === undefined ? `${root}results` : `${root}../.cache/bench`;
mkdirSync(folder, { recursive: true });
writeFileSync(`${folder}/${name}.json`, `${JSON.stringify(result, undefined, 2)}\n`);
if (draw) writeFileSync(`${folder}/${name}.svg`, draw(figures));
console.log(JSON.stringify(figures, undefined, 2));
console.log(`written: ${relative(`${root}..`, folder)}/${name}.json${draw ? ` and ${name}.svg` : ''}`);
process.exit(0);

/** Of those that decide how fast a model is computed: machines of one name may differ in them by a factor. Linux tells. */
function vectorExtensions(): string[] | undefined {
  if (!existsSync('/proc/cpuinfo')) return undefined;
  const [, flags = ''] = /^(?:flags|Features)\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8')) ?? [];
  return flags
    .split(' ')
    .filter((flag) => /^(avx2|avx512(f|_vnni|_bf16)|avx_vnni|amx_\w+|asimd|sve2?|bf16)$/.test(flag));
}

function versionIn(file: string): string {
  return JSON.parse(readFileSync(`${root}../${file}`, 'utf8')).version;
}

function git(...args: string[]): string {
  return execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim();
}
