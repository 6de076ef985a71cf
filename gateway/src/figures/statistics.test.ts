// The few figures that samples are told by.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { median, quantile, spreadOf } from './statistics.ts';

test('quantiles lie between the nearest samples', () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 2, 3]), 2.5);
  assert.equal(quantile([0, 100], 0.99), 99);
  assert.equal(quantile([5], 0.99), 5);
});

test('a spread is the middle between its ends', () => {
  assert.deepEqual(spreadOf([1.26, 9, 4], 1), { median: 4, least: 1.3, most: 9 });
  assert.deepEqual(spreadOf([2.6]), { median: 3, least: 3, most: 3 });
  const samples = fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { minLength: 1 });
  fc.assert(
    fc.property(samples, (values) => {
      const { median, least, most } = spreadOf(values, 2);
      assert.ok(least <= median && median <= most);
    }),
  );
});
