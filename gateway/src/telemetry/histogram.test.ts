// Guards our own histogram: that it says, to the letter, what prom-client's would.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Registry, Histogram as TheirHistogram } from 'prom-client';
import { Histogram } from './histogram.ts';

const NAMES = { name: 'seconds', help: 'How long.' };
const BUCKETS = [-2, 0, 0.005, 0.5, 2];

test('whatever is observed, the text is the one that prom-client writes', async () => {
  const value = fc.oneof(fc.constantFrom(...BUCKETS), fc.double({ min: -3, max: 3, noNaN: true }));
  const observation = fc.tuple(fc.constantFrom('a', 'b'), value);
  await fc.assert(
    fc.asyncProperty(fc.array(observation), async (observations) => {
      const registries = [new Registry(), new Registry()] as const;
      const ours = new Histogram({ ...NAMES, buckets: BUCKETS, registry: registries[0] });
      const theirs = new TheirHistogram({
        ...{ ...NAMES, buckets: BUCKETS, labelNames: ['model'] },
        registers: [registries[1]],
      });
      const children = new Map(['a', 'b'].map((model) => [model, ours.child({ model })]));
      for (const model of children.keys()) theirs.zero({ model });
      for (const [model, seconds] of observations) {
        children.get(model)!.observe(seconds);
        theirs.observe({ model }, seconds);
      }
      assert.equal(await registries[0].metrics(), await registries[1].metrics());
    }),
  );
});

test('a bound of -1, by which prom-client means that there is none, is one like any other', async () => {
  const registry = new Registry();
  new Histogram({ ...NAMES, buckets: [-1], registry }).child().observe(5);
  assert.match(await registry.metrics(), /le="-1"\} 0\n/);
});

test('without labels it is there before anything was observed', async () => {
  const registry = new Registry();
  new Histogram({ ...NAMES, buckets: [1], registry }).child();
  const lines = (await registry.metrics()).trimEnd().split('\n').slice(2);
  assert.deepEqual(lines, [
    'seconds_bucket{le="1"} 0',
    'seconds_bucket{le="+Inf"} 0',
    'seconds_sum 0',
    'seconds_count 0',
  ]);
});
