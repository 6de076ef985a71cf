// Guards what the choice of a back end is made from: what each says and has of its own really counts, through the scheduler
// that gives the lease.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../test/manual-clock.ts';
import { ticketFor as plainTicket } from '../../test/still-backend.ts';
import type { Backend, BackendLoad } from '../core/backend.ts';
import type { Ticket } from '../core/ticket.ts';
import { Scheduler } from './scheduler.ts';

function backendOf(id: string, rest: Partial<BackendLoad> = {}): Backend {
  return {
    id,
    load: () => ({ state: 'ready', slots: 16, ...rest }),
    onLoadChange: () => () => {},
    chat: () => Promise.reject(new Error('not asked here')),
    close: () => Promise.resolve(),
  };
}

/** Without chance: of equals it is the last. */
const newScheduler = () =>
  new Scheduler({ clock: new ManualClock(), maxWaitingTokens: 1e9, maxWaitMs: 1_000, random: () => 0 });

/** All its back ends are equals. */
const ticketFor = (backends: readonly Backend[], rest: Partial<Ticket> = {}) =>
  plainTicket(backends, {
    tiers: backends.map(() => 0),
    cost: { promptTokens: 500, outputTokens: 100 },
    ...rest,
  });

/** Where it goes. The call is over at once, so that only what is remembered makes a difference. */
async function runOn(scheduler: Scheduler, ticket: Ticket): Promise<string> {
  const lease = await scheduler.acquire(ticket);
  lease.release('ok', { promptTokens: 500, completionTokens: 100 });
  return lease.backend.id;
}

test('what a back end says of others, of its memory and of its price decides between equals', async () => {
  const last = backendOf('last');
  assert.equal(await runOn(newScheduler(), ticketFor([backendOf('first'), last])), 'last');
  for (const load of [{ others: 3 }, { kvCacheUsage: 0.9 }]) {
    const loaded = backendOf('loaded', load);
    assert.equal(await runOn(newScheduler(), ticketFor([last, loaded])), 'last', JSON.stringify(load));
  }
  const prices = new Map([['dear', { input: 1, output: 2 }]]);
  assert.equal(await runOn(newScheduler(), ticketFor([last, backendOf('dear')], { prices })), 'last');
});

test('a prompt and a session go back to where they were, each tenant’s own', async () => {
  const scheduler = newScheduler();
  const all = ['a', 'b', 'c'].map((id) => backendOf(id));
  const [first = assert.fail()] = all;
  const prefix = { blocks: [1, 2, 3], whole: 3 };
  const session = 'chat';
  assert.equal(await runOn(scheduler, ticketFor([first], { prefix })), 'a');
  assert.equal(await runOn(scheduler, ticketFor([first], { session })), 'a');
  assert.equal(await runOn(scheduler, ticketFor(all, { prefix })), 'a');
  assert.equal(await runOn(scheduler, ticketFor(all, { session })), 'a');
  assert.equal(await runOn(scheduler, ticketFor(all, { session, tenant: 'another' })), 'c');
  assert.equal(await runOn(scheduler, ticketFor(all, { prefix: { blocks: [4, 5], whole: 5 } })), 'c');
});

test('a prompt that is more than the limits of a server leave goes elsewhere, to the next tier too, and there for want of any other', async () => {
  const poor = backendOf('poor', { budget: { requests: undefined, tokens: 499, resetMs: 1_000 } });
  const next = backendOf('next');
  const tiers = [0, 1];
  assert.equal(await runOn(newScheduler(), ticketFor([poor, next], { tiers })), 'next');
  assert.equal(await runOn(newScheduler(), ticketFor([poor])), 'poor');
  const cost = { promptTokens: 499, outputTokens: 100 };
  assert.equal(await runOn(newScheduler(), ticketFor([poor, next], { tiers, cost })), 'poor');
});
