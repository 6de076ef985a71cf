// The reader of streamed answers against streams that are cut anywhere, and the silences it is asked for.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AnswerReader, longestGap } from './answer-reader.ts';

const USAGE = { completion_tokens: 3, prompt_tokens: 20, prompt_tokens_details: { cached_tokens: 12 } };

function streamOf(words: readonly string[], newline = '\n'): string {
  const events = [
    { choices: [{ delta: { role: 'assistant', content: '' } }] },
    ...words.map((content) => ({ choices: [{ delta: { content }, finish_reason: null }] })),
    { choices: [{ delta: {}, finish_reason: 'length' }] },
    { choices: [], usage: USAGE },
  ];
  const lines = [...events.map((event) => `data: ${JSON.stringify(event)}`), ': keep-alive', 'data: [DONE]'];
  return lines.map((line) => `${line}${newline}${newline}`).join('');
}

function read(text: string): AnswerReader {
  const reader = new AnswerReader();
  reader.take(text, 1);
  return reader;
}

test('a stream is read alike however it is cut', () => {
  const words = fc.array(fc.string({ unit: 'grapheme', minLength: 1 }), { maxLength: 8 });
  const cuts = fc.array(fc.nat(2_000), { maxLength: 12 });
  const starts = fc.constantFrom('', '\ufeff', ': hello\n\n', 'retry: 3000\n\n');
  fc.assert(
    fc.property(words, cuts, fc.constantFrom('\n', '\r\n'), starts, (said, at, newline, start) => {
      const whole = start + streamOf(said, newline);
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
      assert.equal(reader.finishReason, 'length');
      assert.equal(reader.isDone, true);
      assert.equal(reader.error, undefined);
    }),
  );
});

test('a word has the time at which its event was whole', () => {
  const reader = new AnswerReader();
  const event = 'data: {"choices":[{"delta":{"content":"a"}}]}\n\n';
  reader.take(event.slice(0, 20), 1);
  assert.deepEqual(reader.wordsAt, []);
  reader.take(event.slice(20), 2);
  reader.take(event, 5);
  assert.deepEqual(reader.wordsAt, [2, 5]);
});

test('an event may have several lines, no blank behind its colon, and other fields', () => {
  const reader = read(
    'event: message\nid: 7\ndata:{"choices":\ndata: [{"delta":{"content":"a"}}]}\n\ndata:\n\n',
  );
  assert.deepEqual(reader.wordsAt, [1]);
});

test('thoughts, tool calls and the text of completions are words', () => {
  for (const choice of [
    { delta: { reasoning_content: 'Well' } },
    { delta: { reasoning: 'Well' } },
    { delta: { tool_calls: [{ index: 0 }] } },
    { text: 'Well' },
  ]) {
    assert.equal(read(`data: ${JSON.stringify({ choices: [choice] })}\n\n`).wordsAt.length, 1);
  }
  assert.equal(read('data: {"choices":[{"delta":{"content":null,"tool_calls":[]}}]}\n\n').wordsAt.length, 0);
});

test('a stream that was cut off is not done', () => {
  const reader = read(streamOf(['a', 'b']).split('data: [DONE]')[0]!);
  assert.equal(reader.isDone, false);
  assert.equal(read('data: [DONE]\n').isDone, false, 'its event has not ended');
});

test('what the server does not count is unknown, and not 0', () => {
  const { usage } = read('data: {"choices":[],"usage":{"completion_tokens":3}}\n\n');
  assert.deepEqual(usage, { tokens: 3, promptTokens: undefined, cachedTokens: undefined });
  assert.equal(read('data: {"choices":[],"usage":null}\n\n').usage, undefined);
});

test('a failure in the stream is told, with a message or without', () => {
  assert.equal(read('data: {"error":{"message":"The engine died."}}\n\n').error, 'The engine died.');
  assert.equal(read('data: {"error":{"code":500}}\n\n').error, '{"code":500}');
  assert.equal(read('data: {"error":null,"choices":[]}\n\n').error, undefined);
});

test('what is no JSON, or has no end, is no answer', () => {
  assert.throws(() => read('data: {"choices"\n\n'), SyntaxError);
  const reader = new AnswerReader();
  const much = 'x'.repeat(2 ** 20);
  assert.throws(() => {
    for (let count = 0; count < 5; count += 1) reader.take(much, count);
  }, /no end/);
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
