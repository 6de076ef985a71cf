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

test('a single token is computed by the number that is sooner done, while the machine is quiet', () => {
  for (const [more, wanted] of [
    [0.03, 1],
    [0.012, 2],
  ] as const) {
    const { governor, pass } = machine();
    for (let step = 0; step < 100; step += 1) {
      pass(20, 1, 0);
      const threads = governor.threads(1);
      const seconds = threads === 1 ? 0.02 : more;
      governor.computed(1, threads, seconds, seconds * threads);
    }
    assert.equal(governor.threads(1), wanted);
    assert.deepEqual(
      [2, 4, 8].map((tokens) => governor.threads(tokens)),
      [2, 2, 2],
    );
    pass(250, 1, 0.9);
    assert.equal(governor.threads(1), 1, 'others compute');
  }
});

/** Lets quiet time pass until there is one thread more, and says how much; 0 where there is one already. */
function waitedMs(pass: (ms: number, ours: number, others: number) => number): number {
  let ms = 0;
  while (pass(250, 1, 0) === 1 && ms < 1_000_000) ms += 250;
  return ms;
}

test('threads that had to wait for a core bar another try, each time for longer, until that is long past', () => {
  const { governor, pass } = machine();
  waitedMs(pass);
  governor.computed(MANY, 2, 0.3, 0.58);
  assert.equal(pass(0, 0, 0), 2, 'they had their time');
  for (const wantedMs of [5_000, 10_000, 20_000]) {
    governor.computed(MANY, 2, 0.3, 0.3);
    assert.equal(pass(0, 0, 0), 1);
    const ms = waitedMs(pass);
    assert.ok(Math.abs(ms - wantedMs) <= 500, `${ms} instead of ${wantedMs}`);
  }
  for (let minutes = 0; minutes < 11; minutes += 1) pass(60_000, 2, 0);
  waitedMs(pass);
  governor.computed(MANY, 2, 0.3, 0.3);
  assert.ok(waitedMs(pass) <= 5_500);
});

test('a step that met with something is judged with those beside it', () => {
  const { governor, pass } = machine();
  waitedMs(pass);
  governor.computed(MANY, 2, 0.08, 0.08);
  for (let step = 0; step < 4; step += 1) governor.computed(MANY, 2, 0.05, 0.097);
  assert.equal(pass(0, 0, 0), 2);
  // The beginning of the next.
  for (let step = 0; step < 5; step += 1) {
    assert.equal(pass(0, 0, 0), 2);
    governor.computed(MANY, 2, 0.06, 0.06);
  }
  assert.equal(pass(0, 0, 0), 1);
});

test('few threads are not judged', () => {
  const { governor, pass } = machine();
  waitedMs(pass);
  governor.computed(MANY, 1, 5, 0);
  assert.equal(pass(0, 0, 0), 2);
});

test('a fixed number stays', () => {
  const { governor, pass } = machine({ few: 3, most: 3 });
  pass(250, 1, 0);
  pass(250, 1, 0);
  assert.equal(governor.threads(MANY), 3);
});
