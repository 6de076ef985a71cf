// Guards quantiles of what is too much to keep: within one percent of the samples' own.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Histogram } from './histogram.ts';

test('a quantile is within one percent of the sample at its place, however samples were added', () => {
  const sample = fc.record({
    value: fc.double({ min: 0.01, max: 1e7, noNaN: true }),
    count: fc.integer({ min: 1, max: 50 }),
  });
  fc.assert(
    fc.property(fc.array(sample, { minLength: 1, maxLength: 60 }), fc.nat(), (samples, place) => {
      const histogram = new Histogram();
      for (const { value, count } of samples) histogram.add(value, count);
      const all = samples
        .flatMap(({ value, count }) => new Array<number>(count).fill(value))
        .sort((a, b) => a - b);
      assert.equal(histogram.count, all.length);
      assert.equal(histogram.most, all.at(-1));
      const index = place % all.length;
      const exact = all[index]!;
      const q = (index + 0.5) / all.length;
      assert.ok(
        Math.abs(histogram.quantile(q) / exact - 1) <= 0.011,
        `${histogram.quantile(q)} for ${exact}`,
      );
    }),
  );
});

test('nothing has no quantile', () => {
  assert.ok(Number.isNaN(new Histogram().quantile(0.5)));
  assert.equal(new Histogram().most, 0);
});
