// Guards one call's life: its events and its one ending, its cancelling in every phase, its two clocks, and the story
// that is written down of it. Back end and clock are moved by hand.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../test/manual-clock.ts';
import type { Backend, BackendLoad, CallContext } from '../core/backend.ts';
import type { ChatRequest, EventSink, TokenEvent } from '../core/chat.ts';
import { GatewayError } from '../core/errors.ts';
import { newRecord, type RequestObserver } from '../core/observer.ts';
import type { Outcome, Ticket } from '../core/ticket.ts';
import type { ServedModel } from '../core/world.ts';
import { Scheduler } from '../scheduling/scheduler.ts';
import { type Job, Pipeline } from './pipeline.ts';

interface Call {
  readonly request: ChatRequest;
  readonly context: CallContext;
  readonly push: EventSink;
  readonly end: (thrown?: unknown) => void;
}

/** Hands its calls to the test; all that it does by itself is to heed the signal. */
class HandBackend implements Backend {
  readonly id = 'hand';
  readonly calls: Call[] = [];

  chat(request: ChatRequest, context: CallContext, push: EventSink): Promise<void> {
    return new Promise((resolve, reject) => {
      context.signal.addEventListener('abort', () => reject(context.signal.reason));
      this.calls.push({
        request,
        context,
        push,
        end: (thrown) => (thrown === undefined ? resolve() : reject(thrown)),
      });
    });
  }

  load(): BackendLoad {
    return { state: 'ready', slots: 1 };
  }

  onLoadChange(): () => void {
    return () => {};
  }

  async close() {}
}

const START: TokenEvent = { type: 'start', speaker: 'a model' };
const END: TokenEvent = { type: 'choice-end', choice: 0, reason: 'stop' };
const FINISH: TokenEvent = { type: 'finish', usage: { promptTokens: 1, completionTokens: 2 } };
const text = (words: string): TokenEvent => ({ type: 'text-delta', choice: 0, text: words });
const thought = (words: string): TokenEvent => ({ type: 'reasoning-delta', choice: 0, text: words });
const left = () => new GatewayError('cancelled', 'The client left.');
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

function setUp({ logBytes = 1024 * 1024, observer = {} as RequestObserver } = {}) {
  const clock = new ManualClock(5_000);
  const backend = new HandBackend();
  const scheduler = new Scheduler({ clock, maxWaitingTokens: 100_000, maxWaitMs: 60_000 });
  const outcomes: Outcome[] = [];
  const acquire = scheduler.acquire.bind(scheduler);
  scheduler.acquire = async (ticket) => {
    const lease = await acquire(ticket);
    const release = lease.release.bind(lease);
    lease.release = (outcome, usage) => {
      outcomes.push(outcome);
      release(outcome, usage);
    };
    return lease;
  };
  const pipeline = new Pipeline({ scheduler, observer, clock, logBytes });
  const unknown = { contextWindow: undefined, licence: undefined, created: 0 };
  const model: ServedModel = { id: 'm', speaker: 's', backends: [backend], ...unknown };
  const start = (rest: Partial<Job> = {}) => {
    const record = {
      ...newRecord('request-1', 'test', 'someone', clock.now()),
      model: 'm',
      streamed: true,
      admitted: true,
    };
    const answer = pipeline.start({
      record,
      model,
      calls: [request()],
      parallel: 1,
      deadlineMs: undefined,
      ...rest,
    });
    return { ...answer, record };
  };
  /** Starts a job and waits until the back end has its call. */
  const startRunning = async (rest: Partial<Job> = {}) => {
    const answer = start(rest);
    await turn();
    return { ...answer, call: backend.calls.at(-1)! };
  };
  return { clock, backend, scheduler, outcomes, start, startRunning };
}

function request(): ChatRequest {
  const prompt = { kind: 'text', text: 'hello' } as const;
  return { model: 'm', prompt, sampling: {}, stop: [], choices: 1, extra: {} };
}

/** All events until the end, and the code of what ended it if it failed. */
async function readAll(log: AsyncIterable<TokenEvent>) {
  const events: TokenEvent[] = [];
  try {
    for await (const event of log) events.push(event);
  } catch (thrown) {
    return { events, error: thrown as GatewayError };
  }
  return { events, error: undefined };
}

test('the events of an answer come in order, with exactly one finish at the end', async () => {
  const { scheduler, outcomes, startRunning } = setUp();
  const { log, call, record } = await startRunning();
  const events = [START, thought('hm'), text('a'), text('b'), END, FINISH];
  for (const event of events) call.push(event);
  call.end();
  assert.deepEqual(await readAll(log.read()), { events, error: undefined });
  assert.deepEqual(record.usage, { promptTokens: 1, completionTokens: 2 });
  assert.deepEqual(outcomes, ['ok']);
  assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 0 });
});

test('a back end that says start or finish twice shows each once', async () => {
  const { startRunning } = setUp();
  const { log, call, record } = await startRunning();
  const again: TokenEvent = { type: 'start', speaker: 'another' };
  for (const event of [START, again, text('a'), END, FINISH, FINISH]) call.push(event);
  call.end();
  assert.deepEqual((await readAll(log.read())).events, [START, text('a'), END, FINISH]);
  assert.equal(record.speaker, 'a model');
});

test('the call carries id, tenant and request to the back end', async () => {
  const { startRunning } = setUp();
  const only = request();
  const { call } = await startRunning({ calls: [only] });
  assert.equal(call.request, only);
  assert.deepEqual([call.context.callId, call.context.tenant], ['request-1', 'someone']);
});

test('the lease ends with the compute, while the client still has everything to read', async () => {
  const { scheduler, startRunning } = setUp();
  const { log, call } = await startRunning();
  for (const event of [START, text('a'), END, FINISH]) call.push(event);
  call.end();
  await turn();
  assert.equal(scheduler.snapshot().running, 0);
  assert.equal((await readAll(log.read())).events.length, 4);
});

test('a cancel while the call waits frees its place, and the back end never hears of it', async () => {
  const { backend, scheduler, outcomes, startRunning, start } = setUp();
  await startRunning();
  const { log, cancel } = start();
  await turn();
  assert.equal(scheduler.snapshot().waiting, 1);
  cancel(left());
  assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 1 });
  assert.equal((await readAll(log.read())).error?.code, 'cancelled');
  assert.equal(backend.calls.length, 1);
  assert.deepEqual(outcomes, []);
});

for (const [phase, before] of [
  ['before the first event', []],
  ['before the first delta', [START]],
  ['in the middle', [START, thought('hm'), text('a')]],
] as const) {
  test(`a cancel ${phase} reaches the back end's signal at once and releases the lease`, async () => {
    const { scheduler, outcomes, startRunning } = setUp();
    const { log, call, cancel } = await startRunning();
    for (const event of before) call.push(event);
    const reason = left();
    cancel(reason);
    assert.equal(call.context.signal.aborted, true);
    assert.equal(call.context.signal.reason, reason);
    assert.deepEqual(await readAll(log.read()), { events: [...before], error: reason });
    await turn();
    assert.deepEqual(outcomes, ['ignored']);
    assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 0 });
  });
}

test('a reader that leaves a silent model cancels it at once', async () => {
  const { scheduler, outcomes, startRunning } = setUp();
  const { log, call } = await startRunning();
  const reader = log.read();
  const pending = reader.next();
  void reader.return!();
  assert.equal(call.context.signal.aborted, true);
  assert.equal(call.context.signal.reason.code, 'cancelled');
  assert.equal((await pending).done, true);
  await turn();
  assert.deepEqual(outcomes, ['ignored']);
  assert.equal(scheduler.snapshot().running, 0);
});

test('a cancel after the end changes nothing', async () => {
  const { outcomes, startRunning } = setUp();
  const { log, call, cancel } = await startRunning();
  for (const event of [START, END, FINISH]) call.push(event);
  call.end();
  await turn();
  cancel(left());
  assert.equal((await readAll(log.read())).error, undefined);
  assert.deepEqual(outcomes, ['ok']);
});

test('an answer that ends without its finish has failed', async () => {
  const { outcomes, startRunning } = setUp();
  const { log, call } = await startRunning();
  call.push(START);
  call.push(text('half'));
  call.end();
  const { events, error } = await readAll(log.read());
  assert.deepEqual(events, [START, text('half')]);
  assert.equal(error?.code, 'backend_failed');
  assert.deepEqual(outcomes, ['overload']);
});

test("a back end's own error passes through, and tells the limit only if it says something of load", async () => {
  for (const [code, outcome] of [
    ['backend_failed', 'overload'],
    ['backend_busy', 'overload'],
    ['backend_refused', 'ignored'],
    ['context_length_exceeded', 'ignored'],
  ] as const) {
    const { outcomes, startRunning } = setUp();
    const { log, call } = await startRunning();
    const thrown = new GatewayError(code, 'no');
    call.end(thrown);
    assert.equal((await readAll(log.read())).error, thrown);
    assert.deepEqual(outcomes, [outcome], code);
  }
});

test('a back end that throws what it should not is a bug of ours, with its cause for the log', async () => {
  const { outcomes, scheduler, startRunning } = setUp();
  const { log, call } = await startRunning();
  const thrown = new TypeError('x is not a function');
  call.end(thrown);
  const { error } = await readAll(log.read());
  assert.equal(error?.code, 'internal');
  assert.equal(error?.cause, thrown);
  assert.doesNotMatch(error!.message, /x is not/);
  assert.deepEqual(outcomes, ['ignored']);
  assert.equal(scheduler.snapshot().running, 0);
});

test('a first token that does not come in time ends the call with deadline_exceeded', async () => {
  const { clock, outcomes, startRunning } = setUp();
  const { log, call } = await startRunning({ deadlineMs: 800 });
  call.push(START);
  clock.advance(799);
  assert.equal(call.context.signal.aborted, false);
  clock.advance(1);
  assert.equal(call.context.signal.aborted, true);
  assert.equal((await readAll(log.read())).error?.code, 'deadline_exceeded');
  assert.deepEqual(outcomes, ['overload']);
  assert.equal(clock.pendingTimers, 0);
});

test('any first delta stops the clock of the first token', async () => {
  const tool: TokenEvent = { type: 'tool-call-delta', choice: 0, index: 0, arguments: '{' };
  for (const delta of [text('a'), thought('hm'), tool]) {
    const { clock, startRunning } = setUp();
    const { log, call } = await startRunning({ deadlineMs: 800 });
    call.push(START);
    clock.advance(799);
    call.push(delta);
    clock.advance(1_000_000);
    call.push(FINISH);
    call.end();
    assert.equal((await readAll(log.read())).error, undefined, delta.type);
    assert.equal(clock.pendingTimers, 0);
  }
});

test('a call whose deadline passes while it waits is told that nothing was computed', async () => {
  const { backend, clock, startRunning, start } = setUp();
  await startRunning();
  const { log } = start({ deadlineMs: 800 });
  await turn();
  clock.advance(800);
  assert.equal((await readAll(log.read())).error?.code, 'queue_timeout');
  assert.equal(backend.calls.length, 1);
});

test('the wait in the queue counts against the deadline', async () => {
  const { clock, startRunning, start, backend } = setUp();
  const first = await startRunning();
  const { log } = start({ deadlineMs: 800 });
  await turn();
  clock.advance(500);
  for (const event of [START, END, FINISH]) first.call.push(event);
  first.call.end();
  await turn();
  assert.equal(backend.calls.length, 2);
  clock.advance(299);
  assert.equal(backend.calls[1]!.context.signal.aborted, false);
  clock.advance(1);
  assert.equal((await readAll(log.read())).error?.code, 'deadline_exceeded');
});

test('a reader that is too slow loses its answer, and the slot is free while it still has events to read', async () => {
  const { scheduler, outcomes, startRunning } = setUp({ logBytes: 500 });
  const { log, call } = await startRunning();
  call.push(START);
  const pushUntilFull = () => {
    for (let i = 0; i < 100; i++) call.push(text('0123456789'));
  };
  assert.throws(pushUntilFull, (thrown) => {
    // A back end lets what its sink throws end its call.
    call.end(thrown);
    return (thrown as GatewayError).code === 'slow_reader';
  });
  await turn();
  assert.equal(scheduler.snapshot().running, 0);
  assert.deepEqual(outcomes, ['ignored']);
  const { events, error } = await readAll(log.read());
  assert.ok(events.length > 3, `${events.length}`);
  assert.equal(error?.code, 'slow_reader');
});

test('the story is written down: wait, first token, first answer, silences', async () => {
  const seen: string[] = [];
  const observer: RequestObserver = {
    started: ({ queueMs }) => seen.push(`started after ${queueMs}`),
    gap: (_record, gapMs, heardMs) => seen.push(`gap of ${gapMs}, heard ${heardMs}`),
  };
  const { clock, backend, startRunning, start } = setUp({ observer });
  const first = await startRunning();
  const { log, record } = start();
  clock.advance(300);
  first.cancel(left());
  await turn();
  const { push, end } = backend.calls[1]!;
  seen.shift();
  const after = (ms: number, event: TokenEvent) => {
    clock.advance(ms);
    push(event);
  };
  after(10, START);
  after(90, thought('hm'));
  after(500, thought('hm'));
  after(501, text('a'));
  const reading = readAll(log.read());
  await turn();
  after(700, text('b'));
  clock.advance(9_000);
  push(END);
  push(FINISH);
  end();
  await reading;
  assert.deepEqual(seen, [
    'started after 300',
    'gap of 500, heard 0',
    'gap of 501, heard 0',
    'gap of 700, heard 700',
  ]);
  const { queueMs, firstTokenMs, firstAnswerMs, longestGapMs, stutters, speaker } = record;
  assert.deepEqual(
    { queueMs, firstTokenMs, firstAnswerMs, longestGapMs, stutters, speaker, backend: record.backend },
    {
      queueMs: 300,
      firstTokenMs: 400,
      firstAnswerMs: 1401,
      longestGapMs: 700,
      stutters: 1,
      speaker: 'a model',
      backend: 'hand',
    },
  );
});

test('a silence is heard from when the reader has read all that came before it', async () => {
  const { clock, startRunning } = setUp();
  const { log, record, call } = await startRunning();
  call.push(text('a'));
  call.push(text('b'));
  clock.advance(900);
  const reading = readAll(log.read());
  await turn();
  clock.advance(400);
  call.push(text('c'));
  await turn();
  assert.deepEqual([record.longestGapMs, record.stutters], [400, 0]);
  clock.advance(501);
  call.push(text('d'));
  assert.deepEqual([record.longestGapMs, record.stutters], [501, 1]);
  call.push(FINISH);
  call.end();
  await reading;
});

test('who takes an answer whole hears no silence in it', async () => {
  const { clock, startRunning } = setUp();
  const gaps: number[] = [];
  const { log, record, call } = await startRunning();
  record.streamed = false;
  const reading = readAll(log.read());
  await turn();
  for (const words of ['a', 'b']) {
    clock.advance(900);
    call.push(text(words));
    await turn();
    gaps.push(record.longestGapMs);
  }
  assert.deepEqual([gaps, record.stutters], [[0, 0], 0]);
  call.push(FINISH);
  call.end();
  await reading;
});

test('an answer of thinking alone has a first token and no first answer', async () => {
  const { clock, startRunning } = setUp();
  const { call, record } = await startRunning();
  clock.advance(50);
  call.push(thought('hm'));
  assert.equal(record.firstTokenMs, 50);
  assert.equal(record.firstAnswerMs, undefined);
});

test('its ticket tells how the prompt begins, to its own tenant and model alone, and which session it belongs to', async () => {
  const { scheduler, start } = setUp();
  const tickets: Ticket[] = [];
  scheduler.acquire = (ticket) => {
    tickets.push(ticket);
    return new Promise(() => {});
  };
  const prompt = { kind: 'text', text: 'long '.repeat(200) } as const;
  const calls = [{ ...request(), prompt }];
  const cold = newRecord('request-2', 'test', 'another', 0);
  start({ calls, session: 'chat-7' });
  start({ calls });
  start({ calls, record: cold });
  await turn();
  const [one = assert.fail(), same = assert.fail(), foreign = assert.fail()] = tickets;
  assert.deepEqual([one.session, same.session], ['chat-7', undefined]);
  assert.ok(one.prefix!.blocks.length >= 3);
  assert.deepEqual(same.prefix!.blocks, one.prefix!.blocks);
  assert.ok(foreign.prefix!.blocks.every((block) => !one.prefix!.blocks.includes(block)));
});

test('its ticket tells the weight of its tenant and the prices of its back ends', async () => {
  const { scheduler, start } = setUp();
  const tickets: Ticket[] = [];
  scheduler.acquire = (ticket) => {
    tickets.push(ticket);
    return new Promise(() => {});
  };
  const prices = new Map([['hand', { input: 1, output: 2 }]]);
  const unknown = { contextWindow: undefined, licence: undefined, created: 0 };
  start({ weight: 3, model: { id: 'm', speaker: 's', backends: [new HandBackend()], prices, ...unknown } });
  start();
  await turn();
  assert.deepEqual(
    tickets.map(({ weight, prices: told }) => [weight, told]),
    [
      [3, prices],
      [undefined, undefined],
    ],
  );
});
