// Guards the limit of servers that refuse nothing: it comes to rest a little above the knee, where first tokens begin to wait,
// however long the load lasts; it follows when the knee moves, and takes longer prompts for no queue.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { seededRandom } from '../../load/seeded-random.ts';
import { GradientLimit } from './gradient-limit.ts';
import { type LimitAt, type SimulatedAnswer, simulateLimit, valuesBetween } from './limit-testing.ts';

interface Shape {
  /** Calls at once up to which a first token takes no longer. */
  readonly knee: number;
  /** To the first token up to there, in ms. */
  readonly baseMs: number;
}

/** Beyond its knee it takes longer in proportion; each call by a little more or less. */
function queueing(shape: (now: number) => Shape, random: () => number) {
  return (running: number, now: number): SimulatedAnswer => {
    const { knee, baseMs } = shape(now);
    const firstTokenMs = baseMs * Math.max(1, running / knee) * (0.8 + 0.4 * random());
    return { firstTokenMs, holdMs: firstTokenMs + 500 + 500 * random() };
  };
}

/** Where the tolerance and the allowed queue balance, above the knee. */
function restOf(knee: number): number {
  return 1.5 * knee + Math.sqrt(1.5 * knee) + 1;
}

function assertNear(course: readonly LimitAt[], from: number, to: number, knee: number): void {
  const values = valuesBetween(course, from, to);
  const least = values.reduce((one, other) => Math.min(one, other));
  const most = values.reduce((one, other) => Math.max(one, other));
  assert.ok(least >= 0.9 * knee && most <= 1.3 * restOf(knee), `${least} to ${most} with a knee at ${knee}`);
  assert.ok(most / least < 1.6, `it swings from ${least} to ${most}`);
}

/** The load grows from nothing, so that the back end is known as it is without a queue. */
const growing = (now: number) => 1 + now / 1_000;
const MINUTE = 60_000;

test('it comes to rest a little above the knee, and follows when that moves', () => {
  const knee = fc.integer({ min: 4, max: 60 });
  fc.assert(
    fc.property(knee, knee, fc.nat(), (before, after, seed) => {
      const limit = new GradientLimit({ most: 500 });
      const shape = (now: number) => ({ knee: now < 20 * MINUTE ? before : after, baseMs: 300 });
      const server = queueing(shape, seededRandom(seed));
      const course = simulateLimit(limit, { server, offered: growing, untilMs: 40 * MINUTE });
      assertNear(course, 15 * MINUTE, 20 * MINUTE, before);
      assertNear(course, 35 * MINUTE, 40 * MINUTE, after);
    }),
    { numRuns: 10 },
  );
});

test('a load that never lets up does not teach it that a queue is normal', () => {
  const limit = new GradientLimit({ most: 500 });
  const server = queueing(() => ({ knee: 10, baseMs: 300 }), seededRandom(1));
  const course = simulateLimit(limit, { server, offered: growing, untilMs: 180 * MINUTE });
  assertNear(course, 10 * MINUTE, 180 * MINUTE, 10);
});

test('first tokens that are slower with half as much to do, too, are slower by themselves', () => {
  const limit = new GradientLimit({ most: 500 });
  const shape = (now: number) => ({ knee: 40, baseMs: now < 10 * MINUTE ? 300 : 900 });
  const server = queueing(shape, seededRandom(2));
  const course = simulateLimit(limit, { server, offered: growing, untilMs: 60 * MINUTE });
  assertNear(course, 8 * MINUTE, 10 * MINUTE, 40);
  assertNear(course, 50 * MINUTE, 60 * MINUTE, 40);
});

const sample = (startedAt: number, firstTokenMs: number, running: number) =>
  ({ startedAt, at: startedAt + firstTokenMs, firstTokenMs, running, outcome: 'ok' }) as const;

test('a limit of which not half is used is not raised', () => {
  const limit = new GradientLimit({ most: 100 });
  for (let count = 0; count < 1_000; count += 1) limit.sampled(sample(count * 1_000, 100, 9));
  assert.equal(limit.value, 20);
  for (let count = 0; count < 1_000; count += 1) limit.sampled(sample(2_000_000 + count * 1_000, 100, 20));
  assert.ok(limit.value > 30, `${limit.value}`);
});

test('one long prompt among short ones changes nothing', () => {
  const limit = new GradientLimit({ most: 100 });
  for (let count = 0; count < 20; count += 1) limit.sampled(sample(count * 1_000, 100, 1));
  const before = limit.value;
  for (let count = 0; count < 10; count += 1) {
    limit.sampled(sample(100_000 + count * 10, count === 4 ? 60_000 : 100, 20));
  }
  assert.ok(limit.value >= before, `${limit.value}`);
});

test('a refusal brings it down at once, and all of one moment once', () => {
  const limit = new GradientLimit({ most: 100 });
  for (let startedAt = 0; startedAt < 20; startedAt += 1) {
    limit.sampled({ startedAt, at: 50, firstTokenMs: undefined, running: 20, outcome: 'overload' });
  }
  assert.equal(limit.value, 14);
});

test('whatever it is told, it stays within 1 and its bound', () => {
  const any = fc.record({
    startedAt: fc.nat(1_000_000),
    firstTokenMs: fc.option(fc.integer({ min: 1, max: 100_000 }), { nil: undefined }),
    running: fc.integer({ min: 1, max: 300 }),
    outcome: fc.constantFrom(
      'ok' as const,
      'ok' as const,
      'ok' as const,
      'overload' as const,
      'ignored' as const,
    ),
  });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 200 }), fc.array(any, { maxLength: 500 }), (most, samples) => {
      const limit = new GradientLimit({ most });
      for (const { startedAt, firstTokenMs, running, outcome } of samples) {
        const at = startedAt + (firstTokenMs ?? 10);
        limit.sampled({ startedAt, at, firstTokenMs, running, outcome });
        assert.ok(Number.isInteger(limit.value) && limit.value >= 1 && limit.value <= most, `${limit.value}`);
      }
    }),
  );
});
