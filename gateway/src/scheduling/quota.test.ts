// Guards the limits of keys: what is refused takes nothing, what is taken comes back in every ending, and no minute ever
// sees more than its limit.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ManualClock } from '../../test/manual-clock.ts';
import { GatewayError } from '../core/errors.ts';
import type { Price } from '../core/price.ts';
import type { AccessKey } from '../core/world.ts';
import { MemoryQuotaStore } from './memory-quota-store.ts';
import { type Demand, KeyQuotas, type Reservation } from './quota.ts';
import type { QuotaLimits, QuotaStore } from './quota-store.ts';

function keyOf(limits: QuotaLimits, name = 'a'): AccessKey {
  return { tenant: name, digest: Buffer.from(name), models: undefined, ...limits };
}

function demand(promptTokens = 1, outputTokens = 1, parallel = 1, price?: Price): Demand {
  return { parallel, cost: { promptTokens, outputTokens }, price };
}

/** As it is counted in memory: at once. */
function admitAt(quotas: KeyQuotas, key: AccessKey, wanted: Demand): Reservation {
  const reservation = quotas.admit(key, wanted);
  assert.ok(!(reservation instanceof Promise));
  return reservation;
}

function refusal(take: () => unknown): GatewayError {
  try {
    take();
  } catch (thrown) {
    assert.ok(thrown instanceof GatewayError);
    assert.equal(thrown.code, 'rate_limited');
    return thrown;
  }
  assert.fail('it was let in');
}

function setUp(limits: QuotaLimits) {
  const clock = new ManualClock();
  const quotas = new KeyQuotas(new MemoryQuotaStore(clock));
  const key = keyOf(limits);
  return { clock, quotas, key, admit: (wanted = demand()) => admitAt(quotas, key, wanted) };
}

test('a key without limits is let in as it asks, and nothing is counted', () => {
  const { quotas, key, admit } = setUp({});
  for (let call = 0; call < 1_000; call += 1) assert.equal(admit(demand(1e6, 1e6, 64)).parallel, 64);
  assert.equal(quotas.running, 0);
  assert.deepEqual(quotas.standing(key), { requests: undefined, tokens: undefined, spending: undefined });
});

test('requests a minute: the one too many is told which limit and when to come back, and then is let in', () => {
  const { clock, admit } = setUp({ rpm: 3 });
  for (let call = 0; call < 3; call += 1) {
    admit().release();
    clock.advance(1_000);
  }
  const error = refusal(admit);
  assert.match(error.message, /requests a minute \(RPM: 3\)/);
  assert.equal(error.status, 429);
  refusal(admit);
  clock.advance(error.retryAfterMs! - 1);
  refusal(admit);
  clock.advance(1);
  admit();
});

test('tokens a minute count what was used, not what was feared', () => {
  const { admit } = setUp({ tpm: 1_000 });
  const first = admit(demand(100, 800));
  assert.match(refusal(() => admit(demand(100, 800))).message, /tokens a minute \(TPM: 1000\)/);
  first.settle({ promptTokens: 90, completionTokens: 10 });
  first.release();
  admit(demand(100, 800));
});

test('more tokens than were estimated count too, from when they are known', () => {
  const { clock, quotas, key, admit } = setUp({ tpm: 1_000 });
  const first = admit(demand(10, 10));
  clock.advance(50_000);
  first.settle({ promptTokens: 10, completionTokens: 990 });
  clock.advance(30_000);
  assert.equal(quotas.standing(key).tokens!.remaining, 20);
  refusal(() => admit(demand(10, 11)));
});

test('a part of the usage that is unknown stays as it was estimated', () => {
  const { quotas, key, admit } = setUp({ tpm: 1_000 });
  admit(demand(100, 200)).settle({ completionTokens: 0 });
  assert.equal(quotas.standing(key).tokens!.remaining, 900);
  admit(demand(100, 200)).settle({ promptTokens: 5 });
  assert.equal(quotas.standing(key).tokens!.remaining, 900 - 205);
});

test('a request larger than the whole limit passes alone', () => {
  const { clock, quotas, key, admit } = setUp({ tpm: 100 });
  admit(demand(500, 4_096)).release();
  assert.equal(quotas.standing(key).tokens!.remaining, 0);
  refusal(() => admit(demand(500, 4_096)));
  clock.advance(61_000);
  admit(demand(500, 4_096));
});

test('parallel calls: an array gets the lanes that are left, nobody gets more than there are', () => {
  const { quotas, admit } = setUp({ maxParallel: 3 });
  const one = admit(demand(1, 1, 2));
  assert.equal(one.parallel, 2);
  const two = admit(demand(1, 1, 8));
  assert.equal(two.parallel, 1);
  assert.equal(quotas.running, 3);
  const error = refusal(admit);
  assert.match(error.message, /parallel requests \(3\)/);
  assert.ok(error.retryAfterMs! > 0);
  one.release();
  one.release();
  assert.equal(quotas.running, 1);
  assert.equal(admit(demand(1, 1, 8)).parallel, 2);
});

test('of several limits the one that holds longest is named', () => {
  const { clock, admit } = setUp({ rpm: 1, maxParallel: 1 });
  admit();
  assert.match(refusal(admit).message, /RPM/);
  clock.advance(60_400);
  assert.match(refusal(admit).message, /parallel/);
});

test('what is refused takes nothing', () => {
  const { quotas, key, admit } = setUp({ rpm: 10, tpm: 1_000, maxParallel: 1 });
  const held = admit(demand(10, 10));
  const before = quotas.standing(key);
  for (let call = 0; call < 100; call += 1) refusal(() => admit(demand(10, 10)));
  assert.deepEqual(quotas.standing(key), before);
  held.release();
  assert.equal(quotas.running, 0);
});

test('what was cancelled is as if it had never been; after it was settled it cannot be', () => {
  const { quotas, key, admit } = setUp({ rpm: 2, tpm: 100, maxParallel: 1 });
  const cancelled = admit(demand(10, 10));
  cancelled.cancel();
  cancelled.cancel();
  cancelled.release();
  assert.deepEqual(
    [quotas.standing(key).requests!.remaining, quotas.standing(key).tokens!.remaining, quotas.running],
    [2, 100, 0],
  );
  const settled = admit(demand(10, 10));
  settled.settle({ promptTokens: 1, completionTokens: 1 });
  settled.cancel();
  settled.settle({ promptTokens: 50, completionTokens: 1 });
  assert.deepEqual(
    [quotas.standing(key).requests!.remaining, quotas.standing(key).tokens!.remaining],
    [1, 98],
  );
});

test('each key has its own account; a key with new limits keeps what was counted', () => {
  const { quotas, admit } = setUp({ rpm: 1 });
  admit();
  quotas.admit(keyOf({ rpm: 1 }, 'b'), demand());
  refusal(admit);
  const raised = keyOf({ rpm: 2 });
  assert.equal(quotas.standing(raised).requests!.remaining, 1);
  quotas.admit(raised, demand());
  refusal(() => admitAt(quotas, raised, demand()));
  assert.equal(quotas.standing(keyOf({ rpm: 1 })).requests!.remaining, 0, 'never negative');
});

test('a standing tells when everything is there again', () => {
  const { clock, quotas, key, admit } = setUp({ rpm: 5 });
  assert.deepEqual(quotas.standing(key).requests, { limit: 5, remaining: 5, resetMs: 0 });
  admit();
  const { resetMs } = quotas.standing(key).requests!;
  clock.advance(resetMs);
  assert.deepEqual(quotas.standing(key).requests, { limit: 5, remaining: 5, resetMs: 0 });
});

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

for (const [name, text, windowMs, grainMs] of [
  ['rpm', 'requests a minute (RPM: 2)', MINUTE, 500],
  ['rph', 'requests an hour (RPH: 2)', HOUR, 30_000],
  ['rpd', 'requests a day (RPD: 2)', DAY, 720_000],
] as const) {
  test(`${name}: the third of two ${text.slice(0, text.indexOf(' ('))} is refused until the first is over`, () => {
    const { clock, quotas, key, admit } = setUp({ [name]: 2 });
    admit();
    clock.advance(windowMs / 2);
    admit();
    const error = refusal(admit);
    assert.ok(error.message.includes(text), error.message);
    assert.ok(error.retryAfterMs! >= windowMs / 2 && error.retryAfterMs! <= windowMs / 2 + grainMs);
    assert.equal(quotas.standing(key).requests!.limit, 2);
    clock.advance(error.retryAfterMs!);
    admit();
  });
}

test('the message says when to ask again', () => {
  const day = setUp({ rpd: 1 });
  day.admit();
  day.clock.advance(HOUR);
  assert.match(refusal(day.admit).message, /Ask again in 23 h( \d+ min)?\.$/);
  const minute = setUp({ rpm: 1 });
  minute.admit();
  minute.clock.advance(20_000);
  assert.match(refusal(minute.admit).message, /Ask again in 4[01] s\.$/);
});

test('of several limits the first that is reached refuses, and the one that holds longest is told', () => {
  const { clock, admit } = setUp({ rpm: 5, rpd: 7, tpd: 1_000 });
  for (let call = 0; call < 5; call += 1) admit();
  assert.match(refusal(admit).message, /RPM/);
  clock.advance(2 * MINUTE);
  admit();
  admit();
  assert.match(refusal(admit).message, /RPD: 7/);
  assert.match(refusal(() => admit(demand(1_000, 1_000))).message, /RPD|TPD/);
});

test('tokens a day are corrected as those of a minute are, in each window for itself', () => {
  const { clock, quotas, key, admit } = setUp({ tpm: 100, tpd: 1_000 });
  admit(demand(500, 600)).settle({ promptTokens: 60, completionTokens: 0 });
  assert.equal(quotas.standing(key).tokens!.remaining, 40, 'the shorter window is shown');
  clock.advance(2 * MINUTE);
  for (let call = 0; call < 9; call += 1) {
    admit(demand(100, 0)).settle({ promptTokens: 100, completionTokens: 0 });
    clock.advance(2 * MINUTE);
  }
  assert.match(refusal(() => admit(demand(50, 0))).message, /TPD: 1000/);
  admit(demand(40, 0));
});

test('where only an hour or a day is limited, headers show that one', () => {
  const { quotas, key, admit } = setUp({ rpd: 10, tpd: 500 });
  admit(demand(100, 100));
  const { requests, tokens } = quotas.standing(key);
  assert.deepEqual([requests!.limit, requests!.remaining], [10, 9]);
  assert.deepEqual([tokens!.limit, tokens!.remaining], [500, 300]);
  assert.ok(requests!.resetMs > 23 * HOUR && requests!.resetMs <= DAY + 720_000);
});

const PRICE: Price = { input: 1, output: 4, cached: 0.1 };

test('a budget of a day: what could be spent is held, what was spent counts, and it is told what stands in the way', () => {
  const { clock, admit } = setUp({ dailyBudget: 1 });
  const half = demand(100_000, 100_000, 1, PRICE);
  const first = admit(half);
  admit(half);
  const error = refusal(() => admit(half));
  assert.match(error.message, /spending a day \(daily_budget: 1\)/);
  first.settle({ promptTokens: 100_000, cachedTokens: 50_000, completionTokens: 10_000 }, PRICE);
  admit(demand(100_000, 60_000, 1, PRICE));
  refusal(() => admit(demand(100_000, 10_000, 1, PRICE)));
  clock.advance(DAY + HOUR);
  admit(half);
});

test('what has no price costs nothing; what was computed for less than was feared counts as it was', () => {
  const { admit } = setUp({ dailyBudget: 0.5 });
  for (let call = 0; call < 100; call += 1) admit(demand(1e6, 1e6));
  admit(demand(100_000, 100_000, 1, PRICE)).settle({ promptTokens: 1e5, completionTokens: 1e5 });
  admit(demand(100_000, 100_000, 1, PRICE));
});

test('thousands of tiny sums add up to the budget and no further', () => {
  const { admit } = setUp({ dailyBudget: 0.0003 });
  let passed = 0;
  for (let call = 0; call < 200; call += 1) {
    try {
      admit(demand(3, 0, 1, { input: 1, output: 1 })).settle(
        { promptTokens: 3, completionTokens: 0 },
        { input: 1, output: 1 },
      );
      passed += 1;
    } catch {
      break;
    }
  }
  assert.equal(passed, 100);
});

test('a store that many share answers by a promise, and so does admission; its refusals reject', async () => {
  const memory = new MemoryQuotaStore(new ManualClock());
  const shared: QuotaStore = {
    take: async (...asked) => memory.take(...asked),
    standing: (account, limits) => memory.standing(account, limits),
    get running() {
      return memory.running;
    },
  };
  const quotas = new KeyQuotas(shared);
  const key = keyOf({ rpm: 1 });
  const reservation = await quotas.admit(key, demand());
  assert.equal(quotas.running, 1);
  await assert.rejects(async () => await quotas.admit(key, demand()), { code: 'rate_limited' });
  reservation.cancel();
  reservation.release();
  assert.equal(quotas.running, 0);
  assert.equal(quotas.standing(key).requests!.remaining, 1);
});

test('thousands of random calls: no minute over its limit, nothing below zero, and in the end nothing in use', () => {
  const limits: QuotaLimits = { rpm: 20, tpm: 4_000, maxParallel: 4 };
  const action = fc.record({
    afterMs: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 4_000 })),
    key: fc.integer({ min: 0, max: 2 }),
    prompt: fc.integer({ min: 1, max: 600 }),
    output: fc.integer({ min: 1, max: 600 }),
    parallel: fc.integer({ min: 1, max: 6 }),
    ending: fc.constantFrom('settle', 'cancel', 'leave', 'later'),
    actual: fc.integer({ min: 0, max: 1_500 }),
  });
  fc.assert(
    fc.property(fc.array(action, { minLength: 200, maxLength: 400 }), (actions) => {
      const clock = new ManualClock();
      const quotas = new KeyQuotas(new MemoryQuotaStore(clock));
      const keys = [0, 1, 2].map((number) => keyOf(limits, `key ${number}`));
      const admitted = new Map<AccessKey, number[]>(keys.map((key) => [key, []]));
      const open: Reservation[] = [];
      for (const { afterMs, key: number, prompt, output, parallel, ending, actual } of actions) {
        clock.advance(afterMs);
        const key = keys[number]!;
        let reservation: Reservation | undefined;
        try {
          reservation = admitAt(quotas, key, demand(prompt, output, parallel));
        } catch (thrown) {
          assert.ok(
            thrown instanceof GatewayError && thrown.retryAfterMs! > 0 && thrown.retryAfterMs! <= 60_500,
          );
        }
        const { requests, tokens } = quotas.standing(key);
        for (const state of [requests!, tokens!]) {
          assert.ok(state.remaining >= 0 && state.remaining <= state.limit && state.resetMs >= 0);
        }
        assert.ok(quotas.running <= 12);
        if (!reservation) continue;
        if (ending === 'cancel') reservation.cancel();
        else admitted.get(key)!.push(clock.now());
        if (ending === 'settle') reservation.settle({ promptTokens: actual, completionTokens: 0 });
        if (ending === 'later') open.push(reservation);
        else reservation.release();
        if (open.length > 2) open.shift()!.release();
      }
      for (const times of admitted.values()) {
        for (const [index, at] of times.entries()) {
          assert.ok(
            (times[index + limits.rpm!] ?? Infinity) - at > 60_000,
            'more requests than a minute allows',
          );
        }
      }
      for (const reservation of open) reservation.release();
      assert.equal(quotas.running, 0);
      clock.advance(61_000);
      for (const key of keys) {
        assert.deepEqual(quotas.standing(key).requests, { limit: 20, remaining: 20, resetMs: 0 });
        assert.deepEqual(quotas.standing(key).tokens, { limit: 4_000, remaining: 4_000, resetMs: 0 });
      }
    }),
    { numRuns: 60 },
  );
});
