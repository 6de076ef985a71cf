// Guards the limits of keys and models: what is refused takes nothing, what is taken comes back in every ending, and no
// minute ever sees more than its limit.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ManualClock } from '../../test/manual-clock.ts';
import { GatewayError } from '../core/errors.ts';
import type { Price } from '../core/price.ts';
import type { AccessKey, UsageLimits } from '../core/world.ts';
import { MemoryQuotaStore } from './memory-quota-store.ts';
import { type Demand, KeyQuotas, type LimitedModel, type Reservation } from './quota.ts';
import type { QuotaStore } from './quota-store.ts';

function keyOf(limits: UsageLimits, name = 'a'): AccessKey {
  return { tenant: name, digest: Buffer.from(name), models: undefined, ...limits };
}

function demand(promptTokens = 1, outputTokens = 1, parallel = 1, price?: Price): Demand {
  return { parallel, cost: { promptTokens, outputTokens }, price };
}

const FREE: LimitedModel = { id: 'free' };

/** As it is counted in memory: at once. */
function admitAt(quotas: KeyQuotas, key: AccessKey, wanted: Demand, model = FREE): Reservation {
  const reservation = quotas.admit(key, model, wanted);
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

function setUp(limits: UsageLimits) {
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
  admitAt(quotas, keyOf({ rpm: 1 }, 'b'), demand());
  refusal(admit);
  const raised = keyOf({ rpm: 2 });
  assert.equal(quotas.standing(raised).requests!.remaining, 1);
  admitAt(quotas, raised, demand());
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
    standing: (quota) => memory.standing(quota),
    get running() {
      return memory.running;
    },
  };
  const quotas = new KeyQuotas(shared);
  const key = keyOf({ rpm: 1 });
  const reservation = await quotas.admit(key, FREE, demand());
  assert.equal(quotas.running, 1);
  await assert.rejects(async () => await quotas.admit(key, FREE, demand()), { code: 'rate_limited' });
  reservation.cancel();
  reservation.release();
  assert.equal(quotas.running, 0);
  assert.equal(quotas.standing(key).requests!.remaining, 1);
});

test('thousands of random calls: no minute over its limit, nothing below zero, and in the end nothing in use', () => {
  const limits: UsageLimits = { rpm: 20, tpm: 4_000, maxParallel: 4 };
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

test('a limit for one model holds for that one, beside what the key has for all', () => {
  const clock = new ManualClock();
  const quotas = new KeyQuotas(new MemoryQuotaStore(clock));
  const key = { ...keyOf({ rpm: 4 }), modelLimits: new Map([['large', { rpm: 1 }]]) };
  const large = { id: 'large' };
  admitAt(quotas, key, demand(), large);
  assert.match(
    refusal(() => admitAt(quotas, key, demand(), large)).message,
    /^This API key has reached its limit for the model "large" of requests a minute \(RPM: 1\)\. Ask again in/,
  );
  for (let call = 0; call < 3; call += 1) admitAt(quotas, key, demand());
  assert.match(
    refusal(() => admitAt(quotas, key, demand())).message,
    /^This API key has .* limit of requests/,
  );
  admitAt(quotas, { ...key, digest: Buffer.from('b') }, demand(), large);
});

test("a model's own limit is one for all keys, also for those without limits, and the refusal says so", () => {
  const { quotas } = setUp({});
  const model = { id: 'm', limits: { rpm: 3, maxParallel: 2 } };
  const first = admitAt(quotas, keyOf({}, 'a'), demand(1, 1, 8), model);
  assert.equal(first.parallel, 2);
  const { message } = refusal(() => admitAt(quotas, keyOf({}, 'b'), demand(), model));
  assert.match(
    message,
    /^The model "m" has reached its limit for all keys together of parallel requests \(2\)/,
  );
  first.release();
  for (const name of ['b', 'c']) admitAt(quotas, keyOf({}, name), demand(), model).release();
  assert.match(refusal(() => admitAt(quotas, keyOf({}, 'd'), demand(), model)).message, /all keys.*RPM: 3/);
  admitAt(quotas, keyOf({}, 'd'), demand());
});

test('what one limit refuses takes nothing of the others; what is given back, all of them get', () => {
  const { clock, quotas } = setUp({});
  const key = { ...keyOf({ tpm: 1_000 }), modelLimits: new Map([['m', { rpm: 2 }]]) };
  const model = { id: 'm', limits: { tpm: 500, maxParallel: 3 } };
  const left = () => {
    const { requests, tokens } = quotas.standing(key, model);
    return [requests!.remaining, tokens!.remaining, quotas.standing(key).tokens!.remaining, quotas.running];
  };
  const one = admitAt(quotas, key, demand(100, 100, 2), model);
  assert.deepEqual(left(), [1, 300, 800, 2]);
  refusal(() => admitAt(quotas, key, demand(100, 300), model));
  assert.deepEqual(left(), [1, 300, 800, 2]);
  one.settle({ promptTokens: 100, completionTokens: 10 });
  one.release();
  assert.deepEqual(left(), [1, 390, 890, 0]);
  const two = admitAt(quotas, key, demand(100, 100), model);
  two.cancel();
  two.release();
  assert.deepEqual(left(), [1, 390, 890, 0]);
  clock.advance(61_000);
  assert.deepEqual(left(), [2, 500, 1_000, 0]);
});

test('of all limits that hold for a request, headers show the one that leaves least', () => {
  const { quotas } = setUp({});
  const key = { ...keyOf({ rpm: 10, rpd: 12 }), modelLimits: new Map([['m', { rph: 11 }]]) };
  const model = { id: 'm', limits: { rpd: 40, tpd: 5_000 } };
  assert.equal(quotas.standing(key, model).requests!.limit, 10);
  for (let call = 0; call < 8; call += 1) admitAt(quotas, keyOf({}, 'other'), demand(100, 400), model);
  assert.deepEqual(
    [quotas.standing(key, model).tokens!.remaining, quotas.standing(key).tokens],
    [1_000, undefined],
  );
  for (let call = 0; call < 24; call += 1) admitAt(quotas, keyOf({}, 'other'), demand(1, 0), model);
  const { requests } = quotas.standing(key, model);
  assert.deepEqual([requests!.limit, requests!.remaining], [40, 8]);
});

test('how much of a model is used is told for each of its limits, and of one without limits nothing', () => {
  const { quotas } = setUp({});
  const model = { id: 'm', limits: { rpm: 5, dailyBudget: 2, maxParallel: 3 } };
  admitAt(quotas, keyOf({}), demand(500_000, 0, 2, PRICE), model);
  assert.deepEqual(quotas.usesOf(model), [
    { name: 'rpm', limit: 5, used: 1 },
    { name: 'daily_budget', limit: 2, used: 0.5 },
    { name: 'max_parallel', limit: 3, used: 2 },
  ]);
  assert.deepEqual(quotas.usesOf(FREE), []);
});

test('thousands of random calls of several keys and models: no window of key, model or both over its limit', () => {
  const most = fc.option(fc.integer({ min: 1, max: 8 }), { nil: undefined });
  const tokens = fc.option(fc.integer({ min: 100, max: 2_000 }), { nil: undefined });
  const limits: fc.Arbitrary<UsageLimits> = fc.record({ rpm: most, tpm: tokens, maxParallel: most });
  const action = fc.record({
    afterMs: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 8_000 })),
    key: fc.nat(1),
    model: fc.nat(1),
    prompt: fc.integer({ min: 1, max: 90 }),
    parallel: fc.integer({ min: 1, max: 4 }),
    isCancelled: fc.boolean(),
    isHeld: fc.boolean(),
  });
  const four = <T>(one: fc.Arbitrary<T>) => fc.tuple(one, one, one, one);
  fc.assert(
    fc.property(
      fc.tuple(limits, limits),
      fc.tuple(limits, limits),
      four(limits),
      fc.array(action, { minLength: 100, maxLength: 300 }),
      (ofKeys, ofModels, ofBoth, actions) => {
        const clock = new ManualClock();
        const quotas = new KeyQuotas(new MemoryQuotaStore(clock));
        const models = ofModels.map((own, number) => ({ id: `model ${number}`, limits: own }));
        const keys = ofKeys.map((own, number) => ({
          ...keyOf(own, `key ${number}`),
          modelLimits: new Map(models.map(({ id }, model) => [id, ofBoth[number * 2 + model]!])),
        }));
        const scopes = [...ofKeys, ...ofModels, ...ofBoth].map((own) => ({
          own,
          running: 0,
          passed: [] as { at: number; tokens: number }[],
        }));
        const open: (() => void)[] = [];
        for (const { afterMs, key, model, prompt, parallel, isCancelled, isHeld } of actions) {
          clock.advance(afterMs);
          const concerned = [scopes[key]!, scopes[2 + model]!, scopes[4 + key * 2 + model]!];
          let reservation: Reservation;
          try {
            reservation = admitAt(quotas, keys[key]!, demand(prompt, 0, parallel), models[model]!);
          } catch {
            open.shift()?.();
            continue;
          }
          for (const scope of concerned) {
            scope.running += reservation.parallel;
            assert.ok(
              scope.running <= (scope.own.maxParallel ?? Infinity),
              'more calls at once than are allowed',
            );
            if (!isCancelled) scope.passed.push({ at: clock.now(), tokens: prompt });
          }
          if (isCancelled) reservation.cancel();
          else reservation.settle({ promptTokens: prompt, completionTokens: 0 });
          const release = () => {
            reservation.release();
            for (const scope of concerned) scope.running -= reservation.parallel;
          };
          if (isHeld) open.push(release);
          else release();
        }
        for (const { own, passed } of scopes) {
          for (const { at } of passed) {
            const within = passed.filter((one) => one.at >= at && one.at <= at + MINUTE);
            assert.ok(within.length <= (own.rpm ?? Infinity), 'more requests than a minute allows');
            const used = within.reduce((sum, one) => sum + one.tokens, 0);
            assert.ok(used <= (own.tpm ?? Infinity), 'more tokens than a minute allows');
          }
        }
        for (const release of open) release();
        assert.equal(quotas.running, 0);
      },
    ),
    { numRuns: 60 },
  );
});
