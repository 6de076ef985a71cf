// Guards what every limit rests on: nothing is forgotten within a minute, everything is after little more, and the wait that
// is told is long enough and no longer.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SlidingWindow } from './sliding-window.ts';

const MINUTE = 60_000;
/** What the window may count too long. */
const GRAIN = 500;

test('what was added counts for a minute, then no more', () => {
  const window = new SlidingWindow(MINUTE);
  window.add(1_234, 3);
  assert.equal(window.total(1_234), 3);
  assert.equal(window.total(1_234 + MINUTE), 3);
  assert.equal(window.total(1_234 + MINUTE + GRAIN), 0);
});

test('a time without any use, however long, leaves nothing', () => {
  const window = new SlidingWindow(MINUTE);
  window.add(0, 5);
  assert.equal(window.total(10 * 24 * 60 * MINUTE), 0);
  window.add(10 * 24 * 60 * MINUTE, 1);
  assert.equal(window.total(10 * 24 * 60 * MINUTE), 1);
});

test('what fits does not wait; what does not waits until the oldest is forgotten', () => {
  const window = new SlidingWindow(MINUTE);
  window.add(0, 6);
  window.add(10_000, 4);
  assert.equal(window.waitMs(20_000, 10, 0), 0);
  assert.equal(window.waitMs(20_000, 11, 1), 0);
  assert.equal(window.waitMs(20_000, 10, 6), MINUTE + GRAIN - 20_000);
  assert.equal(window.waitMs(20_000, 10, 7), MINUTE + GRAIN - 10_000);
});

test('it says when all is forgotten', () => {
  const window = new SlidingWindow(MINUTE);
  assert.equal(window.emptyInMs(5_000), 0);
  window.add(5_000, 1);
  window.add(9_000, 1);
  assert.equal(window.emptyInMs(9_000), MINUTE + GRAIN);
});

test('what is taken back is as if it had never been, and what counts no more stays so', () => {
  const window = new SlidingWindow(MINUTE);
  window.add(1_000, 5);
  window.add(30_000, 7);
  window.takeBack(30_000, 1_000, 4);
  assert.equal(window.total(30_000), 8);
  window.takeBack(1_000 + MINUTE + GRAIN, 1_000, 1);
  assert.equal(window.total(1_000 + MINUTE + GRAIN), 7);
});

test('an hour and a day are as a minute is, in coarser steps', () => {
  for (const windowMs of [60 * MINUTE, 24 * 60 * MINUTE]) {
    const grain = windowMs / 120;
    const window = new SlidingWindow(windowMs);
    window.add(5_000, 7);
    assert.equal(window.total(5_000 + windowMs), 7);
    assert.equal(window.waitMs(10_000, 7, 1), windowMs + grain - 10_000);
    assert.equal(window.total(5_000 + windowMs + grain), 0);
  }
});

const steps = fc.array(
  fc.record({ afterMs: fc.integer({ min: 0, max: 20_000 }), amount: fc.integer({ min: 1, max: 50 }) }),
  { maxLength: 80 },
);

test('against a list of all uses: never less than the last minute, never more than one grain beyond it', () => {
  fc.assert(
    fc.property(steps, (uses) => {
      const window = new SlidingWindow(MINUTE);
      const all: { at: number; amount: number }[] = [];
      let now = 0;
      const since = (from: number) =>
        all.filter(({ at }) => at >= from).reduce((sum, { amount }) => sum + amount, 0);
      for (const { afterMs, amount } of uses) {
        now += afterMs;
        window.add(now, amount);
        all.push({ at: now, amount });
        const total = window.total(now);
        assert.ok(total >= since(now - MINUTE));
        assert.ok(total <= since(now - MINUTE - GRAIN));
      }
    }),
  );
});

test('after the wait that is told the amount fits, and just before it does not', () => {
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 100 }), (uses, amount) => {
      const window = new SlidingWindow(MINUTE);
      let now = 0;
      for (const use of uses) {
        now += use.afterMs;
        window.add(now, use.amount);
      }
      const waitMs = window.waitMs(now, 100, amount);
      if (waitMs > 0) assert.ok(window.total(now + waitMs - 1) + amount > 100);
      assert.ok(window.total(now + waitMs) + amount <= 100);
    }),
  );
});
