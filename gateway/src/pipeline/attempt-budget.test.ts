// Guards the bound on attempts that nobody asked for: a burst, then a part of the calls, and never more.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AttemptBudget } from './attempt-budget.ts';

const RETRIES = { callsAnAttempt: 10, most: 10, atFirst: 10 };

test('a burst of ten, and then one attempt for every ten calls', () => {
  const budget = new AttemptBudget(RETRIES);
  const takeAll = () => {
    let taken = 0;
    while (budget.take()) taken += 1;
    return taken;
  };
  assert.equal(takeAll(), 10);
  for (let call = 0; call < 9; call++) budget.earn();
  assert.deepEqual([budget.hasOne, budget.take()], [false, false]);
  budget.earn();
  assert.equal(budget.hasOne, true, 'looking takes nothing');
  assert.equal(takeAll(), 1);
  for (let call = 0; call < 100_000; call++) budget.earn();
  assert.equal(takeAll(), 10, 'what is not used is not saved up');
});

test('in any order of calls and attempts, no more are made than it holds at first and its part of the calls', () => {
  const options = fc.record({
    callsAnAttempt: fc.integer({ min: 1, max: 30 }),
    most: fc.integer({ min: 1, max: 10 }),
    atFirst: fc.constant(1),
  });
  fc.assert(
    fc.property(options, fc.array(fc.boolean(), { maxLength: 400 }), (bucket, sequence) => {
      const budget = new AttemptBudget(bucket);
      let calls = 0;
      let attempts = 0;
      for (const isCall of sequence) {
        if (isCall) {
          calls += 1;
          budget.earn();
        } else if (budget.take()) attempts += 1;
        assert.ok(attempts <= bucket.atFirst + calls / bucket.callsAnAttempt);
      }
    }),
  );
});
