// The reader of streamed answers against streams that are cut anywhere, and the silences it is asked for.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AnswerReader, longestGap } from './answer-reader.ts';

const USAGE = { completion_tokens: 3, prompt_tokens: 20, prompt_tokens_details: { cached_tokens: 12 } };

function streamOf(words: readonly string[], newline = '\n'): string {
  const events = [
    { choices: [{ delta: { role: 'assistant', content: '' } }] },
    ...words.map((content) => ({ choices: [{ delta: { content } }] })),
    { choices: [{ delta: {}, finish_reason: 'length' }] },
    { choices: [], usage: USAGE },
  ];
  const lines = [...events.map((event) => `data: ${JSON.stringify(event)}`), ': keep-alive', 'data: [DONE]'];
  return lines.map((line) => `${line}${newline}${newline}`).join('');
}

test('a stream is read alike however it is cut', () => {
  const words = fc.array(fc.string({ unit: 'grapheme', minLength: 1 }), { maxLength: 8 });
  const cuts = fc.array(fc.nat(2_000), { maxLength: 12 });
  fc.assert(
    fc.property(words, cuts, fc.constantFrom('\n', '\r\n'), (said, at, newline) => {
      const whole = streamOf(said, newline);
      const places = [...new Set(at.map((place) => place % whole.length))].sort((a, b) => a - b);
      const reader = new AnswerReader();
      for (const [index, place] of [...places, whole.length].entries()) {
        reader.take(whole.slice(index === 0 ? 0 : places[index - 1], place), index);
      }
      assert.equal(reader.wordsAt.length, said.length);
      assert.deepEqual(
        reader.wordsAt,
        reader.wordsAt.toSorted((a, b) => a - b),
      );
      assert.deepEqual(reader.usage, { tokens: 3, promptTokens: 20, cachedTokens: 12 });
      assert.equal(reader.isDone, true);
      assert.equal(reader.error, undefined);
    }),
  );
});

test('a word has the time at which its line was whole', () => {
  const reader = new AnswerReader();
  const line = 'data: {"choices":[{"delta":{"content":"a"}}]}\n';
  reader.take(line.slice(0, 20), 1);
  assert.deepEqual(reader.wordsAt, []);
  reader.take(line.slice(20), 2);
  reader.take(line, 5);
  assert.deepEqual(reader.wordsAt, [2, 5]);
});

test('a stream that was cut off is not done', () => {
  const reader = new AnswerReader();
  reader.take(streamOf(['a', 'b']).split('data: [DONE]')[0]!, 1);
  assert.equal(reader.isDone, false);
});

test('a failure in the stream is told, with a message or without', () => {
  const told = new AnswerReader();
  told.take('data: {"error":{"message":"The engine died."}}\n\n', 1);
  assert.equal(told.error, 'The engine died.');
  const bare = new AnswerReader();
  bare.take('data: {"error":{"code":500}}\n\n', 1);
  assert.equal(bare.error, '{"code":500}');
});

test('the longest silence, of all and of those that touch a time', () => {
  const wordsAt = [0, 100, 110, 150, 400];
  assert.equal(longestGap(wordsAt), 250);
  assert.equal(longestGap(wordsAt, 105, 149), 40);
  assert.equal(longestGap(wordsAt, 50, 60), 100, 'one that began before and ends after');
  assert.equal(longestGap(wordsAt, 160, 170), 250);
  assert.equal(longestGap(wordsAt, 400, 500), 0, 'none after the last word');
  assert.equal(longestGap([7]), 0);
  assert.equal(longestGap([]), 0);
});
