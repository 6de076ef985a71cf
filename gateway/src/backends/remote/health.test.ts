// Guards when a back end counts as well: the breaker's rests, the one call that tries, and the try for want of anybody else.
// The clock is moved by hand, and chance gives the middle.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Health, type HealthState } from './health.ts';

const BROKEN = { unreachable: false, broken: true };
const REFUSED = { unreachable: true, broken: true };
const BAD = { unreachable: false, broken: false };

function setUp() {
  let now = 1_000;
  const told: HealthState[] = [];
  const health = new Health({ now: () => now, random: () => 0.5, onChange: (state) => told.push(state) });
  const pass = (ms: number) => {
    now += ms;
  };
  health.reached();
  return { health, told, pass };
}

test('it is down after five failures in a row or two without a connection, and up by one call that goes well', () => {
  for (const [failure, times] of [
    [BAD, 5],
    [REFUSED, 2],
  ] as const) {
    const { health, told, pass } = setUp();
    for (let time = 1; time < times; time += 1) health.failed('It failed.', failure);
    assert.equal(health.state, 'ready');
    health.failed('It failed.', failure);
    assert.deepEqual([health.state, health.reason, health.retryAfterMs], ['down', 'It failed.', 1_000]);
    pass(999);
    assert.equal(health.state, 'down');
    pass(1);
    // Who swallowed connections is found by a probe, not by a call that would wait for it.
    if (failure === REFUSED) {
      assert.equal(health.state, 'down');
      health.reached();
    }
    assert.equal(health.state, 'trial');
    health.succeeded();
    assert.deepEqual(
      told.filter((state) => state !== 'trial'),
      ['ready', 'down', 'ready'],
    );
  }
});

test('to look changes nothing and tells nobody: time alone ends a rest', () => {
  const { health, told, pass } = setUp();
  health.busy(500, 'Too much.');
  pass(500);
  assert.deepEqual([health.state, health.reason, health.retryAfterMs], ['ready', undefined, 0]);
  assert.deepEqual(told, ['ready', 'busy']);
});

test('a try that fails is followed by a rest twice as long', () => {
  const { health, pass } = setUp();
  for (let time = 0; time < 5; time += 1) health.failed('It failed.', BAD);
  pass(1_000);
  assert.equal(health.state, 'trial');
  health.failed('It failed again.', BAD);
  assert.deepEqual([health.state, health.retryAfterMs], ['down', 2_000]);
});

test('for want of anybody else it may be tried early where its connections broke, but not at once again', () => {
  const { health, told, pass } = setUp();
  assert.equal(health.tryNow(), false, 'it is ready: there is nothing to try');
  for (let time = 0; time < 5; time += 1) health.failed('It was cut.', BROKEN);
  assert.equal(health.tryNow(), false, 'it has failed just now');
  pass(100);
  assert.equal(health.tryNow(), true);
  assert.deepEqual([health.state, health.tryNow()], ['trial', true]);
  // Whoever asks is in the middle of choosing: nobody else may be told.
  assert.deepEqual(told, ['ready', 'down']);
  health.failed('It was refused.', REFUSED);
  assert.deepEqual([health.state, health.tryNow()], ['down', false]);
  pass(100);
  assert.equal(health.tryNow(), true);
  health.succeeded();
  assert.deepEqual(told, ['ready', 'down', 'down', 'ready']);
});

test('who answers badly, or too late, has its rest to the end', () => {
  const { health, pass } = setUp();
  for (let time = 0; time < 5; time += 1) health.failed('It answered 500.', BAD);
  pass(900);
  assert.equal(health.tryNow(), false);
});

test('who is busy is left alone for as long as it asked', () => {
  const { health, pass } = setUp();
  health.busy(3_000, 'Too much to do.');
  assert.deepEqual([health.state, health.retryAfterMs, health.tryNow()], ['busy', 3_000, false]);
  pass(3_000);
  assert.equal(health.state, 'ready');
});
