// Guards the choice of a back end: a free place in the first tier that has one, ties by fair chance, each measure in its
// direction, work in seconds and not in calls, and no bonus for who has more than its part to do.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { seededRandom } from '../load/seeded-random.ts';
import { type Candidate, pick, type RoutingWeights, USUAL_WEIGHTS } from './router.ts';

const IDLE: Candidate = {
  tier: 0,
  running: 0,
  limit: 16,
  isLate: false,
  outstandingTokens: 0,
  callTokens: 500,
  tokensPerSecond: 1_000,
  kvCacheUsage: undefined,
  prefixShare: 0,
  isSessionHome: false,
  price: undefined,
};
const NOTHING: RoutingWeights = { prefix: 0, load: 0, kvCache: 0, session: 0, price: 0 };

/** With so many calls of 500 tokens. */
const busyWith = (running: number, more: Partial<Candidate> = {}): Candidate => ({
  ...IDLE,
  running,
  outstandingTokens: 500 * running,
  ...more,
});
const pickOf = (...candidates: Candidate[]) => pick(candidates, USUAL_WEIGHTS, () => 0);

test('without a free place there is nowhere to go', () => {
  assert.equal(pickOf(), undefined);
  assert.equal(pickOf({ ...IDLE, limit: 0 }, busyWith(16)), undefined);
});

test('a tier is left only when all of it is full, whatever speaks for the next', () => {
  const next: Candidate = { ...IDLE, tier: 1, prefixShare: 1, isSessionHome: true, price: 0 };
  assert.equal(pickOf(next, busyWith(15, { price: 9 }), busyWith(16)), 1);
  assert.equal(pickOf(busyWith(16), next), 1);
});

test('each measure speaks for the better one', () => {
  const better: readonly Partial<Candidate>[] = [
    { prefixShare: 0.5 },
    { isSessionHome: true },
    { tokensPerSecond: 2_000 },
    { outstandingTokens: 400 },
    { callTokens: 100 },
    { others: 1 },
    { kvCacheUsage: 0.1 },
    { price: 1 },
  ];
  const base = busyWith(1, { kvCacheUsage: 0.3, price: 2, others: 2 });
  for (const difference of better) {
    assert.equal(pickOf(base, { ...base, ...difference }), 1, JSON.stringify(difference));
    assert.equal(pickOf({ ...base, ...difference }, base), 0, JSON.stringify(difference));
  }
});

test('what counts is how long the work takes, not how many calls it is', () => {
  const manyShort = { ...IDLE, running: 6, outstandingTokens: 600 };
  const fewLong = { ...IDLE, running: 2, outstandingTokens: 20_000 };
  assert.equal(pickOf(fewLong, manyShort), 1);
  const fast = { ...fewLong, tokensPerSecond: 100_000 };
  assert.equal(pickOf(fast, manyShort), 0);
});

test('where no speed is known the shares of the places count, and one that is not measured is like the others', () => {
  const unknown = { tokensPerSecond: undefined };
  assert.equal(pickOf(busyWith(4, { ...unknown, limit: 8 }), busyWith(5, { ...unknown, limit: 16 })), 1);
  assert.equal(pickOf(busyWith(4, { tokensPerSecond: 100 }), busyWith(3, unknown)), 1);
  assert.equal(pickOf(busyWith(2, { tokensPerSecond: 100 }), busyWith(3, unknown)), 0);
});

test('a conversation goes home while that has no more than its part to do, and elsewhere when it has', () => {
  const home = (running: number) => busyWith(running, { prefixShare: 1, isSessionHome: true });
  assert.equal(pickOf(busyWith(8), home(8)), 1);
  assert.equal(pickOf(busyWith(7), home(9)), 1);
  assert.equal(pickOf(busyWith(5), home(11)), 0);
  assert.equal(pickOf(busyWith(0), home(3)), 1, 'a few calls are no load');
  assert.equal(pickOf(busyWith(0), home(8)), 0);
});

test('a warm back end that is full keeps nobody waiting', () => {
  assert.equal(pickOf(busyWith(16, { prefixShare: 1 }), busyWith(15)), 1);
});

test('equals are chosen evenly', () => {
  const random = seededRandom(3);
  const counts = [0, 0, 0, 0, 0];
  const worse = busyWith(5);
  for (let count = 0; count < 8_000; count += 1) {
    counts[pick([IDLE, worse, IDLE, IDLE, IDLE], USUAL_WEIGHTS, random)!]! += 1;
  }
  assert.equal(counts[1], 0);
  for (const index of [0, 2, 3, 4]) assert.ok(Math.abs(counts[index]! - 2_000) < 200, counts.join(' '));
});

test('a weight of nothing takes its measure out', () => {
  const random = seededRandom(4);
  const warm = busyWith(9, { prefixShare: 1, isSessionHome: true, price: 5, kvCacheUsage: 0.9 });
  let chosen = 0;
  for (let count = 0; count < 1_000; count += 1) chosen += pick([warm, IDLE], NOTHING, random) === 0 ? 1 : 0;
  assert.ok(chosen > 400 && chosen < 600, `${chosen}`);
});

const candidate: fc.Arbitrary<Candidate> = fc.record({
  tier: fc.nat(2),
  running: fc.nat(20),
  limit: fc.nat(20),
  isLate: fc.boolean(),
  outstandingTokens: fc.nat(100_000),
  callTokens: fc.nat(10_000),
  tokensPerSecond: fc.option(fc.integer({ min: 1, max: 10_000 }), { nil: undefined }),
  others: fc.option(fc.nat(50), { nil: undefined }),
  kvCacheUsage: fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { nil: undefined }),
  prefixShare: fc.double({ min: 0, max: 1, noNaN: true }),
  isSessionHome: fc.boolean(),
  price: fc.option(fc.double({ min: 0, max: 100, noNaN: true }), { nil: undefined }),
});

test('whoever is chosen has a free place, in the first tier with one, in time if one of these is, and somebody is chosen if there is one', () => {
  fc.assert(
    fc.property(fc.array(candidate, { maxLength: 8 }), fc.nat(), (candidates, seed) => {
      const chosen = pick(candidates, USUAL_WEIGHTS, seededRandom(seed));
      const free = candidates.filter(({ running, limit }) => running < limit);
      if (free.length === 0) {
        assert.equal(chosen, undefined);
        return;
      }
      assert.ok(chosen !== undefined && free.includes(candidates[chosen]!));
      const { tier, isLate } = candidates[chosen]!;
      assert.equal(tier, Math.min(...free.map((one) => one.tier)));
      assert.ok(!isLate || free.every((one) => one.tier > tier || one.isLate), 'another would be in time');
    }),
  );
});
