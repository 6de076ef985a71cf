// Guards the one promise that a refusal makes: who comes back when it was told to finds a place. And that nobody is told so for
// whom there is none.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ManualClock } from '../../test/manual-clock.ts';
import { seededRandom } from '../load/seeded-random.ts';
import { Bookings } from './bookings.ts';

/** One token a ms, of which 85 % are given away: a call of 85 tokens takes a tenth of a second of it. */
const RATE = { tokensPerMs: 1 };

function setUp(now = 0) {
  const clock = new ManualClock(now);
  const bookings = new Bookings(clock);
  const book = (key: string, tokens = 85, inMs = 0) =>
    bookings.book({ key, tokens, earliestAt: clock.now() + inMs, ...RATE });
  return { clock, bookings, book };
}

test('a place is whole seconds away, so that "Retry-After" leads to it, and never before the call could be served', () => {
  const { book } = setUp(12_345.6);
  for (const [inMs, seconds] of [
    [0, 1],
    [900, 1],
    [1_001, 2],
    [7_300, 8],
  ] as const) {
    const waitMs = book('a', 85, inMs)! - 12_345.6;
    assert.ok(waitMs >= inMs - 1, `${waitMs}`);
    assert.equal(Math.ceil(waitMs / 1000), seconds);
  }
});

test('places are as far apart as calls take', () => {
  const { book } = setUp();
  const seconds = Array.from({ length: 12 }, (_, index) => Math.ceil(book(`${index}`)! / 1000));
  assert.deepEqual(
    seconds,
    [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4],
    'all who came at one moment, a quarter each',
  );
  const long = setUp();
  assert.deepEqual(
    Array.from({ length: 3 }, (_, index) => Math.ceil(long.book(`${index}`, 2_550)! / 1000)),
    [1, 4, 7],
  );
});

test('clients that come at different moments fill the whole second between them', () => {
  const { clock, book } = setUp();
  const places: number[] = [];
  for (let client = 0; client < 40; client += 1) {
    places.push(book(`${client}`, 212.5)!);
    clock.advance(25);
  }
  const seconds = places.map((at) => Math.floor(at / 1000));
  for (const second of new Set(seconds)) {
    assert.ok(seconds.filter((one) => one === second).length <= 5, 'four quarters, one spills over');
  }
});

test('who comes at its time finds its place, a little early or some seconds late; who comes at another time does not', () => {
  for (const [offsetMs, isThere] of [
    [-251, false],
    [-250, true],
    [0, true],
    [1_000, true],
    [5_000, true],
    [5_001, false],
  ] as const) {
    const { clock, bookings, book } = setUp();
    const dueAt = book('a')!;
    clock.advance(dueAt + offsetMs);
    assert.equal(bookings.claim('a', clock.now()), isThere, `${offsetMs} ms`);
  }
});

test('a place is had once; two bookings of one key are two places; another key has none', () => {
  const { clock, bookings, book } = setUp();
  const dueAt = book('a')!;
  book('a');
  clock.advance(dueAt);
  assert.equal(bookings.claim('b', dueAt), false);
  assert.deepEqual(
    [1, 2, 3].map(() => bookings.claim('a', dueAt)),
    [true, true, false],
  );
  assert.equal(bookings.size, 0);
});

test('tokens that are due go before fresh arrivals until they are claimed or too late', () => {
  const { clock, bookings, book } = setUp();
  const dueAt = book('a', 300)!;
  book('b', 50, 10_000);
  assert.equal(bookings.tokensDueBefore(500), 0);
  assert.equal(bookings.tokensDueBefore(dueAt), 300);
  assert.equal(bookings.tokensDueBefore(1e9), 350);
  clock.advance(dueAt + 400);
  assert.equal(bookings.tokensDueBefore(clock.now()), 300, 'a little late is not late');
  clock.advance(1_000);
  assert.equal(bookings.tokensDueBefore(clock.now()), 0);
  assert.equal(bookings.claim('a', clock.now()), true, 'it still has its place');
  clock.advance(8_000);
  assert.equal(bookings.tokensDueBefore(clock.now()), 50);
  assert.equal(bookings.claim('b', clock.now()), true);
  assert.equal(bookings.tokensDueBefore(clock.now()), 0);
});

test('further ahead than a minute nobody is told to come back', () => {
  const { bookings, book } = setUp();
  assert.equal(book('a', 85, 60_001), undefined);
  assert.ok(book('a', 85, 59_000));
  const full = setUp();
  let booked = 0;
  while (full.book(`${booked}`, 850) !== undefined) booked += 1;
  assert.equal(booked, 60, 'a second each');
  assert.equal(bookings.size, 1);
});

test('where nothing is got through nothing is promised', () => {
  const { bookings } = setUp();
  assert.equal(bookings.book({ key: 'a', tokens: 1, earliestAt: 0, tokensPerMs: 0 }), undefined);
});

test('there is room for so many and no more; those who have a place keep it, and in the end nothing is left', () => {
  const { clock, bookings } = setUp();
  const bookOne = (key: string) => bookings.book({ key, tokens: 1, earliestAt: 0, tokensPerMs: 1e6 });
  for (let client = 0; client < 10_000; client += 1) assert.ok(bookOne(`${client % 7_000}`));
  assert.equal(bookOne('one more'), undefined);
  clock.advance(1_000);
  assert.equal(bookings.claim('0', clock.now()), true);
  assert.ok(bookOne('one more'));
  clock.advance(70_000);
  assert.equal(bookings.size, 0);
  assert.equal(bookings.tokensDueBefore(1e9), 0);
});

/**
 * One server that works off what it is given, `perSecond` calls of about `WORK_MS`; who would wait longer than `PATIENCE_MS`
 * is refused, and comes back when it was told to.
 */
const PATIENCE_MS = 500;
const WORK_MS = 60;

function overload(seed: number, load: number, latenessMs: number) {
  const random = seededRandom(seed);
  const clock = new ManualClock();
  const bookings = new Bookings(clock);
  let busyUntil = 0;
  let returned = 0;
  let found = 0;
  let served = 0;
  const run = () => {
    busyUntil = Math.max(busyUntil, clock.now()) + WORK_MS * (0.5 + random());
    served += 1;
  };
  const waitMs = () => Math.max(0, busyUntil - clock.now());
  const comeBack = (key: string) => {
    returned += 1;
    if (!bookings.claim(key, clock.now())) return;
    if (waitMs() <= PATIENCE_MS) found += 1;
    run();
  };
  const arrive = (key: string) => {
    const aheadMs = waitMs() + bookings.tokensDueBefore(clock.now() + PATIENCE_MS / 2);
    if (aheadMs <= PATIENCE_MS) {
      run();
      return;
    }
    const earliestAt = clock.now() + aheadMs - PATIENCE_MS;
    const dueAt = bookings.book({ key, tokens: WORK_MS, earliestAt, tokensPerMs: 1 });
    if (dueAt === undefined) return;
    const retryAfterMs = 1000 * Math.ceil((dueAt - clock.now()) / 1000);
    clock.after(retryAfterMs + latenessMs * random(), () => comeBack(key));
  };
  for (let client = 0; clock.now() < 120_000; client += 1) {
    clock.advance((-Math.log(1 - random()) * WORK_MS) / load);
    arrive(`${client}`);
  }
  const share = (served * WORK_MS) / clock.now();
  return { returned, found, share };
}

test('with more arrivals than can be served, of those who come back at their time at least 95 % find a place, and the server is not kept idle for them', () => {
  fc.assert(
    fc.property(
      fc.integer(),
      fc.double({ min: 1.2, max: 12, noNaN: true }),
      fc.integer({ min: 1, max: 1_000 }),
      (seed, load, latenessMs) => {
        const { returned, found, share } = overload(seed, load, latenessMs);
        assert.ok(found >= 0.95 * returned, `${found} of ${returned}`);
        assert.ok(share > 0.8, `busy for ${share.toFixed(2)} of the time`);
      },
    ),
    { numRuns: 20 },
  );
});
