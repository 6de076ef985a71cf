// Guards the guess at an answer's length: by who asks what, never above what is allowed, bounded in memory.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OutputEstimates } from './output-estimate.ts';

test('before anything has ended an answer takes all that it may', () => {
  assert.equal(new OutputEstimates().expected('m', 'a', 512), 512);
});

test('answers are as long as the last ones were, and never longer than they may be', () => {
  const estimates = new OutputEstimates();
  for (let answer = 0; answer < 100; answer += 1) estimates.finished('m', 'a', answer % 2 === 0 ? 40 : 60);
  const expected = estimates.expected('m', 'a', 512);
  assert.ok(expected >= 45 && expected <= 55, `${expected}`);
  assert.equal(estimates.expected('m', 'a', 8), 8);
});

test('each tenant and each model has its own', () => {
  const estimates = new OutputEstimates();
  estimates.finished('m', 'a', 10);
  estimates.finished('m', 'b', 300);
  estimates.finished('n', 'a', 90);
  assert.deepEqual(
    [estimates.expected('m', 'a', 512), estimates.expected('m', 'b', 512), estimates.expected('n', 'a', 512)],
    [10, 300, 90],
  );
});

test('of more pairs than there is room for, those of long ago are forgotten', () => {
  const estimates = new OutputEstimates();
  for (let tenant = 0; tenant < 10_001; tenant += 1) {
    estimates.finished('m', `${tenant}`, 10);
    estimates.finished('m', 'often', 10);
  }
  assert.equal(estimates.expected('m', '0', 512), 512);
  assert.equal(estimates.expected('m', '10000', 512), 10);
  assert.equal(estimates.expected('m', 'often', 512), 10);
});

test('of a tenant with more models than there is room for, only those of long ago are forgotten', () => {
  const estimates = new OutputEstimates();
  for (let model = 0; model < 10_001; model += 1) estimates.finished(`${model}`, 'a', 10);
  assert.equal(estimates.expected('0', 'a', 512), 512);
  assert.equal(estimates.expected('1', 'a', 512), 10);
  assert.equal(estimates.expected('10000', 'a', 512), 10);
});
