// Guards what is kept of whole answers: for its time, within its memory, and nothing that did not end well.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../test/manual-clock.ts';
import type { FinishReason, TokenEvent } from '../core/chat.ts';
import { AnswerCache, type KeptAnswer } from './answer-cache.ts';

function answer(bytes = 100, reasons: readonly FinishReason[] = ['stop']): KeptAnswer {
  const events = reasons.map((reason, choice): TokenEvent => ({ type: 'choice-end', choice, reason }));
  return { events, bytes, usage: { promptTokens: 3 }, backend: 'b' };
}

function setUp(maxBytes = 10_000) {
  const clock = new ManualClock(5_000);
  return { clock, cache: new AnswerCache({ ttlMs: 1_000, maxBytes }, clock) };
}

test('an answer is kept for its time from when it was made, however often it is asked for', () => {
  const { clock, cache } = setUp();
  const one = answer();
  cache.keep('one', one);
  assert.equal(cache.get('another'), undefined);
  for (let ms = 0; ms <= 1_000; ms += 250) {
    assert.deepEqual(cache.get('one'), one, `${ms}`);
    clock.advance(250);
  }
  assert.equal(cache.get('one'), undefined);
  assert.equal(clock.pendingTimers, 0);
});

test('what is not asked for longest goes first when memory is used up, and what is too large is not kept at all', () => {
  const { cache } = setUp(3 * 1_612);
  for (const key of ['a', 'b', 'c']) cache.keep(key, answer(1_000));
  cache.get('a');
  cache.keep('d', answer(1_100));
  assert.deepEqual(
    ['a', 'b', 'c', 'd'].filter((key) => cache.get(key) !== undefined),
    ['a', 'c', 'd'],
  );
  cache.keep('e', answer(10_000));
  assert.deepEqual(
    ['a', 'c', 'd', 'e'].filter((key) => cache.get(key) !== undefined),
    ['a', 'c', 'd'],
  );
});

test('only what came to a good end is kept', () => {
  const { cache } = setUp();
  for (const reason of ['stop', 'length', 'tool_calls'] as const) {
    cache.keep(reason, answer(9, [reason]));
    assert.ok(cache.get(reason), reason);
  }
  cache.keep('filtered', answer(9, ['stop', 'content_filter']));
  cache.keep('endless', answer(9, []));
  assert.deepEqual([cache.get('filtered'), cache.get('endless')], [undefined, undefined]);
});
