// Checks the small pure policies: restarts, slices, utilization, threads.
// It must never start a process.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultThreads, mostThreads, usableCores } from './cpu-budget.ts';
import { RestartPolicy } from './restart-policy.ts';
import { SlicePacer } from './slice-pacer.ts';
import { Utilization } from './utilization.ts';

test('restarts back off, and stop after five unproductive deaths in a row', () => {
  const policy = new RestartPolicy();
  assert.deepEqual(
    [1, 2, 3, 4, 5].map((at) => policy.afterDeath(at, false, 0)),
    [100, 300, 1_000, 3_000, undefined],
  );
});

test('a decoded step or a long life starts the count anew', () => {
  const policy = new RestartPolicy();
  for (let i = 0; i < 4; i++) policy.afterDeath(i, false, 0);
  assert.equal(policy.afterDeath(5, true, 10), 0);
  for (let i = 0; i < 4; i++) policy.afterDeath(i, false, 0);
  assert.equal(policy.afterDeath(6, false, 60_000), 0);
});

test('100 deaths in 10 minutes are enough, however productive', () => {
  const policy = new RestartPolicy();
  const delays = Array.from({ length: 100 }, (_, i) => policy.afterDeath(i * 5_000, true, 0));
  assert.equal(delays[98], 0);
  assert.equal(delays[99], undefined);
  const slower = new RestartPolicy();
  const spread = Array.from({ length: 300 }, (_, i) => slower.afterDeath(i * 7_000, true, 0));
  assert.ok(spread.every((delay) => delay === 0));
});

/** A prompt longer than any slice. */
const LONG = 4_000;

test('slices follow the measured speed, and shrink only while streams run', () => {
  const pacer = new SlicePacer(0.4);
  const prefilled = (tokens: number, seconds: number): void => {
    for (let i = 0; i < 3; i++) pacer.prefilled(tokens, seconds);
  };
  assert.equal(pacer.next(true, LONG), 64);
  prefilled(64, 0.39);
  assert.equal(pacer.next(true, LONG), 64);
  for (let i = 0; i < 3; i++) pacer.decoded(0.1);
  assert.equal(pacer.next(true, LONG), 32);
  assert.equal(pacer.next(false, LONG), 64);
  prefilled(64, 5);
  assert.equal(pacer.next(false, LONG), 64);
  prefilled(16, 0.02);
  assert.equal(pacer.next(true, LONG), 256);
  prefilled(11, 99);
  assert.equal(pacer.next(true, LONG), 256, 'so few say nothing');
});

test("a prompt's whole rest goes at once where it nearly fits, and never in a size that costs more than a larger one", () => {
  const pacer = new SlicePacer(0.33);
  for (let i = 0; i < 3; i++) {
    pacer.prefilled(64, 0.24);
    pacer.decoded(0.05);
  }
  assert.equal(pacer.next(true, 80), 80, '0.3 s of 0.28');
  assert.equal(pacer.next(true, 90), 64);
  assert.equal(pacer.next(true, 60), 32, '0.34 s, as it is no more than 63');
  assert.equal(pacer.next(true, 26), 26);
  assert.equal(pacer.next(false, 600), 128);
});

test('one step that something else held up changes nothing, a second one does', () => {
  const pacer = new SlicePacer(0.4);
  for (let i = 0; i < 3; i++) pacer.prefilled(64, 0.15);
  assert.equal(pacer.next(true, LONG), 128);
  pacer.prefilled(128, 3);
  assert.equal(pacer.next(true, LONG), 128);
  pacer.prefilled(128, 3);
  assert.equal(pacer.next(true, LONG), 16);
});

test('utilization is the busy share of the last five seconds', () => {
  const utilization = new Utilization();
  assert.equal(utilization.share(0), 0);
  for (let at = 0; at < 5_000; at += 100) utilization.add(at, 0.05);
  assert.ok(Math.abs(utilization.share(5_000 - 1) - 0.5) < 0.01);
  assert.equal(utilization.share(20_000), 0);
  utilization.add(20_000, 99);
  assert.equal(utilization.share(20_001), 1);
});

test('threads: the affinity, the quota, and one core left over', () => {
  const unlimited = () => 'max 100000\n';
  assert.equal(usableCores(8, unlimited), 8);
  assert.equal(
    usableCores(8, () => '250000 100000\n'),
    2,
  );
  assert.equal(
    usableCores(8, () => {
      throw new Error('ENOENT');
    }),
    8,
  );
  assert.equal(
    usableCores(2, () => '50000 100000'),
    1,
  );
  assert.deepEqual([1, 2, 3, 8].map(defaultThreads), [1, 1, 2, 7]);
  assert.deepEqual([1, 2, 4, 5, 8].map(mostThreads), [1, 2, 4, 4, 7]);
});
