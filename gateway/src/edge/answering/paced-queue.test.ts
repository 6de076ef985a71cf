// Guards when a piece may go, in a time that stands still until a test moves it: in order, none lost, none held beyond the
// bound, nothing held that comes evenly, and bursts made even.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { PacedQueue } from './paced-queue.ts';

const MOST_HOLD_MS = 250;

/** Pieces that come together, so long after those before them. */
interface Burst {
  readonly afterMs: number;
  readonly count: number;
}

interface Gone {
  readonly piece: number;
  readonly cameAt: number;
  readonly wentAt: number;
  /** It was the first of its burst, and nothing was held when it came. */
  readonly cameAlone: boolean;
}

/** Lets the bursts come and takes each piece as soon as it may go; at the end all are let go. */
function play(bursts: readonly Burst[]): Gone[] {
  const queue = new PacedQueue<Omit<Gone, 'wentAt'>>(() => true);
  const gone: Gone[] = [];
  const takeUntil = (end: number) => {
    for (;;) {
      const { nextAt } = queue;
      if (nextAt === undefined || nextAt > end) return;
      now = Math.max(now, nextAt);
      gone.push({ ...queue.take(now)!, wentAt: now });
    }
  };
  let now = 0;
  let piece = 0;
  for (const { afterMs, count } of bursts) {
    const cameAt = now + afterMs;
    takeUntil(cameAt);
    now = cameAt;
    const isFree = queue.length === 0;
    const pieces = Array.from({ length: count }, (_, index) => ({
      piece: piece + index + 1,
      cameAt,
      cameAlone: isFree && index === 0,
    }));
    piece += count;
    queue.add(pieces, now);
    takeUntil(now);
  }
  queue.letGo();
  takeUntil(now);
  assert.equal(queue.length, 0);
  return gone;
}

/** The longest silences between pieces, longest first. */
function silences(gone: readonly Gone[]): number[] {
  const gaps = gone.slice(1).map(({ wentAt }, index) => wentAt - gone[index]!.wentAt);
  return gaps.sort((a, b) => b - a);
}

const anyBursts = fc.array(
  fc.record({
    afterMs: fc.oneof(fc.nat(1_500), fc.double({ min: 0, max: 30, noNaN: true })),
    count: fc.integer({ min: 1, max: 40 }),
  }),
  { minLength: 1, maxLength: 60 },
);

test('whatever comes goes in order, none lost, none twice, all of it at the end, none held beyond the bound', () => {
  fc.assert(
    fc.property(anyBursts, (bursts) => {
      const gone = play(bursts);
      const count = bursts.reduce((sum, burst) => sum + burst.count, 0);
      assert.deepEqual(
        gone.map(({ piece }) => piece),
        Array.from({ length: count }, (_, index) => index + 1),
      );
      for (const { cameAt, wentAt } of gone) {
        assert.ok(wentAt >= cameAt);
        assert.ok(wentAt <= cameAt + MOST_HOLD_MS + 1e-6, `held for ${wentAt - cameAt} ms`);
      }
    }),
  );
});

test('the first burst is never delayed, nor is a piece before which nothing is held', () => {
  fc.assert(
    fc.property(anyBursts, (bursts) => {
      for (const { piece, cameAt, wentAt, cameAlone } of play(bursts)) {
        if (piece <= bursts[0]!.count || cameAlone) assert.equal(wentAt, cameAt);
      }
    }),
  );
});

test('what comes one by one goes as it comes, however fast', () => {
  const alone = fc.array(fc.record({ afterMs: fc.nat(400), count: fc.constant(1) }), { minLength: 1 });
  fc.assert(
    fc.property(alone, (bursts) => {
      for (const { cameAt, wentAt } of play(bursts)) assert.equal(wentAt, cameAt);
    }),
  );
});

test('bursts leave evenly: the longest silence is under half of what it was', () => {
  const regular = fc.record({
    everyMs: fc.integer({ min: 50, max: 400 }),
    count: fc.integer({ min: 8, max: 40 }),
  });
  fc.assert(
    fc.property(regular, ({ everyMs, count }) => {
      const gone = play(Array.from({ length: 12 }, () => ({ afterMs: everyMs, count })));
      // Before the second burst nothing is known of them: there is one silence as it was.
      assert.ok(silences(gone)[1]! < everyMs / 2, `${silences(gone)[1]} ms of ${everyMs}`);
    }),
  );
});

test('a burst that the network has cut in two is one', () => {
  const bursts = Array.from({ length: 12 }, () => [
    { afterMs: 299, count: 6 },
    { afterMs: 1, count: 6 },
  ]);
  assert.ok(silences(play(bursts.flat()))[1]! < 150);
});

test('after a held-up moment an even stream is behind no longer than from one piece to the next', () => {
  const even = Array.from({ length: 100 }, () => ({ afterMs: 20, count: 1 }));
  const gone = play([...even, { afterMs: 200, count: 10 }, ...even]);
  for (const { piece, cameAt, wentAt } of gone) {
    assert.ok(wentAt - cameAt < 40, `piece ${piece} was held for ${wentAt - cameAt} ms`);
  }
});

test('what is no word goes at once, with all that is held before it, and says nothing of the pace', () => {
  const queue = new PacedQueue<string>((piece) => piece !== '!');
  queue.add(['!'], 0);
  assert.equal(queue.take(0), '!');
  queue.add(['a', 'b'], 200);
  assert.deepEqual([queue.take(200), queue.take(200)], ['a', 'b'], 'the first burst of words');
  queue.add(['c', 'd', 'e'], 400);
  assert.deepEqual([queue.take(400), queue.take(400)], ['c', undefined]);
  queue.add(['!', 'f'], 401);
  assert.deepEqual(
    ['d', 'e', '!', 'f'].map(() => queue.take(401)),
    ['d', 'e', '!', 'f'],
  );
  assert.equal(queue.nextAt, undefined);
});

test('it holds no more than a bound', () => {
  const queue = new PacedQueue<number>(() => true);
  for (const at of [0, 200, 400]) queue.add(Array(1_000).fill(0), at);
  while (queue.take(400) !== undefined);
  queue.add(Array(1_000).fill(0), 600);
  let taken = 0;
  while (queue.take(600) !== undefined) taken += 1;
  assert.ok(taken < 1_000);
  queue.add(Array(1_000).fill(0), 601);
  while (queue.take(601) !== undefined);
  assert.equal(queue.length, 0);
});
