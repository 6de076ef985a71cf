// Guards the money that may go elsewhere: never more in any 24 hours than the budget, and back what was not spent.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ManualClock } from '../../test/manual-clock.ts';
import type { SpillPolicy } from '../core/world.ts';
import { SpillBudgets } from './spill-budgets.ts';

const HOUR_MS = 3_600_000;
/** One unit for a token, and ten for a day. */
const POLICY: SpillPolicy = {
  backends: [],
  budgetPerDay: 10,
  price: { input: 1_000_000, output: 1_000_000, cached: 0 },
};
const cost = (promptTokens: number, outputTokens = 0) => ({ promptTokens, outputTokens });

function setUp() {
  const clock = new ManualClock(5_000);
  const budgets = new SpillBudgets(clock);
  const take = (tokens: number, model = 'm') => budgets.take(model, POLICY, cost(tokens));
  return { clock, budgets, take };
}

test('what would go beyond the budget is not given, and takes nothing', () => {
  const { budgets, take } = setUp();
  assert.ok(budgets.take('m', POLICY, cost(3, 4)));
  assert.equal(take(4), undefined);
  assert.ok(take(3), 'to the last unit');
  assert.equal(take(1), undefined);
  assert.ok(take(10, 'another model'));
});

test('it is free again after 24 hours, and not before', () => {
  const { clock, take } = setUp();
  take(10);
  clock.advance(24 * HOUR_MS - 1);
  assert.equal(take(1), undefined);
  clock.advance(HOUR_MS / 4);
  assert.ok(take(10));
});

test('what was not spent is given back, what was spent beyond the estimate counts', () => {
  const { take } = setUp();
  take(8)!.settle({ promptTokens: 4, cachedTokens: 3, completionTokens: 2 });
  assert.equal(take(8), undefined);
  take(7)!.cancel();
  take(2)!.settle({ promptTokens: 5, completionTokens: 0 });
  assert.equal(take(3), undefined);
  assert.ok(take(2));
});

test('at any time no more than the budget is taken, whatever is given back', () => {
  const step = fc.record({
    afterMs: fc.integer({ min: 0, max: 6 * HOUR_MS }),
    tokens: fc.integer({ min: 1, max: 12 }),
    used: fc.double({ min: 0, max: 1, noNaN: true }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const { clock, take } = setUp();
      const spent: { at: number; amount: number }[] = [];
      for (const { afterMs, tokens, used } of steps) {
        clock.advance(afterMs);
        const spending = take(tokens);
        const dayAgo = clock.now() - 24 * HOUR_MS;
        if (!spending) continue;
        const promptTokens = Math.floor(tokens * used);
        spending.settle({ promptTokens });
        spent.push({ at: clock.now(), amount: promptTokens });
        const ofTheDay = spent.filter(({ at }) => at > dayAgo).reduce((sum, { amount }) => sum + amount, 0);
        assert.ok(ofTheDay <= POLICY.budgetPerDay + 1e-6);
      }
    }),
  );
});
