// What every dialect says to the same odd values: one table for all, and no body that gets past the parsers as a crash.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { z } from 'zod';
import type { ChatRequest } from '../core/chat.ts';
import { GatewayError } from '../core/errors.ts';
import type { Dialect, ParsedRequest } from './dialect.ts';
import { chatCompletions } from './dialects/chat-completions.ts';
import { completions } from './dialects/completions.ts';
import { generate, generateStream } from './dialects/generate.ts';
import { parseJson } from './json.ts';
import { bodyReader, integerField, listOf, modelField, objectWithRest, textField } from './request-fields.ts';

const ROUTES: readonly { readonly dialect: Dialect; readonly valid: string; readonly model?: string }[] = [
  { dialect: chatCompletions, valid: '"model":"m","messages":[{"role":"user","content":"hi"}]' },
  { dialect: completions, valid: '"model":"m","prompt":"hi"' },
  { dialect: generate, valid: '"prompt":"hi"', model: 'm' },
  { dialect: generateStream, valid: '"prompt":"hi"', model: 'm' },
];

const read = (dialect: Dialect, text: string, model?: string): ParsedRequest =>
  dialect.parse(parseJson(new TextEncoder().encode(text)), model);

/** A field that is absent and one that is undefined are the same to who reads them. */
const NOTHING = { user: undefined };

function refusal(act: () => unknown): GatewayError {
  try {
    act();
  } catch (thrown) {
    assert.ok(thrown instanceof GatewayError, String(thrown));
    assert.equal(thrown.code, 'invalid_request');
    assert.match(thrown.message, /^[^\n]+\.$/);
    return thrown;
  }
  return assert.fail('not refused');
}

const WRONG: readonly [param: string, ...values: string[]][] = [
  ['max_tokens', '0', '-1', '0.5', '"ten"', '"null"', '[]', 'true', '-9007199254740993'],
  ['temperature', '-0.1', '2.1', '"0.6"', '{}', '9007199254740993'],
  ['top_p', '-0.1', '1.1', '""'],
  ['top_k', '-2', '0.5', '"a"'],
  ['min_p', '-1', '1.5'],
  ['seed', '0.5', '"1"'],
  ['presence_penalty', '-2.1', '2.1'],
  ['frequency_penalty', '-2.1', '"x"'],
  ['repetition_penalty', '0', '-1', '10.1'],
  ['stop', '1', '{}', `"${'x'.repeat(257)}"`, JSON.stringify(Array(17).fill('a'))],
  ['stop[1]', '["a",1]', `["a","${'x'.repeat(257)}"]`],
  ['stream', '"true"', '1'],
];

for (const [param, ...values] of WRONG) {
  test(`${param} out of its range is refused by name on every route`, () => {
    for (const { dialect, valid, model } of ROUTES) {
      for (const value of values) {
        const error = refusal(() =>
          read(dialect, `{${valid},"${param.replace(/\[.*/, '')}":${value}}`, model),
        );
        assert.equal(error.param, param, `${dialect.name} ${value}`);
        assert.ok(error.message.startsWith(`${param} must be `), error.message);
      }
    }
  });
}

const RIGHT: readonly [member: string, look: (call: ChatRequest) => unknown, expected: unknown][] = [
  ['"max_tokens":1000000000000000000', ({ maxTokens }) => maxTokens, 1e18],
  ['"max_tokens":9007199254740993', ({ maxTokens }) => maxTokens, 9007199254740992],
  ['"max_tokens":100.0', ({ maxTokens }) => maxTokens, 100],
  ['"max_tokens":7,"max_tokens":9', ({ maxTokens }) => maxTokens, 9],
  ['"temperature":0', ({ sampling }) => sampling.temperature, 0],
  ['"temperature":9,"temperature":2', ({ sampling }) => sampling.temperature, 2],
  ['"top_p":0', ({ sampling }) => sampling.topP, 0],
  ['"top_k":-1', ({ sampling }) => sampling.topK, undefined],
  ['"top_k":0', ({ sampling }) => sampling.topK, 0],
  ['"min_p":0.05', ({ sampling }) => sampling.minP, 0.05],
  ['"seed":-5', ({ sampling }) => sampling.seed, -5],
  ['"seed":1e30', ({ sampling }) => sampling.seed, 1e30],
  ['"seed":9007199254740993', ({ extra }) => JSON.stringify(extra), '{"seed":9007199254740993}'],
  ['"presence_penalty":-2', ({ sampling }) => sampling.presencePenalty, -2],
  ['"frequency_penalty":2', ({ sampling }) => sampling.frequencyPenalty, 2],
  ['"repetition_penalty":1.1', ({ sampling }) => sampling.repetitionPenalty, 1.1],
  ['"stop":"a"', ({ stop }) => stop, ['a']],
  ['"stop":["a","","b"]', ({ stop }) => stop, ['a', 'b']],
  ['"stop":""', ({ stop }) => stop, []],
  ['"stop":[]', ({ stop }) => stop, []],
  ['"stop":["\\ud83d"]', ({ stop }) => stop, ['\ufffd']],
];

for (const [member, look, expected] of RIGHT) {
  test(`${member.slice(0, 40)} is understood on every route`, () => {
    for (const { dialect, valid, model } of ROUTES) {
      assert.deepEqual(look(read(dialect, `{${valid},${member}}`, model).calls[0]!), expected, dialect.name);
    }
  });
}

test('null is absent on every route, for every optional field', () => {
  const optional =
    'max_tokens,max_completion_tokens,temperature,top_p,top_k,min_p,seed,presence_penalty,frequency_penalty,' +
    'repetition_penalty,stop,stream,n,stream_options,tools,response_format,logit_bias,user,system_message,batch_size';
  const nulls = optional.split(',').map((name) => `"${name}":null`);
  for (const { dialect, valid, model } of ROUTES) {
    assert.deepEqual(
      read(dialect, `{${valid},${nulls}}`, model),
      read(dialect, `{${valid}}`, model),
      dialect.name,
    );
  }
});

test('NUL and half surrogate pairs in a prompt are the same text on every route', () => {
  for (const { dialect, valid, model } of ROUTES) {
    const { prompt } = read(dialect, `{${valid.replace('hi', 'a\\u0000\\ud83dz')}}`, model).calls[0]!;
    const text = prompt.kind === 'text' ? prompt.text : prompt.messages[0]!.content;
    assert.equal(text, 'a\0\ufffdz', dialect.name);
  }
});

test('what is no object is refused on every route', () => {
  for (const { dialect, model } of ROUTES) {
    for (const text of ['1', 'null', '[]', '"x"', 'true', '9007199254740993', '[{}]']) {
      assert.equal(refusal(() => read(dialect, text, model)).message, 'The body must be a JSON object.');
    }
    assert.ok(refusal(() => read(dialect, '{}', model)).param);
  }
});

test('a member named __proto__ reaches no field and no back end', () => {
  for (const { dialect, valid, model } of ROUTES) {
    const { calls, ignored } = read(dialect, `{${valid},"__proto__":{"temperature":1,"x":1}}`, model);
    assert.deepEqual(Object.keys(calls[0]!.extra), []);
    assert.equal(Object.getPrototypeOf(calls[0]!.extra), Object.prototype);
    assert.notEqual(calls[0]!.sampling.temperature, 1);
    assert.deepEqual(ignored, []);
  }
});

test('a list of millions that is wrong throughout costs no more than its first fault', () => {
  const ones = Array(2_000_000).fill(1);
  const started = performance.now();
  for (const { dialect, model } of ROUTES) {
    const body = { model: 'm', messages: [{ role: 'user', content: 'hi' }], prompt: 'hi' };
    for (const part of [{ prompt: ones }, { messages: ones }, { stop: ones }]) {
      try {
        dialect.parse({ ...body, ...part }, model);
      } catch (thrown) {
        assert.ok(thrown instanceof GatewayError);
      }
    }
  }
  const content = ones;
  assert.equal(
    refusal(() => chatCompletions.parse({ model: 'm', messages: [{ role: 'user', content }] }, undefined))
      .param,
    'messages[0].content[0]',
  );
  assert.ok(performance.now() - started < 2_000);
});

test('any JSON as a body gives a request or a GatewayError', () => {
  const some = fc.jsonValue({ maxDepth: 3 });
  const names = fc.constantFrom(
    ...'model,messages,prompt,input,stop,n,stream,stream_options,max_tokens,seed,batch_size,response_format,x'.split(
      ',',
    ),
  );
  const message = fc.record(
    { role: fc.oneof(fc.constantFrom('user', 'assistant'), some), content: some },
    { requiredKeys: [] },
  );
  const value = fc.oneof(some, fc.array(message), fc.string(), fc.integer());
  fc.assert(
    fc.property(
      fc.oneof(some, fc.dictionary(names, value)),
      fc.option(fc.string(), { nil: undefined }),
      (body, path) => {
        for (const { dialect } of ROUTES) {
          try {
            const { calls } = dialect.parse(body, path);
            assert.ok(calls.length > 0);
          } catch (thrown) {
            assert.ok(thrown instanceof GatewayError, `${dialect.name}: ${String(thrown)}`);
          }
        }
      },
    ),
    { numRuns: 1_000 },
  );
});

test('a body is read as its schema reads it, whatever of it is absent or wrong', () => {
  const item = objectWithRest(z.object({ name: z.string('must be a text'), size: integerField(0, 3) }));
  const schema = z.object({
    model: modelField,
    user: textField,
    items: listOf(item, 'must be a list'),
    limit: integerField(1, 3).refine((value) => value !== undefined, 'must be there'),
    usual: z.unknown().transform((value) => value ?? 'usual'),
  });
  const readFields = bodyReader(schema);
  const some = fc.oneof(fc.constantFrom(null, 1, 2.5, 'm', ''), fc.jsonValue({ maxDepth: 1 }));
  const items = fc.array(fc.dictionary(fc.constantFrom('name', 'size', 'more'), some), { maxLength: 2 });
  const body = fc.record(
    { model: some, user: some, items: fc.oneof(items, some), limit: some, usual: some, more: some },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(body, (value) => {
      const parsed = schema.safeParse(value);
      if (parsed.success)
        assert.deepEqual({ ...NOTHING, ...readFields(value).fields }, { ...NOTHING, ...parsed.data });
      else assert.ok(refusal(() => readFields(value)).message.includes(parsed.error.issues[0]!.message));
    }),
    { numRuns: 2_000, examples: [[{ model: 'm', items: [{ name: 'a', more: 1 }], limit: 2 }]] },
  );
});
