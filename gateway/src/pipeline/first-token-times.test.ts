// Guards when a first token counts as late: by the newest times only, from enough of them, near the true percentile.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FirstTokenTimes } from './first-token-times.ts';

test('few times say nothing', () => {
  const times = new FirstTokenTimes();
  for (let call = 0; call < 39; call += 1) times.add(10);
  assert.equal(times.lateMs, undefined);
  times.add(10);
  assert.equal(times.lateMs, 10);
});

test('in any order, one in twenty of the newest is late', () => {
  const times = Array.from({ length: 40 + 32 * 62 }, (_, index) => index + 1);
  fc.assert(
    fc.property(fc.shuffledSubarray(times, { minLength: times.length }), (ms) => {
      const seen = new FirstTokenTimes();
      for (const one of ms) seen.add(one);
      const late = ms.slice(-1_024).filter((one) => one > seen.lateMs!);
      assert.equal(late.length, Math.floor(1_024 / 20));
    }),
    { numRuns: 20 },
  );
});

test('a back end that has become slower is not late for long', () => {
  const times = new FirstTokenTimes();
  for (let call = 0; call < 2_000; call += 1) times.add(10);
  for (let call = 0; call < 1_024 + 32; call += 1) times.add(100);
  assert.equal(times.lateMs, 100);
});
