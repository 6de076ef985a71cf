// Guards that a back end as a curve takes the time that the curve says, whatever comes and goes, and that its short cuts
// through equal steps change nothing.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { StepCurve } from '../core/step-curve.ts';
import { type Piece, StepEngine } from '../core/step-engine.ts';
import { Histogram } from '../figures/histogram.ts';
import { type Run, SimulatedBackend } from './simulated-backend.ts';
import { CURVE } from './testing.ts';
import { VirtualClock } from './virtual-clock.ts';

function setUp(curve: StepCurve = CURVE) {
  const clock = new VirtualClock();
  const gaps = new Histogram();
  const backend = new SimulatedBackend({ id: 'one', curve, clock, gaps });
  /** Begins a call; its times are there when they have come. */
  const start = (promptTokens: number, outputTokens: number, blocks: readonly number[] = []) => {
    const seen: { run?: Run; spokeAt?: number; endedAt?: number } = {};
    seen.run = backend.start({
      promptTokens,
      outputTokens,
      blocks,
      spoke: () => (seen.spokeAt = clock.now()),
      ended: () => (seen.endedAt = clock.now()),
    });
    return seen;
  };
  return { clock, gaps, backend, start, run: () => clock.run(() => false) };
}

const blocks = (count: number, from = 0) => Array.from({ length: count }, (_, index) => from + index);

test('a call alone takes what the curve says', async () => {
  const { start, run, gaps, backend } = setUp();
  const call = start(200, 5);
  await run();
  assert.equal(call.spokeAt, 220);
  assert.equal(call.endedAt, 260);
  assert.equal(gaps.count, 4);
  assert.equal(call.run!.longestGapMs, 10);
  assert.deepEqual(backend.times, { promptsMs: 220, answersMs: 40, fullMs: 0 });
});

test('a newcomer waits for the step under way, and holds the others up while its prompt is computed', async () => {
  const { clock, start, run } = setUp();
  const first = start(100, 100);
  let second: ReturnType<typeof start> | undefined;
  clock.after(115, () => (second = start(100, 1)));
  await run();
  assert.equal(first.spokeAt, 110);
  assert.equal(second?.spokeAt, 120 + 10 + 110, 'from the end of the step at 110 to 120');
  assert.equal(second.endedAt, second.spokeAt);
  assert.equal(first.run!.longestGapMs, 120);
  assert.equal(first.endedAt, 110 + 98 * 10 + 120);
});

test('a beginning that it has computed is not computed again', async () => {
  const { start, run } = setUp();
  start(100, 60, blocks(10));
  await run();
  const again = start(100, 1, blocks(6));
  assert.equal(again.run!.cachedTokens, 96);
  const other = start(100, 1, [...blocks(3), ...blocks(3, 500)]);
  assert.equal(other.run!.cachedTokens, 48);
  const whole = start(64, 1, blocks(4));
  assert.equal(whole.run!.cachedTokens, 63, 'the last token gives the first of the answer');
  const nextTurn = start(176, 1, [...blocks(10), 777]);
  assert.equal(nextTurn.run!.cachedTokens, 160, 'with the answer');
});

test('its cache is bounded: what was not used for long is gone, ends of prompts first', async () => {
  const { start, run } = setUp({ ...CURVE, cacheTokens: 8 * 16 });
  start(96, 1, blocks(6));
  await run();
  start(64, 1, blocks(4, 100));
  await run();
  assert.equal(start(96, 1, blocks(6)).run!.cachedTokens, 4 * 16);
});

test('a call that is stopped says how many tokens it gave, and frees its place at once', async () => {
  const { clock, start, run, backend } = setUp();
  const [stopped, early] = [start(100, 100, blocks(12)), start(100, 10)];
  let given: number | undefined;
  clock.after(110 + 120 + 35, () => (given = stopped.run!.stop()));
  clock.after(50, () => assert.equal(early.run!.stop(), 0, 'it had not begun'));
  await run();
  // Spoke at 110; its second token came at 120, after the step that early had left, and so on.
  assert.equal(given, 1 + Math.floor((110 + 120 + 35 - 110) / 10));
  assert.equal(stopped.endedAt, undefined);
  assert.equal(stopped.run!.stop(), 0, 'it is over');
  assert.equal(backend.load().kvCacheUsage, 0);
  assert.ok(start(192, 1, blocks(12)).run!.cachedTokens >= 100, 'what it computed is remembered');
});

test('equal steps in one go give the same times as one after the other', async () => {
  const call = fc.record({
    atMs: fc.integer({ min: 0, max: 3000 }),
    promptTokens: fc.integer({ min: 1, max: 250 }),
    outputTokens: fc.integer({ min: 1, max: 120 }),
  });
  // No two events at one moment: there, the order decides.
  const calls = fc.uniqueArray(call, { minLength: 1, maxLength: 8, selector: ({ atMs }) => atMs });
  const prompts = fc.constantFrom('one' as const, 'together' as const);
  await fc.assert(
    fc.asyncProperty(calls, prompts, async (calls, how) => {
      const curve: StepCurve = {
        ...CURVE,
        prompts: how,
        decodeMs: [
          [1, 10.0137],
          [8, 17.0311],
        ],
      };
      const { clock, start, run } = setUp(curve);
      const seen = calls.map(() => ({}) as { spokeAt?: number; endedAt?: number });
      calls.forEach(({ atMs, promptTokens, outputTokens }, index) => {
        clock.after(atMs, () => (seen[index] = start(promptTokens, outputTokens)));
      });
      await run();
      const expected = stepByStep(curve, calls);
      for (const [index, { spokeAt, endedAt }] of expected.entries()) {
        assert.ok(Math.abs(seen[index]!.spokeAt! - spokeAt) < 1e-6, `${index} spoke`);
        assert.ok(Math.abs(seen[index]!.endedAt! - endedAt) < 1e-6, `${index} ended`);
      }
    }),
  );
});

interface TimedCall {
  readonly atMs: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
}

/** The same, slowly. */
function stepByStep(curve: StepCurve, calls: readonly TimedCall[]) {
  const engine = new StepEngine<TimedCall>(curve);
  const spokeAt = new Map<TimedCall, number>();
  const endedAt = new Map<TimedCall, number>();
  const left = calls.toSorted((a, b) => a.atMs - b.atMs);
  let now = 0;
  while (endedAt.size < calls.length) {
    while (left[0] && left[0].atMs <= now) engine.add(left.shift()!);
    const piece: Piece<TimedCall> | undefined = engine.next();
    if (!piece) {
      now = left[0]!.atMs;
      continue;
    }
    now += piece.ms;
    const { spoke, ended } = engine.computed(piece, 1);
    for (const call of spoke) spokeAt.set(call, now);
    for (const call of ended) endedAt.set(call, now);
  }
  return calls.map((call) => ({ spokeAt: spokeAt.get(call)!, endedAt: endedAt.get(call)! }));
}
