// Guards answers that are computed once for several: each reads the whole, from its beginning, as if it had been alone; none
// sees another's; and what was not whole is neither joined nor kept. Back ends and clock are moved by hand.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type Ask,
  finish,
  HandBackend,
  handPipeline,
  readAll,
  start,
  text,
  turn,
} from '../../test/hand-pipeline.ts';
import type { ChatRequest } from '../core/chat.ts';
import { GatewayError } from '../core/errors.ts';
import type { ServedModel } from '../core/world.ts';
import type { PipelineOptions } from './pipeline.ts';

const GREEDY = { sampling: { temperature: 0 } } as const;
const CACHE = { answerCache: { ttlMs: 1_000, maxBytes: 100_000 } };
const left = () => new GatewayError('cancelled', 'The client left.');

function setUp(model: Partial<ServedModel> = { coalesces: true }, pipeline: Partial<PipelineOptions> = {}) {
  const a = new HandBackend('a', { continues: 'text', slots: 99 });
  const b = new HandBackend('b', { continues: 'text' });
  const hand = handPipeline([a, b], { model, pipeline });
  const ask = (rest: Ask = {}, request: Partial<ChatRequest> = {}) =>
    hand.ask({ ...rest, request: { ...GREEDY, ...request } });
  return { ...hand, a, b, ask };
}

test('two identical requests are computed once, and each reads all of it', async () => {
  const { a, ask, scheduler, told } = setUp();
  const first = await ask({ id: 'first' });
  a.last.push(start('a model'));
  a.last.push(text('one ', 1));
  a.last.push(text('two ', 2));
  const second = await ask({ id: 'second' });
  a.finish(text('three', 3));
  const [one, two] = [await readAll(first), await readAll(second)];
  assert.equal(a.calls.length, 1);
  assert.deepEqual([one.words, two.words], ['one two three', 'one two three']);
  assert.deepEqual(
    two.events.map(({ type }) => type),
    ['start', 'text-delta', 'text-delta', 'choice-end', 'finish'],
    'what was there when it came, at once',
  );
  assert.deepEqual([one.usage, two.usage, one.usage?.promptTokens], [two.usage, one.usage, 3]);
  const { record } = second;
  assert.deepEqual([record.backend, record.speaker, record.queueMs], ['a', 'a model', undefined]);
  assert.deepEqual([first.record.backend, first.record.speaker, first.record.queueMs], ['a', 'a model', 0]);
  assert.deepEqual([first.record.degraded, record.degraded], [[], ['coalesced']]);
  assert.equal(record.usage?.completionTokens, 1);
  assert.deepEqual(told, ['started'], 'there was one wait for a slot');
  assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 0 });
});

test('whoever comes before the first word waits for it with the others', async () => {
  const { a, ask, clock } = setUp();
  const answers = [await ask(), await ask(), await ask()];
  clock.advance(70);
  a.finish(start('a model'), text('one'));
  for (const answer of answers) assert.equal((await readAll(answer)).words, 'one');
  assert.deepEqual(
    answers.map(({ record }) => record.firstTokenMs),
    [70, 70, 70],
  );
});

test('what differs in anything, or is promised something else, is computed for itself', async () => {
  const { a, ask } = setUp();
  const prompt = (words: string) => ({ prompt: { kind: 'text', text: words } }) as const;
  await ask({}, prompt('hello'));
  await ask({}, prompt('hellp'));
  await ask({ tenant: 'another' }, prompt('hello'));
  await ask({ priority: 'batch' }, prompt('hello'));
  await ask({ job: { deadlineMs: 9_000 } }, prompt('hello'));
  await ask({ job: { failover: false } }, prompt('hello'));
  await ask({ job: { mayShare: false } }, prompt('hello'));
  await ask({}, { ...prompt('hello'), isWhole: true });
  await ask({}, { ...prompt('hello'), sampling: { temperature: 0.6, seed: 1 } });
  await ask({}, { ...prompt('hello'), sampling: { temperature: 0.6, seed: 1 } });
  assert.equal(a.calls.length, 10);
  await ask({}, prompt('hello'));
  assert.equal(a.calls.length, 10);
});

test('without the opt-in nothing is shared', async () => {
  const { a, ask } = setUp({});
  await ask();
  await ask();
  assert.equal(a.calls.length, 2);
});

test('the first client leaves, and the answer goes on for those who read along', async () => {
  const { a, ask, scheduler } = setUp();
  const first = await ask();
  a.last.push(text('one '));
  const second = await ask();
  first.cancel(left());
  await turn();
  assert.equal(a.last.context.signal.aborted, false);
  assert.equal((await readAll(first)).error?.code, 'cancelled');
  const third = await ask();
  a.finish(text('two'));
  assert.deepEqual([(await readAll(second)).words, (await readAll(third)).words], ['one two', 'one two']);
  assert.equal(a.calls.length, 1);
  assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 0 });
});

test('the compute ends with its last reader, and who comes then begins anew', async () => {
  const { a, ask, scheduler } = setUp();
  const first = await ask();
  const second = await ask();
  a.last.push(text('one '));
  second.cancel(left());
  first.cancel(left());
  assert.equal(a.last.context.signal.aborted, true);
  const third = await ask();
  assert.equal(a.calls.length, 2);
  a.finish(text('anew'));
  assert.equal((await readAll(third)).words, 'anew');
  assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 0 });
});

test('while it waits for a slot, too, it waits for whoever is left', async () => {
  const engine = new HandBackend('one slot', { slots: 1 });
  const { ask, scheduler } = handPipeline([engine], { model: { coalesces: true } });
  const running = await ask();
  const first = await ask({ request: GREEDY });
  const second = await ask({ request: GREEDY });
  assert.deepEqual(scheduler.snapshot(), { waiting: 1, running: 1 });
  first.cancel(left());
  await turn();
  assert.equal(scheduler.snapshot().waiting, 1);
  second.cancel(left());
  await turn();
  assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 1 });
  running.cancel(left());
});

test('a slow reader loses itself only', async () => {
  const { a, ask } = setUp({ coalesces: true }, { logBytes: 1_000 });
  const quick = await ask();
  const slow = await ask();
  const reading = readAll(quick);
  for (let piece = 0; piece < 40; piece += 1) {
    a.last.push(text('x'.repeat(20)));
    await turn();
  }
  a.finish();
  const read = await reading;
  assert.deepEqual([read.words.length, read.error], [800, undefined]);
  assert.equal((await readAll(slow)).error?.code, 'slow_reader');
});

test('what came so far must fit the log of who comes later: else it is computed for that one', async () => {
  const { a, ask } = setUp({ coalesces: true }, { logBytes: 2_000 });
  const first = await ask();
  const reading = readAll(first);
  for (let piece = 0; piece < 40; piece += 1) {
    a.last.push(text('x'.repeat(20)));
    await turn();
  }
  const second = await ask();
  assert.equal(a.calls.length, 2);
  a.finish(text('for itself'));
  assert.equal((await readAll(second)).words, 'for itself');
  first.cancel(left());
  await reading;
});

test('a compute that fails before its first word fails for all: each of them would fail the same way', async () => {
  const { a, b, ask, scheduler } = setUp();
  const answers = [await ask(), await ask()];
  a.last.fail('backend_failed');
  await turn();
  b.last.fail('backend_failed');
  for (const answer of answers) assert.equal((await readAll(answer)).error?.message, 'b failed.');
  for (const { record } of answers) assert.equal(record.failovers, 1);
  assert.deepEqual([a.calls.length, b.calls.length], [1, 1]);
  assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 0 });
});

test('one that fails in the middle for good: who read along tries itself, from where it stands', async () => {
  const { a, b, ask } = setUp();
  const first = await ask();
  const second = await ask();
  // Four attempts in turn, and no more.
  for (const backend of [a, b, a, b]) {
    backend.last.push(text('x'));
    backend.last.fail('backend_failed');
    await turn();
  }
  const failed = await readAll(first);
  assert.deepEqual([failed.words, failed.error?.message], ['xxxx', 'b failed.']);
  const retried = [a, b].find(({ calls }) => calls.length === 3);
  assert.equal(retried?.last.request.continueFrom?.choices[0]?.text, 'xxxx');
  retried?.finish(text(' and the rest'));
  const { words, error } = await readAll(second);
  assert.deepEqual([words, error], ['xxxx and the rest', undefined]);
});

test('what would fail the same way everywhere, nobody tries itself', async () => {
  const { a, b, ask } = setUp();
  const answers = [await ask(), await ask()];
  a.last.push(text('half'));
  a.last.fail('backend_refused');
  for (const answer of answers) {
    const { words, error } = await readAll(answer);
    assert.deepEqual([words, error?.code], ['half', 'backend_refused']);
  }
  assert.deepEqual([a.calls.length, b.calls.length], [1, 0]);
});

test('of an answer in several calls no part comes from elsewhere: its head could not tell which', async () => {
  const { a, ask } = setUp({ coalesces: true, ...CACHE });
  const kept = await ask();
  a.finish(text('kept'));
  await readAll(kept);
  const running = await ask({}, { maxTokens: 9 });
  for (const request of [{ choices: 3 }, { choices: 2, maxTokens: 9 }]) {
    const before = a.calls.length;
    const several = await ask({}, request);
    for (let choice = 0; choice < request.choices; choice += 1) {
      a.finish(text('own'));
      await turn();
    }
    assert.equal((await readAll(several)).words, 'own');
    assert.deepEqual([a.calls.length - before, several.record.degraded], [request.choices, []]);
  }
  running.cancel(left());
  await readAll(running);
});

test('several answers in one call are kept and shared as one', async () => {
  const a = Object.assign(new HandBackend('a'), { answersSeveral: true });
  const { ask } = handPipeline([a], { model: CACHE });
  const again = () => ask({ request: { ...GREEDY, choices: 2 } });
  const first = await again();
  a.finish(text('one'));
  await readAll(first);
  const second = await again();
  assert.equal((await readAll(second)).words, 'one');
  assert.deepEqual([a.calls.length, second.record.degraded], [1, ['cache']]);
});

test('whoever comes and leaves when, each reads a beginning of the answer, and who stays reads all of it', async () => {
  const step = fc.oneof(
    { weight: 3, arbitrary: fc.constant('say') },
    { weight: 2, arbitrary: fc.constant('come') },
    { weight: 1, arbitrary: fc.constant('leave') },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const { a, ask, scheduler } = setUp();
      const here: Awaited<ReturnType<typeof ask>>[] = [];
      const gone: typeof here = [];
      const said = new Map<object, string>();
      for (const [index, what] of steps.entries()) {
        const running = here.length > 0 ? a.last : undefined;
        if (what === 'say' && running) {
          running.push(text(`${index} `));
          said.set(running, `${said.get(running) ?? ''}${index} `);
        } else if (what === 'come') here.push(await ask());
        else if (what === 'leave' && here.length > 0) {
          const [leaves] = here.splice(index % here.length, 1);
          leaves!.cancel(left());
          gone.push(leaves!);
        }
      }
      await turn();
      assert.equal(scheduler.snapshot().running, here.length > 0 ? 1 : 0);
      if (here.length > 0) a.finish();
      for (const answer of here) {
        const { words, error } = await readAll(answer);
        assert.deepEqual([words, error], [said.get(a.last) ?? '', undefined]);
      }
      for (const answer of gone) assert.equal((await readAll(answer)).error?.code, 'cancelled');
      assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 0 });
    }),
    { numRuns: 200 },
  );
});

test('a kept answer is given again without a slot, with the usage that it had, all of its prompt cached', async () => {
  const { a, ask, told, scheduler } = setUp(CACHE);
  const first = await ask();
  a.last.push(start('a model'));
  a.finish(text('one '), text('two'));
  await readAll(first);
  const second = await ask();
  const { words, usage, speaker, error } = await readAll(second);
  assert.deepEqual([words, speaker, error, a.calls.length], ['one two', 'a model', undefined, 1]);
  assert.deepEqual(usage, { promptTokens: 3, cachedTokens: 3, completionTokens: 2 });
  const { record } = second;
  assert.deepEqual([record.degraded, record.backend, record.queueMs], [['cache'], 'a', undefined]);
  assert.deepEqual([record.usage, first.record.degraded, told], [usage, [], ['started']]);
  assert.equal(scheduler.tickets.length, 1);
  const whole = await readAll(await ask({}, { isWhole: true }));
  assert.equal(whole.words, 'one two', 'in whatever form it is asked for');
});

test('nothing is kept for another tenant, another prompt, later than its time, or of who does not want it', async () => {
  const { a, ask, clock } = setUp(CACHE);
  const answered = async (...asked: Parameters<typeof ask>) => {
    const before = a.calls.length;
    const answer = await ask(...asked);
    if (a.calls.length > before) a.finish(text('x'));
    await readAll(answer);
    return a.calls.length > before ? 'computed' : 'kept';
  };
  assert.equal(await answered({ job: { mayShare: false } }), 'computed');
  assert.equal(await answered(), 'computed', 'the one before wanted nothing kept');
  assert.equal(await answered(), 'kept');
  assert.equal(await answered({ job: { mayShare: false } }), 'computed', 'this one wants none that was');
  assert.equal(await answered({ job: { mayDegrade: false } }), 'computed', 'nor does this one');
  assert.equal(await answered({ tenant: 'another' }), 'computed');
  assert.equal(await answered({}, { prompt: { kind: 'text', text: 'hellp' } }), 'computed');
  assert.equal(await answered({ priority: 'batch', job: { deadlineMs: 5 } }), 'kept', 'it takes no time');
  clock.advance(1_001);
  assert.equal(await answered(), 'computed');
});

test('what failed, was left, was filtered or went on elsewhere is not kept', async () => {
  const { a, b, ask } = setUp(CACHE);
  const failed = await ask();
  a.last.push(text('half'));
  a.last.fail('backend_refused');
  assert.equal((await readAll(failed)).error?.code, 'backend_refused');
  const abandoned = await ask();
  a.last.push(text('half'));
  abandoned.cancel(left());
  const filtered = await ask();
  a.last.push(text('half'));
  a.last.push({ type: 'choice-end', choice: 0, reason: 'content_filter' });
  a.last.push(finish(1, 1));
  a.last.end();
  await readAll(filtered);
  const continued = await ask();
  a.last.push(text('half'));
  a.last.fail('backend_failed');
  await turn();
  b.finish(text(' and half'));
  assert.equal((await readAll(continued)).words, 'half and half');
  assert.equal(a.calls.length, 4);
  await ask();
  assert.equal(a.calls.length, 5);
});

test('an answer that is larger than the log is given as it is read', async () => {
  const { a, ask } = setUp(CACHE, { logBytes: 10_000 });
  const first = await ask();
  const reading = readAll(first);
  for (let piece = 0; piece < 400; piece += 1) {
    a.last.push(text('x'.repeat(100)));
    await turn();
  }
  a.finish();
  await reading;
  const { words, error, events } = await readAll(await ask());
  assert.deepEqual([words.length, error, a.calls.length], [40_000, undefined, 1]);
  assert.ok(events.length < 20, 'in few pieces');
  const leaves = await ask();
  const reader = leaves.log.read();
  await reader.next();
  await reader.return?.();
  await turn();
  assert.equal(leaves.record.usage, undefined);
});

test('with a new picture of the model nothing is left of the old one', async () => {
  const { a, ask, model } = setUp({ ...CACHE, coalesces: true });
  const first = await ask();
  a.finish(text('x'));
  await readAll(first);
  await ask({ job: { model: { ...model } } });
  assert.equal(a.calls.length, 2);
});

test('a first word that is late is hedged for all who wait for it', async () => {
  const { a, b, ask, clock, told } = setUp({ coalesces: true }, { hedgeAfter: 300 });
  const answers = [await ask(), await ask()];
  a.last.push(start('slow'));
  clock.advance(300);
  b.last.push(start('fast'));
  b.finish(text('x'));
  for (const answer of answers) {
    const { words } = await readAll(answer);
    const { backend, speaker, hedged } = answer.record;
    assert.deepEqual([words, backend, speaker, hedged], ['x', 'b', 'fast', 1]);
  }
  assert.deepEqual(told, ['started', 'hedge won']);
});
