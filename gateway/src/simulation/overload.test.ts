// Guards what the scheduler promises under more load than can be served, over simulated minutes and hours: a tenant that
// floods takes nothing from the others, and no class goes without its part.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Priority } from '../core/priority.ts';
import type { StepCurve } from '../core/step-curve.ts';
import { quantile } from '../figures/statistics.ts';
import { seededRandom } from '../load/seeded-random.ts';
import { simulate } from './simulate.ts';
import type { RequestEnd } from './simulated-client.ts';
import { arrival, optionsFor } from './testing.ts';
import type { Arrival } from './workload.ts';

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

/** Between two ends, in ms. */
function longestPause(ends: readonly RequestEnd[]): number {
  const times = ends.map(({ endedAtMs }) => endedAtMs).sort((a, b) => a - b);
  return times.reduce((longest, at, index) => Math.max(longest, at - (times[index - 1] ?? 0)), 0);
}
