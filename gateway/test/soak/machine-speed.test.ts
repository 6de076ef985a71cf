// Guards that a machine which loses speed for a while is seen, and one that stutters once is not. The clock is moved by hand.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../manual-clock.ts';
import { watchSpeed } from './machine-speed.ts';

function setUp() {
  const clock = new ManualClock();
  let workMs = 0;
  const watch = watchSpeed({ clock, work: () => workMs });
  /** Looks so many times while a piece of work takes this long. */
  const look = (times: number, tookMs: number) => {
    workMs = tookMs;
    for (let time = 0; time < times; time += 1) clock.advance(100);
  };
  return { clock, watch, look };
}

test('half the speed for two seconds is seen, whatever comes before and after', async () => {
  const { watch, look } = setUp();
  await watch.measure(async () => look(30, 4));
  look(50, 4);
  assert.equal(watch.slowest(), 1);
  look(20, 8);
  look(50, 4);
  assert.equal(watch.slowest(), 0.5);
});

test('one piece of work that took long is no slow machine, nor is a fast one slow', async () => {
  const { watch, look } = setUp();
  await watch.measure(async () => look(30, 4));
  look(40, 4);
  look(1, 24);
  look(40, 4);
  assert.equal(watch.slowest(), 0.8);
  look(200, 1);
  assert.equal(watch.slowest(), 0.8);
});

test('who has not looked has no measure, and who stops looks no more', async () => {
  const { clock, watch, look } = setUp();
  await assert.rejects(
    watch.measure(async () => {}),
    /over before the speed/,
  );
  look(30, 4);
  assert.equal(watch.slowest(), Number.NaN);
  watch.stop();
  assert.equal(clock.pendingTimers, 0);
});
