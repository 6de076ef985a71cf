// Guards what a call is said to have cost.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { costOf, dearest } from './price.ts';

test('prompt, answer and what need not be computed have a price each, by the million', () => {
  const usage = { promptTokens: 3_000_000, cachedTokens: 1_000_000, completionTokens: 500_000 };
  assert.equal(costOf({ input: 2, output: 8, cached: 0.5 }, usage), 8.5);
  assert.equal(costOf({ input: 2, output: 8 }, usage), 10);
  assert.equal(costOf({ input: 2, output: 8 }, {}), 0, 'what nobody counted');
});

test('the dearest of several prices is above each of them', () => {
  const prices = [
    { input: 1, output: 9 },
    { input: 2, output: 3, cached: 0.1 },
  ];
  assert.deepEqual(dearest(prices), { input: 2, output: 9, cached: 1 });
});
