// Guards the scripted back end, on which tests and demos stand: its script, its faults, and that it keeps a real back
// end's contract when it is aborted, killed or closed. Its timer is moved by hand.
import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import type { ChatRequest, TokenEvent } from '../core/chat.ts';
import { GatewayError } from '../core/errors.ts';
import type { StepCurve } from '../core/step-curve.ts';
import { FakeBackend, type FakeOptions } from './fake.ts';

const STEP_MS = 10;

/** A back end whose steps come only by `step`, and calls that note what they get. */
function setUp(options: Partial<FakeOptions> = {}) {
  let now = 1_000;
  mock.reset();
  mock.timers.reset();
  mock.timers.enable({ apis: ['setInterval', 'setTimeout'] });
  mock.method(performance, 'now', () => now);
  const backend = new FakeBackend({
    id: 'fake',
    slots: 2,
    pieces: ['a', 'b', 'c'],
    firstPieceMs: 0,
    stepMs: STEP_MS,
    ...options,
  });
  const step = (times = 1) => {
    for (let i = 0; i < times; i++) {
      now += STEP_MS;
      mock.timers.tick(STEP_MS);
    }
  };
  const call = (rest: Partial<ChatRequest> = {}, sink?: (event: TokenEvent) => void) => {
    const events: TokenEvent[] = [];
    const abort = new AbortController();
    const note = sink ?? ((event: TokenEvent) => events.push(event));
    const prompt = { kind: 'text', text: 'hello' } as const;
    const request = { model: 'm', prompt, sampling: {}, stop: [], choices: 1, extra: {}, ...rest };
    const done = backend.chat(request, { callId: 'call', tenant: 'someone', signal: abort.signal }, note);
    done.catch(() => {});
    return { events, done, abort };
  };
  return { backend, step, call };
}

const words = (events: readonly TokenEvent[]) =>
  events.map((event) => ('text' in event ? event.text : event.type)).join(' ');

test('an answer is the script, a piece a step, in the order of the contract', async () => {
  const { backend, step, call } = setUp({ reasoning: ['hm'] });
  const { events, done } = call();
  assert.deepEqual(events, [], 'nothing comes before the first step');
  step();
  assert.equal(words(events), 'start hm');
  step(4);
  await done;
  assert.deepEqual(events, [
    { type: 'start', speaker: 'fake' },
    { type: 'reasoning-delta', choice: 0, text: 'hm' },
    { type: 'text-delta', choice: 0, text: 'a' },
    { type: 'text-delta', choice: 0, text: 'b' },
    { type: 'text-delta', choice: 0, text: 'c' },
    { type: 'choice-end', choice: 0, reason: 'stop' },
    { type: 'finish', usage: { promptTokens: 1, completionTokens: 4 } },
  ]);
  assert.equal(backend.piecesMade, 4);
});

test('the first piece comes no sooner than it was told', () => {
  const { step, call } = setUp({ firstPieceMs: 5 * STEP_MS });
  const { events } = call();
  step(4);
  assert.deepEqual(events, []);
  step();
  assert.equal(words(events), 'start a');
});

test('max_tokens cuts the answer and says so', async () => {
  const { step, call } = setUp();
  const { events, done } = call({ maxTokens: 2 });
  step(3);
  await done;
  assert.equal(words(events), 'start a b choice-end finish');
  assert.deepEqual(events.at(-2), { type: 'choice-end', choice: 0, reason: 'length' });
});

test('one step gives every running call its next piece', () => {
  const { step, call } = setUp();
  const [first, second] = [call(), call()];
  step(2);
  assert.equal(words(first.events), 'start a b');
  assert.equal(words(second.events), 'start a b');
});

test('it breaks and falls silent where it was told to', async () => {
  const breaking = setUp({ failAfterPieces: 1 });
  const broken = breaking.call();
  breaking.step(2);
  await assert.rejects(broken.done, { code: 'backend_failed' });
  assert.equal(words(broken.events), 'start a');

  const stalling = setUp({ stallAfterPieces: 1 });
  const stalled = stalling.call();
  stalling.step(50);
  assert.equal(words(stalled.events), 'start a');
  const reason = new GatewayError('cancelled', 'The client left.');
  stalled.abort.abort(reason);
  await assert.rejects(stalled.done, (error) => error === reason);
});

test('an abort ends the call at once with its reason, and no piece is made for it any more', async () => {
  const { backend, step, call } = setUp();
  const { events, done, abort } = call();
  step();
  const reason = new GatewayError('cancelled', 'The client left.');
  abort.abort(reason);
  await assert.rejects(done, (error) => error === reason);
  step(5);
  assert.equal(words(events), 'start a');
  assert.equal(backend.piecesMade, 1);
});

test('a call that is aborted before it begins is not begun', async () => {
  const { backend, step, call } = setUp();
  const reason = new GatewayError('cancelled', 'The client left.');
  const signal = AbortSignal.abort(reason);
  const prompt = { kind: 'text', text: '' } as const;
  const request: ChatRequest = { model: 'm', prompt, sampling: {}, stop: [], choices: 1, extra: {} };
  const done = backend.chat(request, { callId: 'call', tenant: 't', signal }, () => assert.fail('pushed'));
  await assert.rejects(done, (error) => error === reason);
  step(2);
  assert.doesNotThrow(() => call());
});

test('what the sink throws ends that call and no other', async () => {
  const { step, call } = setUp();
  const full = new GatewayError('slow_reader', 'Too slow.');
  const bad = call({}, (event) => {
    if (event.type === 'text-delta') throw full;
  });
  const good = call();
  step(4);
  await assert.rejects(bad.done, (error) => error === full);
  await good.done;
  assert.equal(words(good.events), 'start a b c choice-end finish');
});

test('a killed one breaks its calls, is away, tells who listens, and comes back', async () => {
  const { backend, step, call } = setUp();
  const states: string[] = [];
  const unsubscribe = backend.onLoadChange(() =>
    states.push(`${backend.load().state} ${backend.load().slots}`),
  );
  const running = call();
  step();
  backend.kill();
  await assert.rejects(running.done, { code: 'backend_failed' });
  await assert.rejects(call().done, { code: 'backend_failed' });
  assert.match(backend.load().reason!, /away/);
  backend.revive();
  assert.deepEqual(states, ['loading 0', 'ready 2']);
  const again = call();
  step(4);
  await again.done;
  unsubscribe();
  backend.kill();
  assert.equal(states.length, 2);
});

test('a closed one breaks its calls and stays closed, however often it is closed', async () => {
  const { backend, call } = setUp();
  const running = call();
  await backend.close();
  await assert.rejects(running.done, { code: 'backend_failed' });
  assert.deepEqual([backend.load().state, backend.load().slots], ['closed', 0]);
  const states: string[] = [];
  backend.onLoadChange(() => states.push(backend.load().state));
  await backend.close();
  backend.kill();
  backend.revive();
  assert.deepEqual(states, [], 'a closed back end never looks as if it would come back');
  await assert.rejects(call().done, { code: 'backend_failed' });
});

test('an answer for a gap says what is behind it, once, also where it goes on', async () => {
  const prompt = { kind: 'text', text: 'f(', suffix: ')\n' } as const;
  const { step, call } = setUp({ reasoning: ['hm'] });
  const whole = call({ prompt });
  step(6);
  await whole.done;
  assert.equal(words(whole.events), 'start hm (Before ")\\n":)  a b c choice-end finish');
  const rest = call({ prompt, ...begun('(Before ")\\n":) a') });
  step(3);
  await rest.done;
  assert.equal(words(rest.events), 'start b c choice-end finish');
});

const begun = (text: string, reasoning = '', pieces = 0): Partial<ChatRequest> => ({
  continueFrom: {
    speaker: undefined,
    choices: [{ text, reasoning, toolCalls: [], pieces, reason: undefined }],
    usage: undefined,
  },
});

test('it goes on with the beginning of its script, cut at any character', async () => {
  const pieces = ['One ', 'two ', '三😀', ' four'];
  const whole = pieces.join('');
  for (let cut = 0; cut <= whole.length; cut++) {
    const { step, call } = setUp({ pieces, reasoning: ['Hm. ', 'So: '] });
    const { events, done } = call(begun(whole.slice(0, cut), 'Hm. So: '));
    step(6);
    await done;
    const rest = events.map((event) => (event.type === 'text-delta' ? event.text : '')).join('');
    assert.equal(whole.slice(0, cut) + rest, whole);
    assert.ok(!events.some(({ type }) => type === 'reasoning-delta'), 'the thought is over');
    assert.equal(events.at(-1)?.type, 'finish');
  }
});

test('it goes on inside its thought, and says all of what it is not asked to go on with', async () => {
  const options = { pieces: ['a', 'b'], reasoning: ['Hm. ', 'So: '] };
  for (const [from, expected] of [
    [begun('', 'Hm'), 'start .  So:  a b choice-end finish'],
    [begun('', 'Hm. So: '), 'start a b choice-end finish'],
    [begun('Sure: '), 'start Hm.  So:  a b choice-end finish'],
    [begun(''), 'start Hm.  So:  a b choice-end finish'],
  ] as const) {
    const { step, call } = setUp(options);
    const { events, done } = call(from);
    step(6);
    await done;
    assert.equal(words(events), expected);
  }
});

test('pieces that were given count towards max_tokens, and as prompt', async () => {
  const { step, call } = setUp();
  const { events, done } = call({ ...begun('a', '', 1), maxTokens: 2 });
  step(2);
  await done;
  assert.equal(words(events), 'start b choice-end finish');
  assert.deepEqual(events.slice(-2), [
    { type: 'choice-end', choice: 0, reason: 'length' },
    { type: 'finish', usage: { promptTokens: 2, completionTokens: 1 } },
  ]);
});

test('it says whether it goes on', () => {
  assert.equal(setUp().backend.continues, 'text');
  assert.equal(setUp({ continues: false }).backend.continues, undefined);
});

/** A prompt of 100 tokens takes 20 steps of the test's clock, a token one for up to two answers and two for more. */
const CURVE: StepCurve = {
  name: 'round',
  origin: 'made up',
  slots: 4,
  decodeMs: [
    [2, STEP_MS],
    [3, 2 * STEP_MS],
  ],
  prefillMs: [
    [1, STEP_MS],
    [100, 20 * STEP_MS],
  ],
  prompts: 'one',
  sliceTokens: 100,
  cacheTokens: 1000,
};

const prompt = { kind: 'text', text: 'four'.repeat(100) } as const;

test('with a curve its times are those of a measured engine, by the prompt and by how many run', async () => {
  const { step, call } = setUp({ curve: CURVE, firstPieceMs: 5 * STEP_MS });
  const { events, done } = call({ prompt });
  step(19);
  assert.deepEqual(events, [], 'its prompt is computed');
  step();
  assert.equal(words(events), 'start a');
  step();
  assert.equal(words(events), 'start a b');
  const late = call({ prompt: { kind: 'text', text: 'four' }, maxTokens: 1 });
  step();
  assert.equal(words(events), 'start a b c choice-end finish', 'the end is no step of its own');
  await done;
  assert.deepEqual(events.at(-1), { type: 'finish', usage: { promptTokens: 100, completionTokens: 3 } });
  step();
  await late.done;
  assert.equal(words(late.events), 'start a choice-end finish');
});

test('with a curve a newcomer holds the others up, and one that is aborted holds nobody up', () => {
  const { step, call } = setUp({ curve: CURVE, pieces: Array(9).fill('a') });
  const first = call({ prompt: { kind: 'text', text: 'four' } });
  step(2);
  assert.equal(words(first.events), 'start a a');
  const second = call({ prompt });
  step();
  assert.equal(words(first.events), 'start a a a', 'it joins the next step');
  step(20);
  assert.equal(words(first.events), 'start a a a');
  step();
  assert.equal(words(first.events), 'start a a a a');
  assert.equal(words(second.events), 'start a');
  second.abort.abort(new GatewayError('cancelled', 'The client left.'));
  step();
  assert.equal(words(first.events), 'start a a a a a');
});

test('with a curve it keeps its faults, and goes on with what was begun', async () => {
  const breaking = setUp({ curve: CURVE, failAfterPieces: 1 });
  const broken = breaking.call();
  breaking.step(3);
  await assert.rejects(broken.done, { code: 'backend_failed' });
  const { step, call, backend } = setUp({ curve: CURVE });
  const rest = call({ ...begun('a', '', 1), maxTokens: 2 });
  step(3);
  await rest.done;
  assert.equal(words(rest.events), 'start b choice-end finish');
  const cut = call();
  backend.kill();
  await assert.rejects(cut.done, { code: 'backend_failed' });
  step(5);
  assert.deepEqual(cut.events, []);
});
