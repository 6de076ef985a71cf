// Guards that what is taken of the time to come is taken once, and is free again when it is over.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../test/manual-clock.ts';
import { Calendar } from './calendar.ts';

function setUp() {
  const clock = new ManualClock(1_000_000);
  const calendar = new Calendar(clock);
  /** Quarters of a second, from now on, of which nothing is left, up to three minutes ahead. */
  const full = () =>
    Array.from({ length: 720 }, (_, index) => index).filter(
      (index) => !calendar.hasRoomAt(clock.now() + index * 250),
    );
  return { clock, calendar, full };
}

test('who takes more than is left of a quarter of a second takes the rest from those behind it', () => {
  const { clock, calendar, full } = setUp();
  calendar.take(clock.now() + 250, 300);
  calendar.take(clock.now() + 750, 250);
  assert.deepEqual(full().slice(0, 2), [1, 3]);
  calendar.take(clock.now(), 450);
  assert.deepEqual(full().slice(0, 4), [0, 1, 2, 3]);
});

test('what is over is free, a long time later too', () => {
  for (const laterMs of [10_250, 10_000_000]) {
    const { clock, calendar, full } = setUp();
    calendar.take(clock.now(), 10_000);
    assert.equal(calendar.isFree, false);
    clock.advance(laterMs);
    assert.equal(calendar.isFree, true);
    assert.equal(full()[0], 512, 'all that is counted');
  }
});

test('nothing is promised of what is too far ahead to be counted', () => {
  const { clock, calendar, full } = setUp();
  calendar.take(clock.now() + 127_000, 60_000);
  assert.equal(full()[0], 508);
  clock.advance(60_000);
  assert.equal(full()[0], 268);
});
