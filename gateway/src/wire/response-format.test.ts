// What `response_format` may be, on chat completions as on `generate`: each form with the client's own value beside it, and
// refusals by name.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GatewayError } from '../core/errors.ts';
import { chatCompletions } from './dialects/chat-completions.ts';
import { generate } from './dialects/generate.ts';

const chat = (format: unknown) =>
  chatCompletions.parse(
    { model: 'm', messages: [{ role: 'user', content: 'hi' }], response_format: format },
    undefined,
  );
const plain = (format: unknown) => generate.parse({ prompt: 'hi', response_format: format }, 'm');

const schema = { type: 'object', properties: { a: { type: 'integer' } } };

test('a form is read once, and the original stays reachable', () => {
  const named = { type: 'json_schema', json_schema: { name: 'x', strict: true, description: 'd', schema } };
  const path = 'response_format.json_schema.schema';
  const asMembers = { type: 'json_object', schema };
  for (const parse of [chat, plain]) {
    const formatOf = (format: unknown) => parse(format).calls[0]!.responseFormat;
    assert.deepEqual(formatOf(named), { kind: 'schema', schema, path, original: named });
    assert.deepEqual(formatOf(asMembers), {
      kind: 'schema',
      schema,
      path: 'response_format.schema',
      original: asMembers,
    });
    assert.deepEqual(formatOf({ type: 'json_object' }), { kind: 'json', original: { type: 'json_object' } });
    assert.deepEqual(formatOf({ type: 'text' }), { kind: 'text', original: { type: 'text' } });
    assert.equal(formatOf(null), undefined);
    assert.equal(formatOf(undefined), undefined);
    assert.ok(!('response_format' in parse(named).calls[0]!.extra));
  }
});

test('nulls inside are as if absent', () => {
  const format = { type: 'json_schema', json_schema: { name: null, strict: null, schema } };
  assert.equal(chat(format).calls[0]!.responseFormat?.kind, 'schema');
  assert.equal(chat({ type: 'json_object', schema: null }).calls[0]!.responseFormat?.kind, 'json');
});

const WRONG: readonly (readonly [format: unknown, param: string])[] = [
  ['json', 'response_format'],
  [[], 'response_format'],
  [{}, 'response_format.type'],
  [{ type: 'xml' }, 'response_format.type'],
  [{ type: 'json_object', schema: 'x' }, 'response_format.schema'],
  [{ type: 'json_schema' }, 'response_format.json_schema'],
  [{ type: 'json_schema', json_schema: { name: 'x' } }, 'response_format.json_schema.schema'],
  [{ type: 'json_schema', json_schema: { name: 1, schema } }, 'response_format.json_schema.name'],
  [
    { type: 'json_schema', json_schema: { name: 'x', strict: 'yes', schema } },
    'response_format.json_schema.strict',
  ],
];

for (const [format, param] of WRONG) {
  test(`${JSON.stringify(format)} is refused by name`, () => {
    for (const parse of [chat, plain]) {
      assert.throws(
        () => parse(format),
        (error) => error instanceof GatewayError && error.code === 'invalid_request' && error.param === param,
      );
    }
  });
}
