// Guards when and where calls run: first come first served, never more than a back end's slots, nobody held up by
// another model's queue, and every way of leaving the queue leaves nothing behind. The clock is moved by hand.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../test/manual-clock.ts';
import { StillBackend, ticketFor as ticket } from '../../test/still-backend.ts';
import { GatewayError } from '../core/errors.ts';
import { type Lease, Scheduler, type SchedulerOptions } from './scheduler.ts';

function newScheduler(options: Partial<SchedulerOptions> = {}) {
  const clock = new ManualClock(1_000_000);
  const scheduler = new Scheduler({ clock, maxWaitingTokens: 1_000, maxWaitMs: 60_000, ...options });
  return { clock, scheduler };
}

const left = () => new GatewayError('cancelled', 'The client left.');
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** What has become of an acquisition by now. */
async function stateOf(lease: Promise<Lease>): Promise<string> {
  let state = 'waiting';
  lease.then(
    (got) => (state = `on ${got.backend.id}`),
    (error: GatewayError) => (state = error.code),
  );
  await turn();
  return state;
}

test('a free slot is given at once, the preferred back end first', async () => {
  const { scheduler } = newScheduler();
  const [a, b] = [new StillBackend('a', 1), new StillBackend('b', 1)];
  const first = await scheduler.acquire(ticket([a, b]));
  const second = await scheduler.acquire(ticket([a, b]));
  assert.deepEqual([first.backend, second.backend], [a, b]);
  assert.equal(first.queueMs, 0);
  assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 2 });
});

test('calls are served in the order in which they came', async () => {
  const { clock, scheduler } = newScheduler();
  const backend = new StillBackend('a', 1);
  const order: number[] = [];
  const first = await scheduler.acquire(ticket([backend]));
  const others = [1, 2, 3, 4].map(async (number) => {
    const lease = await scheduler.acquire(ticket([backend]));
    order.push(number);
    clock.advance(10);
    lease.release('ok');
  });
  await turn();
  assert.deepEqual(order, []);
  clock.advance(5);
  first.release('ok');
  await Promise.all(others);
  assert.deepEqual(order, [1, 2, 3, 4]);
  assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 0 });
});

test('an answer that lost its back end goes first, and is not refused by a full queue', async () => {
  const { scheduler } = newScheduler({ maxWaitingTokens: 20 });
  const backend = new StillBackend('a', 1);
  const first = await scheduler.acquire(ticket([backend]));
  const order: string[] = [];
  const others = ['one', 'two'].map(async (name) => {
    const lease = await scheduler.acquire(ticket([backend]));
    order.push(name);
    lease.release('ok');
  });
  const resumed = scheduler.acquire(ticket([backend], { resumes: true })).then((lease) => {
    order.push('resumed');
    lease.release('ok');
  });
  await assert.rejects(scheduler.acquire(ticket([backend])), { code: 'overloaded' });
  first.release('ok');
  await Promise.all([...others, resumed]);
  assert.deepEqual(order, ['resumed', 'one', 'two']);
});

test('the lease knows how long the call waited, and carries its signal', async () => {
  const { clock, scheduler } = newScheduler();
  const backend = new StillBackend('a', 1);
  const { signal } = new AbortController();
  const first = await scheduler.acquire(ticket([backend]));
  const second = scheduler.acquire(ticket([backend], { signal }));
  clock.advance(1234);
  first.release('ok');
  const lease = await second;
  assert.equal(lease.queueMs, 1234);
  assert.equal(lease.signal, signal);
});

test('the back end is chosen when a slot frees: whichever is free first takes the oldest call', async () => {
  const { scheduler } = newScheduler();
  const [a, b] = [new StillBackend('a', 1), new StillBackend('b', 1)];
  await scheduler.acquire(ticket([a, b]));
  const onB = await scheduler.acquire(ticket([a, b]));
  const waiting = scheduler.acquire(ticket([a, b]));
  assert.equal(await stateOf(waiting), 'waiting');
  onB.release('ok');
  assert.equal((await waiting).backend, b);
});

test('how many calls a back end is given at once is the least of its slots and of what its limit found out', async () => {
  const { scheduler } = newScheduler();
  const limited = (slots: number) =>
    Object.assign(new StillBackend('a', slots), { limit: { kind: 'aimd', most: 20 } as const });
  const [many, few] = [limited(40), limited(3)];
  assert.deepEqual([scheduler.placesOn(many), scheduler.placesOn(few)], [20, 3]);
  (await scheduler.acquire(ticket([many]))).release('overload');
  assert.equal(scheduler.placesOn(many), 5);
  many.change('down');
  assert.equal(scheduler.placesOn(many), 0);
});

test("a slow model's queue does not hold another model's call", async () => {
  const { scheduler } = newScheduler();
  const [slow, quick] = [new StillBackend('slow', 1), new StillBackend('quick', 1)];
  await scheduler.acquire(ticket([slow]));
  const held = scheduler.acquire(ticket([slow]));
  assert.equal((await scheduler.acquire(ticket([quick]))).backend, quick);
  assert.equal(await stateOf(held), 'waiting');
});

test("a full queue for one model refuses no call that finds another model's slot free", async () => {
  const { scheduler } = newScheduler({ maxWaitingTokens: 10 });
  const [slow, quick] = [new StillBackend('slow', 1), new StillBackend('quick', 1)];
  await scheduler.acquire(ticket([slow]));
  const waiting = scheduler.acquire(ticket([slow]));
  assert.equal(await stateOf(scheduler.acquire(ticket([slow]))), 'overloaded');
  assert.equal(await stateOf(scheduler.acquire(ticket([quick]))), 'on quick');
  assert.equal(await stateOf(waiting), 'waiting');
});

test('a call that was aborted before it came is refused with its reason and takes no place', async () => {
  const { clock, scheduler } = newScheduler();
  const reason = left();
  const acquired = scheduler.acquire(
    ticket([new StillBackend('a', 1)], { signal: AbortSignal.abort(reason) }),
  );
  await assert.rejects(acquired, (error) => error === reason);
  assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 0 });
  assert.equal(clock.pendingTimers, 0);
});

test('a call aborted while it waits is rejected with the reason, and its place is free', async () => {
  const { clock, scheduler } = newScheduler({ maxWaitingTokens: 10 });
  const backend = new StillBackend('a', 1);
  const first = await scheduler.acquire(ticket([backend]));
  const abort = new AbortController();
  const leaving = scheduler.acquire(ticket([backend], { signal: abort.signal }));
  assert.equal(await stateOf(scheduler.acquire(ticket([backend]))), 'overloaded');
  const reason = left();
  abort.abort(reason);
  await assert.rejects(leaving, (error) => error === reason);
  assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 1 });
  assert.equal(clock.pendingTimers, 0);
  const taken = scheduler.acquire(ticket([backend]));
  first.release('ok');
  assert.equal(await stateOf(taken), 'on a');
});

test('aborting after the lease was given leaves the slot with the holder', async () => {
  const { scheduler } = newScheduler();
  const abort = new AbortController();
  const lease = await scheduler.acquire(ticket([new StillBackend('a', 1)], { signal: abort.signal }));
  abort.abort(left());
  assert.equal(lease.signal.aborted, true);
  assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 1 });
  lease.release('ignored');
  assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 0 });
});

test('a call that waited as long as any may is told so, and when to come again', async () => {
  const { clock, scheduler } = newScheduler({ maxWaitMs: 500 });
  const backend = new StillBackend('a', 1);
  await scheduler.acquire(ticket([backend]));
  const late = scheduler.acquire(ticket([backend]));
  clock.advance(499);
  assert.equal(await stateOf(late), 'waiting');
  clock.advance(1);
  await assert.rejects(late, (error: GatewayError) => {
    assert.equal(error.code, 'queue_timeout');
    assert.match(error.message, /500 ms/);
    assert.ok(error.retryAfterMs! >= 1000 && error.retryAfterMs! <= 60_000);
    return true;
  });
  assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 1 });
});

test('a call waits no longer than its own deadline, also one that has passed already', async () => {
  const { clock, scheduler } = newScheduler();
  const backend = new StillBackend('a', 1);
  await scheduler.acquire(ticket([backend]));
  const due = scheduler.acquire(ticket([backend], { deadlineAt: clock.now() + 300 }));
  const past = scheduler.acquire(ticket([backend], { deadlineAt: clock.now() - 1 }));
  clock.advance(0);
  assert.equal(await stateOf(past), 'queue_timeout');
  clock.advance(299);
  assert.equal(await stateOf(due), 'waiting');
  clock.advance(1);
  assert.equal(await stateOf(due), 'queue_timeout');
});

test('the queue is bounded in tokens, and a refused call learns when to come again', async () => {
  const { clock, scheduler } = newScheduler({ maxWaitingTokens: 30 });
  const backend = new StillBackend('a', 1);
  const sized = (tokens: number) =>
    ticket([backend], { cost: { promptTokens: tokens - 1, outputTokens: 1 } });
  const first = await scheduler.acquire(sized(10));
  const [second, third] = [scheduler.acquire(sized(10)), scheduler.acquire(sized(20))];
  await assert.rejects(scheduler.acquire(sized(1)), (error: GatewayError) => {
    assert.equal(error.code, 'overloaded');
    assert.ok(error.retryAfterMs! >= 1000 && error.retryAfterMs! <= 60_000, `${error.retryAfterMs}`);
    return true;
  });
  first.release('ok');
  (await second).release('ok');
  (await third).release('ok');
  assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 0 });
  assert.equal(clock.pendingTimers, 0);
});

test('an empty queue takes a call of any size', async () => {
  const { scheduler } = newScheduler({ maxWaitingTokens: 10 });
  const backend = new StillBackend('a', 1);
  const huge = ticket([backend], { cost: { promptTokens: 1_000_000, outputTokens: 1 } });
  const first = await scheduler.acquire(huge);
  const waiting = scheduler.acquire(huge);
  assert.equal(await stateOf(waiting), 'waiting');
  assert.equal(await stateOf(scheduler.acquire(ticket([backend]))), 'overloaded');
  first.release('ok');
  assert.equal(await stateOf(waiting), 'on a');
});

test('the advice when to come again grows with what calls take, from one second to sixty', async () => {
  const { clock, scheduler } = newScheduler();
  const backend = new StillBackend('a', 1);
  assert.equal(scheduler.retryAfterMs(), 1000);
  for (const holdMs of [1, 1, 1]) {
    const lease = await scheduler.acquire(ticket([backend]));
    clock.advance(holdMs);
    lease.release('ok');
  }
  assert.equal(scheduler.retryAfterMs(), 1000);
  const slow = await scheduler.acquire(ticket([backend]));
  clock.advance(100_000);
  slow.release('ok');
  const after = scheduler.retryAfterMs();
  assert.ok(after > 5_000 && after < 60_000, `${after}`);
  for (let i = 0; i < 20; i++) {
    const lease = await scheduler.acquire(ticket([backend]));
    clock.advance(1_000_000);
    lease.release('ok');
  }
  assert.equal(scheduler.retryAfterMs(), 60_000);
});

test('calls wait for a back end that loads or restarts, and run when it has slots again', async () => {
  const { clock, scheduler } = newScheduler();
  const backend = new StillBackend('a', 0);
  backend.change('loading', 0, 'It is starting.');
  const calls = [1, 2, 3].map(() => scheduler.acquire(ticket([backend])));
  assert.equal(await stateOf(calls[0]!), 'waiting');
  clock.advance(700);
  backend.change('ready', 2);
  assert.deepEqual(await Promise.all(calls.map(stateOf)), ['on a', 'on a', 'waiting']);
  assert.equal((await calls[0]!).queueMs, 700);
  backend.change('ready', 3);
  assert.equal(await stateOf(calls[2]!), 'on a');
});

test('a back end that comes back with fewer slots than it runs takes nothing until it is below them', async () => {
  const { scheduler } = newScheduler();
  const backend = new StillBackend('a', 2);
  const [one, two] = [await scheduler.acquire(ticket([backend])), await scheduler.acquire(ticket([backend]))];
  backend.change('ready', 1);
  const waiting = scheduler.acquire(ticket([backend]));
  one.release('ok');
  assert.equal(await stateOf(waiting), 'waiting');
  two.release('ok');
  assert.equal(await stateOf(waiting), 'on a');
});

test('a model whose back ends have all failed or closed is not ready, and says why', async () => {
  const { scheduler } = newScheduler();
  const [a, b] = [new StillBackend('a', 1), new StillBackend('b', 1)];
  a.change('failed', 0, 'The engine broke for good.');
  assert.equal((await scheduler.acquire(ticket([a, b]))).backend, b);
  b.change('closed');
  await assert.rejects(scheduler.acquire(ticket([a, b])), (error: GatewayError) => {
    assert.equal(error.code, 'not_ready');
    assert.equal(error.message, 'The engine broke for good.');
    assert.ok(error.retryAfterMs! > 0);
    return true;
  });
});

test('calls that wait learn at once that no back end will come back', async () => {
  const { clock, scheduler } = newScheduler();
  const [a, b] = [new StillBackend('a', 1), new StillBackend('b', 1)];
  await scheduler.acquire(ticket([a]));
  const forA = scheduler.acquire(ticket([a]));
  await scheduler.acquire(ticket([b]));
  const forBoth = scheduler.acquire(ticket([a, b]));
  a.change('failed', 0, 'The engine broke for good.');
  assert.equal(await stateOf(forA), 'not_ready');
  assert.equal(await stateOf(forBoth), 'waiting', 'the other one may still take it');
  b.change('closed');
  assert.equal(await stateOf(forBoth), 'not_ready');
  assert.equal(clock.pendingTimers, 0);
});

test('within a tier the one that would have the least to do is taken, of equals any; the next tier only when it is full', async () => {
  const { scheduler } = newScheduler({ random: () => 0.9 });
  const [small, large, last] = [
    new StillBackend('small', 1),
    new StillBackend('large', 3),
    new StillBackend('last', 9),
  ];
  const tiers = [0, 0, 1];
  const taken: string[] = [];
  for (let call = 0; call < 5; call++) {
    taken.push((await scheduler.acquire(ticket([small, large, last], { tiers }))).backend.id);
  }
  assert.deepEqual(taken, ['large', 'large', 'small', 'large', 'last']);
});

test('who is excluded gets nothing, free or not, and what is left decides', async () => {
  const { scheduler } = newScheduler();
  const [a, b] = [new StillBackend('a', 1), new StillBackend('b', 1)];
  const excluded = new Set([a]);
  assert.equal(await stateOf(scheduler.acquire(ticket([a, b], { excluded }))), 'on b');
  const waiting = scheduler.acquire(ticket([a, b], { excluded }));
  assert.equal(await stateOf(waiting), 'waiting', 'beside a free slot that is not for it');
  b.change('down');
  assert.equal(await stateOf(waiting), 'not_ready');
  assert.equal(await stateOf(scheduler.acquire(ticket([a], { excluded }))), 'not_ready');
});

test('nobody waits for who is busy or down: the call is told at once, and when to come again', async () => {
  const { clock, scheduler } = newScheduler();
  const [a, b, c] = [new StillBackend('a', 1), new StillBackend('b', 1), new StillBackend('c', 1)];
  const all = () => scheduler.acquire(ticket([a, b, c]));
  a.change('down', 0, 'a cannot be reached.', 700);
  b.change('busy', 0, 'b has too much to do.', 9_000);
  c.change('busy', 0, 'c has too much to do.', 5_000);
  await assert.rejects(all(), {
    code: 'backend_busy',
    message: 'b has too much to do.',
    retryAfterMs: 5_000,
  });
  b.change('down', 0, 'b cannot be reached.', 900);
  c.change('failed', 0, 'c is gone for good.');
  await assert.rejects(all(), { code: 'not_ready', message: 'a cannot be reached.', retryAfterMs: 700 });
  c.change('loading');
  const waiting = all();
  assert.equal(await stateOf(waiting), 'waiting', 'one will be ready');
  b.change('ready', 1);
  assert.equal(await stateOf(waiting), 'on b');
  assert.equal(clock.pendingTimers, 0);
});

test('calls that wait learn at once that all who could run them are busy or down', async () => {
  const { clock, scheduler } = newScheduler();
  const [a, b] = [new StillBackend('a', 1), new StillBackend('b', 1)];
  await scheduler.acquire(ticket([a]));
  await scheduler.acquire(ticket([b]));
  const [forA, forBoth] = [scheduler.acquire(ticket([a])), scheduler.acquire(ticket([a, b]))];
  a.change('busy', 0, undefined, 3_000);
  assert.equal(await stateOf(forA), 'backend_busy');
  assert.equal(await stateOf(forBoth), 'waiting');
  b.change('down');
  await assert.rejects(forBoth, { code: 'backend_busy', retryAfterMs: 3_000 });
  assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 2 });
  assert.equal(clock.pendingTimers, 0);
});

test('who is down is tried when there is nobody else, by one call, and others wait for what it comes to', async () => {
  const { scheduler } = newScheduler();
  const [a, b] = [new StillBackend('a', 4), new StillBackend('b', 4)];
  a.change('down');
  a.mayBeTried = true;
  assert.equal(await stateOf(scheduler.acquire(ticket([a, b]))), 'on b');
  assert.equal(a.mayBeTried, true, 'there was another one');
  b.change('busy', 0, 'b has too much to do.', 9_000);
  const [trial, waiting] = [scheduler.acquire(ticket([a, b])), scheduler.acquire(ticket([a, b]))];
  assert.deepEqual([await stateOf(trial), await stateOf(waiting)], ['on a', 'waiting']);
  a.change('ready', 4);
  assert.equal(await stateOf(waiting), 'on a');
  a.change('down');
  assert.equal(await stateOf(scheduler.acquire(ticket([a, b]))), 'backend_busy');
  a.mayBeTried = true;
  assert.equal(await stateOf(scheduler.acquire(ticket([a, b], { excluded: new Set([a]) }))), 'backend_busy');
});

test('releasing twice gives one slot back', async () => {
  const { scheduler } = newScheduler();
  const backend = new StillBackend('a', 1);
  const lease = await scheduler.acquire(ticket([backend]));
  const [second, third] = [scheduler.acquire(ticket([backend])), scheduler.acquire(ticket([backend]))];
  lease.release('ok');
  lease.release('overload');
  assert.equal(await stateOf(second), 'on a');
  assert.equal(await stateOf(third), 'waiting');
  assert.deepEqual(scheduler.snapshot(), { waiting: 1, running: 1 });
});

test('a closed back end is listened to no longer, once its last call has ended', async () => {
  const { scheduler } = newScheduler();
  const backend = new StillBackend('a', 1);
  const lease = await scheduler.acquire(ticket([backend]));
  assert.equal(backend.listeners.size, 1);
  await backend.close();
  assert.equal(backend.listeners.size, 1, 'a call still runs there');
  lease.release('ok');
  assert.equal(backend.listeners.size, 0);
  assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 0 });
});

test('asking again for a closed back end does not listen to it again', async () => {
  const { scheduler } = newScheduler();
  const [gone, here] = [new StillBackend('gone', 1), new StillBackend('here', 1)];
  await gone.close();
  assert.equal(await stateOf(scheduler.acquire(ticket([gone, here]))), 'on here');
  assert.equal(await stateOf(scheduler.acquire(ticket([gone]))), 'not_ready');
  assert.equal(gone.listeners.size, 0);
});

test('a back end that calls back while it is looked at gives nobody a second slot', async () => {
  const { scheduler } = newScheduler();
  const full = new StillBackend('full', 1);
  const shy = new StillBackend('shy', 0);
  const held = await scheduler.acquire(ticket([full, shy]));
  const waits = scheduler.acquire(ticket([full, shy]));
  // As one whose rest ends with the look that finds it over.
  const { load } = shy;
  shy.load = () => {
    shy.load = load;
    shy.change('ready', 5);
    return load.call(shy);
  };
  held.release('ok');
  (await waits).release('ok');
  assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 0 });
});
