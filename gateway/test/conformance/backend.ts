// The contract of core/backend.ts as one suite, to be run over every implementation: what the pipeline relies on, whoever
// computes. It asks only what the contract promises, and never how fast: a limit here only ends a wait.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Backend } from '../../src/core/backend.ts';
import { type ChatRequest, isDelta, type TokenEvent, type Usage } from '../../src/core/chat.ts';
import { GatewayError } from '../../src/core/errors.ts';
import { waitUntil } from '../e2e/harness.ts';

/** How a specimen is to behave: as it can, without a first word, or without another one after some words. */
export type Manner = 'talks' | 'is silent' | 'falls silent';

/** A back end on the table. */
export interface Specimen {
  readonly backend: Backend;
  /** What to ask it, where that is not a short conversation. */
  readonly ask?: Partial<ChatRequest> | undefined;
  /** All that it says, where that is known. */
  readonly says?: string | undefined;
  /** Ends what computes, as a crash does. */
  readonly kill?: (() => Promise<void> | void) | undefined;
  /** Brings it back after `kill`. */
  readonly revive?: (() => Promise<void> | void) | undefined;
  /** What calls still hold of what is behind it, where that can be seen. */
  readonly held?: (() => Promise<number> | number) | undefined;
  /** Closes the back end and what was started for it. */
  readonly close: () => Promise<void>;
}

/** What an implementation does not have: it is not asked for it. */
export type Lack = 'stop strings' | 'death';

export interface ConformanceOptions {
  /** Why it cannot be run here. */
  readonly skip?: string | undefined;
  readonly lacks?: readonly Lack[] | undefined;
}

const LIMIT_MS = 30_000;
/** An answer that is still under way when a test acts on it. */
const LONG: Partial<ChatRequest> = { maxTokens: 400 };
const MAX_TOKENS = 3;
const MOST_AT_ONCE = 4;
/** Long enough for a call to have reached what is silent. */
const SILENCE_MS = 60;

/** Registers the suite. A back end that cannot be silent at will is aborted between its words instead. */
export function describeBackend(
  name: string,
  make: (manner: Manner) => Promise<Specimen>,
  { skip, lacks = [] }: ConformanceOptions = {},
): void {
  const open = async (manner: Manner): Promise<Specimen> => {
    const specimen = await make(manner);
    await until(() => specimen.backend.load().state === 'ready', 'it did not get ready');
    return specimen;
  };
  describe(name, { skip, concurrency: false }, () => {
    describe('that talks', () => {
      let specimen: Specimen;
      before(async () => {
        specimen = await open('talks');
      });
      after(() => specimen.close());
      testAnswers(() => specimen, lacks);
      testAborts(() => specimen);
    });
    for (const manner of ['is silent', 'falls silent'] as const) {
      test(`an abort while it ${manner}: the signal's reason, and nothing is held`, () =>
        withSpecimen(open, manner, (specimen) => abortInSilence(specimen, manner)));
    }
    if (!lacks.includes('death')) {
      test('its death: backend_failed at once, states that tell, and calls again when it is back', () =>
        withSpecimen(open, 'falls silent', dieAndReturn));
    }
    test('its close: running calls fail, it stays closed, and a second close is well', () =>
      withSpecimen(open, 'falls silent', closeUnderCall));
  });
}

function testAnswers(get: () => Specimen, lacks: readonly Lack[]): void {
  test('it is ready and says how many calls it takes', () => {
    const { state, reason, slots, utilization } = get().backend.load();
    assert.deepEqual([state, reason], ['ready', undefined]);
    assert.ok(Number.isInteger(slots) && slots >= 1, `${slots} slots`);
    if (utilization !== undefined) assert.ok(utilization >= 0 && utilization <= 1, `${utilization}`);
  });

  test('an answer: start, deltas, the end of its choice, one finish', async () => {
    const { events, done } = call(get());
    await done;
    assertAnswer(events, 1);
    assertUsage(usageOf(events));
    const { says } = get();
    if (says !== undefined) assert.equal(textOf(events), says);
    else assert.notEqual(textOf(events), '');
  });

  test('every delta is whole characters', async () => {
    const { events, done } = call(get());
    await done;
    for (const event of events) {
      if ('text' in event) assert.ok(event.text.isWellFormed(), JSON.stringify(event.text));
    }
  });

  test('max_tokens ends an answer with "length"', async () => {
    const { events, done } = call(get(), { maxTokens: MAX_TOKENS });
    await done;
    assertAnswer(events, 1);
    assert.deepEqual(reasonsOf(events), ['length']);
    const { completionTokens } = usageOf(events);
    if (completionTokens !== undefined) assert.ok(completionTokens <= MAX_TOKENS, `${completionTokens}`);
  });

  if (!lacks.includes('stop strings')) {
    test('a stop string ends an answer and is not shown, in whole or in part', async () => {
      const whole = call(get());
      await whole.done;
      const characters = [...textOf(whole.events)];
      const third = Math.floor(characters.length / 3);
      const stop = characters.slice(third, third + 4).join('');
      const { events, done } = call(get(), { stop: ['\u0000never', stop] });
      await done;
      assertAnswer(events, 1);
      assert.equal(textOf(events), textOf(whole.events).split(stop)[0]);
      assert.deepEqual(reasonsOf(events), ['stop']);
    });
  }

  test('several answers to one prompt, if it says that it gives them', async () => {
    const { backend } = get();
    if (!backend.answersSeveral) return;
    const { events, done } = call(get(), { choices: 2 });
    await done;
    assertAnswer(events, 2);
    for (const choice of [0, 1]) assert.notEqual(textOf(events, choice), '');
  });

  test('as many calls at once as it takes: each has its own whole answer', async () => {
    await assertServes(get());
  });

  test('who no longer listens to its load is not told, and may say so twice', () => {
    const stop = get().backend.onLoadChange(() => assert.fail('it was told'));
    stop();
    stop();
  });
}

function testAborts(get: () => Specimen): void {
  test('a signal that is aborted already: its reason, and no event', async () => {
    const leaving = new AbortController();
    const reason = left();
    leaving.abort(reason);
    const { events, done } = call(get(), {}, { leaving });
    await assert.rejects(done, (thrown) => thrown === reason);
    assert.deepEqual(events, []);
  });

  test('aborts in mid-answer, more than it has slots: their reason, no event more, and all slots are free', async () => {
    const { backend } = get();
    const { slots } = backend.load();
    for (let round = 0; round <= Math.min(slots, MOST_AT_ONCE); round += 1) {
      const reason = left();
      const leaving = new AbortController();
      let seen = -1;
      const { events, done } = call(get(), LONG, {
        leaving,
        onEvent: (event, all) => {
          if (!isDelta(event) || seen >= 0) return;
          leaving.abort(reason);
          seen = all.length;
        },
      });
      await assert.rejects(done, (thrown) => thrown === reason);
      assert.equal(events.length, seen, 'an event came after the abort');
    }
    await assertServes(get());
  });

  test('a sink that throws ends the call with what it threw', async () => {
    const thrown = new GatewayError('slow_reader', 'The client read too slowly.');
    const { events, done } = call(get(), LONG, {
      onEvent: (event) => {
        if (isDelta(event)) throw thrown;
      },
    });
    await assert.rejects(done, (error) => error === thrown);
    assert.equal(events.filter(isDelta).length, 1, 'an event came after it threw');
    await assertServes(get());
  });
}

async function abortInSilence(specimen: Specimen, manner: Manner): Promise<void> {
  const leaving = new AbortController();
  const { events, done } = call(specimen, LONG, { leaving });
  if (manner === 'falls silent') await until(() => events.some(isDelta), 'no word came');
  await sleep(SILENCE_MS);
  const before = events.length;
  const reason = left();
  leaving.abort(reason);
  await assert.rejects(done, (thrown) => thrown === reason);
  assert.equal(events.length, before, 'an event came after the abort');
  await until(async () => ((await specimen.held?.()) ?? 0) === 0, 'something is still held');
}

async function dieAndReturn(specimen: Specimen): Promise<void> {
  const { backend } = specimen;
  const states: string[] = [];
  const stopListening = backend.onLoadChange(() => states.push(backend.load().state));
  const running = call(specimen, LONG);
  await until(() => running.events.some(isDelta), 'no word came');
  await specimen.kill?.();
  const failure = await failureOf(running.done);
  assert.equal(failure.code, 'backend_failed');
  assert.doesNotMatch(failure.message, /\n|\bat .*\.ts:/, 'a sentence for clients');
  // What is only asked now and then is known to be away when somebody asks it.
  await until(async () => {
    if (states.some((state) => state !== 'ready')) return true;
    const { code } = await failureOf(call(specimen).done);
    assert.ok(code === 'backend_failed' || code === 'not_ready', code);
    return false;
  }, 'its load does not tell');
  await specimen.revive?.();
  await until(() => backend.load().state === 'ready', 'it did not come back');
  assert.equal(states.at(-1), 'ready', 'who listens to its load is told');
  stopListening();
  const again = call(specimen, LONG);
  await until(() => again.events.some(isDelta), 'no word came after its return');
  again.leaving.abort(left());
  await assert.rejects(again.done);
}

async function closeUnderCall(specimen: Specimen): Promise<void> {
  const { backend } = specimen;
  let toldOf = '';
  backend.onLoadChange(() => (toldOf = backend.load().state));
  const running = call(specimen, LONG);
  await until(() => running.events.some(isDelta), 'no word came');
  const closing = backend.close();
  assert.equal((await failureOf(running.done)).code, 'backend_failed');
  await closing;
  const { state, slots } = backend.load();
  assert.deepEqual([state, slots, toldOf], ['closed', 0, 'closed']);
  const { events, done } = call(specimen);
  assert.equal((await failureOf(done)).code, 'backend_failed');
  assert.deepEqual(events, []);
  await backend.close();
  await until(async () => ((await specimen.held?.()) ?? 0) === 0, 'something is still held');
}

interface Call {
  /** So far. */
  readonly events: readonly TokenEvent[];
  /** `chat`'s own promise; rejects as well if that does not settle in time. */
  readonly done: Promise<void>;
  readonly leaving: AbortController;
}

interface CallHooks {
  readonly leaving?: AbortController;
  /** Called within the sink, after the event was noted. */
  readonly onEvent?: (event: TokenEvent, events: readonly TokenEvent[]) => void;
}

let lastCall = 0;

function call(
  { backend, ask }: Specimen,
  more: Partial<ChatRequest> = {},
  { leaving = new AbortController(), onEvent }: CallHooks = {},
): Call {
  const events: TokenEvent[] = [];
  const messages = [{ role: 'user', content: 'Tell me a long story about a river.' }] as const;
  const request: ChatRequest = {
    model: 'case',
    prompt: { kind: 'messages', messages },
    sampling: { temperature: 0 },
    maxTokens: 48,
    stop: [],
    choices: 1,
    extra: {},
    ...ask,
    ...more,
  };
  lastCall += 1;
  const context = { callId: `conformance-${lastCall}`, tenant: 'someone', signal: leaving.signal };
  const chat = backend.chat(request, context, (event) => {
    events.push(event);
    onEvent?.(event, events);
  });
  const done = Promise.race([
    chat,
    sleep(LIMIT_MS, undefined, { ref: false }).then(() => assert.fail('the call did not settle')),
  ]);
  done.catch(() => {});
  return { events, done, leaving };
}

async function assertServes(specimen: Specimen): Promise<void> {
  const count = Math.min(specimen.backend.load().slots, MOST_AT_ONCE);
  const calls = Array.from({ length: count }, () => call(specimen));
  await Promise.all(calls.map(({ done }) => done));
  for (const { events } of calls) {
    assertAnswer(events, 1);
    if (specimen.says !== undefined) assert.equal(textOf(events), specimen.says);
  }
}

/** The order that the contract gives to an answer's events. */
function assertAnswer(events: readonly TokenEvent[], choices: number): void {
  const types = events.map(({ type }) => type);
  const [first] = events;
  assert.ok(first?.type === 'start', `it begins with ${first?.type}`);
  assert.notEqual(first.speaker, '');
  assert.equal(types.lastIndexOf('start'), 0, 'one start');
  assert.equal(types.indexOf('finish'), types.length - 1, 'one finish, and nothing after it');
  const ended = new Set<number>();
  for (const event of events.slice(1, -1)) {
    assert.ok('choice' in event);
    assert.ok(Number.isInteger(event.choice) && event.choice >= 0 && event.choice < choices);
    assert.ok(!ended.has(event.choice), 'nothing comes after the end of a choice');
    if (event.type === 'choice-end') ended.add(event.choice);
  }
  assert.equal(ended.size, choices, 'each choice has an end');
}

/** What is unknown is absent; what is told is a count. */
function assertUsage(usage: Usage): void {
  const { promptTokens, cachedTokens, completionTokens, reasoningTokens } = usage;
  for (const count of [promptTokens, cachedTokens, completionTokens, reasoningTokens]) {
    if (count !== undefined) assert.ok(Number.isInteger(count) && count >= 0, `${count}`);
  }
  assert.ok((cachedTokens ?? 0) <= (promptTokens ?? Number.POSITIVE_INFINITY));
  assert.ok((reasoningTokens ?? 0) <= (completionTokens ?? Number.POSITIVE_INFINITY));
}

function textOf(events: readonly TokenEvent[], choice = 0): string {
  return events
    .map((event) => (event.type === 'text-delta' && event.choice === choice ? event.text : ''))
    .join('');
}

function reasonsOf(events: readonly TokenEvent[]): string[] {
  return events.flatMap((event) => (event.type === 'choice-end' ? [event.reason] : []));
}

function usageOf(events: readonly TokenEvent[]): Usage {
  const last = events.at(-1);
  assert.ok(last?.type === 'finish');
  return last.usage;
}

async function failureOf(done: Promise<void>): Promise<GatewayError> {
  const thrown = await done.then(
    () => assert.fail('the call succeeded'),
    (error: unknown) => error,
  );
  assert.ok(thrown instanceof GatewayError, `no error of ours: ${thrown}`);
  return thrown;
}

async function withSpecimen(
  open: (manner: Manner) => Promise<Specimen>,
  manner: Manner,
  use: (specimen: Specimen) => Promise<void>,
): Promise<void> {
  const specimen = await open(manner);
  try {
    await use(specimen);
  } finally {
    await specimen.close();
  }
}

function until(isTrue: () => boolean | Promise<boolean>, message: string): Promise<void> {
  return waitUntil(isTrue, LIMIT_MS, () => message);
}

function left(): GatewayError {
  return new GatewayError('cancelled', 'The client left.');
}
