// Guards who runs next where many wait: classes by their shares, tenants by what they were served, models that share a back
// end in turns, deadlines kept; and who makes way for whom. The clock is moved by hand.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../test/manual-clock.ts';
import { StillBackend, ticketFor } from '../../test/still-backend.ts';
import type { Clock } from '../core/clock.ts';
import { GatewayError } from '../core/errors.ts';
import { PRIORITIES } from '../core/priority.ts';
import type { Ticket } from '../core/ticket.ts';
import { type Lease, Scheduler, type SchedulerOptions } from './scheduler.ts';

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

function setUp(options: Partial<SchedulerOptions> = {}) {
  const clock = new ManualClock(1_000_000);
  const scheduler = new Scheduler({ clock, maxWaitingTokens: 100_000, maxWaitMs: 60_000, ...options });
  const started: string[] = [];
  const leases = new Map<string, Lease>();
  const refused = new Map<string, string>();
  /** Asks for a slot; the name stands in `started`, or in `refused`, once that is decided. */
  const ask = async (name: string, ticket: Ticket) => {
    scheduler.acquire(ticket).then(
      (lease) => {
        started.push(name);
        leases.set(name, lease);
      },
      (error: GatewayError) => refused.set(name, error.code),
    );
    await turn();
  };
  /** Ends a call, and lets the next one begin. */
  const end = async (name: string) => {
    leases.get(name)!.release('ok');
    await turn();
  };
  /** Ends whoever began last, until nobody waits. */
  const endAll = async () => {
    while (scheduler.snapshot().waiting > 0) await end(started.at(-1)!);
    return started.slice(1).join(' ');
  };
  return { clock, scheduler, started, leases, refused, ask, end, endAll };
}

test('the more urgent class goes first, however late it came', async () => {
  const { ask, endAll } = setUp();
  const backend = new StillBackend('a', 1);
  await ask('first', ticketFor([backend]));
  for (const priority of ['batch', 'standard', 'interactive'] as const) {
    await ask(priority, ticketFor([backend], { priority }));
  }
  assert.equal(await endAll(), 'interactive standard batch');
});

test('beside a class that always has somebody waiting the lower ones get their shares of the slots', async () => {
  const { started, ask, end } = setUp();
  const backend = new StillBackend('a', 1);
  const next = { interactive: 0, standard: 0, batch: 0 };
  const more = async (priority: 'interactive' | 'standard' | 'batch') => {
    next[priority] += 1;
    await ask(priority, ticketFor([backend], { priority, tenant: priority }));
  };
  for (const priority of PRIORITIES) {
    await more(priority);
    await more(priority);
  }
  for (let call = 0; call < 400; call += 1) {
    const running = started.at(-1) as 'interactive' | 'standard' | 'batch';
    await end(running);
    await more(started.at(-1) as 'interactive' | 'standard' | 'batch');
  }
  const count = (name: string) => started.filter((one) => one === name).length;
  assert.ok(Math.abs(count('standard') - 80) <= 3, `${count('standard')}`);
  assert.ok(Math.abs(count('batch') - 20) <= 3, `${count('batch')}`);
});

test('tenants take turns; what one sends at once waits behind itself', async () => {
  const { ask, endAll } = setUp();
  const backend = new StillBackend('a', 1);
  await ask('first', ticketFor([backend], { tenant: 'flood' }));
  for (const number of [1, 2, 3]) await ask(`flood${number}`, ticketFor([backend], { tenant: 'flood' }));
  for (const number of [1, 2]) await ask(`other${number}`, ticketFor([backend], { tenant: 'other' }));
  assert.equal(await endAll(), 'flood1 other1 flood2 other2 flood3');
});

test('a tenant that fills the queue is refused, and another one beside it is not', async () => {
  const { ask, refused, scheduler } = setUp({ maxWaitingTokens: 100 });
  const backend = new StillBackend('a', 1);
  for (let number = 0; number < 20; number += 1) {
    await ask(`flood${number}`, ticketFor([backend], { tenant: 'flood' }));
  }
  assert.equal(scheduler.snapshot().waiting, 10);
  for (let number = 0; number < 10; number += 1) {
    await ask(`other${number}`, ticketFor([backend], { tenant: 'other' }));
  }
  assert.equal(scheduler.snapshot().waiting, 15, 'half of the bound is its part');
  assert.ok(![...refused].some(([name]) => name === 'other4'));
  await ask('heavy', ticketFor([backend], { tenant: 'heavy', weight: 6 }));
  assert.ok(!refused.has('heavy'));
});

test('each class has room of its own', async () => {
  const { ask, refused } = setUp({ maxWaitingTokens: 20 });
  const backend = new StillBackend('a', 1);
  await ask('first', ticketFor([backend]));
  for (const name of ['batch1', 'batch2', 'batch3'])
    await ask(name, ticketFor([backend], { priority: 'batch' }));
  await ask('urgent', ticketFor([backend], { priority: 'interactive' }));
  assert.deepEqual([...refused], [['batch3', 'overloaded']]);
});

test('models that share a back end take turns there, and one that was away saves up none', async () => {
  const { ask, end, started, leases } = setUp();
  const [shared, own] = [new StillBackend('shared', 1), new StillBackend('own', 1)];
  await ask('first', ticketFor([shared]));
  await ask('elsewhere', ticketFor([own]));
  for (const number of [1, 2, 3, 4]) await ask(`one${number}`, ticketFor([shared]));
  await end('first');
  await end('one1');
  for (const number of [1, 2]) await ask(`two${number}`, ticketFor([shared, own]));
  await end('one2');
  await end(started.at(-1)!);
  await end(started.at(-1)!);
  assert.deepEqual(started.slice(4), ['one3', 'two1', 'one4']);
  assert.equal(leases.get('two1')!.backend, shared);
});

test('those who lost their back ends go first, in the order in which they did, before any class', async () => {
  const { clock, ask, endAll } = setUp();
  const [a, b] = [new StillBackend('a', 1), new StillBackend('b', 0)];
  await ask('first', ticketFor([a]));
  await ask('urgent', ticketFor([a], { priority: 'interactive' }));
  await ask('lost first', ticketFor([a, b], { priority: 'batch', resumes: true }));
  clock.advance(1);
  await ask('lost second', ticketFor([a], { resumes: true }));
  assert.equal(await endAll(), 'lost first lost second urgent');
});

test('nobody gets a slot after its deadline, also where its timer is late', async () => {
  let now = 0;
  const clock: Clock = { now: () => now, after: () => () => {} };
  const { ask, end, started, refused } = setUp({ clock });
  const backend = new StillBackend('a', 1);
  await ask('first', ticketFor([backend]));
  await ask('late', ticketFor([backend], { deadlineAt: 100 }));
  await ask('lost', ticketFor([backend], { deadlineAt: 100, resumes: true }));
  await ask('patient', ticketFor([backend]));
  now = 100;
  await end('first');
  assert.deepEqual(started, ['first', 'patient']);
  assert.deepEqual(Object.fromEntries(refused), { late: 'queue_timeout', lost: 'queue_timeout' });
});

test('each gets one slot, also where a line is found overloaded between two looks at the clock', async () => {
  let now = 0;
  const clock: Clock = { now: () => (now += 7), after: () => () => {} };
  const { ask, endAll, scheduler } = setUp({ clock });
  const backend = new StillBackend('a', 1);
  const names = Array.from({ length: 60 }, (_, index) => `${index}`);
  await ask('first', ticketFor([backend]));
  for (const [index, name] of names.entries()) {
    await ask(name, ticketFor([backend], { priority: 'interactive', tenant: `${index % 3}` }));
  }
  const order = (await endAll()).split(' ');
  assert.deepEqual(new Set(order), new Set(names));
  assert.equal(order.length, names.length);
  assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 1 });
});

test('who waits is served as soon as a busy back end may be asked again, though nobody tells', async () => {
  const { clock, scheduler, started, ask } = setUp();
  const [full, busy] = [new StillBackend('full', 1), new StillBackend('busy', 1)];
  await ask('first', ticketFor([full]));
  busy.change('busy', 0, undefined, 700);
  await ask('waits', ticketFor([full, busy]));
  clock.advance(699);
  busy.changeInSilence('ready', 1);
  clock.advance(1);
  await turn();
  assert.deepEqual(started, ['first', 'waits']);
  assert.equal(clock.pendingTimers, 0);
  assert.equal(scheduler.runningOn(busy), 1);
});

const batch = (backend: StillBackend) => ticketFor([backend], { priority: 'batch', tenant: 'worker' });
const urgent = (backend: StillBackend) => ticketFor([backend], { priority: 'interactive' });

test('batch work makes way for who waits for a first word: one call for each, the newest first', async () => {
  const { clock, started, leases, ask, end } = setUp();
  const backend = new StillBackend('a', 3, 'ids');
  for (const name of ['old', 'middle', 'new']) {
    await ask(name, batch(backend));
    clock.advance(10);
  }
  const preempted = () => [...leases].filter(([, one]) => one.isPreempted).map(([name]) => name);
  await ask('urgent1', urgent(backend));
  assert.deepEqual(preempted(), ['new']);
  assert.equal(leases.get('new')!.signal.aborted, true);
  assert.ok(leases.get('new')!.signal.reason instanceof GatewayError);
  await ask('urgent2', urgent(backend));
  assert.deepEqual(preempted(), ['middle', 'new']);
  await ask('next batch', batch(backend));
  await end('new');
  assert.deepEqual(started, ['old', 'middle', 'new', 'urgent1']);
  await end('middle');
  assert.equal(started.at(-1), 'urgent2');
  assert.equal(leases.get('old')!.isPreempted, false);
});

test('nobody makes way where it would be lost, for a class that can wait, or once it has been let in before its turn', async () => {
  const { leases, started, ask, end } = setUp({ shares: { standard: 0.2, batch: 0.45 } });
  const other = new StillBackend('other', 1, 'text');
  await ask('on other', batch(other));
  await ask('urgent on other', urgent(other));
  assert.equal(leases.get('on other')!.isPreempted, false);
  const backend = new StillBackend('a', 1, 'ids');
  await ask('batch', batch(backend));
  await ask('standard', ticketFor([backend]));
  assert.equal(leases.get('batch')!.isPreempted, false);
  await ask('earned', batch(backend));
  for (let number = 0; started.at(-1) !== 'earned'; number += 1) {
    await ask(`urgent${number}`, urgent(backend));
    await ask(`next urgent${number}`, urgent(backend));
    await end(started.at(-1)!);
  }
  assert.equal(leases.get('earned')!.isPreempted, false);
});

test('a call that was preempted waits in its class, is refused by no full queue, and is charged once', async () => {
  const { started, refused, leases, ask, end } = setUp({ maxWaitingTokens: 10 });
  const backend = new StillBackend('a', 1, 'ids');
  await ask('first', ticketFor([backend]));
  await ask('batch', batch(backend));
  await end('first');
  await ask('urgent', urgent(backend));
  assert.equal(leases.get('batch')!.isPreempted, true);
  await ask('waits', batch(backend));
  await ask('too many', batch(backend));
  await end('batch');
  await ask('again', { ...batch(backend), wasPreempted: true });
  assert.deepEqual([...refused.keys()], ['too many']);
  await end('urgent');
  await end(started.at(-1)!);
  assert.deepEqual(started, ['first', 'batch', 'urgent', 'waits', 'again']);
});

test('a preempted call that nobody waits for any more gives its slot to whoever is next', async () => {
  const { scheduler, started, leases, ask, end } = setUp();
  const backend = new StillBackend('a', 1, 'ids');
  await ask('batch', batch(backend));
  const abort = new AbortController();
  await ask('urgent', { ...urgent(backend), signal: abort.signal });
  abort.abort(new GatewayError('cancelled', 'The client left.'));
  assert.equal(leases.get('batch')!.isPreempted, true);
  await ask('other', batch(backend));
  await end('batch');
  assert.deepEqual(started, ['batch', 'other']);
  assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 1 });
});

test('a lease without waiting: where a slot is free that nobody waits for, and never else', async () => {
  const { scheduler, ask, end } = setUp();
  const [a, b] = [new StillBackend('a', 1), new StillBackend('b', 1)];
  const lease = scheduler.tryAcquire(ticketFor([a, b]))!;
  assert.equal(lease.backend, a);
  assert.equal(scheduler.tryAcquire(ticketFor([a])), undefined);
  assert.equal(scheduler.tryAcquire(ticketFor([a, b], { excluded: new Set([b]) })), undefined);
  await ask('waits', ticketFor([a]));
  assert.equal(scheduler.tryAcquire(ticketFor([b]))!.backend, b);
  lease.release('ignored');
  assert.equal(scheduler.tryAcquire(ticketFor([a])), undefined, 'it went to who waited');
  await turn();
  await end('waits');
  b.change('down');
  b.mayBeTried = true;
  assert.equal(scheduler.tryAcquire(ticketFor([b])), undefined);
  assert.equal(b.mayBeTried, true, 'a second try is no reason to try who is down');
  const gone = AbortSignal.abort(new GatewayError('cancelled', 'The client left.'));
  assert.equal(scheduler.tryAcquire(ticketFor([a], { signal: gone })), undefined);
  assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 1 });
});
