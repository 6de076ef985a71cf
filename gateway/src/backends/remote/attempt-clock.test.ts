// Guards an attempt's two limits of time, on a clock that the test moves: which one counts when, and that it fires once.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { GatewayError } from '../../core/errors.ts';
import { AttemptClock } from './attempt-clock.ts';

const LIMITS = { firstTokenMs: 100, silenceMs: 40 };

function start(t: TestContext) {
  let now = 1_000;
  t.mock.method(performance, 'now', () => now);
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const late: GatewayError[] = [];
  const clock = new AttemptClock(LIMITS, (error) => late.push(error));
  t.after(() => clock.stop());
  const pass = (ms: number) => {
    now += ms;
    t.mock.timers.tick(ms);
  };
  return { clock, late, pass };
}

test('no first word in time is a timeout, once', (t) => {
  const { late, pass } = start(t);
  pass(99);
  assert.equal(late.length, 0);
  pass(1);
  pass(1_000);
  assert.deepEqual(
    late.map(({ code, message }) => [code, message]),
    [['backend_timeout', 'The back end gave no first word in 100 ms.']],
  );
});

test('bytes before the first word are none of it', (t) => {
  const { clock, late, pass } = start(t);
  for (let at = 0; at < 10; at += 1) {
    clock.heard();
    pass(10);
  }
  assert.equal(late.length, 1);
});

test('after the first word only silence counts', (t) => {
  const { clock, late, pass } = start(t);
  pass(90);
  clock.spoke();
  pass(39);
  assert.equal(late.length, 0);
  pass(1);
  pass(1_000);
  assert.deepEqual(
    late.map(({ code, message }) => [code, message]),
    [['backend_timeout', 'The back end fell silent for 40 ms in its answer.']],
  );
});

test('whatever comes ends a silence, a keep-alive too, and the limit runs from there', (t) => {
  const { clock, late, pass } = start(t);
  clock.heard();
  clock.spoke();
  for (let at = 0; at < 20; at += 1) {
    pass(30);
    clock.heard();
    clock.spoke();
  }
  assert.equal(late.length, 0);
  pass(39);
  assert.equal(late.length, 0);
  pass(1);
  assert.equal(late.length, 1);
});

for (const hasSpoken of [false, true]) {
  test(`a clock that was stopped ${hasSpoken ? 'after' : 'before'} a word says nothing`, (t) => {
    const { clock, late, pass } = start(t);
    if (hasSpoken) clock.spoke();
    clock.stop();
    pass(1_000);
    assert.equal(late.length, 0);
  });
}

test('neither a chunk nor the first word costs a timer', (t) => {
  const { clock, late, pass } = start(t);
  const { mock } = t.mock.method(globalThis, 'setTimeout');
  for (let at = 0; at < 39; at += 1) {
    clock.heard();
    clock.spoke();
    pass(1);
  }
  assert.deepEqual([mock.callCount(), late.length], [0, 0]);
});
