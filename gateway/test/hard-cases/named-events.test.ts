// Guards the reader of dialects with named events, on which their hard cases stand: what is not of their contract must fail.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Answer, readAnswer } from './answer.ts';
import { choiceOf } from './expectations.ts';

type Event = readonly [name: string, members: object];

const written = (events: readonly Event[], isNumbered: boolean) =>
  events
    .map(([name, members], number) => {
      const value = { type: name, ...members, ...(isNumbered && { sequence_number: number }) };
      return `event: ${name}\ndata: ${JSON.stringify(value)}\n\n`;
    })
    .join('');

function read(text: string, type = 'text/event-stream; charset=utf-8'): Answer {
  const reads = [{ end: text.length, at: 0 }];
  return readAnswer({ status: 200, headers: { 'content-type': type }, text, reads, sentAt: 0, headAt: 0 });
}

const thought = { type: 'reasoning', id: 'rs_1', content: [{ type: 'reasoning_text', text: 'hm' }] };
const message = { type: 'message', id: 'msg_1', content: [{ type: 'output_text', text: 'ab' }] };
const call = { type: 'function_call', id: 'fc_1', call_id: 'call_1', name: 'f', arguments: '{"a":1}' };
const RESPONSE = {
  object: 'response',
  status: 'completed',
  output: [thought, message, call],
  usage: { input_tokens: 3, output_tokens: 2 },
};
const delta = (kind: string, id: string, place: number, text: string): Event => [
  `response.${kind}.delta`,
  { item_id: id, output_index: place, delta: text },
];
const RESPONSES: readonly Event[] = [
  ['response.created', { response: {} }],
  ['response.in_progress', { response: {} }],
  ['response.in_progress', { response: {} }],
  ['response.output_item.added', { output_index: 0, item: { ...thought, content: [] } }],
  delta('reasoning_text', 'rs_1', 0, 'hm'),
  ['response.reasoning_text.done', { item_id: 'rs_1', output_index: 0, text: 'hm' }],
  ['response.output_item.done', { output_index: 0, item: thought }],
  ['response.output_item.added', { output_index: 1, item: { ...message, content: [] } }],
  ['response.content_part.added', { item_id: 'msg_1', output_index: 1 }],
  delta('output_text', 'msg_1', 1, 'a'),
  delta('output_text', 'msg_1', 1, 'b'),
  ['response.output_item.done', { output_index: 1, item: message }],
  ['response.output_item.added', { output_index: 2, item: { ...call, arguments: '' } }],
  delta('function_call_arguments', 'fc_1', 2, '{"a":1}'),
  ['response.output_item.done', { output_index: 2, item: call }],
  ['response.completed', { response: RESPONSE }],
];

const block = (index: number, content: object, ...deltas: readonly object[]): Event[] => [
  ['content_block_start', { index, content_block: content }],
  ...deltas.map((one): Event => ['content_block_delta', { index, delta: one }]),
  ['content_block_stop', { index }],
];
const USAGE = { input_tokens: 1, cache_read_input_tokens: 2, output_tokens: 2 };
const MESSAGES: readonly Event[] = [
  ['message_start', { message: { role: 'assistant', content: [] } }],
  ['ping', {}],
  ...block(
    0,
    { type: 'thinking', thinking: '' },
    { type: 'thinking_delta', thinking: 'hm' },
    { type: 'signature_delta', signature: 's' },
  ),
  ...block(1, { type: 'text', text: '' }, { type: 'text_delta', text: 'ab' }),
  ...block(
    2,
    { type: 'tool_use', id: 'call_1', name: 'f', input: {} },
    { type: 'input_json_delta', partial_json: '{"a":1}' },
  ),
  ['message_delta', { delta: { stop_reason: 'tool_use' }, usage: USAGE }],
  ['message_stop', {}],
];
const MESSAGE = {
  type: 'message',
  content: [
    { type: 'thinking', thinking: 'hm' },
    { type: 'text', text: 'ab' },
    { type: 'tool_use', id: 'call_1', name: 'f', input: { a: 1 } },
  ],
  stop_reason: 'tool_use',
  usage: USAGE,
};

function assertSame(answer: Answer, finish: string): void {
  const { content, reasoning, toolCalls, finish: reason } = choiceOf(answer);
  assert.deepEqual([content, reasoning, reason], ['ab', 'hm', finish]);
  assert.deepEqual(
    toolCalls.map(({ id, name, arguments: text }) => [id, name, text]),
    [['call_1', 'f', '{"a":1}']],
  );
  assert.deepEqual(answer.usage, { prompt_tokens: 3, completion_tokens: 2 });
  assert.deepEqual([answer.isDone, answer.error], [true, undefined]);
}

test('the same answer is read from either dialect, streamed and whole', () => {
  const [responses, messages] = [read(written(RESPONSES, true)), read(written(MESSAGES, false))];
  for (const answer of [responses, messages]) {
    assertSame(answer, 'tool_calls');
    assert.equal(answer.keepAlives, 1);
  }
  for (const whole of [RESPONSE, MESSAGE]) {
    assertSame(read(JSON.stringify(whole), 'application/json'), 'tool_calls');
  }
});

test('a stream that fails is not done', () => {
  const error = { code: 'backend_failed', message: 'It died.' };
  const responses = written(
    [...RESPONSES.slice(0, 2), ['response.failed', { response: { error } }], ['error', error]],
    true,
  );
  const messages = written(
    [...MESSAGES.slice(0, 1), ['error', { error: { type: 'api_error', message: 'It died.' } }]],
    false,
  );
  for (const text of [responses, messages]) {
    const { isDone, error: told } = read(text);
    assert.deepEqual([isDone, told?.message], [false, 'It died.']);
  }
});

const without = (events: readonly Event[], place: number) => events.filter((_, index) => index !== place);
const wrong: Readonly<Record<string, string>> = {
  'a number that is missing': written(RESPONSES, true).replace('"sequence_number":4', '"sequence_number":5'),
  'a delta of an item that is done': written([...RESPONSES.slice(0, 12), RESPONSES[10]!], true),
  'a response that is not what was said': written(without(RESPONSES, 10), true),
  'an item that was not done': written(without(RESPONSES, 11), true),
  'something after the end': written([...MESSAGES, ['ping', {}]], false),
  'a block within a block': written(without(MESSAGES, 5), false),
  'an end in an open block': written(without(MESSAGES, 11), false),
  'a name that is not the type': written(MESSAGES, false).replace('event: ping', 'event: message_stop'),
  'an event of another dialect': written([...MESSAGES.slice(0, 1), RESPONSES[1]!], false),
  'an event without a name': `${written(MESSAGES.slice(0, 1), false)}data: {"type":"ping"}\n\n`,
  'a comment': `${written(MESSAGES.slice(0, 1), false)}: hi\n\n`,
};
for (const [what, text] of Object.entries(wrong)) {
  test(`${what} is no stream of ours`, () => {
    assert.throws(() => read(text), assert.AssertionError);
  });
}
