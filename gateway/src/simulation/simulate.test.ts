// Guards a simulated load: the same for the same seed, nobody lost, times as curves and queueing theory have them, and
// clients that wait, leave and come back as people do.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { StepCurve } from '../core/step-curve.ts';
import { seededRandom } from '../load/seeded-random.ts';
import { simulate } from './simulate.ts';
import type { RequestEnd } from './simulated-client.ts';
import { arrival, CURVE, optionsFor } from './testing.ts';
import { type Arrival, workload } from './workload.ts';

/** As many calls as wanted at random times; the mean gap between them in ms. */
function poisson(seed: number, count: number, gapMs: number, more: Partial<Arrival> = {}): Arrival[] {
  const random = seededRandom(seed);
  let atMs = 0;
  return Array.from({ length: count }, () => {
    atMs -= Math.log(1 - random()) * gapMs;
    return arrival(atMs, more);
  });
}

const mean = (values: readonly number[]) => values.reduce((sum, one) => sum + one, 0) / values.length;
const first = (ends: readonly RequestEnd[]) => ends.map(({ firstTokenMs }) => firstTokenMs);

test('a request alone takes what the curve says', async () => {
  const { ends, gaps, lastedMs } = await simulate(optionsFor([arrival(1000)]));
  const [end] = ends;
  assert.equal(end!.outcome, 'answered');
  assert.equal(end!.queueMs, 0);
  assert.ok(Math.abs(end!.firstTokenMs! - 110) < 1e-9);
  assert.ok(Math.abs(lastedMs - (1000 + 110 + 9 * 10)) < 1e-9);
  assert.equal(gaps.count, 9);
});

test('the same load comes to the same, to the last digit', async () => {
  const rows = poisson(3, 600, 60).map(({ atMs }, index) => ({
    atMs,
    promptTokens: 20 + ((index * 37) % 300),
    outputTokens: 1 + ((index * 53) % 80),
  }));
  const once = () => {
    const options = {
      seed: 5,
      tenants: 3,
      mix: { interactive: 6, standard: 3, batch: 1 },
      turns: 0.5,
      systemTokens: 64,
    };
    return simulate(optionsFor(workload(rows, options), { replicas: 2, returns: true }));
  };
  const [one, other] = [await once(), await once()];
  assert.deepEqual(one.ends, other.ends);
  assert.deepEqual(one.queue, other.queue);
  assert.ok(
    one.ends.some(({ outcome }) => outcome !== 'answered'),
    'the load is more than can be served',
  );
});

test('whatever the load, every request ends in exactly one way, and what was answered was computed', async () => {
  const one = fc.record({
    atMs: fc.integer({ min: 0, max: 5000 }),
    promptTokens: fc.integer({ min: 1, max: 400 }),
    outputTokens: fc.integer({ min: 1, max: 60 }),
    tenant: fc.constantFrom('a', 'b', 'c'),
    priority: fc.constantFrom('interactive' as const, 'standard' as const, 'batch' as const),
  });
  const load = fc.record({
    calls: fc.array(one, { maxLength: 60 }),
    replicas: fc.integer({ min: 1, max: 3 }),
    returns: fc.boolean(),
    patienceMs: fc.constantFrom(200, 2000, 30_000),
    maxTokens: fc.constantFrom(500, 5000, 500_000),
    continues: fc.constantFrom('ids' as const, 'text' as const),
  });
  await fc.assert(
    fc.asyncProperty(load, async ({ calls, replicas, returns, patienceMs, maxTokens, continues }) => {
      const arrivals = calls.map(({ atMs, ...rest }) => arrival(atMs, rest)).sort((a, b) => a.atMs - b.atMs);
      const { ends, queue, lastedMs } = await simulate(
        optionsFor(arrivals, {
          replicas,
          returns,
          patienceMs,
          curve: { ...CURVE, continues },
          queue: { maxTokens, maxWaitMs: 3000 },
        }),
      );
      assert.equal(ends.length, arrivals.length);
      assert.equal(new Set(ends.map((end) => end.arrival)).size, arrivals.length);
      for (const { outcome, firstTokenMs, queueMs, endedAtMs, asked, arrival } of ends) {
        assert.ok(endedAtMs >= arrival.atMs && endedAtMs <= lastedMs && asked >= 1);
        if (outcome === 'answered')
          assert.ok(firstTokenMs! >= queueMs! + 11 - 1e-9, 'a slot, and then a step');
        if (outcome === 'refused') assert.equal(firstTokenMs, undefined);
      }
      for (const { running } of queue) assert.ok(running <= replicas * CURVE.slots);
    }),
    { numRuns: 40 },
  );
});

test('one server with equal work and chance arrivals makes people wait as the formula of Pollaczek and Khinchine says', async () => {
  // M/D/1: the mean wait is load / (2 (1 - load)) of a service.
  const serviceMs = 110;
  const curve: StepCurve = { ...CURVE, slots: 1 };
  for (const load of [0.5, 0.8]) {
    const arrivals = poisson(11, 25_000, serviceMs / load, { outputTokens: 1, priority: 'batch' });
    const queue = { maxTokens: 1e9, maxWaitMs: 1e9 };
    const { ends } = await simulate(optionsFor(arrivals, { curve, queue }));
    const waited = mean(ends.map(({ queueMs }) => queueMs!));
    const expected = (load / (2 * (1 - load))) * serviceMs;
    assert.ok(Math.abs(waited / expected - 1) < 0.05, `at ${load}: ${waited} instead of ${expected}`);
  }
});

test('who has no first token when its patience is over leaves, and takes no time any more; batch waits', async () => {
  const busy = Array.from({ length: 4 }, () => arrival(0, { priority: 'batch', outputTokens: 1000 }));
  const arrivals = [...busy, arrival(1000), arrival(1000, { priority: 'batch' })];
  const { ends } = await simulate(optionsFor(arrivals, { patienceMs: 700, objectiveMs: 5000 }));
  const [left, ...others] = ends;
  assert.equal(left!.outcome, 'left');
  assert.equal(left!.endedAtMs, 1700);
  assert.deepEqual(
    others.map(({ outcome }) => outcome),
    Array(5).fill('answered'),
  );
});

test('who has a slot but no first token when it is due is ended, and takes no time any more', async () => {
  const arrivals = [arrival(0, { promptTokens: 1000 }), arrival(10)];
  const { ends } = await simulate(optionsFor(arrivals));
  const [late, other] = ends;
  assert.deepEqual([late!.outcome, late!.endedAtMs, late!.firstTokenMs], ['late', 500, undefined]);
  assert.deepEqual([other!.outcome, other!.endedAtMs], ['late', 510], 'its prompt waited for the other');
  const patient = await simulate(optionsFor(arrivals, { objectiveMs: Infinity }));
  assert.deepEqual(
    patient.ends.map(({ outcome }) => outcome),
    ['answered', 'answered'],
  );
});

test('who reads already does not leave, however long the answer is', async () => {
  const { ends } = await simulate(optionsFor([arrival(0, { outputTokens: 1000 })], { patienceMs: 200 }));
  assert.equal(ends[0]!.outcome, 'answered');
  assert.ok(ends[0]!.endedAtMs > 10_000);
});

test('who is refused comes back when it was told to, if it is one who does', async () => {
  // All slots are taken for two seconds; one waits, and there is no room for another.
  const arrivals = [
    ...Array.from({ length: 4 }, () => arrival(0, { outputTokens: 150 })),
    arrival(600, { priority: 'batch' }),
    arrival(700, { outputTokens: 1 }),
  ];
  const queue = { maxTokens: 100, maxWaitMs: 60_000 };
  const stay = await simulate(optionsFor(arrivals, { queue }));
  const refused = stay.ends.find((end) => end.arrival.atMs === 700)!;
  assert.equal(refused.outcome, 'refused');
  const back = await simulate(optionsFor(arrivals, { queue, returns: true }));
  const returned = back.ends.find((end) => end.arrival.atMs === 700)!;
  assert.equal(returned.outcome, 'answered');
  assert.ok(returned.asked > 1 && returned.askedAtMs >= 1700);
  assert.equal(back.returned.admitted, 1);
  assert.equal(back.returned.asked, returned.asked - 1);
  assert.ok(returned.firstTokenMs! < 700, 'from its last asking on');
});

test('two replicas serve what one cannot', async () => {
  const arrivals = poisson(2, 400, 100, { priority: 'standard', outputTokens: 20 });
  const one = await simulate(optionsFor(arrivals));
  const two = await simulate(optionsFor(arrivals, { replicas: 2 }));
  const answered = (ends: readonly RequestEnd[]) =>
    ends.filter(({ outcome }) => outcome === 'answered').length;
  assert.ok(answered(two.ends) > answered(one.ends));
  assert.equal(two.busy.length, 2);
  assert.ok(first(two.ends).every((ms) => ms === undefined || ms >= 110 - 1e-9));
});
