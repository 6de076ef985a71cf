// The simulator against life: the whole server before scripted back ends that keep to a measured curve, and the simulator
// with the same curve, each with the same arrivals. What is compared is the time to the first token, as clients see it.
import { readCurve } from '../../gateway/src/config/curve-file.ts';
import { systemClock } from '../../gateway/src/core/clock.ts';
import type { StepCurve } from '../../gateway/src/core/step-curve.ts';
import { type NumericPanel, plot } from '../../gateway/src/figures/plot.ts';
import { median, quantile, rounded, type Spread, spreadOf } from '../../gateway/src/figures/statistics.ts';
import { steadyArrivals, surgeArrivals } from '../../gateway/src/load/arrivals.ts';
import type { Attempt } from '../../gateway/src/load/load-record.ts';
import { measureLoad } from '../../gateway/src/load/load-result.ts';
import { type Random, seededRandom } from '../../gateway/src/load/seeded-random.ts';
import { Endpoint } from '../../gateway/src/load/streamed-request.ts';
import { simulate } from '../../gateway/src/simulation/simulate.ts';
import type { RequestEnd } from '../../gateway/src/simulation/simulated-client.ts';
import type { Arrival } from '../../gateway/src/simulation/workload.ts';
import { KEY, startSluice } from '../servers.ts';

const ROUNDS = 3;
const CURVE = 'vllm-cpu';
const REPLICAS = 4;
const ANSWER_TOKENS = 64;
const PROMPT_TOKENS = { least: 60, most: 260 };
/** As the scripted back end counts them. */
const UNITS_PER_TOKEN = 4;
const PATIENCE_MS = 60_000;
/** What counts as held: this near to the median of the live runs, or between them. */
const NEAR = 0.2;
/** Where the distributions are compared in the picture. */
const PARTS = [0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99];
const SEED = 7;
/** What the load generator says of a 504. */
const DEADLINE_EXCEEDED = 'http 504';

interface Load {
  readonly name: string;
  /** When the first token is due, in ms; undefined: no promise is asked for, and everybody waits. */
  readonly deadlineMs: number | undefined;
  readonly atMs: (random: Random) => readonly number[];
}

const surge = (random: Random) =>
  surgeArrivals(
    random,
    1,
    { steadyRps: 2, factor: 10, beforeSeconds: 15, surgeSeconds: 15, afterSeconds: 15 },
    10_000,
  ).atMs;

const LOADS: readonly Load[] = [
  {
    name: 'steady',
    deadlineMs: undefined,
    atMs: (random) => steadyArrivals({ random, requests: 350, ratePerSecond: 7, burstiness: 1 }).atMs,
  },
  { name: 'surge, all wait', deadlineMs: undefined, atMs: surge },
  { name: 'surge, due within 2 s', deadlineMs: 2000, atMs: surge },
];

/** Of one run. */
interface Seen {
  readonly answered: number;
  readonly refused: number;
  /** Had a slot, but no first token by the deadline. */
  readonly late: number;
  readonly firstMs: readonly number[];
}

export async function run(rounds = ROUNDS): Promise<object> {
  const curve = readCurve(CURVE, '.');
  const loads = [];
  for (const load of LOADS) {
    const arrivals = arrivalsOf(load);
    const simulated = await simulatedRun(load, arrivals, curve);
    const live: Seen[] = [];
    for (let round = 1; round <= rounds; round += 1) {
      live.push(await liveRun(load, arrivals));
      console.error(load.name, round, figuresOf(live.at(-1)!), 'simulated', figuresOf(simulated));
    }
    loads.push({
      name: load.name,
      requests: arrivals.length,
      p50: compared(0.5, live, simulated),
      p99: compared(0.99, live, simulated),
      ...countsOf(live, simulated),
      firstMs: {
        parts: PARTS,
        live: live.map(distribution),
        simulated: distribution(simulated),
      },
    });
  }
  return {
    unit: `ms to the first token; ${REPLICAS} scripted back ends on the curve ${CURVE}; ${rounds} live runs`,
    held: `the simulated figure is within ${NEAR * 100} % of the live runs' median, or between the live runs`,
    loads,
  };
}

function arrivalsOf({ atMs }: Load): Arrival[] {
  const random = seededRandom(SEED);
  const { least, most } = PROMPT_TOKENS;
  return atMs(random).map((at, index) => ({
    atMs: at,
    promptTokens: least + Math.floor(random() * (most - least + 1)),
    outputTokens: ANSWER_TOKENS,
    maxTokens: ANSWER_TOKENS,
    tenant: 'bench',
    priority: 'interactive',
    session: `visitor ${index}`,
    // The scripted back end remembers nothing.
    blocks: [],
  }));
}

async function simulatedRun(
  { deadlineMs }: Load,
  arrivals: readonly Arrival[],
  curve: StepCurve,
): Promise<Seen> {
  const { ends } = await simulate({
    arrivals,
    curve,
    replicas: REPLICAS,
    seed: SEED,
    objectiveMs: deadlineMs ?? Infinity,
    patienceMs: PATIENCE_MS,
    returns: false,
    queue: { maxTokens: 500_000, maxWaitMs: 60_000 },
  });
  const answered = ends.filter(({ outcome }) => outcome === 'answered');
  const count = (wanted: RequestEnd['outcome']) => ends.filter(({ outcome }) => outcome === wanted).length;
  return {
    answered: answered.length,
    refused: count('refused'),
    late: count('late'),
    firstMs: answered.map(({ firstTokenMs }) => firstTokenMs!),
  };
}

async function liveRun({ deadlineMs }: Load, arrivals: readonly Arrival[]): Promise<Seen> {
  const ids = Array.from({ length: REPLICAS }, (_, index) => `replica-${index + 1}`);
  const pieces = Array.from({ length: ANSWER_TOKENS }, () => 'word ');
  const sluice = await startSluice({
    log_level: 'silent',
    backends: ids.map((id) => ({ kind: 'fake', id, curve: CURVE, pieces })),
    models: [{ id: 'model', backends: [ids] }],
  });
  try {
    const deadline = deadlineMs === undefined ? {} : { 'x-sluice-deadline-ms': String(deadlineMs) };
    const url = new URL(`http://127.0.0.1:${sluice.port}/v1/chat/completions`);
    const { attempts, messages } = await measureLoad({
      endpoint: new Endpoint({ url, headers: deadline, clock: systemClock }),
      phases: [],
      pace: { kind: 'open', atMs: arrivals.map(({ atMs }) => atMs) },
      request: (visitor) => ({ body: bodyOf(arrivals[visitor]!, visitor), key: KEY, tenant: 'bench' }),
      patienceMs: PATIENCE_MS,
      returns: 0,
      maxConcurrency: Infinity,
      signal: new AbortController().signal,
      percentiles: [],
      objectives: {},
    });
    const count = (isCounted: (one: Attempt) => boolean) => attempts.filter(isCounted).length;
    const complete = attempts.filter(({ ending }) => ending === 'complete');
    const refused = count(({ ending }) => ending === 'refused');
    const late = count(({ reason }) => reason === DEADLINE_EXCEEDED);
    const others = attempts.length - complete.length - refused - late;
    if (others > 0) throw new Error(`${others} requests failed: ${Object.values(messages).join(' ')}`);
    return {
      answered: complete.length,
      refused,
      late,
      firstMs: complete.map(({ firstMs }) => firstMs!),
    };
  } finally {
    await sluice.stop();
  }
}

/** A prompt of just so many tokens, unlike any other from its first word on. */
function bodyOf({ promptTokens, outputTokens }: Arrival, visitor: number): string {
  const content = `${visitor} `
    .repeat(promptTokens * UNITS_PER_TOKEN)
    .slice(0, promptTokens * UNITS_PER_TOKEN);
  const messages = [{ role: 'user', content }];
  return JSON.stringify({ model: 'model', messages, max_tokens: outputTokens, stream: true });
}

interface Compared {
  readonly live: Spread;
  readonly simulated: number;
  /** Simulated over the live median. */
  readonly ratio: number;
  readonly isHeld: boolean;
}

function compared(part: number, live: readonly Seen[], simulated: Seen): Compared {
  const seen = live.map(({ firstMs }) => quantile(firstMs, part));
  const own = quantile(simulated.firstMs, part);
  const ratio = own / median(seen);
  const isBetween = own >= Math.min(...seen) && own <= Math.max(...seen);
  return {
    live: spreadOf(seen),
    simulated: Math.round(own),
    ratio: rounded(ratio, 3),
    isHeld: isBetween || Math.abs(ratio - 1) <= NEAR,
  };
}

/** How many ended in which way. */
function countsOf(live: readonly Seen[], simulated: Seen): object {
  const count = (of: (seen: Seen) => number) => ({ live: spreadOf(live.map(of)), simulated: of(simulated) });
  return {
    answered: count(({ answered }) => answered),
    refused: count(({ refused }) => refused),
    late: count(({ late }) => late),
  };
}

function distribution({ firstMs }: Seen): number[] {
  return PARTS.map((part) => Math.round(quantile(firstMs, part)));
}

function figuresOf({ answered, refused, late, firstMs }: Seen): string {
  return `${answered} answered, ${refused} refused, ${late} late, P50 ${Math.round(median(firstMs))}, P99 ${Math.round(quantile(firstMs, 0.99))}`;
}

interface Drawn {
  readonly name: string;
  readonly firstMs: {
    readonly parts: readonly number[];
    readonly live: readonly (readonly number[])[];
    readonly simulated: readonly number[];
  };
}

export function draw({ loads }: { loads: readonly Drawn[] }): string {
  return plot(
    'First tokens: the whole server on scripted back ends, and the simulator',
    loads.map(({ name, firstMs: { parts, live, simulated } }): NumericPanel => {
      const least = live[0]!.map((_, index) => Math.min(...live.map((one) => one[index]!)));
      const most = live[0]!.map((_, index) => Math.max(...live.map((one) => one[index]!)));
      const line = (values: readonly number[]) => values.map((x, index) => ({ x, y: parts[index]! * 100 }));
      return {
        title: name,
        xLabel: 'ms to the first token',
        yLabel: '% of the answers',
        xScale: 'log',
        series: [
          { name: 'simulated', style: 'marks', points: line(simulated) },
          { name: 'live, quickest', style: 'line', points: line(least) },
          { name: 'slowest', style: 'line', points: line(most) },
        ],
      };
    }),
  );
}
