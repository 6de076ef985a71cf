// Guards the reader of answers, on which every hard case stands: what is not of the wire's contract must fail there.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readAnswer } from './answer.ts';
import type { RawAnswer } from './client.ts';
import { choiceOf } from './expectations.ts';

const TEXT = 'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n';
const END = 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n';
const ERROR = 'data: {"error":{"message":"no","type":"t","code":"c","param":null}}\n\n';
const DONE = 'data: [DONE]\n\n';

function raw(contentType: string, text: string, cuts: readonly number[] = []): RawAnswer {
  const reads = [...cuts, text.length].map((end, index) => ({ end, at: index }));
  return { status: 200, headers: { 'content-type': contentType }, text, reads, sentAt: 0, headAt: 0 };
}
const stream = (text: string, cuts?: readonly number[]) =>
  readAnswer(raw('text/event-stream; charset=utf-8', text, cuts));
const lines = (text: string) => readAnswer(raw('application/x-ndjson', text));

test('a stream is read whole, with its keep-alives and the time of each event', () => {
  const answer = stream(`\n\n${TEXT}\n${TEXT}${END}${DONE}`, [5, 3 + TEXT.length]);
  const { content, finish, finishChunks } = choiceOf(answer);
  assert.deepEqual([content, finish, finishChunks], ['aa', 'stop', 1]);
  assert.deepEqual([answer.isDone, answer.error, answer.keepAlives], [true, undefined, 3]);
  assert.deepEqual(
    answer.events.map(({ at }) => at),
    [1, 2, 2],
  );
});

test('a stream that ends in an error is not done', () => {
  const answer = stream(TEXT + ERROR);
  assert.deepEqual([answer.isDone, answer.error?.message, choiceOf(answer).finish], [false, 'no', null]);
});

for (const [what, text] of [
  ['a comment', `: hi\n\n${TEXT}`],
  ['an id', `id: 7\n${TEXT}`],
  ['no space after the colon', TEXT.replace('data: ', 'data:')],
  ['carriage returns', TEXT.replaceAll('\n', '\r\n')],
  ['an event without its end', TEXT.slice(0, -1)],
  ['an event of two lines', `data: {\ndata: }\n\n`],
  ['broken JSON', 'data: {"choices"\n\n'],
  ['something after [DONE]', DONE + TEXT],
  ['a second [DONE]', DONE + DONE],
  ['something after an error', ERROR + TEXT],
] as const) {
  test(`${what} is no stream of ours`, () => {
    assert.throws(() => stream(text), assert.AssertionError);
  });
}

test('lines are whole with a reason and the usage on the last', () => {
  const word = '{"choices":[{"index":0,"text":"a","reasoning_content":"b","finish_reason":null}]}\n';
  const last = '{"choices":[{"index":0,"text":"","finish_reason":"stop"}],"usage":{"prompt_tokens":1}}\n';
  const answer = lines(`\n${word}\n${word}${last}`);
  const { content, reasoning } = choiceOf(answer);
  assert.deepEqual([content, reasoning, answer.isDone, answer.keepAlives], ['aa', 'bb', true, 2]);
  assert.equal(lines(word).isDone, false);
  assert.throws(() => lines(word.trim()), assert.AssertionError);
  assert.throws(() => lines(TEXT), assert.AssertionError);
});

test('tool calls are put together by their indexes', () => {
  const piece = (call: object) =>
    `data: ${JSON.stringify({ choices: [{ index: 0, delta: { tool_calls: [call] } }] })}\n\n`;
  const answer = stream(
    piece({ index: 0, id: 'x', type: 'function', function: { name: 'f', arguments: '{"a"' } }) +
      piece({ index: 1, id: 'y', type: 'function', function: { name: 'g', arguments: '{}' } }) +
      piece({ index: 0, function: { arguments: ':1}' } }),
  );
  assert.deepEqual(choiceOf(answer).toolCalls, [
    { index: 0, id: 'x', type: 'function', name: 'f', arguments: '{"a":1}' },
    { index: 1, id: 'y', type: 'function', name: 'g', arguments: '{}' },
  ]);
  const asObject = piece({ index: 0, id: 'x', function: { name: 'f', arguments: {} } });
  assert.throws(() => stream(asObject), assert.AssertionError);
});
