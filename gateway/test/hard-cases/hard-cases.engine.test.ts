// Plays the hard cases of the embedded engine, with a real model; and those of odd bodies once more on it, as an engine is
// what such bodies break.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { missingModel } from '../parts.ts';
import { type CaseRequest, hardCase, membersOf, requestOf } from './cases.ts';
import { checkExpected, choiceOf } from './expectations.ts';
import { ON_THE_ENGINE } from './left-out.ts';
import { type ProcessStage, withEngine } from './stage.ts';

const MODEL_FILE = process.env.SLUICE_TEST_MODEL ?? '';

/** By the case's id: what it expects beyond its `assert`, on the same stage. */
const PLAYS: Readonly<Record<string, (stage: ProcessStage, request: CaseRequest) => Promise<void>>> = {
  'schema-unusable': async (stage, request) => {
    const { error } = await stage.answer(request);
    assert.match(`${error?.param} ${error?.message}`, /pattern/);
    await assertServes(stage);
  },

  'max-tokens-extremes': async (stage, request) => {
    const ask = (value: string) =>
      stage.answer({ ...request, bodyText: request.bodyText!.replace('1000000000000000000', value) });
    for (const value of ['32000', '100.0']) assert.equal((await ask(value)).status, 200, value);
    for (const value of ['-1', '0.5', '"ten"', '"null"']) {
      const { status, error } = await ask(value);
      assert.deepEqual([status, error?.param], [400, 'max_tokens'], value);
    }
    await assertServes(stage);
  },

  'slots-after-aborts': async (stage, request) => {
    const waitsMs = [10, 100, 400];
    for (let round = 0; round < 10; round += 1) {
      const [a, b] = [stage.ask(request), stage.ask(request)];
      await sleep(waitsMs[round % waitsMs.length]);
      a.drop();
      assert.equal((await stage.read(b)).isDone, true, `round ${round}`);
    }
    for (const { isDone } of await Promise.all([stage.answer(request), stage.answer(request)])) {
      assert.equal(isDone, true, 'two more at the same time');
    }
    await stage.metricIs('sluice_requests_running', 0);
  },

  'emoji-tokens': async (stage, request) => {
    const streamed = await stage.answer(request);
    for (const { value } of streamed.events) {
      assert.doesNotMatch(JSON.stringify(value), /\\u[dD][89abAB]/, 'half a surrogate pair');
    }
    const whole = await stage.answer({ ...request, body: { ...membersOf(request), stream: false } });
    assert.equal(choiceOf(whole).content, choiceOf(streamed).content, 'streamed and whole are the same');
  },

  'lone-surrogate': assertServes,
  'null-is-absent': assertServes,
};

describe('on the embedded engine', { skip: missingModel() }, () => {
  test('every case that is the engine’s has its play', () => {
    for (const id of ON_THE_ENGINE) assert.ok(Object.hasOwn(PLAYS, id), id);
  });

  for (const [id, further] of Object.entries(PLAYS)) {
    test(id, () =>
      withEngine(MODEL_FILE, async (stage) => {
        const one = hardCase(id);
        const answer = await stage.answer(requestOf(one));
        await checkExpected({ answer, stage }, one.expected);
        await further(stage, requestOf(one));
      }),
    );
  }
});

async function assertServes(stage: ProcessStage): Promise<void> {
  const body = { model: 'deepseek-r1', max_tokens: 2, messages: [{ role: 'user', content: 'hi' }] };
  const answer = await stage.answer({ method: 'POST', path: '/v1/chat/completions', body });
  assert.equal(answer.status, 200, answer.text);
}
