// Guards what is kept of a server's limits: every form of header, calls under way counted, nothing longer than it says, and no
// header that stops a back end for good.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RateBudget } from './rate-budget.ts';
import type { UpstreamHeaders } from './upstream-reader.ts';

const WALL = Date.parse('2025-10-21T07:28:15.500Z');

function setUp() {
  const time = { now: 1_000 };
  const budget = new RateBudget(
    () => time.now,
    () => WALL + time.now - 1_000,
  );
  const answer = (headers: UpstreamHeaders, status = 200) => budget.sent()(status, headers);
  return { budget, answer, time };
}

const headers = (requests: number, requestsReset: string, tokens?: number, tokensReset?: string) => ({
  'x-ratelimit-remaining-requests': `${requests}`,
  'x-ratelimit-reset-requests': requestsReset,
  ...(tokens !== undefined && { 'x-ratelimit-remaining-tokens': `${tokens}` }),
  ...(tokensReset !== undefined && { 'x-ratelimit-reset-tokens': tokensReset }),
});

test('each form in which servers say what is left and when there is more', () => {
  const cases: readonly (readonly [UpstreamHeaders, object | undefined])[] = [
    [headers(59, '1s', 149_984, '6m0s'), { requests: 59, tokens: 149_984, resetMs: 1_000 }],
    [headers(0, '2m59.56s', 5, '7.66s'), { requests: 0, tokens: 5, resetMs: 179_560 }],
    [headers(3, '30'), { requests: 3, tokens: undefined, resetMs: 30_000 }],
    [
      { 'x-ratelimit-remaining': '7', 'x-ratelimit-reset': `${WALL / 1_000 + 9}` },
      { requests: 7, tokens: undefined, resetMs: 9_000 },
    ],
    [
      { 'ratelimit-remaining': '7', 'ratelimit-reset': '5' },
      { requests: 7, tokens: undefined, resetMs: 5_000 },
    ],
    [
      { 'x-ratelimit-remaining-tokens': '0', 'x-ratelimit-reset-tokens': '20ms' },
      { requests: undefined, tokens: 0, resetMs: 20 },
    ],
    [headers(0, '9h'), { requests: 0, tokens: undefined, resetMs: 3_600_000 }],
    [{ 'x-ratelimit-remaining-requests': '0' }, undefined],
    [headers(0, 'soon'), undefined],
    [{ 'x-ratelimit-remaining-requests': '-1', 'x-ratelimit-reset-requests': '1s' }, undefined],
    [{}, undefined],
  ];
  for (const [given, budget] of cases) {
    const { budget: kept, answer } = setUp();
    answer(given);
    assert.deepEqual(kept.current, budget, JSON.stringify(given));
  }
});

test('what is used up is over at its reset, and not sooner because another limit is', () => {
  const { budget, answer, time } = setUp();
  answer(headers(0, '2s', 0, '10s'));
  assert.equal(budget.current?.resetMs, 10_000);
  time.now += 2_000;
  assert.deepEqual(budget.current, { requests: undefined, tokens: 0, resetMs: 8_000 });
  assert.ok(budget.isUsedUp);
  time.now += 8_000;
  assert.equal(budget.current, undefined);
  assert.ok(!budget.isUsedUp);
});

test('calls under way take their part before any header tells of it, and the last answer puts it right', () => {
  const { budget, answer } = setUp();
  answer(headers(3, '60s'));
  const under = [budget.sent(), budget.sent(), budget.sent()];
  assert.equal(budget.current?.requests, 0);
  assert.ok(!budget.isUsedUp, 'their answers may say better');
  under[0]!(200, headers(2, '60s'));
  assert.equal(budget.current?.requests, 0);
  under[1]!(200, headers(2, '60s'));
  under[1]!(200, headers(9, '60s'));
  assert.equal(budget.current?.requests, 1);
  under[2]!();
  assert.equal(budget.current?.requests, 1, 'no answer says nothing');
  answer(headers(0, '60s'));
  assert.ok(budget.isUsedUp);
});

test('an answer without headers leaves what was known; a refusal speaks for itself', () => {
  const { budget, answer } = setUp();
  answer(headers(5, '60s', 100, '60s'));
  answer({}, 400);
  assert.deepEqual(budget.current, { requests: 4, tokens: 100, resetMs: 60_000 });
  answer(headers(0, '60s'), 429);
  assert.equal(budget.current, undefined);
});

test('whatever a server sends, nothing is waited for longer than an hour', () => {
  const value = fc.oneof(fc.string(), fc.double().map(String), fc.nat().map(String), fc.constant('0'));
  const name = fc.constantFrom(
    ...['requests', 'tokens'].flatMap((of) => [`x-ratelimit-remaining-${of}`, `x-ratelimit-reset-${of}`]),
    'x-ratelimit-remaining',
    'x-ratelimit-reset',
    'ratelimit-remaining',
    'ratelimit-reset',
  );
  fc.assert(
    fc.property(fc.array(fc.dictionary(name, value), { maxLength: 5 }), (answers) => {
      const { budget, answer, time } = setUp();
      for (const one of answers) answer(one);
      const { requests = 0, tokens = 0, resetMs = 0 } = budget.current ?? {};
      assert.ok(requests >= 0 && tokens >= 0 && resetMs >= 0 && resetMs <= 3_600_000);
      time.now += 3_600_000;
      assert.equal(budget.current, undefined);
    }),
  );
});
