// Guards what all predictions stand on: that two very different sorts of servers are learnt from a few calls, that the margin
// covers 99 of 100, and that neither an accident, nor a change, nor those who leave make it tell tales.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../test/manual-clock.ts';
import {
  ONE_BY_ONE,
  randomJobs,
  type Shape,
  SteppedClock,
  serve,
  TOGETHER,
} from '../../test/stepping-server.ts';
import { seededRandom } from '../load/seeded-random.ts';
import { DecayedRegression } from './decayed-regression.ts';
import { ServiceModel } from './service-model.ts';

/** What was said of a call, and what came. */
interface Told {
  readonly tokensAhead: number;
  readonly decoding: number;
  readonly ms: number | undefined;
  readonly marginMs: number;
  readonly came: number;
}

interface Load {
  readonly perSecond: number;
  readonly prompt: readonly [number, number];
  readonly output: readonly [number, number];
}

function observe(shape: Shape, { perSecond, prompt, output }: Load, count = 2_000) {
  const clock = new SteppedClock();
  const model = new ServiceModel(clock);
  const told: Told[] = [];
  const jobs = randomJobs(count, perSecond, seededRandom(7), { prompt, output });
  let tokens = 0;
  serve(shape, clock, jobs, ({ promptTokens, outputTokens }) => {
    const beganAt = clock.now();
    const tokensAhead = model.promptTokens + promptTokens;
    const { decoding } = model;
    const estimate = model.firstTokenMs(tokensAhead, decoding);
    const costTokens = promptTokens + outputTokens;
    const call = model.began({ promptTokens, costTokens }, shape.limit);
    return {
      spoke: () => {
        call.spoke();
        const { ms, marginMs = 0 } = estimate ?? {};
        told.push({ tokensAhead, decoding, ms, marginMs, came: clock.now() - beganAt });
      },
      ended: () => {
        call.ended();
        tokens += costTokens;
      },
    };
  });
  return { model, told, perSecond: (tokens * 1000) / clock.now() };
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const learnt = (told: readonly Told[]) => told.slice(100);

const ONE_BY_ONE_LOAD: Load = { perSecond: 1.1, prompt: [20, 400], output: [16, 112] };
const TOGETHER_LOAD: Load = { perSecond: 10, prompt: [50, 1_000], output: [20, 300] };
const SERVERS: [string, Shape, Load][] = [
  ['one by one', ONE_BY_ONE, ONE_BY_ONE_LOAD],
  ['many at once', TOGETHER, TOGETHER_LOAD],
];

for (const [name, shape, load] of SERVERS) {
  test(`a server that computes prompts ${name} is learnt: first tokens come when they were said to`, () => {
    const told = learnt(observe(shape, load).told);
    const error = mean(told.map(({ ms, came }) => Math.abs(ms! - came)));
    const usual = mean(told.map(({ came }) => came));
    assert.ok(error < 0.25 * usual, `off by ${error.toFixed(0)} of ${usual.toFixed(0)} ms`);
  });

  test(`a server that computes prompts ${name}: 99 of 100 come within the margin, and the margin is not just large`, () => {
    const told = learnt(observe(shape, load).told);
    const late = told.filter(({ ms, marginMs, came }) => came > ms! + marginMs).length / told.length;
    assert.ok(late >= 0.002 && late <= 0.02, `${(100 * late).toFixed(1)} % were late`);
  });
}

test('the streams that run beside it are a cause of their own: without them the line is clearly worse', () => {
  const told = learnt(observe(ONE_BY_ONE, ONE_BY_ONE_LOAD).told);
  const line = new DecayedRegression(2);
  const errors: number[] = [];
  for (const { tokensAhead, came } of told) {
    errors.push(Math.abs(line.at([1, tokensAhead]) - came));
    line.decay(0.5 ** (1 / 50));
    line.add([1, tokensAhead], came, 1 / came);
  }
  const without = mean(errors.slice(100));
  const withThem = mean(told.slice(100).map(({ ms, came }) => Math.abs(ms! - came)));
  assert.ok(withThem < 0.85 * without, `${withThem.toFixed(0)} ms against ${without.toFixed(0)}`);
});

for (const [name, shape, load] of SERVERS) {
  test(`the rate of a server that computes prompts ${name} is what it gets through when it is full`, () => {
    const { model, perSecond } = observe(shape, { ...load, perSecond: load.perSecond * 4 });
    const rate = model.tokensPerSecond()!;
    assert.ok(
      Math.abs(rate - perSecond) < 0.15 * perSecond,
      `${rate.toFixed(0)}, not ${perSecond.toFixed(0)}`,
    );
  });
}

/** A back end that takes 20 ms and half a ms a prompt token, asked one call after the other. */
function setUp(samples = 100) {
  const clock = new ManualClock();
  const model = new ServiceModel(clock);
  const ask = (promptTokens: number, ms = 20 + promptTokens / 2) => {
    const call = model.began({ promptTokens, costTokens: promptTokens + 10 }, 4);
    clock.advance(ms);
    call.spoke();
    clock.advance(10);
    call.ended();
  };
  for (let sample = 0; sample < samples; sample += 1) ask(100 + ((sample * 37) % 300));
  return { clock, model, ask };
}

test('of a few calls nothing is said', () => {
  assert.equal(setUp(7).model.firstTokenMs(100, 0), undefined);
  assert.equal(new ServiceModel(new ManualClock()).tokensPerSecond(), undefined);
  const { ms, floorMs } = setUp(8).model.firstTokenMs(200, 0)!;
  assert.ok(Math.abs(ms - 120) < 5, `${ms}`);
  assert.ok(Math.abs(floorMs - 20) < 5, `${floorMs}`);
});

test('one step that was held up is forgotten at once; it makes nobody refuse', () => {
  const { model, ask } = setUp();
  ask(200, 20_000);
  const { ms, marginMs } = model.firstTokenMs(200, 0)!;
  assert.ok(ms + marginMs < 200, `${ms} + ${marginMs}`);
});

test('what a cold start was like is no reason to refuse once that is over', () => {
  const { model, ask } = setUp(0);
  for (let call = 0; call < 10; call += 1) ask(100 + 30 * call, 2_000 + 300 * (call % 4));
  for (let call = 0; call < 40; call += 1) ask(100 + ((call * 37) % 300));
  const { ms, marginMs } = model.firstTokenMs(200, 0)!;
  assert.ok(ms + marginMs < 300, `${ms} + ${marginMs}`);
});

test('a back end that has become three times slower is known for that after a few calls', () => {
  const { model, ask } = setUp();
  for (let call = 0; call < 40; call += 1) ask(200, 360);
  const { ms } = model.firstTokenMs(200, 0)!;
  assert.ok(ms > 200, `${ms}`);
  for (let call = 0; call < 160; call += 1) ask(200, 360);
  assert.ok(Math.abs(model.firstTokenMs(200, 0)!.ms - 360) < 40);
});

test('what was measured long ago gives way to the first calls of today', () => {
  const { clock, model, ask } = setUp();
  clock.advance(24 * 3_600_000);
  assert.ok(Math.abs(model.firstTokenMs(200, 0)!.ms - 120) < 5, 'until then it is the best guess');
  for (let call = 0; call < 6; call += 1) ask(100 + 50 * call, 3 * (20 + (100 + 50 * call) / 2));
  assert.ok(model.firstTokenMs(200, 0)!.ms > 300);
});

test('who waits longer than was expected and leaves before the first token says so much; who leaves at once says nothing', () => {
  const { clock, model } = setUp();
  const before = model.firstTokenMs(200, 0)!.ms;
  for (let call = 0; call < 20; call += 1) {
    const begun = model.began({ promptTokens: 200, costTokens: 210 }, 4);
    clock.advance(30);
    begun.ended();
  }
  assert.equal(model.firstTokenMs(200, 0)!.ms, before);
  for (let call = 0; call < 40; call += 1) {
    const begun = model.began({ promptTokens: 200, costTokens: 210 }, 4);
    clock.advance(1_000);
    begun.ended();
  }
  assert.ok(model.firstTokenMs(200, 0)!.ms > 2 * before);
});

test('while more and more runs, the short answers that ended first do not pass for all', () => {
  const clock = new ManualClock();
  const model = new ServiceModel(clock);
  // Every tenth answer takes half a second, the others ten.
  const long: { ended(): void }[] = [];
  for (let call = 0; call < 40; call += 1) {
    const begun = model.began({ promptTokens: 10, costTokens: 100 }, 40);
    clock.advance(50);
    begun.spoke();
    if (call % 10 > 0) long.push(begun);
    else clock.after(450, () => begun.ended());
  }
  clock.advance(2_000);
  assert.ok(model.meanHoldMs! > 5_000, `${model.meanHoldMs}`);
  clock.advance(8_000);
  for (const one of long) one.ended();
  assert.ok(model.meanHoldMs! > 8_000, `${model.meanHoldMs}`);
});

test('a back end that ends its calls without a word gets nothing done by it', () => {
  const { clock, model, ask } = setUp();
  const before = model.tokensPerSecond()!;
  for (let call = 0; call < 20; call += 1) {
    const begun = model.began({ promptTokens: 200, costTokens: 210 }, 4);
    clock.advance(10);
    begun.ended();
  }
  assert.ok(model.tokensPerSecond()! <= before);
  for (let call = 0; call < 200; call += 1) ask(200);
  const after = model.tokensPerSecond()!;
  assert.ok(Math.abs(after - before) < 0.15 * before, `${before} ${after}`);
});

test('where no first token was ever waited for, it learns that they take at least so long', () => {
  const clock = new ManualClock();
  const model = new ServiceModel(clock);
  for (let call = 0; call < 12; call += 1) {
    const begun = model.began({ promptTokens: 200, costTokens: 210 }, 4);
    clock.advance(500);
    begun.ended();
  }
  assert.ok(model.firstTokenMs(200, 0)!.ms > 400);
});

test('it knows what is to be computed, and who is past it; told twice is told once', () => {
  const clock = new ManualClock();
  const model = new ServiceModel(clock);
  const first = model.began({ promptTokens: 100, costTokens: 150 }, 2);
  const second = model.began({ promptTokens: 30, costTokens: 80 }, 2);
  assert.deepEqual([model.promptTokens, model.running, model.decoding], [130, 2, 0]);
  first.spoke();
  first.spoke();
  assert.deepEqual([model.promptTokens, model.running, model.decoding], [30, 2, 1]);
  second.ended();
  second.ended();
  second.spoke();
  assert.deepEqual([model.promptTokens, model.running, model.decoding], [0, 1, 1]);
  first.ended();
  assert.deepEqual([model.promptTokens, model.running, model.decoding], [0, 0, 0]);
});

test('how calls differ in length is told by their squared variation', () => {
  const { model } = setUp(0);
  assert.equal(model.holdVariation, 0);
  const even = setUp();
  for (let call = 0; call < 300; call += 1) even.ask(200);
  assert.ok(even.model.holdVariation < 0.02);
  const uneven = setUp();
  for (let call = 0; call < 300; call += 1) uneven.ask(call % 10 === 0 ? 20_000 : 0);
  assert.ok(uneven.model.holdVariation > 4, `${uneven.model.holdVariation}`);
});
