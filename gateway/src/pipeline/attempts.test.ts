// Guards what becomes of an answer whose back end is lost in the middle: it goes on where it stood, nothing twice and
// nothing lost, its client before those who wait; and where it cannot go on, it fails honestly. All is moved by hand.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../test/manual-clock.ts';
import type { Backend, BackendLoad, CallContext } from '../core/backend.ts';
import type { ChatRequest, EventSink, TokenEvent } from '../core/chat.ts';
import { GatewayError } from '../core/errors.ts';
import { newRecord } from '../core/observer.ts';
import type { ServedModel } from '../core/world.ts';
import { Scheduler } from '../scheduling/scheduler.ts';
import { Pipeline } from './pipeline.ts';

interface Call {
  readonly request: ChatRequest;
  readonly context: CallContext;
  readonly push: EventSink;
  readonly end: () => void;
}

/** Dies and comes back as it is told; its calls are moved by the test. */
class MortalBackend implements Backend {
  readonly id = 'mortal';
  readonly continues: 'ids' | undefined;
  readonly calls: Call[] = [];
  readonly #running = new Set<(error: GatewayError) => void>();
  readonly #listeners = new Set<() => void>();
  #state: BackendLoad['state'] = 'ready';

  constructor(continues: 'ids' | undefined) {
    this.continues = continues;
  }

  chat(request: ChatRequest, context: CallContext, push: EventSink): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#running.add(reject);
      context.signal.addEventListener('abort', () => reject(context.signal.reason));
      this.calls.push({ request, context, push, end: resolve });
    });
  }

  load(): BackendLoad {
    return { state: this.#state, slots: this.#state === 'ready' ? 1 : 0, reason: 'it is away' };
  }

  onLoadChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close() {}

  become(state: BackendLoad['state']): void {
    this.#state = state;
    for (const listener of this.#listeners) listener();
    if (state === 'ready') return;
    for (const reject of this.#running) reject(new GatewayError('backend_failed', 'The engine died.'));
    this.#running.clear();
  }
}

const START: TokenEvent = { type: 'start', speaker: 'a model' };
const END: TokenEvent = { type: 'choice-end', choice: 0, reason: 'stop' };
const FINISH: TokenEvent = { type: 'finish', usage: { promptTokens: 3, completionTokens: 4 } };
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

function text(words: string, ...tokens: number[]): TokenEvent {
  return { type: 'text-delta', choice: 0, text: words, tokens };
}

function setUp({ continues }: { continues: boolean } = { continues: true }) {
  const clock = new ManualClock(5_000);
  const backend = new MortalBackend(continues ? 'ids' : undefined);
  const scheduler = new Scheduler({ clock, maxWaitingTokens: 100_000, maxWaitMs: 60_000 });
  const kinds: string[] = [];
  const observer = { continued: (_record: unknown, kind: string) => void kinds.push(kind) };
  const pipeline = new Pipeline({ scheduler, observer, clock, logBytes: 1024 * 1024 });
  const unknown = { contextWindow: undefined, licence: undefined, created: 0 };
  const model: ServedModel = { id: 'm', speaker: 's', backends: [backend], ...unknown };
  const start = (id: string, { deadlineMs, failover }: { deadlineMs?: number; failover?: boolean } = {}) => {
    const record = newRecord(id, 'test', 'someone', clock.now());
    const prompt = { kind: 'text', text: id } as const;
    const request: ChatRequest = { model: 'm', prompt, sampling: {}, stop: [], choices: 1, extra: {} };
    const answer = pipeline.start({ record, model, calls: [request], parallel: 1, deadlineMs, failover });
    return { ...answer, record };
  };
  return { clock, backend, scheduler, start, kinds };
}

async function readAll(log: { read(): AsyncIterable<TokenEvent> }) {
  let words = '';
  try {
    for await (const event of log.read()) if (event.type === 'text-delta') words += event.text;
  } catch (error) {
    return { words, error: error as GatewayError };
  }
  return { words, error: undefined };
}

test('an answer that lost its engine goes on from its tokens, nothing twice and nothing lost', async () => {
  const { backend, start, scheduler, kinds } = setUp();
  const { log, record } = start('a');
  await turn();
  const [first] = backend.calls;
  for (const event of [START, text('one ', 1), text('two ', 2, 3)]) first!.push(event);
  backend.become('loading');
  await turn();
  assert.deepEqual(scheduler.snapshot(), { waiting: 1, running: 0 });
  backend.become('ready');
  await turn();
  const second = backend.calls[1]!;
  assert.deepEqual(second.request.continueFrom?.choices[0]?.tokens, [1, 2, 3]);
  assert.equal(second.request.continueFrom?.choices[0]?.text, 'one two ');
  for (const event of [START, text('three', 4), END, FINISH]) second.push(event);
  second.end();
  assert.deepEqual(await readAll(log), { words: 'one two three', error: undefined });
  assert.equal(record.continued, 1);
  assert.deepEqual(record.usage, { promptTokens: 3, completionTokens: 4 });
  assert.deepEqual(kinds, ['ids']);
});

test('what had not spoken is computed anew, and that is no continuation', async () => {
  const { backend, start } = setUp();
  const { log, record } = start('a');
  await turn();
  backend.become('loading');
  await turn();
  backend.become('ready');
  await turn();
  const { request, push, end } = backend.calls[1]!;
  assert.equal(request.continueFrom, undefined);
  for (const event of [START, text('one', 1), END, FINISH]) push(event);
  end();
  assert.deepEqual(await readAll(log), { words: 'one', error: undefined });
  assert.deepEqual([record.continued, record.failovers], [0, 1]);
});

test('who goes on goes before those who wait', async () => {
  const { backend, start } = setUp();
  const first = start('first');
  await turn();
  start('waits').log.read();
  await turn();
  backend.calls[0]!.push(START);
  backend.calls[0]!.push(text('half ', 1));
  backend.become('loading');
  await turn();
  backend.become('ready');
  await turn();
  assert.deepEqual(
    backend.calls.map(({ request }) => request.prompt),
    ['first', 'first'].map((id) => ({ kind: 'text', text: id })),
  );
  first.cancel(new GatewayError('cancelled', 'The test is over.'));
});

test('a prompt that kills every engine is given up', async () => {
  const { backend, start, scheduler } = setUp();
  const { log } = start('poison');
  const reading = readAll(log);
  await turn();
  for (let life = 1; backend.calls.length === life && life < 10; life++) {
    backend.calls.at(-1)!.push(text('x', life));
    backend.become('loading');
    await turn();
    backend.become('ready');
    await turn();
  }
  assert.equal(backend.calls.length, 4);
  const { words, error } = await reading;
  assert.equal(words, 'xxxx');
  assert.equal(error?.code, 'backend_failed');
  assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 0 });
});

test('a back end that cannot go on, and a client that does not want it: an honest error', async () => {
  const silent = setUp({ continues: false });
  const one = silent.start('a');
  await turn();
  silent.backend.calls[0]!.push(text('half', 1));
  silent.backend.become('loading');
  assert.equal((await readAll(one.log)).error?.message, 'The engine died.');

  const unwilling = setUp();
  const three = unwilling.start('a', { failover: false });
  await turn();
  unwilling.backend.calls[0]!.push(text('half', 1));
  unwilling.backend.become('loading');
  assert.equal((await readAll(three.log)).error?.message, 'The engine died.');
});

test('where a delta came without its tokens, the engine goes on with the text', async () => {
  const { backend, start, kinds } = setUp();
  const { cancel } = start('a');
  await turn();
  backend.calls[0]!.push(text('one ', 1));
  backend.calls[0]!.push({ type: 'text-delta', choice: 0, text: 'two ' });
  backend.become('loading');
  await turn();
  backend.become('ready');
  await turn();
  const choice = backend.calls[1]!.request.continueFrom?.choices[0];
  assert.deepEqual([choice?.text, choice?.tokens, choice?.pieces], ['one two ', undefined, 2]);
  assert.deepEqual(kinds, ['text']);
  cancel(new GatewayError('cancelled', 'The test is over.'));
});

test('an engine that does not come back in time, or ever, is an error that says so', async () => {
  for (const end of ['late', 'failed'] as const) {
    const { backend, clock, start } = setUp();
    const { log } = start('a', { deadlineMs: 2_000 });
    await turn();
    backend.calls[0]!.push(START);
    backend.calls[0]!.push(text('half ', 1));
    clock.advance(10_000);
    backend.become('loading');
    await turn();
    if (end === 'late') clock.advance(2_000);
    else backend.become('failed');
    const { words, error } = await readAll(log);
    assert.equal(words, 'half ');
    assert.equal(error?.code, 'backend_failed');
    assert.match(error?.message ?? '', /^The engine died\. The answer could not go on: /);
    assert.equal(clock.pendingTimers, 0);
  }
});

test('a resumed attempt owes its next word within the deadline', async () => {
  const { backend, clock, start } = setUp();
  const { log } = start('a', { deadlineMs: 2_000 });
  await turn();
  backend.calls[0]!.push(text('half ', 1));
  backend.become('loading');
  await turn();
  backend.become('ready');
  await turn();
  clock.advance(2_000);
  const { error } = await readAll(log);
  assert.equal(error?.code, 'deadline_exceeded');
});

test('a client that leaves while its answer waits to go on waits no more', async () => {
  const { backend, start, scheduler } = setUp();
  const { log, cancel } = start('a');
  await turn();
  backend.calls[0]!.push(text('half ', 1));
  backend.become('loading');
  await turn();
  cancel(new GatewayError('cancelled', 'The client left.'));
  await turn();
  assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 0 });
  assert.equal((await readAll(log)).error?.code, 'cancelled');
});
