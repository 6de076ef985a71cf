// Clients that must work unchanged, each over the whole server on scripted words: what its user reads, what its user is told
// when something goes wrong, and what its leaving ends.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fakeConfig, metric, type Sluice, startSluice, waitUntil } from '../e2e/harness.ts';
import type { Asked } from './client.ts';
import { CLIENTS } from './clients.ts';

const PIECES = [
  '量子',
  '计算是',
  ' a “way”\u2028',
  '利用量子力学',
  '原理的\n\n',
  '计算方式。',
  'It is naïve\u0085',
  ' 👩‍👩‍👧',
  '。😀',
];
const TEXT = PIECES.join('');
const THOUGHT = ['想一想', ' …'];
/** Pieces of text that come before a script breaks or falls silent. */
const BEFORE_FAULT = 3;
const MODEL = 'deepseek-r1';

/** Its pieces come after keep-alives. */
let words: Sluice;
/** Breaks every answer in the middle. */
let breaks: Sluice;
/** Falls silent in the middle of every answer, for good. */
let stalls: Sluice;

before(async () => {
  const script = { pieces: PIECES, reasoning: THOUGHT };
  const fault = THOUGHT.length + BEFORE_FAULT;
  [words, breaks, stalls] = await Promise.all([
    startSluice({ config: fakeConfig({ ...script, first_token_ms: 300 }, { keep_alive_ms: 100 }) }),
    startSluice({ config: fakeConfig({ ...script, fail_after: fault }) }),
    startSluice({ config: fakeConfig({ ...script, stall_after: fault }, { keep_alive_ms: 100 }) }),
  ]);
});
after(() => Promise.all([words, breaks, stalls].map((sluice) => sluice?.stop())));

const asked = (sluice: Sluice, rest: Partial<Asked> = {}): Asked => ({
  url: sluice.url,
  model: MODEL,
  prompt: '什么是量子计算？',
  stream: true,
  maxTokens: 64,
  ...rest,
});

for (const client of CLIENTS) {
  const { name, shows } = client;
  // A Python client's life is mostly its start.
  describe(name, { skip: client.missing, concurrency: 2 }, () => {
    test('streams: every piece as it was made, through keep-alives', async () => {
      const seen = await client.ask(asked(words));
      assert.equal(seen.error, undefined);
      assert.equal(seen.pieces.join(''), TEXT);
      assert.ok(seen.pieces.length > 1, 'it came in one piece');
      assert.equal(seen.reasoning, shows.reasoning ? THOUGHT.join('') : '');
      if (!shows.usage) return;
      assert.equal(seen.finish, 'stop');
      assert.equal(seen.completionTokens, THOUGHT.length + PIECES.length);
    });

    if (shows.whole) {
      test('an answer as one JSON', async () => {
        const seen = await client.ask(asked(words, { stream: false }));
        assert.equal(seen.error, undefined);
        assert.deepEqual(seen.pieces, [TEXT]);
        assert.equal(seen.reasoning, shows.reasoning ? THOUGHT.join('') : '');
        assert.equal(seen.finish, 'stop');
        assert.equal(seen.completionTokens, THOUGHT.length + PIECES.length);
      });
    }

    for (const stream of shows.whole ? [true, false] : [true]) {
      test(`a model that is not there${stream ? '' : ', as one JSON'}: status and words`, async () => {
        const { error, pieces } = await client.ask(asked(words, { model: 'no-such', stream }));
        assert.ok(error, 'it sees no error');
        assert.deepEqual(pieces, []);
        if (!shows.errors) return;
        assert.equal(error.status, 404);
        // The words name what there is.
        assert.match(error.message, /deepseek-r1/);
      });
    }

    test('an answer that breaks in the middle is an error, after the words that came', async () => {
      const seen = await client.ask(asked(breaks));
      assert.equal(seen.pieces.join(''), PIECES.slice(0, BEFORE_FAULT).join(''));
      assert.ok(seen.error, 'it takes the answer for a whole one');
      if (shows.errors) assert.match(seen.error.message, /broke/);
    });

    test('its leaving ends the answer', async () => {
      const running = () => metric(stalls.url, 'sluice_requests_running');
      const afterLeaving = () =>
        waitUntil(
          async () => (await running()) === 0,
          10_000,
          () => 'it runs on',
        );
      const seen = await client.ask(asked(stalls, { leaveAfter: BEFORE_FAULT - 1, afterLeaving }));
      assert.equal(seen.error, undefined);
      // Nothing but its leaving could have ended it: it has not seen the end of the script.
      const { length } = seen.pieces;
      assert.ok(length >= BEFORE_FAULT - 1 && length <= BEFORE_FAULT, `${length} pieces`);
    });
  });
}
