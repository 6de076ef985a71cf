// Guards what a step takes by a measured curve: straight between the points, as steep beyond them, and one pass where
// prompts and answers share it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type StepCurve, stepMs } from './step-curve.ts';

const CURVE: StepCurve = {
  name: 'small',
  origin: 'made up',
  slots: 4,
  decodeMs: [
    [1, 10],
    [3, 14],
  ],
  prefillMs: [
    [1, 10],
    [100, 60],
    [200, 160],
  ],
  prompts: 'one',
  sliceTokens: 100,
  cacheTokens: 1000,
};

test('a step without work takes nothing, and one with answers alone what was measured', () => {
  assert.equal(stepMs(CURVE, 0, 0), 0);
  assert.equal(stepMs(CURVE, 1, 0), 10);
  assert.equal(stepMs(CURVE, 2, 0), 12, 'half way between two points');
  assert.equal(stepMs(CURVE, 5, 0), 18, 'as steep as between the last two');
});

test('prompts in a pass of their own are added; in a shared pass, what an empty pass costs is paid once', () => {
  assert.equal(stepMs(CURVE, 0, 150), 110);
  assert.equal(stepMs(CURVE, 3, 150), 124);
  const together: StepCurve = { ...CURVE, prompts: 'together' };
  assert.equal(stepMs(together, 0, 150), 110);
  assert.equal(stepMs(together, 3, 150), 114);
  assert.equal(stepMs(together, 1, 150), 110);
});

test('a curve of one point is flat', () => {
  const flat: StepCurve = { ...CURVE, decodeMs: [[1, 20]] };
  assert.equal(stepMs(flat, 1, 0), 20);
  assert.equal(stepMs(flat, 64, 0), 20);
});
