// Guards when a silence is told of, on a clock that the test moves.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../../test/manual-clock.ts';
import { Silence } from './silence.ts';

test('a silence is told of when it has lasted, and again after as long', () => {
  const clock = new ManualClock();
  const toldAt: number[] = [];
  const silence = new Silence(clock, 100, () => toldAt.push(clock.now()));
  for (let times = 0; times < 4; times += 1) {
    clock.advance(30);
    silence.heard();
  }
  clock.advance(99);
  assert.deepEqual(toldAt, []);
  clock.advance(231);
  assert.deepEqual(toldAt, [220, 320, 420]);
  silence.heard();
  clock.advance(100);
  assert.deepEqual(toldAt, [220, 320, 420, 550]);
  silence.stop();
  assert.equal(clock.pendingTimers, 0);
});

test('who is told may stop it', () => {
  const clock = new ManualClock();
  let told = 0;
  const silence: Silence = new Silence(clock, 100, () => {
    told += 1;
    silence.stop();
  });
  clock.advance(1_000);
  assert.equal(told, 1);
  assert.equal(clock.pendingTimers, 0);
});
