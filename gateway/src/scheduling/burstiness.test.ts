// Guards the measure of unevenness: nothing of a metronome, one of chance, more of bursts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../load/seeded-random.ts';
import { Burstiness } from './burstiness.ts';

function variationOf(gaps: readonly number[]): number {
  const burstiness = new Burstiness();
  let at = 0;
  for (const gap of gaps) {
    at += gap;
    burstiness.arrived(at);
  }
  return burstiness.variation;
}

test('few arrivals are taken for chance', () => {
  assert.equal(variationOf([]), 1);
  assert.equal(variationOf(Array(10).fill(5)), 1);
});

test('a metronome has none', () => {
  assert.ok(variationOf(Array(100).fill(20)) < 1e-9);
});

test('chance has about one', () => {
  const random = seededRandom(3);
  const variations = Array.from({ length: 50 }, () =>
    variationOf(Array.from({ length: 300 }, () => -Math.log(1 - random()) * 100)),
  );
  const mean = variations.reduce((sum, one) => sum + one, 0) / variations.length;
  assert.ok(mean > 0.8 && mean < 1.2, `${mean}`);
});

test('bursts have more, within bounds', () => {
  const bursts = Array.from({ length: 300 }, (_, index) => (index % 10 === 0 ? 1_000 : 0));
  assert.ok(variationOf(bursts) > 4);
  assert.equal(variationOf([...Array(300).fill(1), 3_600_000]), 10);
  assert.equal(variationOf(Array(300).fill(0)), 1, 'all at one moment');
});
