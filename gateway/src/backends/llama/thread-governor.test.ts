// Checks thread-governor.ts with a machine whose load and clock the test moves.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IDLE_LOOK_MS, ThreadGovernor } from './thread-governor.ts';

/** Tokens at once. */
const MANY = 64;

/** Two cores. `pass` lets time go by, in which we and others use so many of them. */
function machine(options: { few?: number; most?: number } = {}) {
  let now = 1_000;
  let own = 500;
  let all = 9_000;
  const governor = new ThreadGovernor({
    few: options.few ?? 1,
    most: options.most ?? 2,
    now: () => now,
    machineCpuMs: () => all,
    ownCpuMs: () => own,
  });
  const pass = (ms: number, ours: number, others: number): number => {
    now += ms;
    own += ms * ours;
    all += ms * (ours + others);
    return governor.threads(MANY);
  };
  return { governor, pass };
}

test('one more after two quiet looks, and at once back when others compute', () => {
  const { governor, pass } = machine();
  assert.equal(governor.threads(MANY), 1);
  assert.equal(pass(250, 1, 0.05), 1);
  assert.equal(pass(250, 1, 0.05), 2);
  assert.equal(pass(100, 2, 0), 2, 'between two looks it stays');
  // As a gateway and its clients do in a surge.
  assert.equal(pass(250, 1.7, 0.3), 2);
  assert.equal(pass(250, 1.1, 0.9), 1);
  assert.equal(pass(250, 1, 0), 1);
  assert.equal(pass(250, 1, 0), 2);
});

test('a look back over a long silence says nothing', () => {
  const { pass } = machine();
  pass(250, 1, 0);
  assert.equal(pass(250, 1, 0), 2);
  assert.equal(pass(60_000, 0, 0), 1);
  assert.equal(pass(250, 1, 0), 1);
  assert.equal(pass(250, 1, 0), 2);
});

test('who comes to an engine that did nothing finds it looked at, while others computed or not', () => {
  const { governor, pass } = machine();
  const rest = (others: number) => {
    for (let seconds = 0; seconds < 60; seconds += 1) pass(IDLE_LOOK_MS, 0, others);
    return governor.threads(MANY);
  };
  assert.equal(rest(0.02), 2);
  assert.equal(rest(1), 1);
});

test('one more is not for a single token', () => {
  const { governor, pass } = machine();
  pass(250, 1, 0);
  assert.equal(pass(250, 1, 0), 2);
  assert.deepEqual(
    [1, 2, 4, 8].map((tokens) => governor.threads(tokens)),
    [1, 2, 2, 2],
  );
});

test('threads that had to wait for a core bar another try, each time for longer', () => {
  const { governor, pass } = machine();
  const settle = (): number => Array.from({ length: 3 }, () => pass(250, 1, 0)).at(-1)!;
  assert.equal(settle(), 2);
  governor.computed(2, 0.2, 0.39);
  assert.equal(pass(0, 0, 0), 2, 'they had their time');
  governor.computed(2, 0.2, 0.2);
  assert.equal(pass(0, 0, 0), 1);
  let waitedMs = 0;
  while (settle() === 1 && waitedMs < 60_000) waitedMs += 750;
  assert.ok(waitedMs > 3_000 && waitedMs < 7_000, `${waitedMs}`);
  governor.computed(2, 0.2, 0.2);
  waitedMs = 0;
  while (settle() === 1 && waitedMs < 60_000) waitedMs += 750;
  assert.ok(waitedMs > 8_000 && waitedMs < 12_000, `${waitedMs}`);
});

test('short steps and few threads are not judged', () => {
  const { governor, pass } = machine();
  pass(250, 1, 0);
  pass(250, 1, 0);
  governor.computed(2, 0.01, 0);
  governor.computed(1, 5, 0);
  assert.equal(pass(0, 0, 0), 2);
});

test('a fixed number stays', () => {
  const { governor, pass } = machine({ few: 3, most: 3 });
  pass(250, 1, 0);
  pass(250, 1, 0);
  assert.equal(governor.threads(MANY), 3);
});
