// An hour of real requests at 1, 5 and 20 times its rate, replayed in the simulator over 1 to 32 replicas: what each number
// of them gives, and what it costs. Clients that are refused come back at the time that they were told. Nothing is
// measured but the seconds that it takes: the rest is the same on every machine.
import { readCurve } from '../../gateway/src/config/curve-file.ts';
import { plot } from '../../gateway/src/figures/plot.ts';
import { rounded } from '../../gateway/src/figures/statistics.ts';
import { atRate, readTrace } from '../../gateway/src/simulation/loads.ts';
import { type Report, report } from '../../gateway/src/simulation/report.ts';
import { type SimulationOptions, simulate } from '../../gateway/src/simulation/simulate.ts';
import { workload } from '../../gateway/src/simulation/workload.ts';

const CURVE = 'gpu-8b';
const RATES = [1, 5, 20];
const REPLICAS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32];
const OBJECTIVE_MS = 500;
const SEED = 1;

/** As `sluice simulate --return` has it by default. */
const WORKLOAD = {
  seed: SEED,
  tenants: 8,
  mix: { interactive: 0.7, standard: 0.2, batch: 0.1 },
  turns: 0.5,
  systemTokens: 300,
};

interface Point {
  readonly replicas: number;
  readonly seconds: number;
  readonly report: Omit<Report, 'tenants'>;
}

interface Replay {
  readonly rate: number;
  readonly points: readonly Point[];
}

export async function run(): Promise<object> {
  const curve = readCurve(CURVE, '.');
  const { rows } = readTrace('azure');
  const replays: Replay[] = [];
  for (const rate of RATES) {
    const arrivals = workload(atRate(rows, rate), WORKLOAD);
    const points: Point[] = [];
    for (const replicas of REPLICAS) {
      const options: SimulationOptions = {
        arrivals,
        curve,
        replicas,
        seed: SEED,
        objectiveMs: OBJECTIVE_MS,
        patienceMs: 30_000,
        returns: true,
        queue: { maxTokens: 500_000, maxWaitMs: 60_000 },
      };
      const startedAt = performance.now();
      const { tenants, ...told } = report(await simulate(options), options, 1);
      const seconds = rounded((performance.now() - startedAt) / 1000, 1);
      points.push({ replicas, seconds, report: told });
      console.error(`${rate}x, ${replicas} replicas, ${tenants.length} tenants: ${seconds} s`);
    }
    replays.push({ rate, points });
  }
  return {
    unit: `the hour's 19,366 requests on the curve ${CURVE} (${curve.origin}); objective ${OBJECTIVE_MS} ms; price 1 an hour`,
    replays,
  };
}

export function draw({ replays }: { replays: readonly Replay[] }): string {
  const panel = (title: string, yLabel: string, pick: (told: Point['report']) => number | null) => ({
    title,
    xLabel: 'replicas',
    yLabel,
    xScale: 'log' as const,
    series: replays.map(({ rate, points }) => ({
      name: `${rate} times the rate`,
      style: 'marks' as const,
      points: points.map(({ replicas, report: told }) => ({ x: replicas, y: pick(told) ?? Number.NaN })),
    })),
  });
  const firstToken = panel('First token of interactive requests, P99', 'ms', ({ classes }) => {
    return classes.find(({ name }) => name === 'interactive')?.firstToken.p99Ms ?? null;
  });
  const cost = panel(
    'Cost of a million tokens of good answers',
    'replica hours',
    (told) => told.costPerMillionGoodTokens,
  );
  return plot('An hour of real requests, replayed by the scheduler in simulated time', [
    panel('Answered well', '% of the requests', ({ good, requests }) => (100 * good) / requests),
    { ...firstToken, limit: { name: 'objective', value: OBJECTIVE_MS } },
    panel('Came back when told to, and got in', '% of them', ({ returned: { admittedPart } }) =>
      admittedPart === null ? null : admittedPart * 100,
    ),
    { ...cost, yScale: 'log' },
    panel('Cached', "% of the prompts' tokens", ({ cachedPart }) => cachedPart * 100),
    panel('Fairness between tenants', "Jain's index", ({ fairness }) => fairness),
  ]);
}
