// Guards the mean of recent values: no guess outlives the first one, and old ones fade.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RecentMean } from './recent-mean.ts';

test('a guess counts only until something came; few values count alike, of many the last ones most', () => {
  const mean = new RecentMean(1_000);
  assert.equal(mean.value, 1_000);
  mean.add(50);
  assert.equal(mean.value, 50);
  mean.add(70);
  assert.equal(mean.value, 60);
  for (let index = 0; index < 100; index += 1) mean.add(200);
  assert.ok(Math.abs(mean.value - 200) < 1, `${mean.value}`);
});
