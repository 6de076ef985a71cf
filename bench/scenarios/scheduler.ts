// What a decision of the scheduler costs, and a call that waits, by how many wait: CPU time of this process, no sockets, no
// back end that computes. A decision is a call that ends, the next one that is chosen for its slot, and a new one that takes
// its place in the queue: so the number of those who wait stays the same.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { systemClock } from '../../gateway/src/core/clock.ts';
import { PRIORITIES } from '../../gateway/src/core/priority.ts';
import type { Ticket } from '../../gateway/src/core/ticket.ts';
import { plot } from '../../gateway/src/figures/plot.ts';
import { rounded, type Spread, spreadOf } from '../../gateway/src/figures/statistics.ts';
import { type Lease, Scheduler } from '../../gateway/src/scheduling/scheduler.ts';
import { StillBackend } from '../../gateway/test/still-backend.ts';

const ROUNDS = 7;
const WAITING = [1, 10, 100, 1_000, 10_000];
const DECISIONS = 20_000;
const SLOTS = 8;
/** Calls whose memory is measured together, at least. */
const LEAST_WEIGHED = 2_000;
/** The decision with 10,000 waiting against the one with 10. */
const WANTED_FACTOR = 2;

/** Who they are that wait: all alike, or of many tenants, in all classes and with deadlines. */
const CROWDS: Readonly<Record<string, (number: number) => Partial<Ticket>>> = {
  'one tenant': () => ({ tenant: 'one' }),
  '1,000 tenants': (number) => ({
    tenant: `tenant ${number % 1_000}`,
    priority: PRIORITIES[number % PRIORITIES.length]!,
    deadlineAt: systemClock.now() + 500_000 + ((number * 7_919) % 100_000),
  }),
};

interface Sample {
  readonly decisionMicroseconds: number;
  readonly bytesAWaiter: number;
}

interface Point {
  readonly crowd: string;
  readonly waiting: number;
  readonly decisionMicroseconds: Spread;
  readonly bytesAWaiter: Spread;
}

export async function run(rounds = ROUNDS): Promise<object> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const cases = Object.keys(CROWDS).flatMap((crowd) => WAITING.map((waiting) => ({ crowd, waiting })));
  const samples = new Map(cases.map((one) => [one, [] as Sample[]]));
  // The first round warms up the compiler, and is not told.
  for (let round = 0; round <= rounds; round += 1) {
    for (const one of cases) {
      const sample = await measure(CROWDS[one.crowd]!, one.waiting, collect);
      if (round > 0) samples.get(one)!.push(sample);
    }
  }
  const points = cases.map((one): Point => {
    const all = samples.get(one)!;
    return {
      ...one,
      decisionMicroseconds: spreadOf(
        all.map(({ decisionMicroseconds }) => decisionMicroseconds),
        2,
      ),
      bytesAWaiter: spreadOf(all.map(({ bytesAWaiter }) => bytesAWaiter)),
    };
  });
  const decision = (crowd: string, waiting: number) =>
    points.find((point) => point.crowd === crowd && point.waiting === waiting)!.decisionMicroseconds.median;
  return {
    unit: `CPU time of one decision, mean of ${DECISIONS}, and heap of one waiting call; ${rounds} rounds`,
    wantedFactor: WANTED_FACTOR,
    factorOf10000Against10: Object.fromEntries(
      Object.keys(CROWDS).map((crowd) => [crowd, rounded(decision(crowd, 10_000) / decision(crowd, 10))]),
    ),
    points,
  };
}

async function measure(
  crowd: (number: number) => Partial<Ticket>,
  waiting: number,
  collect: () => void,
): Promise<Sample> {
  // So many queues of that length that what they take stands out from what else the process has.
  const queues = Array.from({ length: Math.ceil(LEAST_WEIGHED / waiting) }, () => newQueue(crowd, waiting));
  await undefined;
  collect();
  const heapBefore = process.memoryUsage().heapUsed;
  for (const { ask } of queues) for (let call = 0; call < waiting; call += 1) ask();
  await undefined;
  collect();
  const bytes = process.memoryUsage().heapUsed - heapBefore;
  const [{ ask, running, scheduler }] = queues as [Queue];
  const cpuBefore = process.cpuUsage();
  for (let decision = 0; decision < DECISIONS; decision += 1) {
    running.shift()!.release('ok');
    ask();
    await undefined;
  }
  const { user, system } = process.cpuUsage(cpuBefore);
  if (scheduler.snapshot().waiting !== waiting) throw new Error('The queue did not keep its length.');
  // Nothing is left behind: all that waited is served, and its timers with it.
  for (const queue of queues) {
    for (; queue.running.length > 0; await undefined) queue.running.shift()!.release('ok');
  }
  return {
    decisionMicroseconds: (user + system) / DECISIONS,
    bytesAWaiter: bytes / (queues.length * waiting),
  };
}

interface Queue {
  readonly scheduler: Scheduler;
  /** Sends one more call. */
  readonly ask: () => void;
  readonly running: Lease[];
}

/** All its slots are taken. */
function newQueue(crowd: (number: number) => Partial<Ticket>, waiting: number): Queue {
  const scheduler = new Scheduler({ clock: systemClock, maxWaitingTokens: 1e9, maxWaitMs: 600_000 });
  const backend = new StillBackend('still', SLOTS);
  // Each call has its own; made beforehand, for they are not the scheduler's.
  const signals = Array.from({ length: waiting + 2 * SLOTS }, () => new AbortController().signal);
  const running: Lease[] = [];
  let asked = 0;
  const ask = () => {
    asked += 1;
    const signal = signals[asked % signals.length]!;
    const cost = { promptTokens: 100 + (asked % 300), outputTokens: 64 };
    const fixed = { id: 'call', model: 'm', backends: [backend], resumes: false, signal, cost } as const;
    const usual = { tenant: 'one', priority: 'standard', deadlineAt: undefined } as const;
    void scheduler.acquire({ ...fixed, ...usual, ...crowd(asked) }).then((lease) => running.push(lease));
  };
  for (let call = 0; call < SLOTS; call += 1) ask();
  return { scheduler, ask, running };
}

export function draw({ points }: { points: readonly Point[] }): string {
  const panel = (title: string, yLabel: string, of: (point: Point) => Spread) => ({
    title,
    xLabel: 'calls that wait',
    yLabel,
    x: WAITING.map((waiting) => waiting.toLocaleString('en')),
    series: Object.keys(CROWDS).map((name) => ({
      name,
      values: points.filter(({ crowd }) => crowd === name).map(of),
    })),
  });
  return plot('The scheduler by the length of its queue', [
    panel('CPU time of a decision', 'µs', ({ decisionMicroseconds }) => decisionMicroseconds),
    panel('Memory of a waiting call', 'bytes', ({ bytesAWaiter }) => bytesAWaiter),
  ]);
}
