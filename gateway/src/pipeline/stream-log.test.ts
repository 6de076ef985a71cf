// Guards the one buffer between compute and socket: its order, its bound, its single ending, and that leaving a silent
// model cancels at once.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ManualClock } from '../../test/manual-clock.ts';
import type { TokenEvent } from '../core/chat.ts';
import { GatewayError } from '../core/errors.ts';
import { StreamLog } from './stream-log.ts';

/** What stream-log.ts says an event of this many characters takes. */
const bytesOf = (length: number) => 64 + 2 * length;
const text = (words: string): TokenEvent => ({ type: 'text-delta', choice: 0, text: words });
const failure = (message = 'broken') => new GatewayError('backend_failed', message);

function newLog(maxBytes = 10_000) {
  let abandoned = 0;
  const clock = new ManualClock(1_000);
  const log = new StreamLog({ maxBytes, clock, onAbandoned: () => (abandoned += 1) });
  return { log, clock, abandonedTimes: () => abandoned };
}

/** Whether the promise has settled once everything that is ready has run. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const note = () => {
    settled = true;
  };
  promise.then(note, note);
  await new Promise(setImmediate);
  return settled;
}

test('events come out in the order in which they went in, buffered or waited for', async () => {
  const { log } = newLog();
  const reader = log.read();
  log.push(text('a'));
  log.push(text('b'));
  assert.deepEqual(await reader.next(), { value: text('a'), done: false });
  assert.deepEqual(await reader.next(), { value: text('b'), done: false });
  const pending = reader.next();
  log.push(text('c'));
  log.push(text('d'));
  log.end();
  assert.deepEqual(await pending, { value: text('c'), done: false });
  assert.deepEqual(await reader.next(), { value: text('d'), done: false });
  assert.deepEqual(await reader.next(), { value: undefined, done: true });
  assert.deepEqual(await reader.next(), { value: undefined, done: true });
});

test('what is there already can be taken without waiting, and frees its room', async () => {
  const { log } = newLog(2 * bytesOf(1));
  const reader = log.read();
  const pending = reader.next();
  for (const word of ['a', 'b', 'c']) log.push(text(word));
  assert.deepEqual(await pending, { value: text('a'), done: false });
  assert.deepEqual(log.takeReady(), text('b'));
  log.push(text('d'));
  assert.deepEqual(log.takeReady(), text('c'));
  assert.deepEqual(await reader.next(), { value: text('d'), done: false });
  assert.equal(log.takeReady(), undefined);
  log.fail(failure());
  assert.equal(log.takeReady(), undefined);
  await assert.rejects(reader.next(), failure());
});

test('a pending read ends when the log ends', async () => {
  const { log, abandonedTimes } = newLog();
  const pending = log.read().next();
  assert.equal(await isSettled(pending), false);
  log.end();
  assert.deepEqual(await pending, { value: undefined, done: true });
  assert.equal(abandonedTimes(), 0);
});

test('a full log fails for the producer at once, and for the reader after all that had fitted', async () => {
  const { log, abandonedTimes } = newLog(2 * bytesOf(1));
  const reader = log.read();
  log.push(text('a'));
  log.push(text('b'));
  assert.throws(() => log.push(text('c')), { code: 'slow_reader' });
  assert.throws(() => log.push(text('d')), { code: 'slow_reader' }, 'it stays failed');
  assert.deepEqual((await reader.next()).value, text('a'));
  assert.deepEqual((await reader.next()).value, text('b'));
  await assert.rejects(reader.next(), { code: 'slow_reader' });
  assert.equal(abandonedTimes(), 0);
});

test('the bound counts what is unread only: a reader that keeps up may read without end', async () => {
  const { log } = newLog(bytesOf(10));
  const reader = log.read();
  for (let i = 0; i < 1000; i++) {
    log.push(text('0123456789'));
    await reader.next();
  }
  const twoThatFit = newLog(2 * bytesOf(10));
  const second = twoThatFit.log.read();
  twoThatFit.log.push(text('0123456789'));
  for (let i = 0; i < 100; i++) {
    twoThatFit.log.push(text('0123456789'));
    await second.next();
  }
  twoThatFit.log.push(text('0123456789'));
  assert.throws(() => twoThatFit.log.push(text('')), { code: 'slow_reader' });
});

test('the bound counts text, thinking and tool arguments, and something for every event', () => {
  const long = 'x'.repeat(100);
  const events: TokenEvent[] = [
    text(long),
    { type: 'reasoning-delta', choice: 0, text: long },
    { type: 'tool-call-delta', choice: 0, index: 0, arguments: long },
  ];
  for (const event of events) {
    newLog(bytesOf(100)).log.push(event);
    assert.throws(() => newLog(bytesOf(100) - 1).log.push(event), { code: 'slow_reader' }, event.type);
  }
  const { log } = newLog(640);
  for (let i = 0; i < 10; i++) log.push({ type: 'choice-end', choice: i, reason: 'stop' });
  assert.throws(() => log.push({ type: 'finish', usage: {} }), { code: 'slow_reader' });
});

test('an event that the reader waits for takes no room', async () => {
  const { log } = newLog(1);
  const reader = log.read();
  const pending = reader.next();
  log.push(text('far more than one byte'));
  assert.deepEqual((await pending).value, text('far more than one byte'));
});

test('only the first ending counts', async () => {
  const endedFirst = newLog().log;
  endedFirst.end();
  endedFirst.fail(failure());
  assert.deepEqual(await endedFirst.read().next(), { value: undefined, done: true });

  const failedFirst = newLog().log;
  failedFirst.fail(failure('the first'));
  failedFirst.fail(failure('the second'));
  failedFirst.end();
  await assert.rejects(failedFirst.read().next(), { message: 'the first' });
});

test('a failure reaches a reader that waits, and one that has unread events after those', async () => {
  const waiting = newLog().log;
  const pending = waiting.read().next();
  waiting.fail(failure());
  await assert.rejects(pending, { code: 'backend_failed' });

  const behind = newLog().log;
  behind.push(text('a'));
  behind.fail(failure());
  const reader = behind.read();
  assert.deepEqual((await reader.next()).value, text('a'));
  await assert.rejects(reader.next(), { code: 'backend_failed' });
});

test('a push after the end or after a failure throws', () => {
  const ended = newLog().log;
  ended.end();
  assert.throws(() => ended.push(text('a')), { code: 'cancelled' });
  const failed = newLog().log;
  failed.fail(failure('broken before'));
  assert.throws(() => failed.push(text('a')), { message: 'broken before' });
});

test('leaving while a read is pending returns at once, ends that read and cancels exactly once', async () => {
  const { log, abandonedTimes } = newLog();
  const reader = log.read();
  const pending = reader.next();
  const left = reader.return!();
  assert.equal(abandonedTimes(), 1, 'told before anything is awaited');
  assert.deepEqual(await left, { value: undefined, done: true });
  assert.deepEqual(await pending, { value: undefined, done: true });
  await reader.return!();
  log.fail(failure());
  log.end();
  assert.equal(abandonedTimes(), 1);
  assert.throws(() => log.push(text('a')), { code: 'cancelled' }, 'whoever computes is told to stop');
  assert.deepEqual(await reader.next(), { value: undefined, done: true });
});

test('leaving a for-await loop early counts as leaving; reading to the end does not', async () => {
  const early = newLog();
  early.log.push(text('a'));
  early.log.push(text('b'));
  for await (const event of early.log.read()) {
    assert.deepEqual(event, text('a'));
    break;
  }
  assert.equal(early.abandonedTimes(), 1);

  const whole = newLog();
  whole.log.push(text('a'));
  whole.log.end();
  const seen: TokenEvent[] = [];
  for await (const event of whole.log.read()) seen.push(event);
  assert.deepEqual(seen, [text('a')]);
  assert.equal(whole.abandonedTimes(), 0);
});

test('leaving after the end or after a failure cancels nothing', async () => {
  for (const finish of [(log: StreamLog) => log.end(), (log: StreamLog) => log.fail(failure())]) {
    const { log, abandonedTimes } = newLog();
    log.push(text('a'));
    const reader = log.read();
    finish(log);
    await reader.return!();
    assert.equal(abandonedTimes(), 0);
  }
});

test('it knows since when the reader waits', async () => {
  const { log, clock } = newLog();
  assert.equal(log.readerWaitsSince, undefined);
  const reader = log.read();
  log.push(text('a'));
  await reader.next();
  assert.equal(log.readerWaitsSince, undefined, 'it has read, but asks for nothing');
  clock.advance(20);
  const pending = reader.next();
  clock.advance(30);
  assert.equal(log.readerWaitsSince, 1_020);
  log.push(text('b'));
  assert.equal(log.readerWaitsSince, undefined);
  await pending;
});

test('there is one reader only', () => {
  const { log } = newLog();
  log.read();
  assert.throws(() => log.read(), /one reader/);
});

type Step = { do: 'push'; length: number } | { do: 'next' | 'end' | 'fail' };
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant('push' as const), length: fc.nat(40) }) },
    { weight: 5, arbitrary: fc.constant({ do: 'next' as const }) },
    { weight: 1, arbitrary: fc.constantFrom({ do: 'end' as const }, { do: 'fail' as const }) },
  ),
  { maxLength: 60 },
);

test('whatever the interleaving, it behaves as a bounded queue with one ending', async () => {
  await fc.assert(
    fc.asyncProperty(steps, fc.integer({ min: 64, max: 600 }), async (sequence, maxBytes) => {
      const { log, abandonedTimes } = newLog(maxBytes);
      const reader = log.read();
      const results: Promise<string>[] = [];
      const expected: string[] = [];
      // The model: what is unread, how it ended, and whether a read is under way (as in a for-await: one at most).
      const unread: string[] = [];
      let ending: string | undefined;
      let isReading = false;
      let count = 0;
      const deliver = () => {
        if (!isReading) return;
        const next = unread.shift() ?? ending;
        if (next === undefined) return;
        expected.push(next);
        isReading = false;
      };
      for (const step of sequence) {
        if (step.do === 'push') {
          count += 1;
          const words = `${count}:`.padEnd(step.length, 'x');
          const used = unread.reduce((sum, one) => sum + bytesOf(one.length), 0);
          const fits = isReading || used + bytesOf(words.length) <= maxBytes;
          if (ending === undefined && fits) {
            log.push(text(words));
            unread.push(words);
          } else {
            assert.throws(() => log.push(text(words)), GatewayError);
            ending ??= 'slow_reader';
          }
        } else if (step.do === 'next') {
          if (isReading) continue;
          isReading = true;
          const result = reader.next().then(
            ({ value }) => (value?.type === 'text-delta' ? value.text : 'end'),
            (error: GatewayError) => error.code,
          );
          results.push(result);
        } else {
          if (step.do === 'end') log.end();
          else log.fail(failure());
          ending ??= step.do === 'end' ? 'end' : 'backend_failed';
        }
        deliver();
        assert.equal(log.readerWaitsSince !== undefined, isReading);
      }
      if (isReading) {
        log.end();
        ending ??= 'end';
        deliver();
      }
      assert.deepEqual(await Promise.all(results), expected);
      assert.equal(abandonedTimes(), 0);
    }),
    { numRuns: 300 },
  );
});

test('the probabilities of tokens take of the bound', () => {
  const log = new StreamLog({ maxBytes: 1_000, clock: new ManualClock(), onAbandoned: () => {} });
  const top = Array(10).fill({ token: 'b', logprob: -2 });
  const logprobs = [{ token: 'a', logprob: -1, offset: 0, top }];
  assert.throws(() => log.push({ type: 'text-delta', choice: 0, text: 'a', logprobs }), {
    code: 'slow_reader',
  });
});

test('who has its events already may wait for the reader, and then takes no memory', async () => {
  const { log } = newLog(10);
  const reader = log.read();
  const waits = log.whenReaderWaits();
  assert.ok(waits);
  assert.equal(await isSettled(waits), false);
  const first = reader.next();
  await waits;
  assert.equal(log.whenReaderWaits(), undefined);
  log.push(text('x'.repeat(1_000)));
  assert.deepEqual(await first, { value: text('x'.repeat(1_000)), done: false });
  assert.ok(log.whenReaderWaits());
});

test('nobody waits for a reader that will read no more', async () => {
  for (const end of ['end', 'fail', 'leave'] as const) {
    const { log } = newLog();
    const reader = log.read();
    const waits = log.whenReaderWaits();
    assert.ok(waits);
    if (end === 'end') log.end();
    if (end === 'fail') log.fail(failure());
    if (end === 'leave') void reader.return?.();
    await waits;
    assert.equal(log.whenReaderWaits(), undefined, end);
  }
});
