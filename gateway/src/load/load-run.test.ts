// How a load is sent, on a clock that is moved by hand: who comes when, who comes back, and who is held back.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { ManualClock } from '../../test/manual-clock.ts';
import { LoadRecord } from './load-record.ts';
import { type LoadOptions, MOST_RETRY_MS, runLoad } from './load-run.ts';
import { heardAt } from './load-testing.ts';
import type { Asked, Heard } from './streamed-request.ts';

interface Open {
  readonly asked: Asked;
  end(more?: Partial<Heard>): void;
}

/** A load against a server that answers when the test says so. */
class Stage {
  readonly clock = new ManualClock(1_000);
  readonly record = new LoadRecord(1_000);
  /** Who waits for an answer, in the order in which they came. */
  readonly open: Open[] = [];
  readonly stop = new AbortController();
  readonly bodies: string[] = [];
  readonly ended: Promise<void>;
  isEnded = false;

  constructor(options: Partial<LoadOptions> & Pick<LoadOptions, 'pace'>) {
    this.ended = runLoad({
      clock: this.clock,
      ask: (asked) => this.ask(asked),
      request: (visitor) => ({ body: String(visitor), key: undefined, tenant: 'all' }),
      patienceMs: 30_000,
      returns: 0,
      maxConcurrency: Number.POSITIVE_INFINITY,
      record: this.record,
      signal: this.stop.signal,
      ...options,
    });
    void this.ended.then(() => {
      this.isEnded = true;
    });
  }

  /** Lets time pass, in steps of 1 ms, and whatever follows happen. */
  async advance(ms: number): Promise<void> {
    await nextTurn();
    for (let passed = 0; passed < ms; passed += 1) {
      this.clock.advance(1);
      await nextTurn();
    }
  }

  private ask(asked: Asked): Promise<Heard> {
    this.bodies.push(asked.body);
    const sentAt = this.clock.now();
    return new Promise((resolve) => {
      const end = (more: Partial<Heard> = {}) => {
        this.open.splice(this.open.indexOf(one), 1);
        const now = this.clock.now();
        resolve(heardAt(sentAt, { endedAt: now, wordsAt: [now], ...more }));
      };
      const one: Open = { asked, end };
      this.open.push(one);
      asked.signal?.addEventListener('abort', () => end({ ending: 'stopped' }));
    });
  }
}

const refused = (retryAfterMs?: number): Partial<Heard> => ({
  ending: 'refused',
  status: 503,
  reason: 'overloaded',
  wordsAt: [],
  retryAfterMs,
});

test('an open loop sends each at its time, whoever is still being answered', async () => {
  const stage = new Stage({ pace: { kind: 'open', atMs: [0, 10, 10, 30] } });
  await stage.advance(0);
  assert.equal(stage.open.length, 1);
  await stage.advance(10);
  assert.equal(stage.open.length, 3);
  await stage.advance(20);
  assert.equal(stage.open.length, 4);
  assert.deepEqual(stage.bodies, ['0', '1', '2', '3']);
  for (const { end } of [...stage.open]) end();
  await stage.ended;
  assert.deepEqual(
    stage.record.attempts.map(({ dueMs, firstMs }) => [dueMs, firstMs]),
    [
      [0, 30],
      [10, 20],
      [10, 20],
      [30, 0],
    ],
  );
});

test('who is sent late counts from when it was due, and its lateness is told', async () => {
  const stage = new Stage({ pace: { kind: 'open', atMs: [0, 5] } });
  await nextTurn();
  // The generator stands still, as one does that has too much to do.
  stage.clock.advance(1_000);
  await nextTurn();
  for (const { end } of [...stage.open]) end();
  await stage.ended;
  const [, second] = stage.record.attempts;
  assert.equal(second!.firstMs, 995);
  assert.equal(second!.lateMs, 995);
  assert.equal(stage.record.attempts[0]!.lateMs, 0);
});

test('who is held back by the bound on purpose is not late, but its time runs', async () => {
  const stage = new Stage({ pace: { kind: 'open', atMs: [0, 0, 0] }, maxConcurrency: 1 });
  await stage.advance(20);
  assert.equal(stage.open.length, 1);
  stage.open[0]!.end();
  await stage.advance(20);
  assert.deepEqual(stage.bodies, ['0', '1'], 'in their order');
  stage.open[0]!.end();
  await stage.advance(0);
  stage.open[0]!.end();
  await stage.ended;
  assert.deepEqual(
    stage.record.attempts.map(({ firstMs, lateMs }) => [firstMs, lateMs]),
    [
      [20, 0],
      [40, 0],
      [40, 0],
    ],
  );
  assert.equal(stage.record.mostInFlight, 1);
});

test('a closed loop has as many in flight as there are clients, and as many requests as wanted', async () => {
  const stage = new Stage({ pace: { kind: 'closed', clients: 2, requests: 5 } });
  for (let answered = 0; answered < 5; answered += 1) {
    await stage.advance(1);
    assert.equal(stage.open.length, Math.min(2, 5 - answered));
    stage.open[0]!.end();
  }
  await stage.ended;
  assert.deepEqual(
    stage.record.attempts.map(({ visitor }) => visitor),
    [0, 1, 2, 3, 4],
  );
});

test('one who was refused comes back at its time with the same words, and only as often as wanted', async () => {
  const stage = new Stage({ pace: { kind: 'open', atMs: [0] }, returns: 2 });
  await stage.advance(3);
  stage.open[0]!.end(refused(100));
  await stage.advance(99);
  assert.equal(stage.open.length, 0);
  await stage.advance(1);
  assert.deepEqual(stage.bodies, ['0', '0']);
  assert.equal(stage.open[0]!.asked.since, 1_103);
  stage.open[0]!.end(refused(10));
  await stage.advance(10);
  stage.open[0]!.end(refused(10));
  await stage.ended;
  assert.deepEqual(
    stage.record.attempts.map(({ visitor, number, dueMs, ending }) => [visitor, number, dueMs, ending]),
    [
      [0, 1, 0, 'refused'],
      [0, 2, 103, 'refused'],
      [0, 3, 113, 'refused'],
    ],
  );
});

test('nobody comes back who was told no time, one beyond patience, or something else than a refusal', async () => {
  for (const heard of [
    refused(undefined),
    refused(MOST_RETRY_MS + 1),
    { ending: 'failed' as const, reason: 'http 500' },
    {},
  ]) {
    const stage = new Stage({ pace: { kind: 'open', atMs: [0] }, returns: 3 });
    await stage.advance(1);
    stage.open[0]!.end(heard);
    await stage.ended;
    assert.equal(stage.record.attempts.length, 1);
  }
});

test('told to stop, nobody comes any more, and nothing is left', async () => {
  const stage = new Stage({ pace: { kind: 'open', atMs: [0, 0, 5, 500] }, maxConcurrency: 2, returns: 1 });
  await stage.advance(2);
  stage.open[0]!.end(refused(60_000));
  await stage.advance(8);
  assert.equal(stage.open.length, 2);
  stage.stop.abort();
  await stage.ended;
  assert.deepEqual(stage.bodies, ['0', '1', '2']);
  assert.equal(stage.record.attempts.length, 1, 'who was stopped says nothing about the server');
  assert.equal(stage.record.inFlight, 0);
  assert.equal(stage.clock.pendingTimers, 0);
});
