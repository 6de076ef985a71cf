// Guards requests of several calls: one answer with its choices numbered through, a bound on what runs at once, usage
// summed, and one failure that ends them all and frees every slot.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ManualClock } from '../../test/manual-clock.ts';
import type { Backend, CallContext } from '../core/backend.ts';
import type { ChatRequest, EventSink, TokenEvent, Usage } from '../core/chat.ts';
import { GatewayError } from '../core/errors.ts';
import { newRecord } from '../core/observer.ts';
import type { ServedModel } from '../core/world.ts';
import { Scheduler } from '../scheduling/scheduler.ts';
import { AnswerFold } from './partial.ts';
import { Pipeline } from './pipeline.ts';

interface Call {
  readonly prompt: string;
  readonly request: ChatRequest;
  readonly context: CallContext;
  readonly push: EventSink;
  readonly reject: (error: GatewayError) => void;
  /** Says its own prompt once for each choice, and ends. */
  readonly answer: (usage?: Usage) => void;
}

function setUp(slots = 8, answersSeveral = true) {
  const clock = new ManualClock();
  const scheduler = new Scheduler({ clock, maxWaitingTokens: 1_000_000, maxWaitMs: 60_000 });
  const running = new Set<Call>();
  const ids: string[] = [];
  let mostAtOnce = 0;
  const backend: Backend = {
    id: 'hand',
    answersSeveral,
    load: () => ({ state: 'ready', slots }),
    onLoadChange: () => () => {},
    async close() {},
    chat: (request, context, push) =>
      new Promise((resolve, reject) => {
        const prompt = promptOf(request);
        const answer = (usage: Usage = { promptTokens: 1, completionTokens: 10 }) => {
          push({ type: 'start', speaker: 'a model' });
          for (let choice = 0; choice < request.choices; choice++) {
            push({ type: 'text-delta', choice, text: `${prompt}.${choice}` });
            push({ type: 'choice-end', choice, reason: 'stop' });
          }
          push({ type: 'finish', usage });
          running.delete(call);
          resolve();
        };
        const fail = (error: GatewayError) => {
          running.delete(call);
          reject(error);
        };
        context.signal.addEventListener('abort', () => fail(context.signal.reason));
        const call: Call = { prompt, request, context, push, answer, reject: fail };
        running.add(call);
        ids.push(context.callId);
        mostAtOnce = Math.max(mostAtOnce, running.size);
      }),
  };
  const model: ServedModel = {
    id: 'm',
    speaker: 's',
    contextWindow: undefined,
    licence: undefined,
    created: 0,
    backends: [backend],
  };
  const pipeline = new Pipeline({ scheduler, observer: {}, clock, logBytes: 1024 * 1024 });
  const start = (
    prompts: readonly string[],
    options: { parallel: number; choices?: number; deadlineMs?: number },
  ) => {
    const record = {
      ...newRecord('request', 'test', 'someone', clock.now()),
      model: 'm',
      priority: 'batch' as const,
      streamed: true,
      admitted: true,
    };
    const calls = prompts.map((prompt) => request(prompt, options.choices ?? 1));
    const { parallel, deadlineMs } = options;
    return { ...pipeline.start({ record, model, calls, parallel, deadlineMs }), record };
  };
  const runningNow = () => [...running];
  return { clock, scheduler, start, runningNow, ids, mostAtOnce: () => mostAtOnce };
}

function request(text: string, choices: number): ChatRequest {
  return { model: 'm', prompt: { kind: 'text', text }, sampling: {}, stop: [], choices, extra: {} };
}

function promptOf({ prompt }: ChatRequest): string {
  return prompt.kind === 'text' ? prompt.text : '';
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

async function readAll(log: AsyncIterable<TokenEvent>): Promise<TokenEvent[]> {
  const events: TokenEvent[] = [];
  for await (const event of log) events.push(event);
  return events;
}

function textsOf(events: readonly TokenEvent[]): string[] {
  const fold = new AnswerFold();
  for (const event of events) fold.add(event);
  return fold.answer().choices.map(({ text }) => text);
}

test('the choices of several calls are numbered through in the order of the calls, whoever ends first', async () => {
  const { start, runningNow, ids } = setUp();
  const { log } = start(['a', 'b', 'c'], { parallel: 3, choices: 2 });
  await turn();
  for (const call of runningNow().reverse()) call.answer();
  const events = await readAll(log.read());
  assert.deepEqual(textsOf(events), ['a.0', 'a.1', 'b.0', 'b.1', 'c.0', 'c.1']);
  assert.equal(events.filter(({ type }) => type === 'start').length, 1);
  assert.equal(events.filter(({ type }) => type === 'finish').length, 1);
  assert.equal(events.at(-1)?.type, 'finish');
  assert.equal(events.filter(({ type }) => type === 'choice-end').length, 6);
  assert.equal(new Set(ids).size, 3, 'each call has an id of its own');
});

test('never more calls run at once than the request wants, and the next begins when one ends', async () => {
  const { scheduler, start, runningNow, mostAtOnce } = setUp();
  const { log } = start(['a', 'b', 'c', 'd', 'e'], { parallel: 2 });
  const reading = readAll(log.read());
  await turn();
  assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 2 });
  while (runningNow().length > 0) {
    runningNow()[0]!.answer();
    await turn();
  }
  assert.deepEqual(textsOf(await reading), ['a.0', 'b.0', 'c.0', 'd.0', 'e.0']);
  assert.equal(mostAtOnce(), 2);
});

test('usage is the sum of the calls, and unknown where one call does not know', async () => {
  const { start, runningNow } = setUp();
  const { log, record } = start(['a', 'b'], { parallel: 2 });
  await turn();
  const [a, b] = runningNow();
  a!.answer({ promptTokens: 1, completionTokens: 10, cachedTokens: 1 });
  b!.answer({ promptTokens: 2, completionTokens: 20 });
  const finish = (await readAll(log.read())).at(-1);
  const usage = {
    promptTokens: 3,
    completionTokens: 30,
    cachedTokens: undefined,
    reasoningTokens: undefined,
  };
  assert.deepEqual(finish, { type: 'finish', usage });
  assert.deepEqual(record.usage, usage);
});

test('the first failure ends them all: the siblings are aborted, those who wait never begin, all slots are free', async () => {
  const { scheduler, start, runningNow, ids } = setUp(2);
  const { log } = start(['a', 'b', 'c', 'd'], { parallel: 3 });
  await turn();
  assert.deepEqual(scheduler.snapshot(), { waiting: 1, running: 2 });
  const [a, b] = runningNow();
  b!.push({ type: 'text-delta', choice: 0, text: 'half' });
  const broken = new GatewayError('backend_failed', 'It broke.');
  a!.reject(broken);
  const seen: TokenEvent[] = [];
  const reading = async () => {
    for await (const event of log.read()) seen.push(event);
  };
  await assert.rejects(reading, (error) => error === broken);
  assert.deepEqual(seen, [{ type: 'text-delta', choice: 1, text: 'half' }], 'what was there is still read');
  await turn();
  assert.equal(b!.context.signal.aborted, true);
  assert.equal(b!.context.signal.reason, broken);
  assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 0 });
  assert.equal(ids.length, 2);
});

test('a cancel reaches every call, running or waiting', async () => {
  const { scheduler, start, runningNow } = setUp(2);
  const { cancel, log } = start(['a', 'b', 'c'], { parallel: 3 });
  await turn();
  const calls = runningNow();
  cancel(new GatewayError('cancelled', 'The client left.'));
  assert.ok(calls.length === 2 && calls.every(({ context }) => context.signal.aborted));
  await assert.rejects(readAll(log.read()), { code: 'cancelled' });
  await turn();
  assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 0 });
});

test('a back end of one choice a call answers n by n calls, each in a slot of its own, within the bound', async () => {
  const { scheduler, start, runningNow, ids, mostAtOnce } = setUp(8, false);
  const { log, record } = start(['a', 'b'], { parallel: 2, choices: 2 });
  const reading = readAll(log.read());
  await turn();
  assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 2 });
  assert.ok(runningNow().every(({ request: { choices } }) => choices === 1));
  while (runningNow().length > 0) {
    runningNow().at(-1)!.answer({ promptTokens: 4, cachedTokens: runningNow().length, completionTokens: 10 });
    await turn();
  }
  assert.deepEqual(textsOf(await reading), ['a.0', 'a.0', 'b.0', 'b.0']);
  assert.equal(new Set(ids).size, 4, 'each call has an id of its own');
  assert.equal(mostAtOnce(), 2);
  assert.deepEqual(record.usage, {
    promptTokens: 8,
    cachedTokens: 3,
    completionTokens: 40,
    reasoningTokens: undefined,
  });
});

test('a client that leaves frees the slots of all its choices', async () => {
  const { scheduler, start, runningNow } = setUp(8, false);
  const { log } = start(['a'], { parallel: 8, choices: 3 });
  await turn();
  const calls = runningNow();
  assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 3 });
  await log.read().return?.();
  await turn();
  assert.ok(calls.length === 3 && calls.every(({ context }) => context.signal.aborted));
  assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 0 });
});

test("the deadline is for the answer's first token: later calls of the array are not bound by it", async () => {
  const { clock, start, runningNow } = setUp();
  const { log } = start(['a', 'b'], { parallel: 1, deadlineMs: 100 });
  const reading = readAll(log.read());
  await turn();
  clock.advance(90);
  runningNow()[0]!.answer();
  await turn();
  clock.advance(90);
  await turn();
  runningNow()[0]?.answer();
  assert.deepEqual(textsOf(await reading), ['a.0', 'b.0']);
});

test('a call that runs beside the first to speak is not bound by the deadline any more either', async () => {
  const { clock, start, runningNow } = setUp();
  const { log } = start(['a', 'b'], { parallel: 2, deadlineMs: 100 });
  await turn();
  const [a, b] = runningNow();
  a!.answer();
  await turn();
  assert.equal(clock.pendingTimers, 1, "only b's own clock is left");
  clock.advance(1_000);
  b!.answer();
  assert.deepEqual(textsOf(await readAll(log.read())), ['a.0', 'b.0']);
});

test('whatever calls do, in whatever order, the answer has every choice once or one failure, and no slot is left', async () => {
  const plan = fc.record({
    count: fc.integer({ min: 1, max: 6 }),
    choices: fc.integer({ min: 1, max: 3 }),
    parallel: fc.integer({ min: 1, max: 8 }),
    slots: fc.integer({ min: 1, max: 4 }),
    picks: fc.array(fc.nat(7), { minLength: 6, maxLength: 6 }),
    failAt: fc.option(fc.nat(5), { nil: undefined }),
    answersSeveral: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(plan, async ({ count, choices, parallel, slots, picks, failAt, answersSeveral }) => {
      const { clock, scheduler, start, runningNow, mostAtOnce } = setUp(slots, answersSeveral);
      const calls = answersSeveral ? count : count * choices;
      const prompts = Array.from({ length: count }, (_, index) => `p${index}`);
      const { log } = start(prompts, { parallel, choices });
      let error: GatewayError | undefined;
      const reading = readAll(log.read()).catch((thrown: GatewayError) => {
        error = thrown;
        return [];
      });
      await turn();
      for (let step = 0; runningNow().length > 0; step++) {
        const running = runningNow();
        const call = running[picks[step % picks.length]! % running.length]!;
        if (step === failAt) call.reject(new GatewayError('backend_failed', 'It broke.'));
        else call.answer();
        await turn();
      }
      const events = await reading;
      if (failAt !== undefined && failAt < calls) assert.equal(error?.code, 'backend_failed');
      else {
        assert.equal(error, undefined);
        const expected = prompts.flatMap((prompt) =>
          Array.from({ length: choices }, (_, n) => `${prompt}.${answersSeveral ? n : 0}`),
        );
        assert.deepEqual(textsOf(events), expected);
        assert.equal(events.at(-1)?.type, 'finish');
      }
      assert.ok(mostAtOnce() <= Math.min(parallel, slots));
      assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 0 });
      assert.equal(clock.pendingTimers, 0);
    }),
    { numRuns: 100 },
  );
});
