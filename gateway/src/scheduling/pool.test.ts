// Guards when those who came back for their places go before all: once they press, the most pressing first.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../test/manual-clock.ts';
import { StillBackend, ticketFor } from '../../test/still-backend.ts';
import { USUAL_SHARES } from './class-shares.ts';
import { Pool, type Waiter } from './pool.ts';

function setUp() {
  const clock = new ManualClock(1_000_000);
  const backend = new StillBackend('a', 1);
  const pool = new Pool([backend], clock, USUAL_SHARES);
  const push = (pressesInMs: number, rest: Partial<Waiter> = {}): Waiter => {
    const since = clock.now();
    const waiter: Waiter = {
      ...{ tenant: 'someone', weight: 1, tokens: 100, since, isDue: true, isPromised: true },
      ...{ dueAt: since + pressesInMs + 2_600, pressesAt: since + pressesInMs },
      ...{ ticket: ticketFor([backend]), predictedFirstTokenMs: undefined },
      ...{ place: undefined, heapIndex: -1, isGone: false },
      ...{ give() {}, refuse() {}, expire: () => pool.remove(waiter) },
      ...rest,
    };
    pool.push(waiter, []);
    return waiter;
  };
  return { clock, pool, push };
}

test('who came back and can wait has its turn like anybody, until it presses', () => {
  const { clock, pool, push } = setUp();
  const patient = push(10_000);
  push(-1_000, { isPromised: false });
  assert.equal(pool.pressing(clock.now()), undefined);
  clock.advance(10_000);
  assert.equal(pool.pressing(clock.now()), patient);
  pool.take(patient);
  assert.equal(pool.pressing(clock.now()), undefined);
});

test('of those who came back and press, the one that did so first goes first, and all of them are work before others', () => {
  const { clock, pool, push } = setUp();
  const [later, sooner] = [push(-500), push(-1_500)];
  push(20_000);
  assert.equal(pool.pressing(clock.now()), sooner);
  assert.equal(pool.backTokens.standard, 200);
  pool.take(sooner);
  assert.equal(pool.pressing(clock.now()), later);
  assert.equal(pool.backTokens.standard, 100);
  clock.advance(2_100);
  pool.expire(clock.now());
  assert.equal(pool.pressing(clock.now()), undefined);
  assert.equal(pool.backTokens.standard, 0);
});
