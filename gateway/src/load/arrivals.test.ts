// When requests are due: at the rates asked for, alike for the same seed, and through a surge.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Arrivals, rampArrivals, steadyArrivals, surgeArrivals } from './arrivals.ts';
import { seededRandom } from './seeded-random.ts';

function gapsOf({ atMs }: Arrivals): number[] {
  return atMs.map((at, index) => at - (atMs[index - 1] ?? 0));
}

const steady = (seed: number, more: { ratePerSecond?: number; burstiness?: number } = {}) =>
  steadyArrivals({ random: seededRandom(seed), requests: 4_000, ratePerSecond: 2, burstiness: 1, ...more });

test('Poisson arrivals come in order, at the rate asked for, alike for the same seed', () => {
  const arrivals = steady(1);
  assert.deepEqual(arrivals, steady(1));
  assert.notDeepEqual(arrivals, steady(2));
  const gaps = gapsOf(arrivals);
  assert.ok(gaps.every((gap) => gap >= 0));
  const mean = arrivals.atMs.at(-1)! / arrivals.atMs.length;
  assert.ok(Math.abs(mean - 500) < 40, `mean gap ${mean} ms`);
  // Of an exponential distribution 1/e are longer than the mean.
  const longer = gaps.filter((gap) => gap > 500).length / gaps.length;
  assert.ok(Math.abs(longer - 1 / Math.E) < 0.03, `${longer} are longer than the mean`);
});

test('burstiness changes how they come, and not how many', () => {
  const spread = (burstiness: number) => {
    const gaps = gapsOf(steady(3, { burstiness }));
    const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
    assert.ok(Math.abs(mean - 500) < 60, `mean gap ${mean} ms at ${burstiness}`);
    return Math.sqrt(gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / gaps.length) / mean;
  };
  assert.ok(spread(0.25) > 1.7 && spread(9) < 0.4);
});

test('an infinite rate is all at once', () => {
  assert.ok(steady(1, { ratePerSecond: Number.POSITIVE_INFINITY }).atMs.every((at) => at === 0));
});

for (const strategy of ['linear', 'exponential'] as const) {
  test(`a ${strategy} ramp begins at one rate and ends at the other`, () => {
    const random = seededRandom(4);
    const ramp = rampArrivals({ random, requests: 8_000, burstiness: 4, strategy, startRps: 2, endRps: 50 });
    const gaps = gapsOf(ramp);
    const rateOf = (some: readonly number[]) =>
      (1000 * some.length) / some.reduce((sum, gap) => sum + gap, 0);
    const [first, middle, last] = [
      rateOf(gaps.slice(0, 200)),
      rateOf(gaps.slice(3_900, 4_100)),
      rateOf(gaps.slice(-200)),
    ];
    assert.ok(first > 1.6 && first < 3.5, `begins at ${first}/s`);
    assert.ok(last > 42 && last < 58, `ends at ${last}/s`);
    const halfway = strategy === 'linear' ? 26 : 10;
    assert.ok(Math.abs(middle / halfway - 1) < 0.2, `${middle}/s halfway`);
  });
}

const SURGE = { steadyRps: 5, factor: 10, beforeSeconds: 100, surgeSeconds: 50, afterSeconds: 100 };

test('a surge has its rates in its phases, one after the other', () => {
  const { atMs, phases } = surgeArrivals(seededRandom(5), 1, SURGE, 1_000_000);
  assert.deepEqual(
    phases.map(({ name, fromMs, toMs }) => [name, fromMs, toMs]),
    [
      ['before', 0, 100_000],
      ['surge', 100_000, 150_000],
      ['after', 150_000, 250_000],
    ],
  );
  const counts = phases.map(({ fromMs, toMs }) => atMs.filter((at) => at >= fromMs && at < toMs).length);
  for (const [index, expected] of [500, 2_500, 500].entries())
    assert.ok(Math.abs(counts[index]! - expected) < 4 * Math.sqrt(expected), `${counts}`);
});

test('whatever the surge, arrivals rise, lie in its time, and are bounded', () => {
  const surges = fc.record({
    steadyRps: fc.double({ min: 0.01, max: 50, noNaN: true }),
    factor: fc.double({ min: 0.1, max: 20, noNaN: true }),
    beforeSeconds: fc.nat(20),
    surgeSeconds: fc.integer({ min: 1, max: 20 }),
    afterSeconds: fc.nat(20),
  });
  fc.assert(
    fc.property(fc.nat(), fc.double({ min: 0.1, max: 5, noNaN: true }), surges, (seed, shape, surge) => {
      const { atMs, phases } = surgeArrivals(seededRandom(seed), shape, surge, 300);
      assert.ok(atMs.length <= 300);
      assert.deepEqual(
        atMs,
        atMs.toSorted((a, b) => a - b),
      );
      assert.ok(atMs.every((at) => at >= 0 && at < phases.at(-1)!.toMs));
    }),
    { numRuns: 60 },
  );
});
