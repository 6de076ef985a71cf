// Guards the order in which calls of one class are served: tenants by what they were served, one tenant's by when they give
// up, the newest first in overload and only then; and that nobody is lost, served twice or kept in memory.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ManualClock } from '../../test/manual-clock.ts';
import { FairQueue, type Place, type Waiting } from './fair-queue.ts';

interface Call extends Waiting {
  readonly name: string;
}

const OVERLOAD = { targetMs: 100, intervalMs: 1_000 };

function setUp() {
  const clock = new ManualClock(1_000_000);
  const queue = new FairQueue<Call>({ clock, overload: OVERLOAD });
  const push = (name: string, rest: Partial<Call> = {}): Place<Call> => {
    const since = clock.now();
    const dueAt = since + 60_000;
    const usual = { tenant: 'a', weight: 1, tokens: 10, dueAt, isDue: false, isPromised: false };
    return queue.push({ name, since, ...usual, ...rest });
  };
  const takePlace = () => {
    const place = queue.next;
    if (place) queue.take(place);
    return place;
  };
  const take = () => takePlace()?.item.name;
  const takeAll = () => {
    const names: string[] = [];
    for (let name = take(); name !== undefined; name = take()) names.push(name);
    return names.join(' ');
  };
  return { clock, queue, push, takePlace, take, takeAll };
}

test("one tenant's calls go in the order in which they would give up, those alike in the order in which they came", () => {
  const { clock, push, takeAll } = setUp();
  push('long', { dueAt: clock.now() + 9_000 });
  push('first');
  push('short', { dueAt: clock.now() + 100 });
  push('second');
  assert.equal(takeAll(), 'short long first second');
});

test('tenants take turns by tokens, not by calls', () => {
  const { push, takeAll } = setUp();
  for (const number of [1, 2, 3]) push(`big${number}`, { tenant: 'big', tokens: 100 });
  for (const number of [1, 2, 3, 4, 5, 6, 7, 8]) push(`small${number}`, { tenant: 'small', tokens: 20 });
  assert.equal(takeAll(), 'big1 small1 small2 small3 small4 small5 big2 small6 small7 small8 big3');
});

test('a weight of three is three times as much', () => {
  const { push, takePlace } = setUp();
  for (let number = 0; number < 400; number += 1) {
    push('heavy', { tenant: 'heavy', weight: 3 });
    push('light', { tenant: 'light' });
  }
  const served = { heavy: 0, light: 0 };
  for (let number = 0; number < 400; number += 1) served[takePlace()!.item.name as 'heavy' | 'light'] += 1;
  assert.deepEqual(served, { heavy: 300, light: 100 });
});

test('who comes to a flood waits for one call of it and not for the flood', () => {
  const { push, take } = setUp();
  for (let number = 0; number < 100; number += 1) push('flood', { tenant: 'flood' });
  for (let number = 0; number < 50; number += 1) take();
  push('other', { tenant: 'other' });
  assert.deepEqual([take(), take(), take()], ['other', 'flood', 'flood']);
});

test('who comes for the first time, or was away, has eight calls before its turn, and then its turns', () => {
  const { push, take } = setUp();
  for (let number = 0; number < 100; number += 1) push('steady', { tenant: 'steady' });
  for (let number = 0; number < 20; number += 1) take();
  const calls = (count: number) => {
    for (let number = 0; number < count; number += 1) push('guest', { tenant: 'guest' });
    let beforeOthers = 0;
    while (take() === 'guest') beforeOthers += 1;
    return beforeOthers;
  };
  assert.equal(calls(12), 8 + 1);
  // The rest of them have their turns among the others; then it has been away for hardly any time.
  for (let number = 0; number < 6; number += 1) take();
  assert.ok(calls(12) <= 2);
  for (let number = 0; number < 40; number += 1) take();
  assert.equal(calls(12), 8 + 1);
});

test('nobody gets out of what it was served by leaving', () => {
  const { push, take, queue } = setUp();
  for (let number = 0; number < 100; number += 1) push('steady', { tenant: 'steady' });
  push('sprinter', { tenant: 'sprinter', tokens: 1_000 });
  assert.deepEqual([take(), take()], ['steady', 'sprinter']);
  for (let number = 0; number < 50; number += 1) {
    const place = push('again', { tenant: 'sprinter' });
    assert.equal(take(), 'steady');
    queue.remove(place);
  }
});

test('what a call really took is charged once it is known', () => {
  const { push, queue, takePlace } = setUp();
  for (let number = 0; number < 4; number += 1) {
    push('a', { tenant: 'a', tokens: 100 });
    push('b', { tenant: 'b', tokens: 100 });
  }
  const first = takePlace()!;
  assert.equal(first.item.name, 'a');
  queue.settle(first, 10);
  assert.equal(takePlace()!.item.name, 'b');
  // Of a's hundred tokens only ten were used: it goes again, before b has had its second turn.
  const second = takePlace()!;
  assert.equal(second.item.name, 'a');
  queue.settle(second, 500);
  assert.deepEqual(
    Array.from({ length: 3 }, () => takePlace()!.item.name),
    ['b', 'b', 'b'],
  );
});

test('what is settled after everybody left harms nobody', () => {
  const { push, queue, take, takePlace } = setUp();
  push('one');
  const place = takePlace()!;
  push('two');
  queue.settle(place, 1_000_000);
  push('other', { tenant: 'b' });
  assert.deepEqual([take(), take(), take()], ['two', 'other', undefined]);
});

test('a place that was promised goes before all that come fresh, and is charged', () => {
  const { push, takeAll } = setUp();
  for (const number of [1, 2]) push(`a${number}`, { tenant: 'a' });
  for (const number of [1, 2]) push(`b${number}`, { tenant: 'b' });
  push('promised', { tenant: 'a', isPromised: true });
  assert.equal(takeAll(), 'promised b1 a1 b2 a2');
});

test('a queue that stands is served newest first, and in order again once it has been short', () => {
  const { clock, push, take, takeAll } = setUp();
  push('one');
  clock.advance(1_050);
  push('two');
  assert.equal(take(), 'one', 'it has not stood for a whole second after the first tenth');
  clock.advance(100);
  push('three');
  clock.advance(1_000);
  push('four');
  assert.equal(take(), 'four');
  assert.equal(take(), 'three');
  push('five');
  assert.equal(take(), 'five');
  assert.equal(take(), 'two');
  for (const name of ['six', 'seven']) push(name);
  assert.equal(takeAll(), 'six seven');
});

test('whose first token is due is served in order, however long the queue stands', () => {
  const { clock, push, takeAll } = setUp();
  for (const name of ['one', 'two', 'three']) {
    push(name, { isDue: true });
    clock.advance(2_000);
  }
  assert.equal(takeAll(), 'one two three');
});

test('a queue that is long but moves is served in order', () => {
  const { clock, push, take } = setUp();
  for (let number = 0; number < 500; number += 1) {
    push(`${number}`);
    if (number < 9) continue;
    assert.equal(take(), `${number - 9}`);
    clock.advance(10);
  }
});

test("one tenant's overload does not turn another's order", () => {
  const { clock, push, take } = setUp();
  push('flood 1', { tenant: 'flood' });
  push('flood 2', { tenant: 'flood' });
  clock.advance(2_000);
  push('other 1', { tenant: 'other' });
  push('other 2', { tenant: 'other' });
  push('flood 3', { tenant: 'flood' });
  assert.deepEqual([take(), take(), take(), take()], ['flood 3', 'other 1', 'flood 2', 'other 2']);
});

test('the tokens of all, of one tenant, and the weights of those who wait are known at any time', () => {
  const { push, queue, take } = setUp();
  const place = push('one', { tokens: 7 });
  push('two', { tenant: 'b', tokens: 5, weight: 2 });
  push('three', { tenant: 'b', tokens: 3, weight: 2 });
  assert.deepEqual([queue.tokens, queue.tokensOf('b'), queue.tokensOf('c')], [15, 8, 0]);
  assert.equal(queue.activeWeightWith({ tenant: 'b', weight: 2 }), 3);
  assert.equal(queue.activeWeightWith({ tenant: 'c', weight: 4 }), 7);
  queue.remove(place);
  queue.remove(place);
  assert.deepEqual([queue.size, queue.tokens, queue.activeWeightWith({ tenant: 'b', weight: 2 })], [2, 8, 2]);
  take();
  take();
  assert.deepEqual([queue.size, queue.tokens, queue.tokensOf('b')], [0, 0, 0]);
});

test('before a call of who has nothing waiting go those who came as it did, not all that one has who floods', () => {
  const { push, queue } = setUp();
  const before = (tenant: string) => queue.tokensBefore({ tenant, weight: 1 });
  assert.equal(before('a'), 0);
  for (let number = 0; number < 100; number += 1) push('flood', { tenant: 'flood' });
  assert.equal(before('a'), 10);
  push('one', { tenant: 'one', tokens: 7 });
  assert.equal(before('a'), 17);
  assert.equal(before('flood'), 1_000 + 7);
  // Twice what it has, and the call of the other's that begins before it.
  assert.equal(before('one'), 7 + 7 + 10);
});

test('of many tenants some are looked at, and the others taken for like them', () => {
  const { push, queue } = setUp();
  for (let number = 0; number < 1_000; number += 1) push('one', { tenant: `tenant-${number}` });
  assert.equal(queue.tokensBefore({ tenant: 'another', weight: 1 }), 10_000);
});

test('what goes before a call is what is served before it, to a call of each other tenant', () => {
  const call = fc.record({
    tenant: fc.constantFrom('a', 'b', 'c', 'd'),
    tokens: fc.integer({ min: 1, max: 1_000 }),
  });
  const weights: Record<string, number> = { a: 1, b: 1, c: 2, d: 0.5 };
  fc.assert(
    fc.property(
      fc.array(call, { maxLength: 40 }),
      fc.nat(40),
      fc.array(call, { maxLength: 40 }),
      call,
      (first, taken, then, last) => {
        const { queue, push, take, takePlace } = setUp();
        const pushCall = (one: typeof last, name = '') =>
          push(name, { ...one, weight: weights[one.tenant]! });
        for (const one of first) pushCall(one);
        for (let count = 0; count < taken; count += 1) take();
        for (const one of then) pushCall(one);
        const told = queue.tokensBefore({ tenant: last.tenant, weight: weights[last.tenant]! });
        pushCall(last, 'last');
        let served = 0;
        for (let place = takePlace(); place && place.item.name !== 'last'; place = takePlace())
          served += place.item.tokens;
        assert.ok(Math.abs(told - served) <= 3 * 1_000 + 1e-6, `${told} and ${served}`);
      },
    ),
  );
});

const action = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('push' as const),
      tenant: fc.constantFrom('a', 'b', 'c'),
      tokens: fc.integer({ min: 1, max: 1_000 }),
      dueMs: fc.integer({ min: 1, max: 5_000 }),
      isDue: fc.boolean(),
      isPromised: fc.boolean(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('take' as const), actual: fc.nat(2_000) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('remove' as const), which: fc.nat(50) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.nat(1_500) }) },
);

test('whatever comes and goes, each is served once or removed, and the sums are those of who is there', () => {
  fc.assert(
    fc.property(fc.array(action, { maxLength: 150 }), (actions) => {
      const { clock, queue, push, takePlace } = setUp();
      const there = new Set<Place<Call>>();
      for (const [index, step] of actions.entries()) {
        if (step.do === 'push') {
          const dueAt = clock.now() + step.dueMs;
          there.add(push(`${index}`, { ...step, dueAt }));
        } else if (step.do === 'wait') clock.advance(step.ms);
        else if (step.do === 'remove') {
          const place = [...there][step.which];
          if (!place) continue;
          there.delete(place);
          queue.remove(place);
        } else {
          const peeked = queue.next?.item;
          const place = takePlace();
          assert.equal(place?.item, peeked);
          assert.equal(place === undefined, there.size === 0);
          if (!place) continue;
          assert.ok(there.delete(place), 'it was served twice, or never came');
          queue.settle(place, step.actual);
        }
        assert.equal(queue.size, there.size);
        const own = [...there].map(({ item }) => item);
        assert.equal(
          queue.tokens,
          own.reduce((sum, { tokens }) => sum + tokens, 0),
        );
        assert.deepEqual(new Set(queue), new Set(own));
      }
    }),
  );
});

test('between tenants that always have a call waiting no more than one call of each is between what they were served', () => {
  const MOST = 1_000;
  const tokens = fc.integer({ min: 1, max: MOST });
  fc.assert(
    fc.property(fc.array(fc.tuple(tokens, tokens), { minLength: 50, maxLength: 300 }), (costs) => {
      const { push, queue, takePlace } = setUp();
      for (const [a, b] of costs) {
        push('a', { tenant: 'a', tokens: a });
        push('b', { tenant: 'b', tokens: b, weight: 2 });
      }
      const served: Record<string, number> = { a: 0, b: 0 };
      for (;;) {
        const { tenant, weight, tokens: cost } = takePlace()!.item;
        served[tenant]! += cost / weight;
        if (queue.tokensOf('a') === 0 || queue.tokensOf('b') === 0) break;
        assert.ok(Math.abs(served.a! - served.b!) <= MOST + MOST / 2, JSON.stringify(served));
      }
    }),
  );
});
