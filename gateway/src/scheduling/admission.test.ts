// Guards who is let in: nobody whose first token would come too late is made to wait for that, everybody is told by how much
// and when to come again, and who comes then is let in before those who come fresh. The clock is moved by hand.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../test/manual-clock.ts';
import { StillBackend, ticketFor } from '../../test/still-backend.ts';
import type { GatewayError } from '../core/errors.ts';
import type { Ticket } from '../core/ticket.ts';
import { type Lease, Scheduler, type SchedulerOptions } from './scheduler.ts';

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
const PREFILL_MS = 100;
const HOLD_MS = 1_000;

/** A back end that has been measured: a first token after 100 ms, a whole answer after a second. */
async function setUp(options: Partial<SchedulerOptions> = {}) {
  const clock = new ManualClock(1_000_000);
  const scheduler = new Scheduler({ clock, maxWaitingTokens: 100_000, maxWaitMs: 20_000, ...options });
  const backend = new StillBackend('a', 1);
  let prompts = 0;
  const ticket = (rest: Partial<Ticket> = {}): Ticket => {
    prompts += 1;
    const prefix = { blocks: [], whole: prompts };
    const cost = { promptTokens: 20, outputTokens: 80 };
    return ticketFor([backend], { priority: 'interactive', cost, prefix, ...rest });
  };
  const compute = (lease: Lease) => {
    clock.advance(PREFILL_MS);
    lease.spoke();
    clock.advance(HOLD_MS - PREFILL_MS);
    lease.release('ok', { promptTokens: 20, completionTokens: 80 });
  };
  for (let call = 0; call < 20; call += 1) compute(await scheduler.acquire(ticket()));
  /** Within so many ms. */
  const due = (ms: number) => ticket({ deadlineAt: clock.now() + ms });
  const refusal = async (asked: Ticket): Promise<GatewayError> => {
    let error: GatewayError | undefined;
    scheduler.acquire(asked).catch((thrown: GatewayError) => (error = thrown));
    await turn();
    return error ?? assert.fail('it was let in');
  };
  return { clock, scheduler, backend, ticket, due, compute, refusal };
}

test('before anything was measured everybody is let in, and nothing is predicted', async () => {
  const clock = new ManualClock();
  const scheduler = new Scheduler({ clock, maxWaitingTokens: 100_000, maxWaitMs: 20_000 });
  const backend = new StillBackend('a', 1);
  const asked = () => ticketFor([backend], { deadlineAt: clock.now() + 1 });
  assert.equal(scheduler.predictedFirstTokenMs(asked()), undefined);
  const lease = await scheduler.acquire(asked());
  assert.equal(lease.predictedFirstTokenMs, undefined);
  void scheduler.acquire(asked());
  assert.deepEqual(scheduler.snapshot(), { waiting: 1, running: 1 });
});

test('a lease tells when its first token was expected', async () => {
  const { scheduler, ticket } = await setUp();
  const lease = await scheduler.acquire(ticket());
  assert.ok(Math.abs(lease.predictedFirstTokenMs! - PREFILL_MS) < 5, `${lease.predictedFirstTokenMs}`);
});

test('whose first token would come too late is told so at once, by how much, and when to come again', async () => {
  const { scheduler, ticket, due, refusal } = await setUp();
  await scheduler.acquire(ticket());
  const { code, message, retryAfterMs } = await refusal(due(500));
  assert.equal(code, 'overloaded');
  assert.match(message, /due in 500 ms .*queue \d+ ms, prompt \d+ ms, floor \d+ ms/);
  assert.ok(retryAfterMs! > 0 && retryAfterMs! <= 60_000, `${retryAfterMs}`);
  assert.equal(scheduler.snapshot().waiting, 0);
});

test('who has time enough is let in, and so is who made no promise to anybody', async () => {
  const { scheduler, ticket, due } = await setUp();
  await scheduler.acquire(ticket());
  void scheduler.acquire(due(10_000));
  void scheduler.acquire(ticket());
  await turn();
  assert.equal(scheduler.snapshot().waiting, 2);
});

test('who comes back at its time is let in without a question, before those who come fresh', async () => {
  const { clock, scheduler, ticket, due, refusal } = await setUp();
  const running = await scheduler.acquire(ticket());
  const asked = due(500);
  const { retryAfterMs } = await refusal(asked);
  const started: string[] = [];
  void scheduler.acquire(ticket()).then((lease) => {
    started.push('fresh');
    lease.release('ok');
  });
  clock.advance(retryAfterMs!);
  void scheduler.acquire({ ...asked, deadlineAt: clock.now() + 500 }).then((lease) => {
    started.push('back');
    lease.release('ok');
  });
  await turn();
  running.release('ok');
  await turn();
  assert.deepEqual(started, ['back', 'fresh']);
});

test('a place is good once, for its own tenant and prompt, and at its time', async () => {
  const { clock, scheduler, ticket, due, refusal } = await setUp();
  await scheduler.acquire(ticket());
  const asked = due(500);
  const { retryAfterMs } = await refusal(asked);
  const again = () => ({ ...asked, deadlineAt: clock.now() + 500 });
  assert.equal((await refusal(again())).code, 'overloaded', 'too early');
  clock.advance(retryAfterMs!);
  assert.equal((await refusal({ ...again(), tenant: 'other' })).code, 'overloaded');
  assert.equal((await refusal(due(500))).code, 'overloaded', 'another prompt');
  void scheduler.acquire(again());
  await turn();
  assert.equal(scheduler.snapshot().waiting, 1);
  assert.equal((await refusal(again())).code, 'overloaded', 'it is used up');
});

test('those who are refused at once are not all told the same time', async () => {
  const { scheduler, ticket, due, refusal } = await setUp();
  await scheduler.acquire(ticket());
  const times: number[] = [];
  for (let call = 0; call < 10; call += 1) times.push((await refusal(due(500))).retryAfterMs!);
  assert.deepEqual(
    times,
    [...times].sort((a, b) => a - b),
  );
  assert.ok(new Set(times).size >= 8, times.join());
});

test('what is booked for soon is not given to those who come fresh', async () => {
  const { clock, scheduler, ticket, due, refusal } = await setUp();
  const running = await scheduler.acquire(ticket());
  const booked: Ticket[] = [];
  for (let call = 0; call < 3; call += 1) {
    booked.push(due(500));
    await refusal(booked.at(-1)!);
  }
  clock.advance(900);
  running.release('ok');
  // The slot is free; the first of those who were told to come back in a second is on its way.
  assert.equal((await refusal(due(500))).code, 'overloaded');
  clock.advance(100);
  const lease = await scheduler.acquire({ ...booked[0]!, deadlineAt: clock.now() + 500 });
  assert.equal(lease.queueMs, 0);
});

test('who has another way to its answer books no place, unless it has waited in vain', async () => {
  const { clock, scheduler, ticket, due, refusal } = await setUp();
  const running = await scheduler.acquire(ticket());
  const trial = { ...due(500), isTrial: true };
  const { code, retryAfterMs } = await refusal(trial);
  assert.equal(code, 'overloaded');
  clock.advance(retryAfterMs!);
  running.release('ok');
  await scheduler.acquire(due(500));
  assert.equal(
    (await refusal({ ...trial, deadlineAt: clock.now() + 500 })).code,
    'overloaded',
    'no place was kept',
  );
  let timeout: GatewayError | undefined;
  scheduler.acquire(ticket({ isTrial: true })).catch((error: GatewayError) => (timeout = error));
  clock.advance(20_000);
  await turn();
  assert.equal(timeout?.code, 'queue_timeout');
  assert.notEqual(timeout?.retryAfterMs, scheduler.retryAfterMs(), 'its place');
});

test('a full queue and a wait in vain book a place, too', async () => {
  const { clock, scheduler, ticket, refusal, backend } = await setUp({ maxWaitingTokens: 100 });
  const running = await scheduler.acquire(ticket());
  const late = ticket();
  let timeout: GatewayError | undefined;
  scheduler.acquire(late).catch((error: GatewayError) => (timeout = error));
  await turn();
  const asked = ticket();
  const full = await refusal(asked);
  assert.equal(full.code, 'overloaded');
  assert.match(full.message, /queue is full/);
  clock.advance(full.retryAfterMs!);
  scheduler.acquire(asked).catch(() => {});
  await turn();
  assert.equal(scheduler.snapshot().waiting, 2);
  clock.advance(20_000 - full.retryAfterMs!);
  await turn();
  assert.equal(timeout?.code, 'queue_timeout');
  clock.advance(timeout!.retryAfterMs!);
  let lease: Lease | undefined;
  void scheduler.acquire(late).then((got) => (lease = got));
  void scheduler.acquire(ticket()).catch(() => {});
  await turn();
  running.release('ok');
  await turn();
  assert.equal(lease?.backend, backend, 'before those who came fresh');
});

test('where nothing was measured a refusal says what calls lately took, and that place is kept, too', async () => {
  const clock = new ManualClock();
  const scheduler = new Scheduler({ clock, maxWaitingTokens: 10, maxWaitMs: 500 });
  const backend = new StillBackend('a', 1);
  await scheduler.acquire(ticketFor([backend]));
  void scheduler.acquire(ticketFor([backend])).catch(() => {});
  const usualMs = scheduler.retryAfterMs();
  const times: number[] = [];
  const asked = [1, 2].map((whole) => ticketFor([backend], { prefix: { blocks: [], whole } }));
  for (const ticket of asked) {
    await scheduler.acquire(ticket).catch(({ code, retryAfterMs }: GatewayError) => {
      assert.equal(code, 'overloaded');
      times.push(Math.ceil(retryAfterMs! / 1_000) * 1_000);
    });
  }
  assert.equal(times[0], usualMs);
  assert.ok(times[1]! > times[0]!, 'one at a time');
  clock.advance(usualMs);
  let code = 'waits';
  scheduler.acquire(asked[0]!).catch((error: GatewayError) => (code = error.code));
  await turn();
  assert.equal(code, 'waits');
});

test('where calls ended and no first tokens were measured yet, places lie as close as those calls took, and a slot is promised once', async () => {
  const clock = new ManualClock();
  const scheduler = new Scheduler({ clock, maxWaitingTokens: 100_000, maxWaitMs: 200 });
  const backend = new StillBackend('a', 1);
  for (let call = 0; call < 2; call += 1) {
    const lease = await scheduler.acquire(ticketFor([backend]));
    clock.advance(20);
    lease.spoke();
    clock.advance(30);
    lease.release('ok');
  }
  await scheduler.acquire(ticketFor([backend]));
  const times: number[] = [];
  for (let whole = 1; whole <= 12; whole += 1) {
    void scheduler
      .acquire(ticketFor([backend], { prefix: { blocks: [], whole } }))
      .catch(({ retryAfterMs }: GatewayError) => times.push(Math.ceil(retryAfterMs! / 1_000)));
  }
  clock.advance(250);
  await turn();
  assert.equal(times.length, 12);
  // One still runs, and has had its slot for longer than those that ended.
  assert.ok(Math.max(...times) <= 8, `${times}: twelve calls of 50 ms, or somewhat more`);
  assert.ok(times.filter((seconds) => seconds === 1).length <= 5, `${times}: no more than fit`);
});

test('who comes back for a place goes before fresh calls of other tenants and of higher classes, and keeps no turn of theirs', async () => {
  const { clock, scheduler, ticket, due, refusal } = await setUp();
  const running = await scheduler.acquire(ticket());
  const asked: Ticket = { ...due(500), priority: 'standard' };
  const { retryAfterMs } = await refusal(asked);
  const started: string[] = [];
  const wait = (name: string, one: Ticket) =>
    void scheduler.acquire(one).then((lease) => {
      started.push(name);
      lease.release('ok');
    });
  wait('other tenant', ticket({ tenant: 'other', priority: 'standard' }));
  wait('higher class', ticket());
  clock.advance(retryAfterMs!);
  wait('back', { ...asked, deadlineAt: clock.now() + 500 });
  await turn();
  running.release('ok');
  await turn();
  assert.deepEqual(started, ['back', 'higher class', 'other tenant']);
});

test('a back end of which nothing is known is tried with four calls that are due, the next one with each first token', async () => {
  const clock = new ManualClock();
  const scheduler = new Scheduler({ clock, maxWaitingTokens: 100_000, maxWaitMs: 20_000 });
  const backend = new StillBackend('a', 16);
  const leases: Lease[] = [];
  let refused = 0;
  for (let call = 0; call < 16; call += 1) {
    const ticket = ticketFor([backend], { deadlineAt: 500, prefix: { blocks: [], whole: call } });
    scheduler.acquire(ticket).then(
      (lease) => leases.push(lease),
      () => {
        refused += 1;
      },
    );
  }
  await turn();
  assert.deepEqual(scheduler.snapshot(), { waiting: 12, running: 4 });
  clock.advance(20);
  for (let spoken = 0; spoken < 16; spoken += 1) {
    leases[spoken]?.spoke();
    await turn();
  }
  assert.equal(leases.length, 16, 'it is fast: all have their slots after a moment');
  assert.equal(refused, 0);
});

test('who waited for that is refused as soon as it is known that it would be late', async () => {
  const clock = new ManualClock();
  const scheduler = new Scheduler({ clock, maxWaitingTokens: 100_000, maxWaitMs: 20_000 });
  const backend = new StillBackend('a', 16);
  const leases: Lease[] = [];
  const codes: string[] = [];
  for (let call = 0; call < 8; call += 1) {
    const ticket = ticketFor([backend], { deadlineAt: 500, prefix: { blocks: [], whole: call } });
    scheduler.acquire(ticket).then(
      (lease) => leases.push(lease),
      ({ code }: GatewayError) => codes.push(code),
    );
  }
  await turn();
  clock.advance(300);
  leases[0]!.spoke();
  await turn();
  assert.equal(leases.length, 4, 'what takes 300 ms is not begun 200 ms before it is due');
  assert.deepEqual(codes, Array(4).fill('queue_timeout'));
});

test('while nobody is turned away a first token need not be certain to be in time; then it must be', async () => {
  const clock = new ManualClock(1_000_000);
  const scheduler = new Scheduler({ clock, maxWaitingTokens: 100_000, maxWaitMs: 20_000 });
  const backend = new StillBackend('a', 8);
  const begin = (withinMs = Infinity) =>
    scheduler.acquire(
      ticketFor([backend], {
        deadlineAt: clock.now() + withinMs,
        cost: { promptTokens: 20, outputTokens: 80 },
      }),
    );
  // Its first tokens come after 100 ms, or 160.
  for (let call = 0; call < 40; call += 1) {
    const lease = await begin();
    clock.advance(call % 2 === 0 ? 100 : 160);
    lease.spoke();
    clock.advance(100);
    lease.release('ok', { promptTokens: 20, completionTokens: 80 });
  }
  (await begin()).spoke();
  const likely = 190;
  (await begin(likely)).release('ignored');
  await assert.rejects(begin(10), { code: 'overloaded' });
  await assert.rejects(begin(likely), { code: 'overloaded' });
  clock.advance(30_000);
  (await begin(likely)).release('ignored');
});

test('who waits leaves as soon as a slot would come too late for its first token', async () => {
  const { clock, scheduler, ticket, due } = await setUp();
  await scheduler.acquire(ticket());
  let code = 'waits';
  scheduler.acquire(due(5_000)).catch((error: GatewayError) => (code = error.code));
  clock.advance(5_000 - PREFILL_MS - 5);
  await turn();
  assert.equal(code, 'waits');
  clock.advance(10);
  await turn();
  assert.equal(code, 'queue_timeout');
});

test('what is predicted for a call counts those before it, and its class', async () => {
  const { clock, scheduler, ticket } = await setUp();
  const predicted = (rest: Partial<Ticket> = {}) => scheduler.predictedFirstTokenMs(ticket(rest))!;
  const idle = predicted();
  await scheduler.acquire(ticket());
  const busy = predicted();
  for (let call = 0; call < 5; call += 1) {
    // Evenly: bursts would be allowed for.
    clock.advance(HOLD_MS);
    void scheduler.acquire(ticket({ priority: 'standard' }));
  }
  const [urgent, standard, other] = [
    predicted(),
    predicted({ priority: 'standard' }),
    predicted({ priority: 'standard', tenant: 'other' }),
  ];
  assert.ok(idle < 300 && busy > 1_000, `${idle} ${busy}`);
  assert.ok(urgent < busy * 1.3, 'who comes with a higher class waits for none of the lower');
  assert.ok(standard > urgent + 4_000, `${standard}`);
  assert.ok(other < standard - 3_000, 'another tenant does not wait for all of them');
});

test('an answer is expected to be as long as the last ones were', async () => {
  const { scheduler, ticket, compute } = await setUp({ maxWaitingTokens: 1_000 });
  const greedy = () => ticket({ cost: { promptTokens: 20, outputTokens: 4_000 } });
  compute(await scheduler.acquire(greedy()));
  await scheduler.acquire(ticket());
  for (let call = 0; call < 5; call += 1) void scheduler.acquire(greedy());
  await turn();
  assert.equal(scheduler.snapshot().waiting, 5, 'they may be long, but were not');
});
