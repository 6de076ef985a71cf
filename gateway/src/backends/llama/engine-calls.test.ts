// Checks engine-calls.ts and token-counter.ts with an engine that is played by the test: what is sent, what is told, what is
// lost. It must never start a process.
import assert from 'node:assert/strict';
import { mock, type TestContext, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { EngineCalls } from './engine-calls.ts';
import type { CallEvent, ToChild } from './messages.ts';
import { TokenCounter } from './token-counter.ts';

const prompt = { kind: 'text', text: 'x' } as const;

function open() {
  const sent: ToChild[] = [];
  const kills: string[] = [];
  const calls = new EngineCalls({ send: (one) => sent.push(one), kill: (reason) => kills.push(reason) });
  /** Runs a call that holds a place, and notes what it is told. */
  const run = (onEvent?: (event: CallEvent) => void) => {
    const leaving = new AbortController();
    const told: CallEvent[] = [];
    const done = calls.run({
      message: (call) => ({ type: 'count', call, prompt }),
      signal: leaving.signal,
      onEvent: (event) => {
        told.push(event);
        onEvent?.(event);
      },
      stuckAfterMs: 1_000,
    });
    done.catch(() => {});
    const call = numberOf(sent.at(-1));
    return { done, told, leaving, call };
  };
  return { calls, sent, kills, run };
}

function numberOf(message: ToChild | undefined): number {
  assert.ok(message && 'call' in message);
  return message.call;
}

const text = (call: number): CallEvent => ({ type: 'text', call, text: 'a', tokens: [1] });
const end = (call: number, promptTokens = 3): CallEvent => ({
  type: 'end',
  call,
  reason: 'stop',
  usage: { promptTokens },
});
const failed = (call: number): CallEvent => ({
  type: 'failed',
  call,
  error: { code: 'invalid_request', message: 'No.', param: 'prompt' },
});

test('each call is told its own events in order, and resolves with the usage at its end', async () => {
  const { calls, run } = open();
  const [one, two] = [run(), run()];
  assert.equal(calls.places, 2);
  for (const event of [text(two.call), text(one.call), end(two.call, 5), end(one.call, 4)]) calls.take(event);
  assert.deepEqual([await one.done, await two.done], [{ promptTokens: 4 }, { promptTokens: 5 }]);
  assert.deepEqual(one.told, [text(one.call), end(one.call, 4)]);
  assert.equal(calls.places, 0);
  calls.take(text(one.call));
  assert.equal(one.told.length, 2, 'nothing is told behind the end');
});

test('what the engine refuses is the call’s error, with its field', async () => {
  const { calls, run } = open();
  const { done, call } = run();
  calls.take(failed(call));
  await assert.rejects(done, { code: 'invalid_request', message: 'No.', param: 'prompt' });
});

test('who leaves is told nothing more, and holds a place until the engine says so', async () => {
  const { calls, sent, run } = open();
  for (const last of [end, failed]) {
    const { done, told, leaving, call } = run();
    const reason = new Error('left');
    leaving.abort(reason);
    assert.deepEqual(sent.at(-1), { type: 'cancel', call });
    calls.take(text(call));
    assert.deepEqual([told, calls.places], [[], 1]);
    calls.take(last(call));
    await assert.rejects(done, (thrown) => thrown === reason);
    assert.equal(calls.places, 0);
  }
});

test('a reader that throws ends its call with what it threw, also at the very end', async () => {
  const { calls, sent, run } = open();
  const thrown = new Error('full');
  const fail = () => {
    throw thrown;
  };
  const early = run(fail);
  calls.take(text(early.call));
  assert.deepEqual(sent.at(-1), { type: 'cancel', call: early.call });
  calls.take(end(early.call));
  const late = run(fail);
  calls.take(end(late.call));
  for (const { done } of [early, late]) await assert.rejects(done, (error) => error === thrown);
  assert.equal(calls.places, 0);
});

test('an engine that does not end a cancelled call is killed', async (t) => {
  mockTimers(t);
  const { calls, kills, run } = open();
  const { done, leaving } = run();
  const reason = new Error('left');
  leaving.abort(reason);
  mock.timers.tick(999);
  assert.deepEqual(kills, []);
  mock.timers.tick(1);
  assert.deepEqual(kills, ['it did not end a cancelled call within 1 s']);
  await assert.rejects(done, (thrown) => thrown === reason);
  assert.equal(calls.places, 0);
});

test('with the process all calls are lost, those that were left by their own reason', async () => {
  const { calls, run } = open();
  const [one, two] = [run(), run()];
  two.leaving.abort(new Error('left'));
  calls.lose('It died.');
  await assert.rejects(one.done, { code: 'backend_failed', message: 'It died.' });
  await assert.rejects(two.done, { message: 'left' });
  assert.equal(calls.places, 0);
});

function openCounter(limitMs?: number) {
  const engine = open();
  const counter = new TokenCounter(engine.calls, limitMs);
  const leaving = new AbortController();
  const count = (signal = leaving.signal) => {
    const done = counter.count(prompt, signal);
    done.catch(() => {});
    return done;
  };
  return { ...engine, count, leaving };
}

test('counts go to the engine one by one, take no place, and give what it says', async () => {
  const { calls, sent, count } = openCounter();
  const [one, two] = [count(), count()];
  await turn();
  assert.deepEqual([sent.length, calls.places], [1, 0]);
  calls.take(end(numberOf(sent[0]), 7));
  assert.equal(await one, 7);
  await turn();
  assert.equal(sent.length, 2);
  calls.take(end(numberOf(sent[1]), 8));
  assert.equal(await two, 8);
});

test('a count that is late is none, and who waits behind it is not stopped for good', async (t) => {
  // The limits' own timers keep no process alive.
  const alive = setInterval(() => {}, 1_000);
  t.after(() => clearInterval(alive));
  const { calls, sent, count } = openCounter(20);
  assert.deepEqual(await Promise.all([count(), count()]), [undefined, undefined]);
  const sentBefore = sent.length;
  const next = count();
  await turn();
  assert.equal(sent.length, sentBefore + 1);
  calls.take(end(numberOf(sent.at(-1)), 4));
  assert.equal(await next, 4);
});

test('a count is none where the engine dies, an error where the prompt is wrong, and the signal’s reason where it is left', async () => {
  const { calls, sent, count, leaving } = openCounter();
  const lost = count();
  await turn();
  calls.lose('It died.');
  assert.equal(await lost, undefined);
  const wrong = count();
  await turn();
  calls.take(failed(numberOf(sent.at(-1))));
  await assert.rejects(wrong, { code: 'invalid_request', param: 'prompt' });
  const [running, waiting] = [count(), count()];
  await turn();
  leaving.abort(new Error('left'));
  for (const one of [running, waiting]) await assert.rejects(one, { message: 'left' });
  assert.ok(!sent.some(({ type }) => type === 'cancel'), 'there is nothing to wait for');
});

function mockTimers(t: TestContext): void {
  mock.timers.enable({ apis: ['setTimeout'] });
  t.after(() => mock.timers.reset());
}
