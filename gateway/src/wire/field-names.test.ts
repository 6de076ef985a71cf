// Guards that a refusal names what its client sent, and nothing else.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GatewayError } from '../core/errors.ts';
import { type FieldNames, retoldIn } from './field-names.ts';

const NAMES: FieldNames = {
  messages: 'input',
  origins: [{ field: 'instructions' }, { field: 'input[0]', parts: 'input[0].content' }, { field: 'input' }],
  renamed: [
    [/^response_format(\.json_schema)?/, 'text.format'],
    [/^max_tokens$/, 'max_output_tokens'],
  ],
  known: new Set(['input', 'instructions', 'text', 'temperature', 'max_output_tokens']),
};

const retold = (param: string | undefined, message = 'No.', isTrimmed = false, names = NAMES) => {
  const error = new GatewayError('backend_refused', message, { param, status: 422 });
  const { message: text, param: field, status, wire } = retoldIn(names, error, isTrimmed);
  assert.deepEqual([status, wire], [422, error.wire], 'the rest stays');
  return [field, text];
};

test('a message is named by what it was made of, and a part by its place where that is known', () => {
  for (const [param, field] of [
    ['messages', 'input'],
    ['messages[0]', 'instructions'],
    ['messages[0].content[0]', 'instructions'],
    ['messages[1].role', 'input[0]'],
    ['messages[1].content[2]', 'input[0].content[2]'],
    ['messages.[1].content.[2].image_url', 'input[0].content[2]'],
    ['messages.1.content.2', 'input[0].content[2]'],
    ['messages[2].content[0]', 'input'],
    ['messages[9]', 'input'],
  ] as const) {
    assert.equal(retold(param)[0], field, param);
  }
});

test('another field has its own name, its new one, or none where the client has no such field', () => {
  for (const [param, field] of [
    ['temperature', 'temperature'],
    ['max_tokens', 'max_output_tokens'],
    ['response_format.json_schema.schema.a', 'text.format.schema.a'],
    ['text.format.schema.a', 'text.format.schema.a'],
    ['logit_bias', undefined],
    [undefined, undefined],
  ] as const) {
    assert.equal(retold(param)[0], field, String(param));
  }
});

test('its words say the same', () => {
  assert.equal(retold('max_tokens', 'max_tokens is too large.')[1], 'max_output_tokens is too large.');
  assert.equal(retold('logit_bias', 'logit_bias is unknown.')[1], 'The request is unknown.');
  assert.equal(
    retold(undefined, 'Bad messages[1].content[0].text, and messages.0.role.')[1],
    'Bad input[0].content[0], and instructions.',
  );
  assert.equal(retold(undefined, 'These messages are bad.')[1], 'These messages are bad.');
});

test('what is named by another number is not taken for a number of the back end', () => {
  const names: FieldNames = {
    messages: 'messages',
    origins: [{ field: 'system' }, { field: 'messages[0]' }],
    renamed: [],
  };
  assert.deepEqual(retold('messages[1]', 'messages[1] is bad.', false, names), [
    'messages[0]',
    'messages[0] is bad.',
  ]);
});

test('where there are no messages, none is named', () => {
  const names: FieldNames = { origins: [], renamed: [], known: undefined };
  assert.deepEqual(retold('messages[0].role', 'messages[0].role is bad.', false, names), [
    undefined,
    'The request is bad.',
  ]);
  assert.deepEqual(retold('prompt', 'prompt is bad.', false, names), ['prompt', 'prompt is bad.']);
});

test("the chat dialect's own names stay, but for the number of a message where some were taken out", () => {
  const error = new GatewayError('invalid_request', 'messages[7].role is bad.', {
    param: 'messages[7].role',
  });
  assert.equal(retoldIn(undefined, error, false), error);
  const trimmed = retoldIn(undefined, error, true);
  assert.deepEqual([trimmed.param, trimmed.message], ['messages', 'messages is bad.']);
});
