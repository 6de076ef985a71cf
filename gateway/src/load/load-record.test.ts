// What is kept of a request: durations from when it was due, the silences, and the counts of its second.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LoadRecord, type Sending } from './load-record.ts';
import { heardAt } from './load-testing.ts';
import type { Heard } from './streamed-request.ts';

const START = 5_000;
const SENDING: Sending = { visitor: 3, number: 1, tenant: 'a', dueAt: START + 900, lateMs: 2 };

function heard(more: Partial<Heard> = {}): Heard {
  return heardAt(START + 902, {
    endedAt: START + 2_600,
    wordsAt: [START + 1_000, START + 1_100, START + 1_700, START + 2_500],
    usage: { tokens: 6, promptTokens: 20, cachedTokens: 5 },
    ...more,
  });
}

test('a request is told from when it was due', () => {
  const record = new LoadRecord(START);
  record.sent(START + 902);
  assert.equal(record.inFlight, 1);
  record.ended(SENDING, heard());
  assert.equal(record.inFlight, 0);
  assert.deepEqual(record.attempts, [
    {
      visitor: 3,
      number: 1,
      tenant: 'a',
      dueMs: 900,
      lateMs: 2,
      ending: 'complete',
      reason: undefined,
      retryAfterMs: undefined,
      backend: undefined,
      firstMs: 100,
      lastMs: 1_600,
      endMs: 1_700,
      longestGapMs: 800,
      stutters: 2,
      pieces: 4,
      tokens: 6,
      promptTokens: 20,
      cachedTokens: 5,
    },
  ]);
});

test('without usage the pieces are the tokens', () => {
  const record = new LoadRecord(START);
  record.ended(SENDING, heard({ usage: undefined }));
  assert.equal(record.attempts[0]!.tokens, 4);
  assert.equal(record.attempts[0]!.promptTokens, undefined);
});

test('seconds count what happened in them', () => {
  const record = new LoadRecord(START);
  record.sent(START + 902);
  for (const at of heard().wordsAt) record.word(at);
  record.ended(SENDING, heard());
  record.ended(SENDING, heard({ ending: 'refused', endedAt: START + 10, wordsAt: [] }));
  record.ended(SENDING, heard({ ending: 'lost', endedAt: START + 20 }));
  assert.deepEqual(record.seconds, [
    { sent: 1, complete: 0, refused: 1, unhappy: 1, pieces: 0 },
    { sent: 0, complete: 0, refused: 0, unhappy: 0, pieces: 3 },
    { sent: 0, complete: 1, refused: 0, unhappy: 0, pieces: 1 },
  ]);
});

test('silences are counted for all and for the groups of the request', () => {
  const record = new LoadRecord(START, ({ tenant }) => [tenant]);
  record.ended(SENDING, heard());
  record.ended({ ...SENDING, tenant: 'b' }, heard({ wordsAt: [0, 50] }));
  assert.equal(record.gaps.get('')!.count, 4);
  assert.equal(record.gaps.get('a')!.count, 3);
  assert.equal(record.gaps.get('b')!.count, 1);
  const longest = record.gaps.get('a')!.max / 1000;
  assert.ok(Math.abs(longest - 800) <= 8, `${longest} ms`);
});

test('what the server said is kept once for each reason', () => {
  const record = new LoadRecord(START);
  for (const message of ['first', 'second'])
    record.ended(SENDING, heard({ ending: 'failed', reason: 'http 500', message }));
  assert.deepEqual([...record.messages], [['http 500', 'first']]);
});
