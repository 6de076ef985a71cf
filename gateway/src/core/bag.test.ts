// Guards what comes and goes with requests: that all of it is there as long as it should be, and none of it longer.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Bag, type Held } from './bag.ts';

test('whatever comes and goes, what is in it is what was not taken out', () => {
  const step = fc.oneof(fc.constant('add' as const), fc.nat(100));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const bag = new Bag<number>();
      const all: Held<number>[] = [];
      const there = new Set<number>();
      for (const one of steps) {
        if (one === 'add') {
          there.add(all.length);
          all.push(bag.add(all.length));
        } else if (all.length > 0) {
          // Also what is out already.
          const held = all[one % all.length]!;
          there.delete(held.item);
          bag.remove(held);
        }
        assert.equal(bag.size, there.size);
        assert.deepEqual(new Set(bag.items), there);
      }
    }),
  );
});
