// Guards the order of arrivals against a plain array, and that what has left is let go.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { type Arrival, ArrivalList } from './arrival-list.ts';

const action = fc.oneof(
  { weight: 3, arbitrary: fc.constant('come' as const) },
  { weight: 1, arbitrary: fc.constantFrom('oldest goes' as const, 'newest goes' as const) },
  { weight: 2, arbitrary: fc.nat(1_000) },
);

test('the oldest and the newest are those of a plain array, whoever leaves from wherever', () => {
  fc.assert(
    fc.property(fc.array(action, { maxLength: 300 }), (actions) => {
      const list = new ArrivalList<Arrival>();
      const there: Arrival[] = [];
      const leave = (item: Arrival | undefined) => {
        if (!item) return;
        there.splice(there.indexOf(item), 1);
        item.isGone = true;
        list.left();
      };
      for (const step of actions) {
        if (step === 'come') {
          const item = { isGone: false };
          there.push(item);
          list.push(item);
        } else if (step === 'oldest goes') leave(there[0]);
        else if (step === 'newest goes') leave(there.at(-1));
        else leave(there[step % there.length]);
        assert.equal(list.size, there.length);
        assert.equal(list.oldest, there[0]);
        assert.equal(list.newest, there.at(-1));
        assert.deepEqual([...list], there);
      }
    }),
  );
});

test('of thousands that came and left hardly anything is held', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const list = new ArrivalList<Arrival>();
  list.push({ isGone: false });
  const gone: WeakRef<Arrival>[] = [];
  for (let number = 0; number < 10_000; number += 1) {
    const item = { isGone: false };
    gone.push(new WeakRef(item));
    list.push(item);
    item.isGone = true;
    list.left();
  }
  // What was looked at in a turn is held until the turn is over.
  await new Promise(setImmediate);
  collect();
  const held = gone.filter((one) => one.deref() !== undefined).length;
  assert.ok(held < 100, `${held}`);
  assert.equal(list.size, 1);
});
