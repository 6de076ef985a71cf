// `sluice simulate`: what a load would come to with so many replicas of an engine, or how many it takes. It reads a trace
// and a curve, lets the scheduler serve it in simulated time, and prints, writes or draws what came of it.
import { writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { readCurve } from '../config/curve-file.ts';
import { ConfigError } from '../config.ts';
import type { Priority } from '../core/priority.ts';
import type { StepCurve } from '../core/step-curve.ts';
import { type FoundReplicas, findReplicas, hopelessReason } from '../simulation/find-replicas.ts';
import { atRate, readTrace, surgeRows } from '../simulation/loads.ts';
import { report } from '../simulation/report.ts';
import { reportPlot } from '../simulation/report-plot.ts';
import { reportText, table } from '../simulation/report-text.ts';
import { type SimulationOptions, simulate } from '../simulation/simulate.ts';
import { type Arrival, type Row, workload } from '../simulation/workload.ts';
import { fail } from './terminal.ts';

export interface SimulateFlags {
  readonly trace: string;
  readonly surge?: boolean | undefined;
  readonly rate: number;
  readonly duration?: number | undefined;
  readonly replicas: number;
  readonly findReplicas?: boolean | undefined;
  readonly curve: string;
  readonly tenants: number;
  readonly mix: string;
  readonly turns: number;
  readonly objectiveMs: number;
  readonly patience: number;
  readonly return?: boolean | undefined;
  readonly price: number;
  readonly seed: number;
  readonly json?: boolean | undefined;
  readonly plot?: string | undefined;
}

/** Tokens that a tenant's prompts begin with: a system message of some length. */
const SYSTEM_TOKENS = 300;
/** Bounds of the queue, as a configuration has them by default. */
const QUEUE = { maxTokens: 500_000, maxWaitMs: 60_000 };
const MOST_REPLICAS = 256;
/** Of the requests, the part that may go without an answer where replicas are looked for. */
const UNANSWERED_PART = 0.01;

export async function simulateLoad(flags: SimulateFlags): Promise<void> {
  const curve = curveOf(flags.curve);
  const rows = upTo(flags.duration, flags.surge ? surgeRows(flags.seed, flags.rate) : traceRows(flags));
  if (rows.length === 0) return fail('There is no request to simulate.');
  const arrivals = workload(rows, {
    seed: flags.seed,
    tenants: flags.tenants,
    mix: mixOf(flags.mix),
    turns: flags.turns,
    systemTokens: SYSTEM_TOKENS,
  });
  const optionsFor = (replicas: number): SimulationOptions => ({
    arrivals,
    curve,
    replicas,
    seed: flags.seed,
    objectiveMs: flags.objectiveMs,
    patienceMs: flags.patience * 1000,
    returns: flags.return ?? false,
    queue: QUEUE,
  });
  if (flags.findReplicas) await find(flags, arrivals, curve, optionsFor);
  else await once(flags, optionsFor(flags.replicas));
}

async function once(flags: SimulateFlags, options: SimulationOptions): Promise<void> {
  const simulation = await simulate(options);
  const result = report(simulation, options, flags.price);
  const title = titleOf(flags, options);
  if (flags.plot !== undefined) writePlot(flags.plot, reportPlot(title, simulation, options, result));
  if (flags.json) printJson({ load: title, curve: options.curve, ...result, queue: simulation.queue });
  else process.stdout.write(`${title}\ncurve: ${options.curve.origin}\n\n${reportText(result)}`);
}

async function find(
  flags: SimulateFlags,
  arrivals: readonly Arrival[],
  curve: StepCurve,
  optionsFor: (replicas: number) => SimulationOptions,
): Promise<void> {
  if (flags.plot !== undefined) fail('--find-replicas draws nothing: draw a run with --replicas.');
  const objective = { firstTokenMs: flags.objectiveMs, unansweredPart: UNANSWERED_PART };
  const hopeless = hopelessReason(arrivals, curve, objective);
  const found = await findReplicas(
    async (replicas) => {
      const options = optionsFor(replicas);
      return report(await simulate(options), options, flags.price);
    },
    objective,
    // Where even an idle one is too slow, a few show it as well as many.
    hopeless === undefined ? MOST_REPLICAS : 1,
  );
  if (flags.json) printJson({ objective, ...found, hopeless });
  else process.stdout.write(foundText(found, flags.objectiveMs, hopeless));
}

function foundText(
  { replicas, trials, boundBy }: FoundReplicas,
  objectiveMs: number,
  hopeless: string | undefined,
): string {
  const rows = trials.map(
    ({ replicas: count, report: { firstToken, goodPerSecond, busyPart, cost }, misses }) => [
      String(count),
      firstToken.p99Ms === null ? '-' : `${Math.round(firstToken.p99Ms)} ms`,
      goodPerSecond.toFixed(2),
      `${Math.round(busyPart * 100)} %`,
      cost.toFixed(2),
      misses.length === 0 ? 'holds' : misses.join('; '),
    ],
  );
  const head = ['replicas', 'first P99', 'good/s', 'busy', 'cost', ''];
  const wanted = `the first token within ${objectiveMs} ms at P99, and at most 1 % without an answer`;
  const verdict =
    replicas === undefined
      ? `No number of replicas up to ${trials.at(-1)?.replicas ?? 0} gives ${wanted}.`
      : `${replicas} replicas give ${wanted}.`;
  const reasons = [...(hopeless === undefined ? [] : [hopeless]), ...boundBy];
  const why =
    reasons.length === 0
      ? ''
      : `${replicas === undefined ? 'Why' : 'With one fewer'}: ${reasons.join('; ')}.\n`;
  return `${table([head, ...rows], [0, head.length - 1])}\n\n${verdict}\n${why}`;
}

function curveOf(name: string): StepCurve {
  try {
    return readCurve(name, process.cwd());
  } catch (thrown) {
    if (thrown instanceof ConfigError) return fail(thrown.message);
    throw thrown;
  }
}

function traceRows({ trace, rate }: SimulateFlags): readonly Row[] {
  try {
    const { rows, withoutTokens } = readTrace(trace);
    if (withoutTokens > 0) {
      process.stderr.write(`${withoutTokens} requests of the log had no answer: they are left out.\n`);
    }
    return atRate(rows, rate);
  } catch (thrown) {
    return fail(`The trace ${trace} cannot be used: ${(thrown as Error).message}.`);
  }
}

function upTo(seconds: number | undefined, rows: readonly Row[]): readonly Row[] {
  return seconds === undefined ? rows : rows.filter(({ atMs }) => atMs < seconds * 1000);
}

/** `interactive=0.7,standard=0.2,batch=0.1`; a class that is not named has no part. */
function mixOf(text: string): Record<Priority, number> {
  const mix = { interactive: 0, standard: 0, batch: 0 };
  for (const entry of text.split(',')) {
    const [name = '', part = ''] = entry.split('=').map((half) => half.trim());
    if (!(name in mix) || !/^\d+(\.\d+)?$/.test(part)) {
      return fail(
        `--mix names classes and their parts, as interactive=0.7,standard=0.2,batch=0.1, not "${entry}".`,
      );
    }
    mix[name as Priority] = Number(part);
  }
  if (mix.interactive + mix.standard + mix.batch <= 0) return fail('--mix gives no class a part above 0.');
  return mix;
}

function titleOf(
  { trace, surge, rate, seed }: SimulateFlags,
  { curve, replicas }: SimulationOptions,
): string {
  const load = surge
    ? `a surge, 10 times ${rate} requests/s`
    : `${basename(trace)} at ${rate} times its rate`;
  return `${load}; ${replicas} x ${curve.name} of ${curve.slots} slots; seed ${seed}`;
}

function writePlot(path: string, svg: string): void {
  try {
    writeFileSync(path, svg);
  } catch (thrown) {
    fail(`The picture ${path} cannot be written: ${(thrown as NodeJS.ErrnoException).code}.`);
  }
}

function printJson(value: object): void {
  process.stdout.write(`${JSON.stringify(value, undefined, 2)}\n`);
}
