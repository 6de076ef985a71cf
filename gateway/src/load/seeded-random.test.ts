// Chance by seed: the same again for the same seed, and of the distributions that it says.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gammaWithMeanOne, seededRandom } from './seeded-random.ts';

const COUNT = 20_000;

function sample(shape: number, seed = 1): number[] {
  const random = seededRandom(seed);
  return Array.from({ length: COUNT }, () => gammaWithMeanOne(random, shape));
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

test('the same seed gives the same numbers, another one others', () => {
  assert.deepEqual(sample(1), sample(1));
  assert.notDeepEqual(sample(1).slice(0, 5), sample(1, 2).slice(0, 5));
});

test('numbers are even between 0 and 1', () => {
  const random = seededRandom(7);
  const tenths = new Array<number>(10).fill(0);
  for (let count = 0; count < COUNT; count += 1) tenths[Math.floor(random() * 10)]! += 1;
  for (const count of tenths) assert.ok(Math.abs(count / COUNT - 0.1) < 0.01, `${tenths}`);
});

for (const shape of [0.25, 0.9, 1, 4]) {
  test(`gaps of shape ${shape} have a mean of 1 and a variance of ${1 / shape}`, () => {
    const values = sample(shape);
    const mean = meanOf(values);
    const variance = meanOf(values.map((value) => (value - mean) ** 2));
    assert.ok(values.every((value) => value >= 0 && Number.isFinite(value)));
    assert.ok(Math.abs(mean - 1) < 0.05, `mean ${mean}`);
    assert.ok(Math.abs(variance * shape - 1) < 0.12, `variance ${variance}`);
  });
}
