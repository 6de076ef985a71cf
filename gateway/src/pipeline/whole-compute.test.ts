// Guards that what is computed whole is a call like others: who fails is replaced, who leaves is let go, who is more urgent
// goes first, and nothing is held afterwards. Back ends and clock are moved by hand.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HandBackend, TakingScheduler, turn } from '../../test/hand-pipeline.ts';
import { ManualClock } from '../../test/manual-clock.ts';
import type { Backend, CallContext } from '../core/backend.ts';
import { type ErrorCode, GatewayError } from '../core/errors.ts';
import { newRecord } from '../core/observer.ts';
import { AttemptBudget } from './attempt-budget.ts';
import { computeWhole, type WholeAnswer, type WholeJob } from './whole-compute.ts';

interface Asked {
  readonly backend: Backend;
  readonly model: string;
  readonly context: CallContext;
  readonly answer: () => void;
  readonly fail: (code: ErrorCode) => void;
}

type Rest = Partial<Omit<WholeJob<WholeAnswer>, 'record' | 'compute'>>;

/** Two back ends of one slot each; each attempt is moved by the test. */
function setUp({ retries = 10 } = {}) {
  const clock = new ManualClock(5_000);
  const scheduler = new TakingScheduler({ clock, maxWaitingTokens: 100_000, maxWaitMs: 60_000 });
  const told: string[] = [];
  const options = {
    scheduler,
    clock,
    retries: new AttemptBudget({ callsAnAttempt: 10, most: 10, atFirst: retries }),
    instanceId: 'here',
    observer: {
      started: () => void told.push('started'),
      failedOver: (_record: unknown, code: string) => void told.push(`failed over ${code}`),
      preempted: () => void told.push('preempted'),
    },
  };
  const backends = [new HandBackend('a', { slots: 1 }), new HandBackend('b', { slots: 1 })];
  const unknown = { contextWindow: undefined, licence: undefined, created: 0 };
  const model = {
    id: 'm',
    speaker: 's',
    backends,
    tiers: [0, 1],
    names: new Map([['b', 'm-of-b']]),
    ...unknown,
  };
  const asked: Asked[] = [];
  const ask = async (rest: Rest = {}) => {
    const leaving = new AbortController();
    const record = newRecord('one', 'test', 'someone', clock.now());
    const done = computeWhole<WholeAnswer>(
      {
        record,
        callId: 'one',
        model,
        cost: { promptTokens: 4, outputTokens: 0 },
        deadlineMs: undefined,
        hops: ['before'],
        signal: leaving.signal,
        compute: (backend, name, context) =>
          new Promise((resolve, reject) => {
            context.signal.addEventListener('abort', () => reject(context.signal.reason));
            asked.push({
              backend,
              model: name,
              context,
              answer: () => resolve({ speaker: `speaker of ${backend.id}`, usage: { promptTokens: 3 } }),
              fail: (code) => reject(new GatewayError(code, `${backend.id} failed.`)),
            });
          }),
        ...rest,
      },
      options,
    );
    done.catch(() => {});
    await turn();
    const leave = () => leaving.abort(new GatewayError('cancelled', 'The client left.'));
    return { record, done, leave };
  };
  const last = () => asked.at(-1) ?? assert.fail('nobody was asked');
  /** Whether both slots are free: as many calls as there are run at once. */
  const isFree = async () => {
    const before = asked.length;
    const calls = [await ask(), await ask()];
    const ran = asked.length - before;
    for (const call of calls) call.leave();
    await turn();
    return ran === 2;
  };
  return { clock, scheduler, told, asked, ask, last, isFree, model };
}

const failsWith = (code: ErrorCode) => (error: unknown) =>
  error instanceof GatewayError && error.code === code;

test('an answer: who made it, how long it took, what it was asked by', async () => {
  const { clock, ask, last, told, isFree } = setUp();
  const { record, done } = await ask({ deadlineMs: 900 });
  clock.advance(40);
  const { model, context } = last();
  assert.equal(model, 'm');
  assert.deepEqual(context.origin, {
    requestId: 'one',
    priority: 'standard',
    deadlineMs: 900,
    hops: ['before', 'here'],
    session: undefined,
  });
  last().answer();
  assert.deepEqual(await done, { speaker: 'speaker of a', usage: { promptTokens: 3 } });
  // What has no words is no figure of first words.
  assert.deepEqual([record.backend, record.speaker, record.firstTokenMs], ['a', 'speaker of a', undefined]);
  assert.deepEqual(told, ['started']);
  assert.ok(await isFree());
});

test('where a back end fails another one is asked, by its own name for the model, and the record says who answered', async () => {
  const { ask, last, told, isFree } = setUp();
  const { record, done } = await ask();
  last().fail('backend_failed');
  await turn();
  assert.equal(last().model, 'm-of-b');
  last().answer();
  assert.equal((await done).speaker, 'speaker of b');
  assert.deepEqual([record.backend, record.failovers], ['b', 1]);
  assert.deepEqual(told, ['started', 'failed over backend_failed']);
  assert.ok(await isFree());
});

test('where all fail the last failure is told, and nobody is asked twice', async () => {
  const { ask, asked, last, isFree } = setUp();
  const { done } = await ask();
  last().fail('backend_failed');
  await turn();
  last().fail('backend_timeout');
  await assert.rejects(done, failsWith('backend_timeout'));
  assert.deepEqual(
    asked.map(({ backend }) => backend.id),
    ['a', 'b'],
  );
  assert.ok(await isFree());
});

test('what would fail the same way everywhere is not tried again', async () => {
  const { ask, asked, last, isFree } = setUp();
  const { done } = await ask();
  last().fail('backend_refused');
  await assert.rejects(done, failsWith('backend_refused'));
  assert.equal(asked.length, 1);
  assert.ok(await isFree());
});

test('a client that wants no other back end gets the error', async () => {
  const { ask, asked, last } = setUp();
  const { done } = await ask({ failover: false });
  last().fail('backend_failed');
  await assert.rejects(done, failsWith('backend_failed'));
  assert.equal(asked.length, 1);
});

test('an attempt after "busy" is paid for, and is not made where there is nothing to pay with', async () => {
  const { ask, asked, last } = setUp({ retries: 0 });
  const { done } = await ask();
  last().fail('backend_busy');
  await assert.rejects(done, failsWith('backend_busy'));
  assert.equal(asked.length, 1);
});

test('who leaves while it waits or computes is let go at once', async () => {
  const { ask, asked, isFree } = setUp();
  const calls = [await ask(), await ask(), await ask()];
  assert.equal(asked.length, 2);
  for (const { leave } of calls.toReversed()) leave();
  for (const { done } of calls) await assert.rejects(done, failsWith('cancelled'));
  assert.ok(asked.every(({ context }) => context.signal.aborted));
  assert.ok(await isFree());
});

test('an answer that does not come before the deadline ends there, and is not asked for elsewhere', async () => {
  const { clock, ask, asked, isFree } = setUp();
  const { done } = await ask({ deadlineMs: 100 });
  clock.advance(101);
  await assert.rejects(done, failsWith('deadline_exceeded'));
  assert.equal(asked.length, 1);
  assert.ok(await isFree());
});

test('who gives its slot to a more urgent call has not failed, and comes again', async () => {
  const { scheduler, ask, asked, last, told } = setUp();
  const { record, done } = await ask();
  scheduler.preempt();
  await turn();
  assert.equal(asked.length, 2);
  assert.ok(scheduler.tickets.at(-1)!.wasPreempted);
  last().answer();
  await done;
  assert.deepEqual([record.preempted, record.failovers], [1, 0]);
  assert.deepEqual(told, ['started', 'preempted']);
});

test('a wait that comes to nothing after a failure is told as that failure', async () => {
  const { clock, ask, asked, last } = setUp();
  const first = await ask();
  const second = await ask();
  // The second runs on b, which stays taken: the first has nowhere to go.
  assert.equal(last().backend.id, 'b');
  asked[0]!.fail('backend_failed');
  await turn();
  clock.advance(60_001);
  await assert.rejects(first.done, failsWith('backend_failed'));
  second.leave();
});
