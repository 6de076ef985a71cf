// Guards the promise of a P99: whatever errors are like, 99 of 100 keep within the margin, and none is careful for long because
// of what happened once.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../load/seeded-random.ts';
import { ErrorMargin } from './error-margin.ts';

const NONE = 0;

function overShare(errorOf: () => number, count = 20_000): number {
  const margin = new ErrorMargin();
  let over = 0;
  for (let index = 0; index < count; index += 1) {
    const error = errorOf();
    if (index >= 500 && error > margin.above) over += 1;
    margin.take(error, NONE);
  }
  return over / (count - 500);
}

const random = seededRandom(3);
const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());

const SORTS: readonly [string, () => number][] = [
  ['normal', normal],
  ['skewed', () => -Math.log(1 - random())],
  ['of two sorts', () => (random() < 0.9 ? normal() : 8 + normal())],
];

for (const [name, errorOf] of SORTS) {
  test(`errors that are ${name}: about one in a hundred is over the margin`, () => {
    const share = overShare(errorOf);
    assert.ok(share > 0.003 && share < 0.017, `${(100 * share).toFixed(2)} %`);
  });
}

test('a prediction that is always too long needs no margin', () => {
  const margin = new ErrorMargin();
  for (let index = 0; index < 200; index += 1) margin.take(normal() - 20, NONE);
  assert.equal(margin.above, 0);
});

test('a burst of large errors is forgotten with the next two dozen', () => {
  const margin = new ErrorMargin();
  for (let index = 0; index < 10; index += 1) margin.take(100 * normal(), NONE);
  for (let index = 0; index < 24; index += 1) margin.take(normal(), NONE);
  assert.ok(margin.above < 8, `${margin.above}`);
});

test('predictions that were far too long do not widen the margin', () => {
  const [without, beside] = [new ErrorMargin(), new ErrorMargin()];
  for (let index = 0; index < 24; index += 1) {
    const error = normal();
    without.take(error, NONE);
    beside.take(index % 3 === 0 ? -100 : error, Infinity);
  }
  assert.ok(beside.above < 2 * without.above, `${beside.above}, without them ${without.above}`);
});

test('a single accident is cut, two in a row are learnt as they are', () => {
  const margin = new ErrorMargin();
  for (let index = 0; index < 50; index += 1) margin.take(normal(), NONE);
  assert.ok(margin.take(1_000, NONE) < 20);
  assert.equal(margin.take(1_000, NONE), 1_000);
  assert.equal(new ErrorMargin().take(7, NONE), 7);
});

test('the margin is of the middle and the upper half of the last two dozen errors', () => {
  const middleOf = (values: readonly number[]) => {
    const sorted = values.toSorted((a, b) => a - b);
    return (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2;
  };
  const margin = new ErrorMargin();
  const errors = Array.from({ length: 200 }, (_, index) => (index % 7 === 0 ? 1 : normal()));
  let spreads = 3.45;
  for (const [index, error] of errors.entries()) {
    if (index > 0) spreads = Math.max(0, spreads + 0.5 * (error > margin.above ? 0.99 : -0.01));
    // Never cut.
    margin.take(error, Infinity);
    const last = errors.slice(Math.max(0, index - 23), index + 1);
    const middle = middleOf(last);
    const upper = middleOf(last.toSorted((a, b) => a - b).slice(last.length >> 1)) - middle;
    assert.ok(Math.abs(margin.above - Math.max(0, middle + spreads * upper)) < 1e-9);
  }
});
