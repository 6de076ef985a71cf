// Guards what becomes of a call whose slot is taken back for a more urgent one: nobody has failed, its client sees a pause and
// no more, and it goes on in its own class from what was given. Back ends, slots and clock are moved by hand.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { HandBackend, handPipeline, readAll, start, text, turn } from '../../test/hand-pipeline.ts';
import { FakeBackend } from '../backends/fake.ts';

function setUp(count = 1) {
  const backends = Array.from(
    { length: count },
    (_, index) => new HandBackend('abc'[index]!, { continues: 'ids' }),
  );
  const [a, b] = backends as [HandBackend, HandBackend];
  return { a, b, ...handPipeline(backends) };
}

test('it goes on from the tokens that were given, nothing twice and nothing lost', async () => {
  const { a, ask, scheduler, told } = setUp();
  const answer = await ask({ priority: 'batch' });
  for (const event of [start('engine'), text('one ', 1), text('two ', 2, 3)]) a.last.push(event);
  scheduler.preempt();
  await turn();
  assert.equal(a.calls.length, 2);
  const choice = a.last.request.continueFrom?.choices[0];
  assert.deepEqual([choice?.text, choice?.tokens], ['one two ', [1, 2, 3]]);
  a.finish(start('engine'), text('three', 4));
  const { words, error, usage, events } = await readAll(answer);
  assert.deepEqual([words, error], ['one two three', undefined]);
  assert.deepEqual(
    usage,
    { promptTokens: 3, completionTokens: 2 },
    "the last attempt's, which counts by tokens",
  );
  assert.equal(events.filter(({ type }) => type === 'start').length, 1);
  const { preempted, continued, failovers } = answer.record;
  assert.deepEqual([preempted, continued, failovers], [1, 0, 0]);
  assert.deepEqual(told, ['started', 'preempted']);
  assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 0 });
});

test('it waits in its own class, as who was admitted already, and owes its first word to nobody once that was given', async () => {
  const { a, ask, scheduler, clock } = setUp();
  const answer = await ask({ priority: 'batch', job: { deadlineMs: 1_000 } });
  a.last.push(text('one ', 1));
  scheduler.preempt();
  await turn();
  const { priority, resumes, wasPreempted, deadlineAt } = scheduler.tickets.at(-1)!;
  assert.deepEqual([priority, resumes, wasPreempted, deadlineAt], ['batch', false, true, undefined]);
  clock.advance(60_000);
  a.finish(text('two', 2));
  assert.deepEqual((await readAll(answer)).words, 'one two');
});

test('what has said nothing begins anew, and its first word is due when it was', async () => {
  const { a, ask, scheduler, told, clock } = setUp();
  const answer = await ask({ priority: 'batch', job: { deadlineMs: 1_000 } });
  const dueAt = clock.now() + 1_000;
  a.last.push(start('engine'));
  clock.advance(400);
  scheduler.preempt();
  await turn();
  assert.equal(a.last.request.continueFrom, undefined);
  assert.equal(scheduler.tickets.at(-1)?.deadlineAt, dueAt);
  a.finish(start('engine'), text('one', 1));
  const { words } = await readAll(answer);
  assert.deepEqual([words, answer.record.failovers, told], ['one', 0, ['started', 'preempted']]);
});

test('slots taken back use up no attempt', async () => {
  const { a, ask, scheduler } = setUp();
  const answer = await ask({ priority: 'batch' });
  for (let time = 1; time <= 9; time += 1) {
    a.last.push(text(`${time} `, time));
    scheduler.preempt();
    await turn();
  }
  a.finish(text('end', 10));
  const { words, error } = await readAll(answer);
  assert.deepEqual([words, error], ['1 2 3 4 5 6 7 8 9 end', undefined]);
  assert.equal(answer.record.preempted, 9);
});

test('a client that wants no failover is paused all the same, and not cut', async () => {
  const { a, ask, scheduler } = setUp();
  const answer = await ask({ priority: 'batch', job: { failover: false } });
  a.last.push(text('one ', 1));
  scheduler.preempt();
  await turn();
  a.finish(text('two', 2));
  assert.equal((await readAll(answer)).words, 'one two');
});

test('a back end that is lost afterwards is a loss like any other', async () => {
  const { a, b, ask, scheduler, told } = setUp(2);
  const answer = await ask({ priority: 'batch' });
  a.last.push(text('one ', 1));
  scheduler.preempt();
  await turn();
  a.last.push(text('two ', 2));
  a.last.fail('backend_timeout');
  await turn();
  assert.equal(b.last.request.continueFrom?.choices[0]?.text, 'one two ');
  assert.equal(scheduler.tickets.at(-1)?.resumes, true);
  b.finish(text('three', 3));
  assert.equal((await readAll(answer)).words, 'one two three');
  assert.deepEqual(told, ['started', 'preempted', 'continued text']);
});

test('a loss before it counts once', async () => {
  const { a, b, ask, scheduler, told } = setUp(2);
  const answer = await ask({ priority: 'batch' });
  a.last.push(text('one ', 1));
  a.last.fail('backend_timeout');
  await turn();
  b.last.push(text('two ', 2));
  scheduler.preempt();
  await turn();
  b.finish(text('three', 3));
  assert.equal((await readAll(answer)).words, 'one two three');
  assert.deepEqual([answer.record.continued, answer.record.preempted], [1, 1]);
  assert.deepEqual(told, ['started', 'continued text', 'preempted']);
});

test('where no slot comes back in time, the error says so', async () => {
  const engine = new HandBackend('engine', { continues: 'ids', slots: 1 });
  const { ask, scheduler, clock } = handPipeline([engine]);
  const answer = await ask({ priority: 'batch' });
  engine.last.push(text('one ', 1));
  const urgent = await ask({ id: 'urgent' });
  await turn();
  assert.deepEqual([engine.calls.length, urgent.record.queueMs], [2, 0], 'the urgent one runs');
  assert.deepEqual(scheduler.snapshot(), { waiting: 1, running: 1 });
  clock.advance(60_000);
  const { words, error } = await readAll(answer);
  assert.deepEqual([words, error?.code], ['one ', 'queue_timeout']);
  assert.match(error?.message ?? '', /^A more urgent call took the slot\. The answer could not go on: /);
});

test('a back end that goes on from text does so here too, to the letter', async () => {
  const pieces = ['One ', 'two, ', '三 ', 'four 😀', ' five.'];
  const fakes = ['a', 'b'].map((id) => new FakeBackend({ id, slots: 1, pieces, firstPieceMs: 1, stepMs: 2 }));
  const { ask, scheduler } = handPipeline(fakes);
  const answer = await ask({ priority: 'batch' });
  let words = '';
  for await (const event of answer.log.read()) {
    if (event.type !== 'text-delta') continue;
    words += event.text;
    if (answer.record.preempted < 2) scheduler.preempt();
  }
  assert.deepEqual([words, answer.record.preempted], [pieces.join(''), 2]);
  await Promise.all(fakes.map((fake) => fake.close()));
});

test('a client that leaves while its call waits to go on waits no more', async () => {
  const { a, ask, scheduler } = setUp();
  const { log } = await ask({ priority: 'batch' });
  a.last.push(text('one ', 1));
  scheduler.preempt();
  await log.read().return?.();
  await turn();
  assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 0 });
});

test('wherever an answer is interrupted, and however often, its client reads it whole and once', async () => {
  const script = fc.array(fc.string({ unit: 'grapheme', maxLength: 4 }), { maxLength: 12 });
  const turns = fc.array(fc.nat(4), { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(script, turns, async (words, lengths) => {
      const { a, ask, scheduler } = setUp();
      const answer = await ask({ priority: 'batch' });
      /** Says so many tokens, from where the call stands. */
      const say = (count: number) => {
        const begun = a.last.request.continueFrom?.choices[0]?.tokens ?? [];
        assert.deepEqual(begun, [...begun.keys()]);
        for (let at = begun.length; at < Math.min(words.length, begun.length + count); at += 1) {
          a.last.push(text(words[at]!, at));
        }
      };
      for (const length of lengths) {
        say(length);
        scheduler.preempt();
        await turn();
      }
      say(words.length);
      a.finish();
      const read = await readAll(answer);
      assert.deepEqual([read.words, read.error], [words.join(''), undefined]);
      assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 0 });
    }),
    { numRuns: 200 },
  );
});
