// Guards that nobody is told that a rest is over while it is not.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RestTimer } from './rest-timer.ts';

test('a timer that runs too soon waits for what is left', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let left = 10;
  let told = 0;
  new RestTimer().start(
    () => left,
    () => {
      told += 1;
    },
  );
  left = 0.01;
  t.mock.timers.tick(11);
  assert.equal(told, 0);
  left = 0;
  t.mock.timers.tick(2);
  assert.equal(told, 1);
  t.mock.timers.tick(1_000);
  assert.equal(told, 1);
});

test('a new rest takes the place of the old one, and a stopped one is never over', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const told: string[] = [];
  const timer = new RestTimer();
  let now = 0;
  timer.start(
    () => Math.max(0, 5 - now),
    () => told.push('first'),
  );
  timer.start(
    () => Math.max(0, 20 - now),
    () => told.push('second'),
  );
  now = 30;
  t.mock.timers.tick(30);
  assert.deepEqual(told, ['second']);
  timer.start(
    () => 5,
    () => told.push('third'),
  );
  timer.stop();
  t.mock.timers.tick(100);
  assert.deepEqual(told, ['second']);
});
