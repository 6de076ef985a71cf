// Guards where a call goes of the back ends that it finds: what each knows of it is told to the router, who is closed, full or
// used up gets nothing, and predictions are made from those that could really take it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../test/manual-clock.ts';
import { StillBackend, ticketFor } from '../../test/still-backend.ts';
import type { Backend, BackendLoad } from '../core/backend.ts';
import type { Ticket } from '../core/ticket.ts';
import { lookAt, prospectsOf, route } from './placement.ts';
import { predictFirstToken } from './prediction.ts';
import { USUAL_WEIGHTS } from './router.ts';
import { type RunningCall, Seat } from './seat.ts';

class ToldBackend extends StillBackend {
  told: Partial<BackendLoad> = {};

  override load(): BackendLoad {
    return { ...super.load(), ...this.told };
  }
}

function setUp(...slots: readonly number[]) {
  const clock = new ManualClock();
  const backends = slots.map((count, index) => new ToldBackend(`b${index}`, count));
  const seats = new Map<Backend, Seat>();
  const seatOf = (backend: Backend) => {
    const shares = { standard: 0.2, batch: 0.05 };
    const seat = seats.get(backend) ?? new Seat({ backend, number: seats.size, clock, shares });
    seats.set(backend, seat);
    return seat;
  };
  const tiers = slots.map(() => 0);
  const ticket = (rest: Partial<Ticket> = {}) => ticketFor(backends, { tiers, ...rest });
  const find = (asked: Ticket, home?: string, withinMs = Number.POSITIVE_INFINITY) => {
    const routing = { weights: USUAL_WEIGHTS, random: () => 0.5, home, withinMs };
    return route(lookAt(asked, seatOf), asked, routing)?.seat.backend.id;
  };
  const begin = (index: number, asked: Ticket): RunningCall =>
    seatOf(backends[index]!).begin({
      ticket: asked,
      tokens: asked.cost.promptTokens + asked.cost.outputTokens,
      since: clock.now(),
      predictedFirstTokenMs: undefined,
      isEarned: false,
      onSpoke: () => {},
      onReleased: () => {},
    });
  return { clock, backends, seatOf, ticket, find, begin };
}

test('who is closed, excluded, not ready or full gets nothing', () => {
  const { backends, ticket, find, begin } = setUp(1, 1, 1, 1);
  backends[0]!.change('closed');
  backends[1]!.change('busy');
  const excluded = new Set([backends[2]!]);
  assert.equal(find(ticket({ excluded })), 'b3');
  begin(3, ticket());
  assert.equal(find(ticket({ excluded })), undefined);
});

test('a prompt goes back to where its beginning lies, a session to where it ran last', () => {
  const { ticket, find, begin } = setUp(4, 4, 4);
  const prefix = { blocks: [1, 2, 3, 4], whole: 5 };
  begin(1, ticket({ prefix })).release('ok');
  assert.equal(find(ticket({ prefix: { blocks: [1, 2, 3, 9], whole: 6 } })), 'b1');
  assert.equal(find(ticket(), 'b2'), 'b2');
});

test('a server that has calls of others is taken last, and one that costs less first', () => {
  const { backends, ticket, find } = setUp(4, 4, 4);
  backends[0]!.told = { others: 3 };
  const prices = new Map([
    ['b0', { input: 1, output: 1 }],
    ['b1', { input: 5, output: 5 }],
    ['b2', { input: 1, output: 1 }],
  ]);
  assert.equal(find(ticket({ prices })), 'b2');
});

test('who has not enough tokens left for a call is asked only where there is nobody else', () => {
  const { backends, ticket, find, begin } = setUp(1, 1);
  backends[0]!.told = { budget: { requests: 9, tokens: 50, resetMs: 1_000 } };
  const large = ticket({ cost: { promptTokens: 60, outputTokens: 40 } });
  assert.equal(find(large), 'b1');
  begin(1, large);
  assert.equal(find(large), 'b0');
});

test('a call goes where its first token is in time, though its beginning lies elsewhere; it is predicted for that', () => {
  const { clock, seatOf, backends, ticket, find, begin } = setUp(8, 8);
  for (const [index, ms] of [400, 20].entries()) {
    for (let call = 0; call < 10; call += 1) {
      const running = begin(index, ticket());
      clock.advance(ms);
      running.spoke();
      running.release('ok');
    }
  }
  const asked = ticket({ prefix: { blocks: [1, 2, 3, 4], whole: 5 } });
  begin(0, asked);
  assert.equal(find(asked), 'b0');
  assert.equal(find(asked, undefined, 200), 'b1');
  const placements = lookAt(asked, seatOf);
  const { ms } = predictFirstToken({
    prospects: prospectsOf(placements, asked, placements[0]),
    tokensAhead: 0,
  })!;
  assert.ok(ms > 200, `${ms}: not that of the quickest`);
  assert.equal(backends.length, 2);
});

test('a call is predicted from the tier that has room, and else from all who may be free first', () => {
  const { seatOf, backends, begin } = setUp(1, 1, 1);
  const asked = ticketFor(backends, { tiers: [0, 1, 1], cost: { promptTokens: 100, outputTokens: 1 } });
  const prefix = { blocks: [1, 2], whole: 3 };
  const prospects = (free: number | undefined, rest: Partial<Ticket> = {}) => {
    const placements = lookAt({ ...asked, ...rest }, seatOf);
    return prospectsOf(placements, asked, free === undefined ? undefined : placements[free]);
  };
  assert.equal(prospects(0).length, 1);
  assert.equal(prospects(1).length, 2);
  assert.equal(prospects(undefined).length, 3);
  backends[2]!.change('down');
  assert.equal(prospects(undefined).length, 2);
  begin(0, { ...asked, prefix });
  assert.deepEqual(
    prospects(undefined, { prefix }).map(({ promptTokens }) => promptTokens),
    [0, 100],
  );
});
