// Guards what becomes of calls whose back end fails where there are others: before the first word another one answers, and
// after it another one goes on, nothing twice and nothing lost; where that cannot be, the client gets the error that was
// real. Back ends and clock are moved by hand.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ManualClock } from '../../test/manual-clock.ts';
import type { Backend, BackendLoad, CallContext } from '../core/backend.ts';
import type { ChatRequest, EventSink, PartialAnswer, TokenEvent } from '../core/chat.ts';
import { type ErrorCode, GatewayError, type GatewayErrorOptions } from '../core/errors.ts';
import { newRecord } from '../core/observer.ts';
import type { ServedModel } from '../core/world.ts';
import { Scheduler } from '../scheduling/scheduler.ts';
import { AnswerFold } from './partial.ts';
import { type Job, Pipeline } from './pipeline.ts';

interface Call {
  readonly request: ChatRequest;
  readonly context: CallContext;
  readonly push: EventSink;
  readonly end: () => void;
  readonly fail: (code: ErrorCode, options?: GatewayErrorOptions) => void;
}

/** Hands its calls to the test. */
class HandBackend implements Backend {
  readonly id: string;
  readonly continues: 'ids' | 'text' | undefined;
  readonly continuesForm: boolean;
  readonly continuesThought: boolean;
  readonly calls: Call[] = [];
  state: BackendLoad['state'] = 'ready';
  readonly #listeners = new Set<() => void>();

  constructor(id: string, can: Partial<Backend> = {}) {
    this.id = id;
    this.continues = can.continues;
    this.continuesForm = can.continuesForm ?? false;
    this.continuesThought = can.continuesThought ?? false;
  }

  chat(request: ChatRequest, context: CallContext, push: EventSink): Promise<void> {
    return new Promise((resolve, reject) => {
      context.signal.addEventListener('abort', () => reject(context.signal.reason));
      const fail = (code: ErrorCode, options?: GatewayErrorOptions) =>
        reject(new GatewayError(code, `${this.id} failed.`, options));
      this.calls.push({ request, context, push, end: resolve, fail });
    });
  }

  load(): BackendLoad {
    return { state: this.state, slots: this.state === 'ready' ? 9 : 0, reason: `${this.id} is away.` };
  }

  onLoadChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  become(state: BackendLoad['state']): void {
    this.state = state;
    for (const listener of this.#listeners) listener();
  }

  async close() {}

  get last(): Call {
    return this.calls.at(-1) ?? assert.fail(`${this.id} was not asked`);
  }
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
const text = (words: string, tokens?: number[]): TokenEvent => ({
  type: 'text-delta',
  choice: 0,
  text: words,
  ...(tokens && { tokens }),
});
const thought = (words: string): TokenEvent => ({ type: 'reasoning-delta', choice: 0, text: words });
const start = (speaker: string): TokenEvent => ({ type: 'start', speaker });
const END: TokenEvent = { type: 'choice-end', choice: 0, reason: 'stop' };
const finish = (promptTokens: number, completionTokens: number): TokenEvent => ({
  type: 'finish',
  usage: { promptTokens, completionTokens },
});

function request(rest: Partial<ChatRequest> = {}): ChatRequest {
  const prompt = { kind: 'text', text: 'hello' } as const;
  return { model: 'm', prompt, sampling: {}, stop: [], choices: 1, extra: {}, ...rest };
}

function begunByClient(words: string): PartialAnswer {
  const choice = { text: words, reasoning: '', toolCalls: [], pieces: 0, reason: undefined };
  return { speaker: undefined, choices: [choice], usage: undefined };
}

interface SetUp {
  readonly continuation?: boolean;
  readonly names?: ReadonlyMap<string, string>;
}

function setUp(backends: readonly Backend[], { continuation, names }: SetUp = {}) {
  const clock = new ManualClock(5_000);
  const scheduler = new Scheduler({ clock, maxWaitingTokens: 100_000, maxWaitMs: 60_000 });
  const told: string[] = [];
  const observer = {
    continued: (_record: unknown, kind: string) => void told.push(kind),
    failedOver: (_record: unknown, code: string) => void told.push(code),
  };
  const pipeline = new Pipeline({
    scheduler,
    observer,
    clock,
    logBytes: 1024 * 1024,
    continuation,
    instanceId: 'here',
  });
  const unknown = { contextWindow: undefined, licence: undefined, created: 0 };
  const model: ServedModel = { id: 'm', speaker: 's', backends, names, ...unknown };
  /** Starts a request and waits until a back end has it. */
  const ask = async (asked: Partial<ChatRequest> = {}, rest: Partial<Job> = {}) => {
    const record = newRecord('request', 'test', 'someone', clock.now());
    const calls = [request(asked)];
    const answer = pipeline.start({ record, model, calls, parallel: 1, deadlineMs: undefined, ...rest });
    await turn();
    return { ...answer, record };
  };
  return { clock, scheduler, told, ask };
}

async function readAll(log: AsyncIterable<TokenEvent>) {
  const fold = new AnswerFold();
  let starts = 0;
  let error: GatewayError | undefined;
  try {
    for await (const event of log) {
      if (event.type === 'start') starts += 1;
      fold.add(event);
    }
  } catch (thrown) {
    error = thrown as GatewayError;
  }
  const { choices, usage } = fold.answer();
  const { text: words = '', reasoning = '' } = choices[0] ?? {};
  return { words, reasoning, usage, starts, error };
}

/** The back end says the rest, and ends. */
function finishOn(backend: HandBackend, events: readonly TokenEvent[], usage = finish(3, 1)): void {
  for (const event of [...events, END, usage]) backend.last.push(event);
  backend.last.end();
}

for (const code of ['backend_failed', 'backend_busy', 'backend_timeout', 'loop_detected'] as const) {
  test(`${code} before the first word: another back end answers, and the client sees nothing of it`, async () => {
    const [a, b] = [new HandBackend('a'), new HandBackend('b')];
    const { ask, told, scheduler } = setUp([a, b]);
    const { log, record } = await ask();
    a.last.push(start('who said nothing'));
    a.last.fail(code);
    await turn();
    finishOn(b, [start('who spoke'), text('hi')]);
    const read = await readAll(log.read());
    assert.deepEqual([read.words, read.error, read.starts], ['hi', undefined, 1]);
    assert.deepEqual(told, [code]);
    assert.deepEqual(
      [record.backend, record.speaker, record.failovers, record.continued],
      ['b', 'who spoke', 1, 0],
    );
    assert.equal(b.last.request.continueFrom, undefined);
    assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 0 });
  });
}

test('what would fail the same way everywhere is not tried again', async () => {
  for (const code of [
    'backend_refused',
    'invalid_request',
    'context_length_exceeded',
    'rate_limited',
    'not_ready',
    'internal',
  ] as const) {
    const [a, b] = [new HandBackend('a'), new HandBackend('b')];
    const { ask } = setUp([a, b]);
    const { log } = await ask();
    a.last.fail(code, { status: 422, param: 'temperature' });
    const { error } = await readAll(log.read());
    assert.deepEqual([error?.code, error?.status, error?.param], [code, 422, 'temperature']);
    assert.equal(b.calls.length, 0, code);
  }
});

test('when no other is left the client gets the last real error, with what it says, and the one before as its cause', async () => {
  const [a, b] = [new HandBackend('a'), new HandBackend('b')];
  const { ask } = setUp([a, b]);
  const { log } = await ask();
  a.last.fail('backend_failed');
  await turn();
  const wire = { type: 'rate_limit_error', code: 'rate_limit_exceeded' };
  b.last.fail('backend_busy', { status: 429, retryAfterMs: 7_000, wire });
  const { error } = await readAll(log.read());
  assert.deepEqual(
    [error?.message, error?.status, error?.retryAfterMs, error?.wire],
    ['b failed.', 429, 7_000, wire],
  );
  assert.ok(error?.cause instanceof GatewayError);
  assert.equal(error.cause.message, 'a failed.');
});

test('an error with a cause of its own keeps it', async () => {
  const [a, b] = [new HandBackend('a'), new HandBackend('b')];
  const { ask } = setUp([a, b]);
  const { log } = await ask();
  a.last.fail('backend_failed');
  await turn();
  const cause = new Error('ECONNRESET');
  b.last.fail('backend_failed', { cause });
  assert.equal((await readAll(log.read())).error?.cause, cause);
});

test("where the others cannot take the call, the client gets its back end's error and not the scheduler's", async () => {
  for (const state of ['down', 'busy', 'failed'] as const) {
    const [a, b] = [new HandBackend('a'), new HandBackend('b')];
    const { ask } = setUp([a, b]);
    b.become(state);
    const { log } = await ask();
    a.last.fail('backend_failed');
    const { error } = await readAll(log.read());
    assert.deepEqual([error?.code, error?.message], ['backend_failed', 'a failed.']);
  }
});

test('a client that wants no failover gets the first error; one that only goes on nowhere is still failed over', async () => {
  const unwilling = [new HandBackend('a'), new HandBackend('b')] as const;
  const one = await setUp(unwilling).ask({}, { failover: false });
  unwilling[0].last.fail('backend_failed');
  assert.equal((await readAll(one.log.read())).error?.message, 'a failed.');
  assert.equal(unwilling[1].calls.length, 0);

  const [a, b] = [new HandBackend('a', { continues: 'text' }), new HandBackend('b', { continues: 'text' })];
  const { ask } = setUp([a, b], { continuation: false });
  const two = await ask();
  a.last.fail('backend_failed');
  await turn();
  b.last.push(text('half'));
  a.calls.length = 0;
  b.last.fail('backend_failed');
  const { words, error } = await readAll(two.log.read());
  assert.deepEqual([words, error?.message, a.calls.length], ['half', 'b failed.', 0]);
});

test('attempts after busy and slow back ends are paid from one budget; broken connections cost nothing', async () => {
  const [a, b] = [new HandBackend('a'), new HandBackend('b')];
  const { ask } = setUp([a, b]);
  for (let call = 0; call < 12; call++) {
    const { log } = await ask();
    a.last.fail(call % 2 ? 'backend_busy' : 'backend_timeout');
    await turn();
    // Each call earns a tenth, so the burst of ten lasts for eleven attempts and not for twelve.
    assert.equal(b.calls.length, Math.min(call + 1, 11), `call ${call}`);
    if (call < 11) finishOn(b, [text('x')]);
    await readAll(log.read());
  }
  const { log } = await ask();
  a.last.fail('backend_failed');
  await turn();
  assert.equal(b.calls.length, 12);
  finishOn(b, [text('x')]);
  assert.equal((await readAll(log.read())).error, undefined);
});

test('no call makes more than four attempts, and none twice on one back end', async () => {
  const backends = Array.from({ length: 6 }, (_, index) => new HandBackend(`b${index}`));
  const { ask, scheduler } = setUp(backends);
  const { log, record } = await ask();
  for (const backend of backends.slice(0, 4)) {
    assert.equal(backend.calls.length, 1);
    backend.last.fail('backend_failed');
    await turn();
  }
  assert.equal((await readAll(log.read())).error?.message, 'b3 failed.');
  assert.equal(backends[4]!.calls.length, 0);
  assert.equal(record.failovers, 3);
  assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 0 });
});

test('the promise of the first word is not renewed by a failover', async () => {
  const [a, b] = [new HandBackend('a'), new HandBackend('b')];
  const { ask, clock } = setUp([a, b]);
  const { log } = await ask({}, { deadlineMs: 1_000 });
  clock.advance(600);
  a.last.fail('backend_failed');
  await turn();
  assert.equal(b.last.context.origin?.deadlineMs, 400);
  clock.advance(400);
  assert.equal((await readAll(log.read())).error?.code, 'deadline_exceeded');
  assert.equal(clock.pendingTimers, 0);
});

for (const code of ['backend_failed', 'backend_busy', 'backend_timeout', 'loop_detected'] as const) {
  test(`${code} in the middle: another back end goes on with the text`, async () => {
    const [a, b] = [new HandBackend('a', { continues: 'text' }), new HandBackend('b', { continues: 'text' })];
    const { ask, told, scheduler } = setUp([a, b]);
    const { log, record } = await ask({ maxTokens: 9 });
    for (const event of [start('first'), text('One'), text(' two')]) a.last.push(event);
    a.last.fail(code);
    await turn();
    const { continueFrom, maxTokens } = b.last.request;
    const choice = continueFrom?.choices[0];
    assert.deepEqual([choice?.text, choice?.pieces, maxTokens], ['One two', 2, 9]);
    finishOn(b, [start('second'), text(' three')], finish(12, 1));
    const read = await readAll(log.read());
    assert.deepEqual([read.words, read.error, read.starts], ['One two three', undefined, 1]);
    assert.deepEqual(told, ['text']);
    assert.deepEqual([record.continued, record.failovers, record.backend], [1, 0, 'b']);
    const { promptTokens, completionTokens } = read.usage ?? {};
    assert.deepEqual([promptTokens, completionTokens], [10, 3]);
    assert.equal(a.calls.length, 1);
    assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 0 });
  });
}

test('what cannot be gone on with elsewhere is an honest error, at once', async () => {
  for (const code of ['backend_refused', 'internal', 'rate_limited'] as const) {
    const [a, b] = [new HandBackend('a', { continues: 'text' }), new HandBackend('b', { continues: 'text' })];
    const { log } = await setUp([a, b]).ask();
    a.last.push(text('half'));
    a.last.fail(code);
    const { words, error } = await readAll(log.read());
    assert.deepEqual([words, error?.code, b.calls.length], ['half', code, 0]);
  }
  const [a, b] = [new HandBackend('a', { continues: 'text' }), new HandBackend('b')];
  const { log } = await setUp([a, b]).ask();
  a.last.push(text('half'));
  a.last.fail('backend_failed');
  assert.equal((await readAll(log.read())).error?.message, 'a failed.', 'b cannot go on');
});

test('who could go on but cannot be reached is told of in the error', async () => {
  const [a, b] = [new HandBackend('a', { continues: 'text' }), new HandBackend('b', { continues: 'text' })];
  b.become('down');
  const { log } = await setUp([a, b]).ask();
  a.last.push(text('half'));
  a.last.fail('backend_timeout');
  const { error } = await readAll(log.read());
  assert.equal(error?.code, 'backend_timeout');
  assert.equal(error?.message, 'a failed. The answer could not go on: b is away.');
});

test("an engine's tokens are given to no other engine, and are not mixed with another's", async () => {
  const [a, b] = [new HandBackend('a', { continues: 'ids' }), new HandBackend('b', { continues: 'ids' })];
  const { ask, told } = setUp([a, b]);
  const { log } = await ask();
  a.last.push(text('one ', [1]));
  a.become('loading');
  a.last.fail('backend_failed');
  await turn();
  const choice = () => b.last.request.continueFrom?.choices[0];
  assert.deepEqual([choice()?.text, choice()?.tokens], ['one ', undefined]);
  b.last.push(text('two ', [2]));
  b.last.fail('backend_failed');
  await turn();
  assert.equal(b.calls.length, 2, 'it may be the same one again');
  assert.deepEqual([choice()?.text, choice()?.tokens], ['one two ', undefined]);
  finishOn(b, [text('three', [3])]);
  assert.equal((await readAll(log.read())).words, 'one two three');
  assert.deepEqual(told, ['text', 'text']);
});

test('a lost thought goes on where one can, and else is thought again unseen', async () => {
  const able = new HandBackend('able', { continues: 'text', continuesThought: true });
  const a = new HandBackend('a', { continues: 'text' });
  const one = setUp([a, able]);
  const first = await one.ask();
  a.last.push(thought('I th'));
  a.last.fail('backend_failed');
  await turn();
  assert.equal(able.last.request.continueFrom?.choices[0]?.reasoning, 'I th');
  finishOn(able, [thought('ink.'), text('Yes')]);
  const went = await readAll(first.log.read());
  assert.deepEqual([went.reasoning, went.words, one.told], ['I think.', 'Yes', ['text']]);

  const [b, plain] = [new HandBackend('b'), new HandBackend('plain')];
  const two = setUp([b, plain]);
  const second = await two.ask();
  b.last.push(thought('I th'));
  b.last.fail('backend_failed');
  await turn();
  assert.equal(plain.last.request.continueFrom, undefined);
  finishOn(plain, [thought('Let me'), thought(' see.'), text('Yes')], finish(5, 3));
  const again = await readAll(second.log.read());
  assert.deepEqual([again.reasoning, again.words, two.told], ['I th', 'Yes', ['rethink']]);
  assert.deepEqual([again.usage?.promptTokens, again.usage?.completionTokens], [5, 4]);
});

test('a thought that is lost again while it is thought again is thought once more', async () => {
  const [a, b, c] = [new HandBackend('a'), new HandBackend('b'), new HandBackend('c')];
  const { ask, told } = setUp([a, b, c]);
  const { log } = await ask();
  a.last.push(thought('I th'));
  a.last.fail('backend_failed');
  await turn();
  b.last.push(thought('unseen'));
  b.last.fail('backend_failed');
  await turn();
  finishOn(c, [thought('unseen'), text('Yes')]);
  const { reasoning, words } = await readAll(log.read());
  assert.deepEqual([reasoning, words, told], ['I th', 'Yes', ['rethink', 'rethink']]);
});

test('an answer that has begun a tool call ends honestly; one that has not goes on', async () => {
  const call: TokenEvent = {
    type: 'tool-call-delta',
    choice: 0,
    index: 0,
    id: 'c',
    name: 'f',
    arguments: '',
  };
  for (const hasBegun of [true, false]) {
    const [a, b] = [new HandBackend('a', { continues: 'text' }), new HandBackend('b', { continues: 'text' })];
    const { log } = await setUp([a, b]).ask();
    a.last.push(text('Let me look. '));
    if (hasBegun) a.last.push(call);
    a.last.fail('backend_failed');
    await turn();
    assert.equal(b.calls.length, hasBegun ? 0 : 1);
    if (!hasBegun) finishOn(b, [call]);
    assert.equal((await readAll(log.read())).error?.message, hasBegun ? 'a failed.' : undefined);
  }
});

test('a form is gone on with only where it is kept to, and probabilities only by tokens', async () => {
  const form = { responseFormat: { kind: 'json', original: {} } } as const;
  for (const [asked, expected] of [
    [form, 'keeps'],
    [{ logprobs: 0 }, undefined],
  ] as const) {
    const [a, b] = [new HandBackend('a', { continues: 'text' }), new HandBackend('b', { continues: 'text' })];
    const keeps = new HandBackend('keeps', { continues: 'text', continuesForm: true });
    const { log } = await setUp([a, b, keeps]).ask(asked);
    a.last.push(text('{'));
    a.last.fail('backend_failed');
    await turn();
    assert.equal(b.calls.length, 0);
    assert.equal(keeps.calls.length, expected ? 1 : 0);
    if (expected) finishOn(keeps, [text('}')]);
    const { words } = await readAll(log.read());
    assert.equal(words, expected ? '{}' : '{');
  }
});

test('an answer that ended, but for its last word to us, is not gone on with', async () => {
  const [a, b] = [new HandBackend('a', { continues: 'text' }), new HandBackend('b', { continues: 'text' })];
  const { log } = await setUp([a, b]).ask();
  for (const event of [text('all'), END]) a.last.push(event);
  a.last.end();
  assert.match((await readAll(log.read())).error?.message ?? '', /ended its answer in the middle/);
  assert.equal(b.calls.length, 0);
});

test("a client's own beginning goes to who can go on with it, and is never sent back", async () => {
  const plain = new HandBackend('plain');
  const [a, b] = [new HandBackend('a', { continues: 'text' }), new HandBackend('b', { continues: 'text' })];
  const { ask, told } = setUp([plain, a, b]);
  const continueFrom = begunByClient('Once ');
  const { log } = await ask({ continueFrom });
  assert.equal(a.last.request.continueFrom, continueFrom);
  a.last.push(text('upon '));
  a.last.fail('backend_failed');
  await turn();
  const choice = b.last.request.continueFrom?.choices[0];
  assert.deepEqual([choice?.text, choice?.pieces], ['Once upon ', 1]);
  finishOn(b, [text('a time')], finish(20, 2));
  const { words, usage } = await readAll(log.read());
  assert.equal(words, 'upon a time');
  assert.deepEqual([usage?.promptTokens, usage?.completionTokens], [19, 3]);
  assert.deepEqual([plain.calls.length, told], [0, ['text']]);
});

test("a client's own beginning that nobody can go on with is refused", async () => {
  const plain = new HandBackend('plain');
  const { log } = await setUp([plain]).ask({ continueFrom: begunByClient('Once ') });
  const { error } = await readAll(log.read());
  assert.deepEqual([error?.code, error?.param, plain.calls.length], ['invalid_request', 'messages', 0]);
});

test('each back end is asked by the name that it has for the model, and told where the call comes from', async () => {
  const [a, b] = [new HandBackend('a', { continues: 'text' }), new HandBackend('b', { continues: 'text' })];
  const { ask } = setUp([a, b], { names: new Map([['b', 'their/model']]) });
  const { cancel } = await ask({}, { hops: ['before'], deadlineMs: 2_000, session: 'talk-1' });
  assert.equal(a.last.request.model, 'm');
  assert.deepEqual(a.last.context.origin, {
    requestId: 'request',
    priority: 'standard',
    deadlineMs: 2_000,
    hops: ['before', 'here'],
    session: 'talk-1',
  });
  a.last.push(text('half'));
  a.last.fail('backend_failed');
  await turn();
  assert.equal(b.last.request.model, 'their/model');
  cancel(new GatewayError('cancelled', 'The test is over.'));
});

test('who failed before is asked again once another one has come further, and only where nobody else is left', async () => {
  const backends = ['a', 'b', 'c'].map((id) => new HandBackend(id, { continues: 'text' }));
  const [a, b, c] = backends as [HandBackend, HandBackend, HandBackend];
  const { ask, told } = setUp(backends);
  const { log } = await ask();
  a.last.push(text('one '));
  a.last.fail('backend_failed');
  await turn();
  b.last.push(text('two '));
  c.become('down');
  b.last.fail('backend_failed');
  await turn();
  assert.deepEqual([a.calls.length, b.calls.length, c.calls.length], [2, 1, 0]);
  assert.equal(a.last.request.continueFrom?.choices[0]?.text, 'one two ');
  // It says nothing new: neither it nor those before it are worth another try.
  a.last.fail('backend_failed');
  const { words, error } = await readAll(log.read());
  assert.equal(words, 'one two ');
  assert.match(error?.message ?? '', /^a failed\. The answer could not go on: c is away/);
  assert.deepEqual([a.calls.length, b.calls.length], [2, 1]);
  assert.deepEqual(told, ['text', 'text']);
});

test('two that lose an answer in turn are asked in turn, four times at the most', async () => {
  const backends = ['a', 'b'].map((id) => new HandBackend(id, { continues: 'text' }));
  const { ask } = setUp(backends);
  const { log } = await ask();
  for (const backend of [...backends, ...backends]) {
    backend.last.push(text('x'));
    backend.last.fail('backend_failed');
    await turn();
  }
  const { words, error } = await readAll(log.read());
  assert.deepEqual([words, error?.message], ['xxxx', 'b failed.']);
  assert.deepEqual(
    backends.map(({ calls }) => calls.length),
    [2, 2],
  );
});

test("a sibling's failure is nobody's reason to try again", async () => {
  const [a, b] = [new HandBackend('a'), new HandBackend('b')];
  b.become('down');
  const { ask, scheduler } = setUp([a, b]);
  const { log } = await ask({}, { calls: [request(), request()], parallel: 2 });
  a.calls[1]!.context.signal.addEventListener('abort', () => b.become('ready'));
  a.calls[0]!.fail('backend_failed');
  assert.equal((await readAll(log.read())).error?.code, 'backend_failed');
  await turn();
  assert.deepEqual([a.calls.length, b.calls.length], [2, 0]);
  assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 0 });
});

/** Says a script, goes on with any beginning of it, and breaks as it is told to. */
function scripted(
  id: string,
  script: string,
  life: { pieces: number; length: number; code: ErrorCode },
): Backend {
  return {
    id,
    continues: 'text',
    load: () => ({ state: 'ready', slots: 1 }),
    onLoadChange: () => () => {},
    async close() {},
    async chat({ continueFrom }, _context, push) {
      const begun = continueFrom?.choices[0]?.text ?? '';
      assert.ok(script.startsWith(begun));
      push(start(id));
      let at = begun.length;
      for (let piece = 0; at < script.length; piece += 1) {
        await Promise.resolve();
        if (piece === life.pieces) throw new GatewayError(life.code, `${id} broke.`);
        push(text(script.slice(at, at + life.length)));
        at += life.length;
      }
      push(END);
      push(finish(1, 1));
    },
  };
}

test('wherever back ends break and whatever pieces they speak in, the client reads the whole, once', async () => {
  const life = fc.record({
    pieces: fc.nat(6),
    length: fc.integer({ min: 1, max: 5 }),
    code: fc.constantFrom('backend_failed' as const, 'backend_timeout' as const, 'backend_busy' as const),
  });
  const script = fc.string({ unit: 'grapheme', maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(script, fc.array(life, { maxLength: 3 }), async (words, lives) => {
      const lasting = { pieces: Number.POSITIVE_INFINITY, length: 3, code: 'internal' } as const;
      const backends = [...lives, lasting].map((one, index) => scripted(`b${index}`, words, one));
      const { ask, scheduler } = setUp(backends);
      const { log } = await ask();
      const read = await readAll(log.read());
      assert.deepEqual([read.words, read.error, read.starts], [words, undefined, 1]);
      assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 0 });
    }),
    { numRuns: 200 },
  );
});
