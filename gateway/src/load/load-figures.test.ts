// From requests to figures: what is counted as what, and what a good answer is.
import assert from 'node:assert/strict';
import { createHistogram } from 'node:perf_hooks';
import { test } from 'node:test';
import { figuresOf, isGood, refusedIn } from './load-figures.ts';
import type { Attempt } from './load-record.ts';

const OPTIONS = { percentiles: [50, 99.9], objectives: { ttft: 500, gap: 500 } };

function attempt(more: Partial<Attempt> = {}): Attempt {
  return {
    visitor: 0,
    number: 1,
    tenant: 'all',
    dueMs: 0,
    lateMs: 0,
    ending: 'complete',
    reason: undefined,
    retryAfterMs: undefined,
    backend: undefined,
    firstMs: 100,
    lastMs: 300,
    endMs: 310,
    longestGapMs: 60,
    stutters: 0,
    pieces: 5,
    tokens: 5,
    promptTokens: 10,
    cachedTokens: undefined,
    ...more,
  };
}

const without = { firstMs: undefined, lastMs: undefined, pieces: 0, tokens: 0, longestGapMs: 0 };
const refusal = (more: Partial<Attempt> = {}) =>
  attempt({ ...without, ending: 'refused', reason: 'overloaded', endMs: 4, ...more });

test('latencies are of complete answers, and every end is counted', () => {
  const figures = figuresOf(
    [
      attempt(),
      attempt({ firstMs: 300, lastMs: 700, endMs: 700 }),
      attempt({ ending: 'lost', reason: 'no [DONE]', firstMs: 9_000, stutters: 2, longestGapMs: 900 }),
      attempt({ ...without, ending: 'gave-up', reason: 'no first word', endMs: 30_000 }),
      attempt({ ...without, ending: 'failed', reason: 'http 500' }),
      refusal({ retryAfterMs: 1_000 }),
      refusal(),
    ],
    undefined,
    2,
    OPTIONS,
  );
  assert.equal(figures.requests, 7);
  assert.equal(figures.complete, 2);
  assert.deepEqual(figures.refused, { withRetryAfter: 1, without: 1 });
  assert.equal(refusedIn(figures), 2);
  assert.deepEqual([figures.gaveUp, figures.lost, figures.failed], [1, 1, 1]);
  assert.deepEqual(figures.reasons, { 'no [DONE]': 1, 'no first word': 1, 'http 500': 1, overloaded: 2 });
  assert.deepEqual(figures.ttft, {
    mean: 200,
    std: 100,
    percentiles: { '50': 200, '99.9': 299.8 },
    most: 300,
  });
  assert.equal(figures.tpot.mean, 75);
  assert.equal(figures.e2el.most, 700);
  assert.equal(figures.refusal.most, 4);
  assert.equal(figures.longestGap.most, 900, 'a silence before a loss was one');
  assert.deepEqual(figures.stutters, { count: 2, answers: 1 });
  assert.deepEqual(
    [figures.requestsPerSecond, figures.outputTokens, figures.outputTokensPerSecond],
    [1, 10, 5],
  );
  assert.equal(figures.cachedShare, null);
});

test('where there was nothing to measure there is no figure', () => {
  const figures = figuresOf([], undefined, 0, OPTIONS);
  const nothing = { mean: null, std: null, percentiles: { '50': null, '99.9': null }, most: null };
  assert.deepEqual([figures.ttft, figures.itl], [nothing, nothing]);
  assert.equal(figures.goodputPerSecond, 0);
});

test('a good answer is complete and keeps every limit', () => {
  const objectives = { ttft: 100, tpot: 50, e2el: 310, gap: 60 };
  assert.ok(isGood(attempt(), objectives));
  for (const worse of [
    { firstMs: 101 },
    { lastMs: 301 },
    { endMs: 311 },
    { longestGapMs: 61 },
    { ending: 'lost' as const },
  ]) {
    assert.ok(!isGood(attempt(worse), objectives), JSON.stringify(worse));
  }
  assert.ok(isGood(attempt({ tokens: 1, lastMs: 100 }), objectives), 'one token has no time per token');
  assert.ok(isGood(attempt({ firstMs: 1e6 }), {}));
});

test('who came back is counted by how the last visit ended', () => {
  const { cameBack } = figuresOf(
    [
      refusal({ visitor: 1, retryAfterMs: 5 }),
      attempt({ visitor: 1, number: 2 }),
      refusal({ visitor: 2, retryAfterMs: 5 }),
      refusal({ visitor: 2, number: 2, retryAfterMs: 5 }),
      refusal({ visitor: 3, retryAfterMs: 5 }),
      refusal({ visitor: 3, number: 2, retryAfterMs: 5 }),
      attempt({ visitor: 3, number: 3 }),
      refusal({ visitor: 4 }),
      attempt({ visitor: 5 }),
    ],
    undefined,
    1,
    OPTIONS,
  );
  assert.deepEqual(cameBack, { visitors: 3, complete: 2, refusedAgain: 1 });
});

test('the cached share is of the prompts of which it is known', () => {
  const { cachedShare } = figuresOf(
    [
      attempt({ promptTokens: 100, cachedTokens: 60 }),
      attempt({ promptTokens: 100, cachedTokens: 0 }),
      attempt({ promptTokens: 1_000 }),
    ],
    undefined,
    1,
    OPTIONS,
  );
  assert.equal(cachedShare, 0.3);
});

test('silences between pieces come from the histogram, in ms', () => {
  const gaps = createHistogram({ lowest: 1, highest: 3_600_000_000, figures: 2 });
  for (let count = 0; count < 99; count += 1) gaps.record(20_000);
  gaps.record(900_000);
  const { itl } = figuresOf([attempt()], gaps, 1, OPTIONS);
  assert.ok(Math.abs(itl.percentiles['50']! - 20) < 0.4, `${itl.percentiles['50']}`);
  assert.ok(Math.abs(itl.most! - 900) < 10, `${itl.most}`);
});

test('reasons beyond any sense are told together', () => {
  const many = Array.from({ length: 200 }, (_, index) => refusal({ reason: `code ${index}` }));
  const { reasons } = figuresOf(many, undefined, 1, OPTIONS);
  assert.ok(Object.keys(reasons).length <= 41);
  assert.equal(
    Object.values(reasons).reduce((sum, count) => sum + count),
    200,
  );
});
