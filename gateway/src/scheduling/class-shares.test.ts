// Guards the classes' shares: the highest first, the lower ones what they are guaranteed and no more, nobody for ever.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Priority } from '../core/priority.ts';
import { ClassShares, type Heads } from './class-shares.ts';

const SHARES = { standard: 0.2, batch: 0.05 };

/** Serves until so many tokens are done; every class that is named always has a next call. */
function serve(shares: ClassShares, tokens: number, heads: () => Heads): Record<Priority, number> {
  const served = { interactive: 0, standard: 0, batch: 0 };
  for (let done = 0; done < tokens; ) {
    const waiting = heads();
    const turn = shares.next(waiting)!;
    const cost = waiting[turn.priority]!;
    shares.served(turn, cost, waiting);
    served[turn.priority] += cost;
    done += cost;
  }
  return served;
}

test('the highest class that waits goes first, and nobody is next where nobody waits', () => {
  const shares = new ClassShares(SHARES);
  assert.equal(shares.next({}), undefined);
  assert.deepEqual(shares.next({ batch: 10 }), { priority: 'batch', isEarned: false });
  assert.deepEqual(shares.next({ standard: 10, batch: 10 }), { priority: 'standard', isEarned: false });
  assert.deepEqual(shares.next({ interactive: 10, standard: 10, batch: 10 }), {
    priority: 'interactive',
    isEarned: false,
  });
});

test('while all wait each lower class gets its share of the tokens, and the highest the rest', () => {
  const call = fc.integer({ min: 1, max: 5_000 });
  fc.assert(
    fc.property(fc.infiniteStream(fc.tuple(call, call, call)), (costs) => {
      const next = () => {
        const [interactive, standard, batch] = costs.next().value as [number, number, number];
        return { interactive, standard, batch };
      };
      let heads = next();
      const shares = new ClassShares(SHARES);
      const served = { interactive: 0, standard: 0, batch: 0 };
      let done = 0;
      while (done < 1_000_000) {
        const turn = shares.next(heads)!;
        const cost = heads[turn.priority];
        shares.served(turn, cost, heads);
        served[turn.priority] += cost;
        done += cost;
        // Only who was served has another call next.
        heads = { ...heads, [turn.priority]: next()[turn.priority] };
      }
      for (const lower of ['standard', 'batch'] as const) {
        assert.ok(
          Math.abs(served[lower] - SHARES[lower] * done) < 10_000,
          `${lower}: ${served[lower] / done}`,
        );
      }
    }),
    { numRuns: 20 },
  );
});

test('a class that has others above it waits for no more than its call, divided by its share', () => {
  const shares = new ClassShares(SHARES);
  let before = 0;
  for (;;) {
    const heads = { interactive: 100, batch: 600 };
    const turn = shares.next(heads)!;
    if (turn.priority === 'batch') break;
    shares.served(turn, 100, heads);
    before += 100;
  }
  assert.equal(before, 600 / SHARES.batch);
});

test('who does not wait saves nothing up', () => {
  const shares = new ClassShares(SHARES);
  serve(shares, 1_000_000, () => ({ interactive: 100 }));
  assert.equal(shares.next({ interactive: 100, standard: 10 })!.priority, 'interactive');
  serve(shares, 1_000_000, () => ({ standard: 100 }));
  assert.equal(shares.next({ interactive: 100, standard: 10 })!.priority, 'interactive');
});

test('what nobody above waited for is not paid for', () => {
  const shares = new ClassShares(SHARES);
  serve(shares, 1_000_000, () => ({ batch: 500 }));
  const served = serve(shares, 100_000, () => ({ interactive: 100, batch: 500 }));
  assert.ok(Math.abs(served.batch - 5_000) <= 500, `${served.batch}`);
});

test('a call that costs more than can be earned has its turn, and is paid for afterwards', () => {
  const shares = new ClassShares(SHARES);
  const served = serve(shares, 4_000_000, () => ({ interactive: 1_000, batch: 100_000 }));
  assert.ok(served.batch >= 100_000 && served.batch <= 300_000, `${served.batch}`);
});
