// Guards the race of two back ends for one answer: one of them is read and never both, the other ends at once, what fails in
// it is as if it had been alone, and nobody is asked twice who need not be. Back ends and clock are moved by hand.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  chatRequest,
  END,
  finish,
  HandBackend,
  handPipeline,
  readAll,
  start,
  text,
  turn,
} from '../../test/hand-pipeline.ts';
import type { Backend } from '../core/backend.ts';
import { GatewayError } from '../core/errors.ts';
import type { Priority } from '../core/priority.ts';
import type { HedgeAfter } from './hedging.ts';

const LATE_MS = 300;

function setUp(hedgeAfter: HedgeAfter = LATE_MS, count = 2, slots = 9) {
  const backends = Array.from(
    { length: count },
    (_, index) => new HandBackend('abc'[index]!, { continues: 'text', slots }),
  );
  const [a, b, c] = backends as [HandBackend, HandBackend, HandBackend];
  return { a, b, c, ...handPipeline(backends, { pipeline: { hedgeAfter } }) };
}

test('the second back end speaks first: its answer is read, the first one is ended at once', async () => {
  const { a, b, clock, ask, told, scheduler } = setUp();
  const { log, record } = await ask();
  a.last.push(start('slow model'));
  clock.advance(LATE_MS - 1);
  assert.equal(b.calls.length, 0, 'not before it is late');
  clock.advance(1);
  b.last.push(start('fast model'));
  assert.equal(a.last.context.signal.aborted, false, 'who it is, is no word of the answer');
  b.last.push(text('fast'));
  assert.equal(a.last.context.signal.aborted, true);
  a.last.push(text('late'));
  assert.deepEqual(scheduler.snapshot().running, 2, 'a slot is held until its compute has ended');
  await turn();
  assert.equal(scheduler.snapshot().running, 1);
  b.finish(text(' enough'));
  const { words, usage, error } = await readAll({ log });
  assert.deepEqual([words, error], ['fast enough', undefined]);
  assert.deepEqual(usage, { promptTokens: 3, completionTokens: 1 }, 'of the winner only');
  assert.deepEqual([record.backend, record.speaker], ['b', 'fast model']);
  assert.deepEqual([record.hedged, record.failovers, record.continued], [1, 0, 0]);
  assert.deepEqual(told, ['started', 'hedge won']);
  assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 0 });
  assert.equal(clock.pendingTimers, 0);
});

test('the first one speaks after all: the second is ended at once, and was nothing to anybody', async () => {
  const { a, b, clock, ask, told, scheduler } = setUp();
  const { log, record } = await ask();
  clock.advance(LATE_MS);
  b.last.push(start('b'));
  a.last.push(start('a'));
  a.last.push(text('on time, nearly'));
  assert.equal(b.last.context.signal.aborted, true);
  b.last.push(text('too late'));
  a.finish();
  const { words, speaker } = await readAll({ log });
  assert.deepEqual([words, speaker, record.backend], ['on time, nearly', 'a', 'a']);
  assert.deepEqual([record.hedged, told], [1, ['started', 'hedge lost']]);
  await turn();
  assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 0 });
});

test('a back end that speaks in time is not hedged', async () => {
  const { a, b, clock, ask, told } = setUp();
  const answer = await ask();
  clock.advance(LATE_MS - 1);
  a.last.push(text('here'));
  clock.advance(10 * LATE_MS);
  a.finish();
  assert.equal((await readAll(answer)).words, 'here');
  assert.deepEqual([b.calls.length, answer.record.hedged, told], [0, 0, ['started']]);
});

test('the hedge fails: the first one goes on alone, and a failover later passes the hedge by', async () => {
  const { a, b, c, clock, ask, told } = setUp(LATE_MS, 3);
  const answer = await ask();
  clock.advance(LATE_MS);
  b.last.fail('backend_failed');
  await turn();
  a.last.fail('backend_failed');
  await turn();
  assert.deepEqual([a.calls.length, b.calls.length, c.calls.length], [1, 1, 1]);
  c.finish(text('yes'));
  const { words, error } = await readAll(answer);
  assert.deepEqual([words, error, answer.record.backend], ['yes', undefined, 'c']);
  assert.deepEqual(told, ['started', 'hedge lost', 'failed over backend_failed']);
});

test('the first one fails while the hedge runs: the hedge answers, and that is no failover', async () => {
  const { a, b, clock, ask, told, scheduler } = setUp();
  const answer = await ask();
  a.last.push(start('a'));
  clock.advance(LATE_MS);
  a.last.fail('backend_failed');
  await turn();
  assert.equal(scheduler.snapshot().running, 1, 'its slot is free at once');
  b.finish(start('b'), text('yes'));
  const { words } = await readAll(answer);
  const { record } = answer;
  assert.deepEqual([words, record.backend, record.speaker, record.failovers], ['yes', 'b', 'b', 0]);
  assert.deepEqual(told, ['started', 'hedge won']);
});

test('both fail, and a third one answers: it is who is named', async () => {
  for (const order of ['ab', 'ba']) {
    const { a, b, c, clock, ask, told } = setUp(LATE_MS, 3);
    const answer = await ask();
    clock.advance(LATE_MS);
    for (const id of order) {
      (id === 'a' ? a : b).last.fail('backend_failed');
      await turn();
    }
    c.finish(text('yes'));
    const { words } = await readAll(answer);
    assert.deepEqual([words, answer.record.backend, answer.record.failovers], ['yes', 'c', 1], order);
    assert.deepEqual(told, ['started', 'hedge lost', 'failed over backend_failed']);
  }
});

test('both fail: the first error counts, and failover goes on as ever', async () => {
  for (const order of ['ab', 'ba']) {
    const { a, b, clock, ask, scheduler } = setUp();
    const answer = await ask();
    clock.advance(LATE_MS);
    for (const id of order) {
      (id === 'a' ? a : b).last.fail('backend_failed');
      await turn();
    }
    const { error } = await readAll(answer);
    assert.deepEqual([error?.code, error?.message], ['backend_failed', `${order[0]} failed.`]);
    assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 0 });
  }
});

test('the winner breaks in the middle: the answer goes on elsewhere, also where the race was lost', async () => {
  const { a, b, clock, ask, told } = setUp();
  const answer = await ask();
  clock.advance(LATE_MS);
  b.last.push(text('One '));
  await turn();
  b.last.fail('backend_failed');
  await turn();
  assert.equal(a.calls.length, 2);
  assert.equal(a.last.request.continueFrom?.choices[0]?.text, 'One ');
  a.finish(text('two'));
  const { words } = await readAll(answer);
  assert.deepEqual([words, answer.record.continued], ['One two', 1]);
  assert.deepEqual(told, ['started', 'hedge won', 'continued text']);
});

test('an answer without a word decides the race too', async () => {
  const { a, b, clock, ask } = setUp();
  const answer = await ask();
  clock.advance(LATE_MS);
  b.finish();
  const { words, error } = await readAll(answer);
  assert.deepEqual([words, error, a.last.context.signal.aborted], ['', undefined, true]);
});

test('a client that leaves ends both', async () => {
  const { a, b, clock, ask, scheduler } = setUp();
  const { cancel } = await ask();
  clock.advance(LATE_MS);
  cancel(new GatewayError('cancelled', 'The client left.'));
  await turn();
  assert.deepEqual(
    [a, b].map(({ last }) => last.context.signal.aborted),
    [true, true],
  );
  assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 0 });
});

test('both are held to the deadline of the first word, and it is not renewed', async () => {
  const { b, clock, ask } = setUp();
  const answer = await ask({ job: { deadlineMs: 1_000 } });
  clock.advance(LATE_MS);
  assert.equal(b.last.context.origin?.deadlineMs, 1_000 - LATE_MS);
  clock.advance(1_000 - LATE_MS);
  assert.equal((await readAll(answer)).error?.code, 'deadline_exceeded');
  assert.equal(clock.pendingTimers, 0);
});

test('nobody is asked twice for what need not be in time, or must not be asked elsewhere', async () => {
  for (const [why, ask] of [
    ['batch work', { priority: 'batch' }],
    ['an answer as one object', { request: { isWhole: true } }],
    ['no failover', { job: { failover: false } }],
  ] as const) {
    const { a, b, clock, ask: send } = setUp();
    const answer = await send(ask);
    clock.advance(10 * LATE_MS);
    assert.deepEqual([a.calls.length, b.calls.length], [1, 0], why);
    answer.cancel(new GatewayError('cancelled', 'The test is over.'));
  }
});

test('what goes on in the middle is not hedged', async () => {
  const { a, b, c, clock, ask } = setUp(LATE_MS, 3);
  const answer = await ask();
  a.last.push(text('One '));
  a.last.fail('backend_failed');
  await turn();
  clock.advance(10 * LATE_MS);
  assert.deepEqual([a.calls.length, b.calls.length, c.calls.length], [1, 1, 0]);
  answer.cancel(new GatewayError('cancelled', 'The test is over.'));
});

test('where no other back end is free, the first one is waited for, and looked at again after as long', async () => {
  const { a, b, clock, ask } = setUp(LATE_MS, 2, 1);
  const first = await ask();
  const second = await ask();
  assert.deepEqual([a.calls.length, b.calls.length], [1, 1]);
  b.last.push(text('b'));
  clock.advance(LATE_MS);
  assert.deepEqual([a.calls.length, b.calls.length], [1, 1]);
  b.finish();
  assert.equal((await readAll(second)).words, 'b');
  clock.advance(LATE_MS - 1);
  assert.equal(b.calls.length, 1);
  clock.advance(1);
  assert.equal(b.calls.length, 2);
  b.finish(text('b for a'));
  assert.equal((await readAll(first)).words, 'b for a');
  assert.equal(clock.pendingTimers, 0);
});

test('a back end that answers before anybody can wait for it is not waited for', async () => {
  const b = new HandBackend('b');
  const at = { id: 'at once', load: b.load.bind(b), onLoadChange: () => () => {}, async close() {} };
  const chat: Backend['chat'] = async (_request, _context, push) => {
    for (const event of [text('here'), END, finish(1, 1)]) push(event);
  };
  const { ask, clock } = handPipeline([{ ...at, chat }, b], { pipeline: { hedgeAfter: LATE_MS } });
  assert.equal((await readAll(await ask())).words, 'here');
  assert.equal(clock.pendingTimers, 0);
});

test('hedges are one at first, and then one for twenty calls', async () => {
  const { a, b, clock, ask } = setUp();
  for (let call = 1; call <= 100; call += 1) {
    const answer = await ask();
    clock.advance(LATE_MS);
    a.finish(text('late'));
    await readAll(answer);
    assert.ok(b.calls.length <= 1 + call / 20, `${b.calls.length} hedges for ${call} calls`);
  }
  assert.equal(b.calls.length, 6);
});

test("auto: late is what is later than 95 of 100 of that back end's own first words", async () => {
  const { a, b, clock, ask } = setUp('auto');
  const answerIn = async (ms: number) => {
    const answer = await ask();
    clock.advance(ms);
    a.finish(text('x'));
    await readAll(answer);
    return answer.record.hedged > 0;
  };
  assert.equal(await answerIn(60_000), false, 'nothing is known yet');
  for (let call = 0; call < 300; call += 1) await answerIn(99 - (call % 100));
  b.calls.length = 0;
  // While there are hedges enough, not much later than that.
  assert.deepEqual([await answerIn(90), await answerIn(110)], [false, true]);
  let hedges = 0;
  while (hedges < 20 && (await answerIn(140))) hedges += 1;
  assert.ok(hedges > 2 && hedges < 10, `${hedges} hedges`);
  assert.equal(await answerIn(2 * 99), true, 'some are left for what is later still');
  assert.equal(b.calls.length, hedges + 2);
});

test('auto: who lost a race was late too, or the limit would creep down with every hedge', async () => {
  const { a, b, clock, ask } = setUp('auto');
  const answerIn = async (ms: number, priority: Priority = 'interactive') => {
    const answer = await ask({ priority });
    clock.advance(ms);
    const isHedged = answer.record.hedged > 0;
    (isHedged ? b : a).finish(text('x'));
    await readAll(answer);
    return isHedged;
  };
  for (let call = 0; call < 40; call += 1) await answerIn(10);
  for (let late = 0; late < 32; late += 1) {
    // They pay for the hedge, and are not looked at.
    for (let call = 0; call < 20; call += 1) await answerIn(0, 'batch');
    assert.equal(await answerIn(30), true);
  }
  assert.equal(await answerIn(25), false, 'where 32 of 72 were later than that');
});

test('whoever speaks or fails when, the client reads one of the two answers whole, once, or one error', async () => {
  const step = fc.record({
    who: fc.constantFrom('a', 'b'),
    what: fc.constantFrom('start', 'word', 'end', 'fail', 'wait'),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 14 }), async (steps) => {
      const { a, b, clock, ask, scheduler, told } = setUp();
      const answer = await ask();
      const reading = readAll(answer);
      const over = new Set<HandBackend>();
      for (const { who, what } of steps) {
        const backend = who === 'a' ? a : b;
        if (what === 'wait') clock.advance(LATE_MS / 2);
        else if (backend.calls.length > 0 && !over.has(backend)) {
          const { push, end, fail } = backend.calls[0]!;
          if (what === 'start') push(start(who));
          if (what === 'word') push(text(who));
          if (what === 'end') for (const event of [END, finish(1, 1)]) push(event);
          if (what === 'end') end();
          if (what === 'fail') fail('backend_refused');
          if (what === 'end' || what === 'fail') over.add(backend);
        }
        await turn();
      }
      for (const backend of [a, b]) for (const call of backend.calls) call.fail('backend_refused');
      const { words, error, usage } = await reading;
      assert.match(words, /^(a*|b*)$/, 'never both');
      assert.equal((error === undefined) === (usage !== undefined), true);
      await turn();
      assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 0 });
      assert.equal(clock.pendingTimers, 0);
      assert.equal(told.filter((line) => line.startsWith('hedge')).length, answer.record.hedged);
    }),
    { numRuns: 300 },
  );
});

test('a request of several prompts may be hedged in each of them', async () => {
  const { a, b, clock, ask } = setUp();
  const calls = [chatRequest(), chatRequest()];
  const answer = await ask({ job: { calls, parallel: 2 } });
  a.calls[0]!.push(text('first'));
  clock.advance(LATE_MS);
  assert.equal(b.calls.length, 1);
  b.finish(text('second'));
  for (const event of [END, finish(1, 1)]) a.calls[0]!.push(event);
  a.calls[0]!.end();
  const { events, error } = await readAll(answer);
  assert.equal(error, undefined);
  assert.deepEqual(
    events.flatMap((event) => (event.type === 'text-delta' ? [[event.choice, event.text]] : [])),
    [
      [0, 'first'],
      [1, 'second'],
    ],
  );
});
