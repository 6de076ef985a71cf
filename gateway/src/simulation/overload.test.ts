// Guards what the scheduler promises under more load than can be served, over simulated minutes and hours: a tenant that
// floods takes nothing from the others, no class goes without its part, a time that was told is kept, and a back end that nobody
// knows yet is not buried.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Priority } from '../core/priority.ts';
import type { StepCurve } from '../core/step-curve.ts';
import { quantile } from '../figures/statistics.ts';
import { seededRandom } from '../load/seeded-random.ts';
import { atRate, readTrace } from './loads.ts';
import { simulate } from './simulate.ts';
import type { RequestEnd } from './simulated-client.ts';
import { arrival, optionsFor } from './testing.ts';
import { type Arrival, workload } from './workload.ts';

/** Prompts of 100 tokens and answers of 20 in the mean: 16 at once, about 30 of them a second. */
const CURVE: StepCurve = {
  name: 'even',
  origin: 'made up',
  slots: 16,
  decodeMs: [
    [1, 10],
    [16, 20],
  ],
  prefillMs: [
    [1, 10],
    [400, 50],
  ],
  prompts: 'together',
  sliceTokens: 400,
  cacheTokens: 1_000_000,
};

function poisson(seed: number, ratePerSecond: number, seconds: number, more: Partial<Arrival>): Arrival[] {
  const random = seededRandom(seed);
  const arrivals: Arrival[] = [];
  for (;;) {
    const atMs = (arrivals.at(-1)?.atMs ?? 0) - (Math.log(1 - random()) * 1000) / ratePerSecond;
    if (atMs >= seconds * 1000) return arrivals;
    // Not all alike: 16 that begin together would end together, and whoever comes then waits for all of them.
    const outputTokens = 5 + Math.floor(random() * 31);
    arrivals.push(arrival(atMs, { outputTokens, maxTokens: 40, ...more }));
  }
}

const inOrder = (arrivals: readonly Arrival[]) => arrivals.toSorted((a, b) => a.atMs - b.atMs);

test("a tenant that asks for a hundred times its part moves the others' P99 by less than a fifth", async () => {
  const victims = [1, 2, 3, 4];
  const partPerSecond = 6;
  /** Over several seeds together: a P99 of one alone is a matter of luck. */
  const run = async (floodFactor: number) => {
    const theirs: RequestEnd[] = [];
    for (const seed of [0, 1000]) {
      const arrivals = inOrder([
        ...victims.flatMap((number) =>
          poisson(seed + number, partPerSecond / 2, 100, {
            tenant: `victim-${number}`,
            priority: 'standard',
          }),
        ),
        ...poisson(seed + 99, partPerSecond * floodFactor, 100, { tenant: 'flood', priority: 'standard' }),
      ]);
      const { ends } = await simulate(optionsFor(arrivals, { curve: CURVE, objectiveMs: 5000 }));
      theirs.push(...ends.filter(({ arrival }) => arrival.tenant !== 'flood'));
    }
    const answered = theirs.filter(({ outcome }) => outcome === 'answered');
    return {
      answeredPart: answered.length / theirs.length,
      p99Ms: quantile(
        answered.map(({ firstTokenMs }) => firstTokenMs!),
        0.99,
      ),
    };
  };
  // At three times its part it has all that the others leave, and the server is full: so it is, too, beside a flood.
  const [full, flooded] = [await run(3), await run(100)];
  assert.ok(flooded.answeredPart > 0.99, `only ${flooded.answeredPart} of the others were answered`);
  assert.ok(flooded.p99Ms < full.p99Ms * 1.2, `${full.p99Ms} ms became ${flooded.p99Ms} ms`);
});

/** Classes, what they ask for in requests a second, and the part of the answers that each has at least. */
const CLASSES: readonly (readonly [name: Priority, ratePerSecond: number, part: number])[] = [
  ['interactive', 9, 0.6],
  ['standard', 4, 0.2],
  ['batch', 2, 0.05],
];

/** An hour of five times what can be served: every class has its part, and none has nothing for a minute. */
async function checkParts(objectiveMs: number): Promise<void> {
  // Ten times slower: an hour of it is as much work as six minutes of the other.
  const slow: StepCurve = {
    ...CURVE,
    decodeMs: CURVE.decodeMs.map(([x, ms]) => [x, ms * 10]),
    prefillMs: CURVE.prefillMs.map(([x, ms]) => [x, ms * 10]),
  };
  const arrivals = inOrder(
    CLASSES.flatMap(([priority, ratePerSecond], index) =>
      poisson(index + 1, ratePerSecond, 3600, { priority, tenant: `${priority}-tenant` }),
    ),
  );
  const { ends } = await simulate(optionsFor(arrivals, { curve: slow, objectiveMs }));
  const answered = ends.filter(({ outcome }) => outcome === 'answered');
  assert.ok(answered.length > 9_000, `only ${answered.length} were answered in all`);
  for (const [priority, , guaranteed] of CLASSES) {
    const own = answered.filter(({ arrival }) => arrival.priority === priority);
    const part = own.length / answered.length;
    assert.ok(part > guaranteed * 0.9, `${priority} had ${part} of the answers`);
    const longest = longestPause(own);
    assert.ok(longest < 60_000, `no ${priority} request was answered for ${longest} ms`);
  }
}

test('over an hour of five times the load that can be served, no class starves', () => checkParts(Infinity));

test('nor does one starve where first tokens are due, and those that would be late are refused', () =>
  checkParts(20_000));

/** A large GPU: a prompt of 1,000 tokens takes about 80 ms, and 128 answers run at once. */
const LARGE: StepCurve = {
  name: 'large',
  origin: 'made up',
  slots: 128,
  decodeMs: [
    [1, 9],
    [128, 24],
  ],
  prefillMs: [
    [1, 9],
    [512, 45],
    [2048, 150],
  ],
  prompts: 'together',
  sliceTokens: 2048,
  cacheTokens: 400_000,
};

/** 45 s of the real hour at 20 times its rate, from a cold start. */
async function coldOverload(replicas: number, seed: number) {
  const rows = atRate(readTrace('azure').rows, 20).filter(({ atMs }) => atMs < 45_000);
  const mix = { interactive: 0.7, standard: 0.2, batch: 0.1 };
  const arrivals = workload(rows, { seed, tenants: 8, mix, turns: 0.5, systemTokens: 300 });
  const { returned, ends } = await simulate(
    optionsFor(arrivals, { curve: LARGE, replicas, seed, patienceMs: 60_000, returns: true }),
  );
  const urgent = ends.filter(({ arrival }) => arrival.priority === 'interactive');
  return {
    ...returned,
    all: ends.length,
    late: ends.filter(({ outcome }) => outcome === 'late').length,
    answered: urgent.filter(({ outcome }) => outcome === 'answered').length,
    inVain: urgent.filter(({ refusedAs }) => refusedAs === 'queue_timeout').length,
  };
}

// Who is let in changes who comes back, and so all that follows: one seed says little, and each counts for a third.
for (const replicas of [1, 4]) {
  test(`real requests twenty times as fast, cold, replicas: ${replicas}. Who comes back at its time is let in`, async () => {
    const overloads = await Promise.all([1, 2, 3].map((seed) => coldOverload(replicas, seed)));
    const sumOf = (what: keyof (typeof overloads)[number]) =>
      overloads.reduce((sum, one) => sum + one[what], 0);
    const [asked, admitted, late, all] = [sumOf('asked'), sumOf('admitted'), sumOf('late'), sumOf('all')];
    assert.ok(asked > 300, `${asked}`);
    assert.ok(admitted >= 0.95 * asked, `${admitted} of ${asked}`);
    assert.ok(late <= 0.03 * all, `${late} of ${all} had a slot and no first token in time`);
    const [inVain, answered] = [sumOf('inVain'), sumOf('answered')];
    assert.ok(
      inVain <= 0.2 * answered,
      `${inVain} were let in and waited in vain, ${answered} were answered`,
    );
  });
}

test('where most first tokens would come too late, those who can wait for them have their share, and no more', async () => {
  const LASTS_MS = 150_000;
  const rows = atRate(readTrace('azure').rows, 20).filter(({ atMs }) => atMs < LASTS_MS);
  const mix = { interactive: 0.7, standard: 0.2, batch: 0.1 };
  const arrivals = workload(rows, { seed: 1, tenants: 8, mix, turns: 0.5, systemTokens: 300 });
  const { ends } = await simulate(optionsFor(arrivals, { curve: LARGE, replicas: 2, returns: true }));
  // What is answered when nobody comes any more is nobody's loss.
  const answered = ends.filter(({ outcome, endedAtMs }) => outcome === 'answered' && endedAtMs < LASTS_MS);
  const tokensOf = (some: readonly RequestEnd[]) =>
    some.reduce((sum, { arrival }) => sum + arrival.promptTokens + arrival.outputTokens, 0);
  const partOf = (priority: Priority) =>
    tokensOf(answered.filter(({ arrival }) => arrival.priority === priority)) / tokensOf(answered);
  assert.ok(partOf('batch') > 0.05 * 0.8 && partOf('batch') < 0.1, `batch: ${partOf('batch')}`);
  assert.ok(partOf('interactive') > 0.7, `interactive: ${partOf('interactive')}`);
});

test('a burst on a back end that nobody knows yet: who is let in has its first token in time, or nearly all', async () => {
  const burst = Array.from({ length: 60 }, (_, index) =>
    arrival(index * 8, { promptTokens: 1_000, outputTokens: 50 + index }),
  );
  const { ends } = await simulate(optionsFor(burst, { curve: LARGE }));
  const had = (outcome: RequestEnd['outcome']) => ends.filter((end) => end.outcome === outcome).length;
  assert.ok(had('late') <= 3, `${had('late')} late`);
  assert.ok(had('answered') >= 8, `${had('answered')} answered`);
});

/** Between two ends, in ms. */
function longestPause(ends: readonly RequestEnd[]): number {
  const times = ends.map(({ endedAtMs }) => endedAtMs).sort((a, b) => a - b);
  return times.reduce((longest, at, index) => Math.max(longest, at - (times[index - 1] ?? 0)), 0);
}
