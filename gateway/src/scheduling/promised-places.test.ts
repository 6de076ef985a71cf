// Guards how promised places are divided: a flood gets its tenant's part and no more, a class its own, and nobody who is alone
// has to leave anything to others.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../test/manual-clock.ts';
import { PRIORITIES } from '../core/priority.ts';
import { type Claimant, type PlaceRequest, PromisedPlaces } from './promised-places.ts';

/** Ten calls a second. */
const CALL = { tokens: 100, tokensPerMs: 1 };

function setUp() {
  const clock = new ManualClock(1_000_000);
  const places = new PromisedPlaces(clock, { standard: 0.2, batch: 0.05 });
  let keys = 0;
  const book = (rest: Partial<PlaceRequest> = {}): number | undefined => {
    keys += 1;
    const whose = { priority: 'interactive', tenant: 'one', weight: 1 } as const;
    const dueAt = places.book({ ...whose, ...CALL, key: `${keys}`, earliestAt: clock.now(), ...rest });
    return dueAt && dueAt - clock.now();
  };
  /** How many places are promised to who asks a hundred times a second, for ten seconds. `beside` are there meanwhile. */
  const flood = (rest: Partial<PlaceRequest> = {}, beside: readonly Claimant[] = []) => {
    let count = 0;
    for (let asked = 0; asked < 1_000; asked += 1) {
      for (const one of beside) places.seen(one);
      if (book(rest) !== undefined) count += 1;
      clock.advance(10);
    }
    return count;
  };
  return { clock, places, book, flood };
}

/** Calls that are done in the time for which places are promised in a flood of ten seconds. */
const DONE = 10 * (60 + 10);
const interactive = (tenant: string): Claimant => ({ priority: 'interactive', tenant, weight: 1 });

function assertPart(count: number, part: number): void {
  // Some of the rate is left for chance.
  assert.ok(count > 0.7 * part * DONE && count <= part * DONE, `${count} of ${DONE}`);
}

test('who is alone is promised what there is, and then nothing', () => {
  const { book, flood, places } = setUp();
  const count = flood();
  assertPart(count, 1);
  assert.ok(places.size <= count);
  assert.equal(book(), undefined);
});

test('one who floods beside others is promised its own part, and they still have theirs', () => {
  const { book, flood } = setUp();
  assertPart(flood({}, ['two', 'three', 'four'].map(interactive)), 1 / 4);
  const others = ['two', 'three', 'four'].map((tenant) => book({ tenant })!);
  assert.ok(
    others.every((ms) => ms <= 3_000),
    others.join(),
  );
});

test('nor is it promised more than its part of any moment, though the time at which it could be served draws near', () => {
  const { clock, places, book } = setUp();
  const byFiveSeconds = new Map<number, number>();
  for (let asked = 0; asked < 500; asked += 1) {
    for (const tenant of ['two', 'three', 'four']) places.seen(interactive(tenant));
    const ms = book({ earliestAt: clock.now() + 59_000 - 100 * asked });
    const at = Math.floor((clock.now() + (ms ?? 0)) / 5_000);
    if (ms !== undefined) byFiveSeconds.set(at, (byFiveSeconds.get(at) ?? 0) + 1);
    clock.advance(10);
  }
  assert.ok(byFiveSeconds.size >= 10);
  for (const [at, count] of byFiveSeconds)
    assert.ok(count <= (5 * 10) / 4 + 2, `${count} from ${at * 5} s on`);
});

test('a weight is a larger part', () => {
  const { flood } = setUp();
  const few = flood({ tenant: 'light' }, [{ ...interactive('heavy'), weight: 4 }]);
  assertPart(few, 1 / 5);
});

test('who has gone leaves its part to the others', () => {
  const { clock, flood, places } = setUp();
  places.seen(interactive('gone'));
  clock.advance(12_000);
  assertPart(flood(), 1);
});

test('a class below others is promised what it is guaranteed, one above others all but that', () => {
  assertPart(setUp().flood({ priority: 'batch' }, [interactive('one')]), 0.05);
  assertPart(setUp().flood({ priority: 'standard' }, [{ ...interactive('one'), priority: 'batch' }]), 0.95);
});

test('a call goes behind what is promised to its class and those above, not behind what is promised below', () => {
  const { clock, book, places } = setUp();
  for (const priority of PRIORITIES) book({ priority });
  const soon = clock.now() + 3_000;
  assert.deepEqual(
    PRIORITIES.map((one) => places.tokensDueBefore(one, soon)),
    [100, 200, 300],
  );
});

test('a place is claimed once, at its time, in its class', () => {
  const { clock, book, places } = setUp();
  const ms = book({ key: 'mine' })!;
  assert.equal(places.claim('interactive', 'mine'), false);
  clock.advance(ms);
  assert.equal(places.claim('standard', 'mine'), false);
  assert.equal(places.claim('interactive', 'mine'), true);
  assert.equal(places.claim('interactive', 'mine'), false);
  assert.equal(places.size, 0);
});
