// Guards the line that predictions are read off: right where it can be known, sane where it cannot, never pointing down.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DecayedRegression } from './decayed-regression.ts';

function near(actual: number, expected: number, share = 0.02): void {
  assert.ok(Math.abs(actual - expected) <= share * Math.abs(expected) + 1e-9, `${actual}, not ${expected}`);
}

test('nothing was added: nothing is expected', () => {
  assert.equal(new DecayedRegression(2).at([1, 100]), 0);
});

test('it finds the causes of what was measured', () => {
  fc.assert(
    fc.property(fc.nat(500), fc.nat(20), fc.nat(50), (floor, each, stream) => {
      const line = new DecayedRegression(3);
      for (let sample = 0; sample < 60; sample += 1) {
        const causes = [1, (sample * 37) % 400, (sample * 5) % 8];
        line.add(causes, floor + each * causes[1]! + stream * causes[2]!, 1);
      }
      near(line.at([1, 200, 4]), floor + each * 200 + stream * 4);
      near(line.at([1, 800, 4]), floor + each * 800 + stream * 4);
    }),
  );
});

test('what seems to make things quicker is taken for no cause', () => {
  const line = new DecayedRegression(2);
  line.add([1, 0], 100, 1);
  line.add([1, 100], 50, 1);
  near(line.at([1, 1_000]), line.at([1, 0]));
  near(line.at([1, 0]), 75);
});

test('of two causes that always came together each is taken for half', () => {
  const line = new DecayedRegression(2);
  for (let sample = 0; sample < 50; sample += 1) line.add([1, 300], 60, 1);
  near(line.at([1, 300]), 60);
  near(line.at([1, 0]), 30);
  near(line.at([1, 600]), 90);
});

test('a cause that was never there counts for nothing', () => {
  const line = new DecayedRegression(2);
  line.add([1, 0], 10, 1);
  near(line.at([1, 50]), 10);
});

test('what is older counts less', () => {
  const line = new DecayedRegression(1);
  for (let sample = 0; sample < 100; sample += 1) line.add([1], 10, 1);
  for (let sample = 0; sample < 100; sample += 1) {
    line.decay(0.9);
    line.add([1], 50, 1);
  }
  near(line.at([1]), 50);
});

test('whatever is measured, more of a cause never means less of an effect', () => {
  const sample = fc.record({ x: fc.nat(5_000), y: fc.nat(64), effect: fc.nat(60_000) });
  fc.assert(
    fc.property(fc.array(sample, { maxLength: 40 }), (samples) => {
      const line = new DecayedRegression(4);
      for (const { x, y, effect } of samples) {
        line.decay(0.98);
        line.add([1, x, y, x * y], effect, 1 / Math.max(1, effect));
      }
      let last = 0;
      for (const x of [0, 1, 100, 10_000]) {
        const effect = line.at([1, x, 5, x * 5]);
        assert.ok(Number.isFinite(effect) && effect >= last);
        last = effect;
      }
    }),
  );
});

test('it is the same line whether it was looked at after each sample or only in the end', () => {
  const sample = fc.record({ x: fc.nat(5_000), y: fc.nat(64), effect: fc.nat(60_000) });
  fc.assert(
    fc.property(fc.array(sample, { minLength: 1, maxLength: 40 }), (samples) => {
      const [often, once] = [new DecayedRegression(4), new DecayedRegression(4)];
      for (const { x, y, effect } of samples) {
        for (const line of [often, once]) {
          line.decay(0.98);
          line.add([1, x, y, x * y], effect, 1 / Math.max(1, effect));
        }
        often.at([1, x, y, x * y]);
      }
      for (const x of [0, 100, 10_000]) near(often.at([1, x, 5, x * 5]), once.at([1, x, 5, x * 5]), 1e-6);
    }),
  );
});
