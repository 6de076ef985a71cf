// Guards the slots that are kept for those who were refused: as many as they would have taken, the highest class first, and for
// no longer than anybody may be expected.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ManualClock } from '../../test/manual-clock.ts';
import { PRIORITIES } from '../core/priority.ts';
import { RefusedDemand } from './refused-demand.ts';

function setUp() {
  const clock = new ManualClock(1_000_000);
  return { clock, refused: new RefusedDemand(clock) };
}

test('nothing is kept where nobody was refused', () => {
  const { refused } = setUp();
  assert.equal(refused.keeps(1), undefined);
  assert.equal(refused.keptMs(1), 0);
});

test('for each call that was refused one slot is kept, and no more', () => {
  const { refused } = setUp();
  for (let calls = 1; calls <= 5; calls += 1) {
    refused.add('interactive', 1);
    assert.equal(refused.keeps(calls), 'interactive');
    assert.equal(refused.keeps(calls + 1), undefined);
  }
});

test('one refusal is all the pressure that there is, and it fades', () => {
  const { clock, refused } = setUp();
  assert.equal(refused.pressure, 0);
  refused.add('standard', 0.25);
  assert.equal(refused.pressure, 0.25);
  refused.add('interactive', 1);
  assert.equal(refused.pressure, 1);
  clock.advance(30_000);
  assert.ok(refused.pressure < 0.01, `${refused.pressure}`);
});

test('a call that could have run on four back ends counts on each for a quarter', () => {
  const { refused } = setUp();
  refused.add('interactive', 0.25);
  refused.add('interactive', 0.25);
  assert.equal(refused.keeps(1), undefined);
  refused.add('interactive', 0.25);
  assert.equal(refused.keeps(1), 'interactive');
});

test('of several classes slots are kept for the highest that would have taken them all', () => {
  const { refused } = setUp();
  refused.add('interactive', 1);
  for (let call = 0; call < 3; call += 1) refused.add('standard', 1);
  assert.equal(refused.keeps(1), 'interactive');
  assert.equal(refused.keeps(3), 'standard');
});

test('a slot is kept until it was said to be, and then given away', () => {
  const refusals = fc.array(
    fc.record({
      priority: fc.constantFrom(...PRIORITIES),
      part: fc.double({ min: 0.01, max: 1, noNaN: true }),
    }),
    { minLength: 1, maxLength: 50 },
  );
  fc.assert(
    fc.property(refusals, fc.integer({ min: 1, max: 8 }), (calls, free) => {
      const { clock, refused } = setUp();
      for (const { priority, part } of calls) {
        refused.add(priority, part);
        clock.advance(10);
      }
      const keptMs = refused.keptMs(free);
      assert.equal(keptMs > 0, refused.keeps(free) !== undefined);
      if (keptMs > 2) {
        clock.advance(keptMs - 1);
        assert.notEqual(refused.keeps(free), undefined);
        clock.advance(2);
      }
      if (keptMs > 0) clock.advance(2);
      assert.equal(refused.keeps(free), undefined);
    }),
  );
});
