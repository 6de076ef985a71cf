// Guards the bound on attempts that could amplify an overload: a burst, then a tenth of the calls, and never more.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RetryBudget } from './retry-budget.ts';

test('a burst of ten, and then one attempt for every ten calls', () => {
  const budget = new RetryBudget();
  const takeAll = () => {
    let taken = 0;
    while (budget.take()) taken += 1;
    return taken;
  };
  assert.equal(takeAll(), 10);
  for (let call = 0; call < 9; call++) budget.earn();
  assert.equal(budget.take(), false);
  budget.earn();
  assert.equal(takeAll(), 1);
  for (let call = 0; call < 100_000; call++) budget.earn();
  assert.equal(takeAll(), 10, 'what is not used is not saved up');
});

test('in any order of calls and attempts, no more are made than the burst and a tenth of the calls', () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 400 }), (sequence) => {
      const budget = new RetryBudget();
      let calls = 0;
      let attempts = 0;
      for (const isCall of sequence) {
        if (isCall) {
          calls += 1;
          budget.earn();
        } else if (budget.take()) attempts += 1;
        assert.ok(attempts <= 10 + calls / 10);
      }
    }),
  );
});
