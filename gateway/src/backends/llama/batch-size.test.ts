// Checks batch-size.ts on curves that are made up: it finds the knee, holds it, and follows it when it moves.
// It must never wait: time is what the steps add up to.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../load/seeded-random.ts';
import { BatchSize, MOST_AT_ONCE } from './batch-size.ts';

/** Seconds that a batch of so many answers takes. */
type Curve = (answers: number) => number;

/** Up to the knee more answers hardly take longer; beyond it, twice the answers take two and a half times as long. */
const kneeAt =
  (knee: number, base = 0.04): Curve =>
  (answers) =>
    answers <= knee ? base * (1 + 0.2 * (answers / knee)) : base * 1.2 * (answers / knee) ** 1.32;

/** A machine under a load that always waits, or never fills the places. */
class Machine {
  readonly size: BatchSize;
  curve: Curve;
  /** Calls that there are, running and waiting. */
  demand = 1_000;
  nowMs = 0;
  /** When the value became what. */
  readonly changes: { readonly atMs: number; readonly value: number }[] = [];
  private running = 0;

  constructor(curve: Curve, most = MOST_AT_ONCE, longestSeconds = 0.25) {
    this.curve = curve;
    this.size = new BatchSize({ most, longestSeconds });
  }

  /** A place that is free is taken at the next step; where there are fewer places, one answer in ten steps ends. */
  run(minutes: number, noise: () => number = () => 1): void {
    const until = this.nowMs + minutes * 60_000;
    for (let step = 0; this.nowMs < until; step += 1) {
      const places = this.size.value;
      const most = Math.min(places, this.demand);
      if (this.running < most) this.running += 1;
      if (this.running > most && step % 10 === 0) this.running -= 1;
      const seconds = this.curve(this.running) * noise();
      this.nowMs += seconds * 1000;
      this.size.stepped({
        atMs: this.nowMs,
        answers: this.running,
        seconds,
        isFull: this.running >= places,
      });
      if (this.size.value !== places) this.changes.push({ atMs: this.nowMs, value: this.size.value });
    }
  }

  /** The share of the last minutes at each value. */
  shareAt(value: number, minutes: number): number {
    const from = this.nowMs - minutes * 60_000;
    let share = 0;
    let at = from;
    let current = this.changes.findLast((change) => change.atMs <= from)?.value ?? 8;
    for (const change of [...this.changes, { atMs: this.nowMs, value: 0 }]) {
      if (change.atMs <= from) continue;
      if (current === value) share += change.atMs - at;
      at = change.atMs;
      current = change.value;
    }
    return share / (this.nowMs - from);
  }
}

/** Uniform within `part` of 1, the same every time. */
function noiseOf(seed: number, part: number): () => number {
  const random = seededRandom(seed);
  return () => 1 + part * (2 * random() - 1);
}

for (const knee of [1, 4, 8, 16, 32]) {
  test(`a knee at ${knee} is found and held`, () => {
    const machine = new Machine(kneeAt(knee));
    machine.run(10);
    assert.ok(machine.shareAt(knee, 5) > 0.9, JSON.stringify(machine.changes));
  });

  test(`a knee at ${knee} is held although every step takes up to a tenth more or less`, () => {
    const machine = new Machine(kneeAt(knee));
    machine.run(60, noiseOf(knee, 0.1));
    assert.ok(machine.shareAt(knee, 30) > 0.85, JSON.stringify(machine.changes));
    assert.ok(machine.changes.length < 60, `${machine.changes.length} changes in an hour`);
  });
}

test('where no speed is lost, it takes all the places that there are', () => {
  const machine = new Machine((answers) => 0.001 * answers);
  machine.run(10);
  assert.equal(machine.size.value, 64);
  const small = new Machine(() => 0.05, 20);
  small.run(10);
  assert.equal(small.size.value, 16, 'the largest of its sizes for which there are places');
});

test('no batch takes longer than it may, however much speed it adds', () => {
  const machine = new Machine((answers) => 0.01 * answers ** 0.8);
  machine.run(10);
  assert.equal(machine.size.value, 48, '48 take 0.22 s, 64 would take 0.28 s');
  const slow = new Machine((answers) => 0.05 * answers ** 0.7);
  slow.run(10);
  assert.equal(slow.size.value, 8, '8 take 0.21 s, 12 would take 0.28 s');
});

test('a model that is slow already falls to one answer at once as soon as the others have ended', () => {
  const machine = new Machine((answers) => 0.3 + 0.1 * answers);
  machine.run(2);
  assert.equal(machine.size.value, 1);
});

test('a knee that moves is followed, up and down', () => {
  const machine = new Machine(kneeAt(16));
  machine.run(5);
  assert.equal(machine.size.value, 16);
  machine.curve = kneeAt(4);
  machine.run(60);
  assert.ok(machine.shareAt(4, 10) > 0.8, JSON.stringify(machine.changes));
  machine.curve = kneeAt(12);
  machine.run(90);
  assert.ok(machine.shareAt(12, 10) > 0.8, JSON.stringify(machine.changes));
});

test('what was learnt is not tried again and again', () => {
  const machine = new Machine(kneeAt(8));
  machine.run(240);
  const lately = machine.changes.filter(({ atMs }) => atMs > machine.nowMs - 120 * 60_000);
  assert.ok(lately.length <= 16, `${lately.length} changes in two hours`);
  assert.ok(lately.length > 0, 'and yet it looks, now and then');
});

test('without calls that fill the places nothing is tried', () => {
  const machine = new Machine(() => 0.05);
  machine.demand = 5;
  machine.run(30);
  assert.deepEqual(machine.changes, []);
  assert.equal(machine.size.value, 8);
});

test('a few steps that were held up change nothing', () => {
  const machine = new Machine(kneeAt(8));
  machine.run(3);
  const { length } = machine.changes;
  assert.equal(machine.size.value, 8);
  for (let hiccup = 0; hiccup < 2; hiccup += 1) {
    machine.size.stepped({ atMs: machine.nowMs, answers: 8, seconds: 3, isFull: true });
  }
  assert.equal(machine.size.value, 8);
  assert.equal(machine.changes.length, length);
});

test('a trial for which too few calls come ends by itself', () => {
  const machine = new Machine(() => 0.05);
  machine.run(0.07);
  assert.equal(machine.size.value, 12, 'a trial is on');
  machine.demand = 9;
  machine.run(1.1);
  assert.equal(machine.size.value, 8);
});

test('there is always a size, however few places there are', () => {
  for (const most of [1, 2, 5]) {
    const size = new BatchSize({ most, longestSeconds: 0.25 });
    assert.ok(size.value >= 1 && size.value <= most);
  }
});
