// A load over its time: counts and first tokens stand in the second to which they belong.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Attempt, Second } from './load-record.ts';
import { timeSeries } from './time-series.ts';

const second = (more: Partial<Second> = {}): Second => ({
  sent: 0,
  complete: 0,
  refused: 0,
  unhappy: 0,
  pieces: 0,
  ...more,
});
const attempt = (dueMs: number, firstMs: number, endMs: number) =>
  ({ ending: 'complete', dueMs, firstMs, endMs, lateMs: 0 }) as Attempt;

test('first tokens stand where the request was due, and what is in flight is told at each beginning', () => {
  const series = timeSeries({
    seconds: [second({ sent: 2 }), second({ sent: 1 }), second({ complete: 3, pieces: 9 })],
    attempts: [attempt(0, 100, 2_100), attempt(900, 300, 1_500), attempt(1_800, 50, 300)],
  });
  assert.deepEqual(
    series.map(({ second: at, sent, complete, pieces, inFlight, firstP50Ms }) => [
      at,
      sent,
      complete,
      pieces,
      inFlight,
      firstP50Ms,
    ]),
    [
      [0, 2, 0, 0, 1, 200],
      [1, 1, 0, 0, 2, 50],
      [2, 0, 3, 9, 3, null],
    ],
  );
});

test('a long run has wider steps, whose counts are of a second', () => {
  const series = timeSeries({
    seconds: Array.from({ length: 1_500 }, () => second({ sent: 4 })),
    attempts: [attempt(1_499_000, 10, 20)],
  });
  assert.equal(series.length, 500);
  assert.ok(series.every(({ sent }) => sent === 4));
  assert.equal(series.at(-1)!.firstP99Ms, 10);
  assert.equal(series.at(-1)!.second, 1_497);
});

test('nothing happened: there is no series', () => {
  assert.deepEqual(timeSeries({ seconds: [], attempts: [] }), []);
});
