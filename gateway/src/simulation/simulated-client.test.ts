// Guards what the scheduler is told of a simulated call: what the gateway would know of it, and nothing that only the
// simulation knows.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GatewayError } from '../core/errors.ts';
import type { Ticket } from '../core/ticket.ts';
import type { Scheduler } from '../scheduling/scheduler.ts';
import { type RequestEnd, SimulatedClient } from './simulated-client.ts';
import { arrival } from './testing.ts';
import { VirtualClock } from './virtual-clock.ts';
import type { Arrival } from './workload.ts';

/** The ticket of a request, and how it ends where it is refused. */
async function ask(asked: Arrival, objectiveMs = 500, retryAfterMs?: number, returns = false) {
  const clock = new VirtualClock();
  const tickets: Ticket[] = [];
  const scheduler = {
    acquire: (ticket: Ticket) => {
      tickets.push(ticket);
      return Promise.reject(new GatewayError('overloaded', 'No.', { retryAfterMs }));
    },
  } as unknown as Scheduler;
  const returned = { asked: 0, admitted: 0 };
  const client = new SimulatedClient(
    { clock, scheduler, backends: [], objectiveMs, patienceMs: 30_000, returns, returned },
    asked,
    7,
  );
  let end: RequestEnd | undefined;
  clock.after(0, async () => {
    end = await client.run();
  });
  await clock.run(() => false);
  return { tickets, ticket: tickets[0]!, end: end!, returned };
}

test('a call says how long its prompt is and what it allows, and not how long its answer will be', async () => {
  const { ticket } = await ask(arrival(0, { outputTokens: 9, maxTokens: 64, tenant: 't', session: 's' }));
  assert.deepEqual(ticket.cost, { promptTokens: 100, outputTokens: 64 });
  assert.deepEqual([ticket.tenant, ticket.session, ticket.priority], ['t', 's', 'interactive']);
  const unsaid = await ask(arrival(0, { outputTokens: 9 }));
  assert.equal(unsaid.ticket.cost.outputTokens, 512);
});

test('its first token is due, but for batch and where nothing is promised', async () => {
  assert.equal((await ask(arrival(0))).ticket.deadlineAt, 500);
  assert.equal((await ask(arrival(0, { priority: 'batch' }))).ticket.deadlineAt, undefined);
  assert.equal((await ask(arrival(0), Infinity)).ticket.deadlineAt, undefined);
});

test('its beginning is told in blocks of 256 bytes, of its prompt alone; one like no other has none', async () => {
  const blocks = Array.from({ length: 20 }, (_, index) => 100 + index);
  const { ticket } = await ask(arrival(0, { promptTokens: 200, outputTokens: 120, blocks }));
  assert.deepEqual(ticket.prefix?.blocks, [103, 107, 111], 'every fourth, and not those of its answer');
  assert.deepEqual((await ask(arrival(0))).ticket.prefix?.blocks, []);
});

test('who is refused comes back at the time that was named, while its patience lasts', async () => {
  const stays = await ask(arrival(0), 500, 7000);
  assert.deepEqual([stays.end.outcome, stays.end.asked, stays.end.refusedAs], ['refused', 1, 'overloaded']);
  const back = await ask(arrival(0), 500, 7000, true);
  assert.deepEqual([back.end.outcome, back.end.asked, back.end.askedAtMs], ['left', 5, 28_000]);
  assert.deepEqual(back.returned, { asked: 4, admitted: 0 });
  assert.deepEqual(
    back.tickets.map(({ deadlineAt }) => deadlineAt),
    [500, 7500, 14_500, 21_500, 28_500],
  );
});

test('nobody comes back for ever', async () => {
  const { end } = await ask(arrival(0, { priority: 'batch' }), 500, 1000, true);
  assert.deepEqual([end.outcome, end.asked], ['refused', 60]);
});
