// Guards that a fixed limit is fixed, and that a back end without one of its own is bounded by its slots alone.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fixedLimit } from './fixed-limit.ts';
import { makeLimit } from './make-limit.ts';

const OVERLOAD = { startedAt: 0, at: 1, firstTokenMs: undefined, running: 3, outcome: 'overload' } as const;

test('a fixed limit stays where it is, whatever becomes of the calls', () => {
  const limit = fixedLimit(3);
  limit.sampled(OVERLOAD);
  assert.equal(limit.value, 3);
});

test('each sort of limit is made by its name, and begins within its bound', () => {
  assert.equal(makeLimit(undefined).value, Number.POSITIVE_INFINITY);
  assert.equal(makeLimit({ kind: 'aimd', most: 40 }).value, 40);
  assert.equal(makeLimit({ kind: 'gradient', most: 40 }).value, 20);
  assert.equal(makeLimit({ kind: 'gradient', most: 4 }).value, 4);
});
