// Guards the limit of servers that refuse: it comes down in one step a round trip, goes up only where it is used, stays near
// what the server takes, and follows when that changes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { seededRandom } from '../../load/seeded-random.ts';
import { AimdLimit } from './aimd-limit.ts';
import { meanOf, type SimulatedAnswer, simulateLimit, valuesBetween } from './limit-testing.ts';

const ok = (startedAt: number, running: number) =>
  ({ startedAt, at: startedAt + 100, firstTokenMs: 100, running, outcome: 'ok' }) as const;
const overload = (startedAt: number, running: number) =>
  ({ startedAt, at: startedAt + 100, firstTokenMs: undefined, running, outcome: 'overload' }) as const;

test('all that was under way at an overload is one step', () => {
  const limit = new AimdLimit({ most: 100 });
  for (let startedAt = 0; startedAt < 100; startedAt += 1) limit.sampled(overload(startedAt, 100));
  assert.equal(limit.value, 70);
  limit.sampled(ok(100, 100));
  assert.equal(limit.value, 70, 'and what goes well of it proves nothing either');
  limit.sampled(overload(101, 70));
  assert.equal(limit.value, 49);
});

test('a step begins at what ran, not at a limit that nobody came near', () => {
  const limit = new AimdLimit({ most: 1000 });
  limit.sampled(overload(0, 50));
  assert.equal(limit.value, 70);
});

test('one failure of a server that is hardly used leaves room', () => {
  const limit = new AimdLimit({ most: 256 });
  limit.sampled(overload(0, 1));
  assert.equal(limit.value, 5);
});

test('one more after as many good calls as may run at once, and only while they do', () => {
  const limit = new AimdLimit({ most: 10 });
  limit.sampled(overload(0, 10));
  assert.equal(limit.value, 7);
  for (let count = 0; count < 100; count += 1) limit.sampled(ok(200 + count, 6));
  assert.equal(limit.value, 7, 'nobody needs more');
  for (let count = 0; count < 6; count += 1) limit.sampled(ok(400 + count, 7));
  assert.equal(limit.value, 7);
  limit.sampled(ok(407, 7));
  assert.equal(limit.value, 8);
  for (let count = 0; count < 1000; count += 1) limit.sampled(ok(500 + count, 10));
  assert.equal(limit.value, 10, 'never above its bound');
});

test('what a client broke off says nothing', () => {
  const limit = new AimdLimit({ most: 10 });
  limit.sampled({ startedAt: 0, at: 1, firstTokenMs: undefined, running: 10, outcome: 'ignored' });
  assert.equal(limit.value, 10);
});

test('whatever it is told, it stays within 1 and its bound', () => {
  const sample = fc.record({
    startedAt: fc.nat(10_000),
    lasted: fc.nat(1_000),
    running: fc.integer({ min: 1, max: 300 }),
    outcome: fc.constantFrom('ok' as const, 'overload' as const, 'ignored' as const),
  });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 200 }), fc.array(sample, { maxLength: 300 }), (most, samples) => {
      const limit = new AimdLimit({ most });
      for (const { startedAt, lasted, running, outcome } of samples) {
        limit.sampled({ startedAt, at: startedAt + lasted, firstTokenMs: lasted, running, outcome });
        assert.ok(Number.isInteger(limit.value) && limit.value >= 1 && limit.value <= most, `${limit.value}`);
      }
    }),
  );
});

/** It refuses at once what is above its knee; the rest takes some seconds. */
function refusing(knee: (now: number) => number, random: () => number) {
  return (running: number, now: number): SimulatedAnswer =>
    running > knee(now)
      ? { firstTokenMs: undefined, holdMs: 20 }
      : { firstTokenMs: 200 + 200 * random(), holdMs: 1_000 + 2_000 * random() };
}

test('against a server that refuses above its knee it stays near the knee, and follows when that moves', () => {
  const knee = fc.integer({ min: 2, max: 80 });
  fc.assert(
    fc.property(knee, knee, fc.nat(), (before, after, seed) => {
      const limit = new AimdLimit({ most: 256 });
      const movesAt = 600_000;
      const untilMs = 1_800_000;
      const server = refusing((now) => (now < movesAt ? before : after), seededRandom(seed));
      const course = simulateLimit(limit, { server, untilMs });
      for (const [at, values] of [
        [before, valuesBetween(course, movesAt / 2, movesAt)],
        [after, valuesBetween(course, untilMs - 300_000, untilMs)],
      ] as const) {
        assert.ok(Math.max(...values) <= at + 1, `${Math.max(...values)} with a knee at ${at}`);
        assert.ok(Math.min(...values) >= Math.floor((at + 1) * 0.7) - 1, `${Math.min(...values)} of ${at}`);
        assert.ok(meanOf(values) >= 0.7 * at, `${meanOf(values)} on average, of ${at}`);
      }
    }),
    { numRuns: 20 },
  );
});
