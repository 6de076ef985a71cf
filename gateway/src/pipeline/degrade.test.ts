// Guards how a call comes to the form in which it is answered: it is asked as it was first, another form only for want of
// room, and nothing once a word was given. Forms are run by the test.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../test/manual-clock.ts';
import type { Backend } from '../core/backend.ts';
import type { ChatRequest, TokenEvent, Usage } from '../core/chat.ts';
import { type ErrorCode, GatewayError } from '../core/errors.ts';
import { newRecord } from '../core/observer.ts';
import type { ServedModel } from '../core/world.ts';
import { SpillBudgets } from '../scheduling/spill-budgets.ts';
import { type FormRun, runMildest } from './degrade.ts';
import { formAsAsked } from './degraded-forms.ts';

const USAGE: Usage = { promptTokens: 1_000_000, completionTokens: 0 };
const unknown = { contextWindow: undefined, licence: undefined, created: 0 };
const SMALL: ServedModel = { id: 'small', speaker: 'small', backends: [{} as Backend], ...unknown };
/** A million tokens cost 4, and 10 may be spent. */
const spill = { backends: [{} as Backend], budgetPerDay: 10, price: { input: 4, output: 4 } };
const ALL: ServedModel['degrade'] = { smallerModel: SMALL, shorterTokens: 50, spill };
const text: TokenEvent = { type: 'text-delta', choice: 0, text: 'word' };
const refused = (code: ErrorCode = 'overloaded') => new GatewayError(code, `refused as ${code}`);

/** What a form does when it is run. */
type Script = (how: FormRun) => Usage | Promise<Usage>;
const answers: Script = ({ push }) => {
  push({ type: 'start', speaker: 'someone' });
  push(text);
  return USAGE;
};
const isRefused =
  (code?: ErrorCode): Script =>
  () => {
    throw refused(code);
  };
/** It had a slot, and perhaps said something, before it failed. */
const fails =
  (code: ErrorCode, ...events: TokenEvent[]): Script =>
  ({ push, onFailed }) => {
    for (const event of events) push(event);
    const error = refused(code);
    onFailed(error);
    throw error;
  };

interface SetUp {
  readonly degrade?: ServedModel['degrade'];
  /** The model allows nothing. */
  readonly isPlain?: boolean;
  readonly mayDegrade?: boolean;
  readonly promptUnits?: number;
}

/** Runs a call of which each form, by its steps, does what its script says; without one it is refused. */
function setUp({ degrade = ALL, isPlain = false, mayDegrade = true, promptUnits = 0 }: SetUp = {}) {
  const record = newRecord('r', 'test', 'someone', 0);
  const budgets = new SpillBudgets(new ManualClock());
  const abort = new AbortController();
  const model: ServedModel = { ...SMALL, id: 'large', degrade: isPlain ? undefined : degrade };
  const prompt = { kind: 'text', text: 'x'.repeat(promptUnits) } as const;
  const request: ChatRequest = {
    model: 'large',
    prompt,
    sampling: {},
    stop: [],
    choices: 1,
    extra: {},
    maxTokens: 60,
  };
  const tried: string[] = [];
  const ended: ErrorCode[] = [];
  const events: TokenEvent[] = [];
  const run = (scripts: Readonly<Record<string, Script>>) =>
    runMildest(formAsAsked(model, request, mayDegrade), {
      record,
      budgets,
      mayDegrade,
      signal: abort.signal,
      run: async ({ steps }, how) => {
        const name = steps.join(',') || (how.isTrial ? 'asked' : 'asked for good');
        tried.push(name);
        return await (scripts[name] ?? isRefused())(how);
      },
      push: (event) => events.push(event),
      onFailed: ({ code }) => ended.push(code),
    });
  return { run, record, abort, tried, ended, events };
}

test('a call for which there is room is answered as it was asked', async () => {
  const { run, record, tried, events } = setUp();
  assert.equal(await run({ asked: answers }), USAGE);
  assert.deepEqual([tried, record.degraded, events.length], [['asked'], [], 2]);
});

test('one for which there is none is answered in the first form that is taken, and the record names it', async () => {
  const { run, record, tried } = setUp();
  await run({ 'smaller-model,shorter': answers, spill: answers });
  assert.deepEqual(tried, ['asked', 'smaller-model', 'shorter', 'smaller-model,shorter']);
  assert.deepEqual(record.degraded, ['smaller-model', 'shorter']);
});

test('if no form is taken, the refusal is that of the call as it was asked, which books a place then', async () => {
  const { run, record, tried } = setUp({ degrade: { shorterTokens: 50 } });
  await assert.rejects(run({ 'asked for good': isRefused() }), { code: 'overloaded' });
  assert.deepEqual([tried, record.degraded], [['asked', 'shorter', 'asked for good'], []]);
});

test('without opt-in, of the model or of the client, a call is asked once', async () => {
  for (const options of [{ isPlain: true }, { mayDegrade: false }]) {
    const { run, tried } = setUp(options);
    await assert.rejects(run({}), { code: 'overloaded' });
    assert.deepEqual(tried, ['asked for good']);
  }
});

test('only want of room leads to another form', async () => {
  for (const code of ['not_ready', 'queue_timeout', 'invalid_request', 'cancelled'] as const) {
    const { run, tried } = setUp();
    await assert.rejects(run({ asked: isRefused(code) }), { code });
    assert.deepEqual(tried, ['asked'], code);
  }
  const busy = setUp();
  await busy.run({ asked: isRefused('backend_busy'), 'smaller-model': answers });
  assert.deepEqual(busy.record.degraded, ['smaller-model']);
});

test('a call that had its slot is not degraded any more', async () => {
  for (const script of [fails('backend_busy'), fails('overloaded', text)]) {
    const { run, tried, ended } = setUp();
    await assert.rejects(run({ asked: script }));
    assert.deepEqual([tried, ended.length], [['asked'], 1]);
  }
});

test('what only a form is refused for is not told: the next one is tried', async () => {
  const start: TokenEvent = { type: 'start', speaker: 'small' };
  for (const code of [
    'invalid_request',
    'context_length_exceeded',
    'backend_failed',
    'backend_busy',
  ] as const) {
    const { run, record, ended } = setUp();
    const scripts = { 'smaller-model': fails(code, start), shorter: answers };
    await run(scripts);
    assert.deepEqual([record.degraded, ended], [['shorter'], []], code);
  }
});

test('who announced itself and then said nothing is not who speaks', async () => {
  const { run, record } = setUp();
  record.speaker = 'small';
  await run({ 'smaller-model': fails('backend_failed'), shorter: answers });
  assert.equal(record.speaker, undefined);
});

test('where a form had a slot before it failed is not where the answer comes from', async () => {
  const { run, record } = setUp({ degrade: { shorterTokens: 50 } });
  const failsThere: Script = (how) => {
    Object.assign(record, { backend: 'there', queueMs: 7, predictedFirstTokenMs: 70 });
    return fails('backend_failed')(how);
  };
  const told = () => [record.backend, record.queueMs, record.predictedFirstTokenMs];
  await assert.rejects(run({ shorter: failsThere }), { code: 'overloaded' });
  assert.deepEqual(told(), [undefined, undefined, undefined]);
  Object.assign(record, { backend: 'first', queueMs: 1, predictedFirstTokenMs: 10 });
  await assert.rejects(run({ shorter: failsThere }), { code: 'overloaded' });
  assert.deepEqual(told(), ['first', 1, 10], 'an earlier call of the request had its own');
});

test('a form that fails after its first word fails the call', async () => {
  const { run, record, tried, ended } = setUp();
  await assert.rejects(run({ 'smaller-model': fails('backend_failed', text), shorter: answers }));
  assert.deepEqual([tried.at(-1), ended], ['smaller-model', ['backend_failed']]);
  assert.deepEqual(record.degraded, ['smaller-model']);
});

test('what ends the request ends the trying', async () => {
  const { run, abort, tried } = setUp();
  const leaves: Script = () => {
    abort.abort(refused('backend_failed'));
    throw abort.signal.reason;
  };
  await assert.rejects(run({ 'smaller-model': leaves }), { code: 'backend_failed' });
  assert.deepEqual(tried, ['asked', 'smaller-model']);
});

test('calls spill while their money lasts; what was never computed costs nothing', async () => {
  // An estimate of a million tokens: two of them fit, at their true price too.
  const { run, tried } = setUp({ degrade: { spill }, promptUnits: 3_000_000 });
  await assert.rejects(run({ spill: isRefused() }));
  await run({ spill: answers });
  await run({ spill: answers });
  tried.length = 0;
  await assert.rejects(run({ spill: answers }), { code: 'overloaded' });
  assert.deepEqual(tried, ['asked', 'asked for good']);
});

test('an answer that was cut on its way costs what it was estimated at', async () => {
  const { run, tried } = setUp({ degrade: { spill }, promptUnits: 3_000_000 });
  await assert.rejects(run({ spill: fails('deadline_exceeded') }));
  await run({ spill: answers });
  tried.length = 0;
  await assert.rejects(run({ spill: answers }));
  assert.deepEqual(tried, ['asked', 'asked for good']);
});
