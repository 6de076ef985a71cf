// Guards how a request for several answers becomes calls: who answers several at once is asked once, all others answer
// one choice a call, with seeds of their own; and a prompt counts once however often it is answered.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Backend } from '../core/backend.ts';
import type { ChatRequest } from '../core/chat.ts';
import { addChoice, countCalls, type PlannedCall, planCalls } from './choices.ts';

const backend = (answersSeveral?: boolean): Backend => ({
  id: 'b',
  ...(answersSeveral !== undefined && { answersSeveral }),
  chat: async () => {},
  load: () => ({ state: 'ready', slots: 1 }),
  onLoadChange: () => () => {},
  close: async () => {},
});
const ONE = [backend()];
const SEVERAL = [backend(true)];

function request(choices: number, seed?: number, extra: ChatRequest['extra'] = {}): ChatRequest {
  return {
    model: 'm',
    prompt: { kind: 'text', text: 'x' },
    sampling: seed === undefined ? {} : { seed, temperature: 0.5 },
    stop: [],
    choices,
    extra,
  };
}

const plan = (calls: readonly ChatRequest[], backends: readonly Backend[]): PlannedCall[] => [
  ...planCalls(calls, backends),
];

test('a back end that answers several gets the request as it is', () => {
  const call = request(3, 7);
  assert.deepEqual(plan([call], SEVERAL), [{ request: call, number: undefined, firstChoice: 0, prompt: 0 }]);
});

test('others get a call for each choice, and so does a model of which one back end cannot', () => {
  for (const backends of [ONE, [backend(true), backend()], [backend(false)]]) {
    const planned = plan([request(2), request(1)], backends);
    assert.deepEqual(
      planned.map(({ request: { choices }, number, firstChoice, prompt }) => [
        choices,
        number,
        firstChoice,
        prompt,
      ]),
      [
        [1, 0, 0, 0],
        [1, 1, 1, 0],
        [1, 2, 2, 1],
      ],
    );
  }
});

test('what goes on from a beginning is one choice a call, whoever answers', () => {
  const choice = { text: 'a', reasoning: '', toolCalls: [], reason: undefined };
  const continueFrom = { speaker: undefined, choices: [choice], usage: undefined };
  const calls = [{ ...request(3), continueFrom }, request(2)];
  const planned = plan(calls, SEVERAL);
  assert.deepEqual(
    planned.map(({ request: { choices }, firstChoice }) => [choices, firstChoice]),
    [
      [1, 0],
      [1, 1],
      [1, 2],
      [2, 3],
    ],
  );
  assert.equal(countCalls(calls, SEVERAL), planned.length);
});

test('a request for one answer is passed on untouched', () => {
  const call = request(1, 5, { seed: 'digits' });
  assert.equal(plan([call], ONE)[0]?.request, call);
});

test('a seed counts on from choice to choice, and its digits are those of the first', () => {
  const planned = plan([request(3, 7, { seed: 'digits', user: 'u' })], ONE);
  assert.deepEqual(
    planned.map(({ request: { sampling, extra } }) => [sampling.seed, sampling.temperature, extra]),
    [
      [7, 0.5, { seed: 'digits', user: 'u' }],
      [8, 0.5, { user: 'u' }],
      [9, 0.5, { user: 'u' }],
    ],
  );
  assert.equal(plan([request(2)], ONE)[1]?.request.sampling.seed, undefined, 'no seed stays none');
});

test('choices are numbered through without a hole, and no seed comes twice, however large', () => {
  const calls = fc.array(
    fc.record({
      choices: fc.integer({ min: 1, max: 9 }),
      seed: fc.oneof(
        fc.maxSafeInteger(),
        fc.integer({ min: 0, max: 900 }).map((n) => n * 2 ** 53),
      ),
    }),
    { minLength: 1, maxLength: 5 },
  );
  fc.assert(
    fc.property(calls, fc.boolean(), (asked, several) => {
      const requests = asked.map(({ choices, seed }) => request(choices, seed));
      const backends = several ? SEVERAL : ONE;
      const planned = plan(requests, backends);
      assert.equal(planned.length, countCalls(requests, backends));
      let next = 0;
      for (const {
        firstChoice,
        request: { choices },
      } of planned) {
        assert.equal(firstChoice, next);
        next += choices;
      }
      assert.equal(
        next,
        asked.reduce((sum, { choices }) => sum + choices, 0),
      );
      if (several) return;
      for (const [prompt, { choices }] of asked.entries()) {
        const seeds = planned
          .filter((call) => call.prompt === prompt)
          .map((call) => call.request.sampling.seed);
        assert.equal(new Set(seeds).size, choices, `${seeds}`);
      }
    }),
  );
});

test('a prompt counts once, and as cached only what no answer had to compute', () => {
  const first = { promptTokens: 10, cachedTokens: 0, completionTokens: 5, reasoningTokens: 2 };
  const second = { promptTokens: 10, cachedTokens: 9, completionTokens: 7, reasoningTokens: 1 };
  assert.equal(addChoice(undefined, first), first);
  assert.deepEqual(addChoice(first, second), {
    promptTokens: 10,
    cachedTokens: 0,
    completionTokens: 12,
    reasoningTokens: 3,
  });
  assert.deepEqual(addChoice(first, { promptTokens: 10 }), {
    promptTokens: 10,
    cachedTokens: undefined,
    completionTokens: undefined,
    reasoningTokens: undefined,
  });
});
