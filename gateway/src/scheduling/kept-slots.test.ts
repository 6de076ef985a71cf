// Guards that those who can wait do not hold all slots while those who cannot are refused: a slot that comes free is kept for
// them a while. The clock is moved by hand.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../test/manual-clock.ts';
import { StillBackend, ticketFor } from '../../test/still-backend.ts';
import type { GatewayError } from '../core/errors.ts';
import type { Priority } from '../core/priority.ts';
import { type Lease, Scheduler } from './scheduler.ts';

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Some costs in tokens. */
const CALL = 100;

/** A back end whose two slots batch calls have just taken; a call takes a second there, its first token 100 ms. */
async function setUp(maxWaitingTokens = 100_000) {
  const clock = new ManualClock(1_000_000);
  const scheduler = new Scheduler({ clock, maxWaitingTokens, maxWaitMs: 60_000 });
  const backend = new StillBackend('a', 2);
  const ended = new Map<string, Lease | string>();
  const ask = async (name: string, priority: Priority, { dueInMs = Infinity, tokens = CALL } = {}) => {
    const deadlineAt = dueInMs === Infinity ? undefined : clock.now() + dueInMs;
    const cost = { promptTokens: tokens - 10, outputTokens: 10 };
    scheduler.acquire(ticketFor([backend], { priority, tenant: name, deadlineAt, cost })).then(
      (lease) => ended.set(name, lease),
      ({ code }: GatewayError) => ended.set(name, code),
    );
    await turn();
  };
  const leaseOf = (name: string) => {
    const lease = ended.get(name);
    assert.ok(typeof lease === 'object', `${name}: ${lease ?? 'waits'}`);
    return lease;
  };
  const end = async (name: string) => {
    leaseOf(name).release('ok');
    await turn();
  };
  for (let call = 0; call < 12; call += 1) {
    const names = [`learnt from ${call}`, `and ${call}`];
    for (const name of names) await ask(name, 'batch');
    clock.advance(100);
    for (const name of names) leaseOf(name).spoke();
    clock.advance(900);
    for (const name of names) await end(name);
  }
  await ask('one', 'batch');
  await ask('other', 'batch');
  clock.advance(100);
  for (const name of ['one', 'other']) leaseOf(name).spoke();
  const stateOf = (name: string) => {
    const state = ended.get(name);
    return typeof state === 'object' ? 'runs' : (state ?? 'waits');
  };
  return { clock, scheduler, ask, end, stateOf };
}

test('a slot that comes free is kept from batch for an interactive call like the one that was refused', async () => {
  const { clock, ask, end, stateOf } = await setUp();
  await ask('refused', 'interactive', { dueInMs: 200 });
  assert.equal(stateOf('refused'), 'overloaded');
  await ask('patient', 'batch');
  await end('one');
  assert.equal(stateOf('patient'), 'waits');
  await ask('next', 'interactive', { dueInMs: 200 });
  assert.equal(stateOf('next'), 'runs');
  await end('next');
  assert.equal(stateOf('patient'), 'waits', 'another may come');
  clock.advance(3_100);
  await turn();
  assert.equal(stateOf('patient'), 'runs', 'nobody came');
});

test('nor may batch take it that comes when nobody waits', async () => {
  const { ask, end, stateOf } = await setUp();
  await ask('refused', 'interactive', { dueInMs: 200 });
  await end('one');
  await ask('patient', 'batch');
  assert.equal(stateOf('patient'), 'waits');
  await end('other');
  assert.equal(stateOf('patient'), 'runs', 'one was refused, so one slot is kept');
});

test('it is not kept from who cannot wait either, nor from the class of the one that was refused', async () => {
  const { ask, end, stateOf } = await setUp();
  await ask('refused', 'interactive', { dueInMs: 200 });
  await ask('patient', 'batch');
  await end('one');
  await ask('due', 'standard', { dueInMs: 200 });
  assert.equal(stateOf('due'), 'runs');
  await end('due');
  assert.equal(stateOf('patient'), 'waits');
  await ask('at leisure', 'interactive');
  assert.equal(stateOf('at leisure'), 'runs');
});

test('those who were refused hold up nobody of a class above theirs', async () => {
  for (const lower of ['standard', 'batch'] as const) {
    const { ask, end, stateOf } = await setUp();
    await ask('refused', lower, { dueInMs: 200 });
    assert.equal(stateOf('refused'), 'overloaded');
    const above = lower === 'batch' ? 'standard' : 'interactive';
    await ask('above', above);
    await end('one');
    assert.equal(stateOf('above'), 'runs');
  }
});

test('batch has its share of what is served meanwhile, and pays for it', async () => {
  const { clock, ask, end, stateOf } = await setUp();
  await ask('patient', 'batch');
  await ask('more patient', 'batch');
  let served = 0;
  for (; stateOf('patient') === 'waits'; served += 1) {
    assert.ok(served < 30, 'batch starves');
    await ask(`refused ${served}`, 'interactive', { dueInMs: 200 });
    assert.equal(stateOf(`refused ${served}`), 'overloaded');
    await end(served === 0 ? 'one' : `next ${served - 1}`);
    if (stateOf('patient') === 'runs') break;
    await ask(`next ${served}`, 'interactive', { dueInMs: 200 });
    assert.equal(stateOf(`next ${served}`), 'runs');
    clock.advance(50);
  }
  assert.ok(served >= 19, `a twentieth is its share: one in ${served} was its`);
  await end('patient');
  assert.equal(stateOf('more patient'), 'waits');
});

test('the queue is bounded also for those from whom a slot is kept', async () => {
  const { ask, end, stateOf } = await setUp(2 * CALL);
  await ask('refused', 'interactive', { dueInMs: 200 });
  await end('one');
  for (const name of ['a', 'b', 'c']) await ask(name, 'batch');
  assert.deepEqual(['a', 'b', 'c'].map(stateOf), ['waits', 'waits', 'overloaded']);
});
