// Guards what crosses to the engine of a request's form: which rules, for which tools, and what is refused before it does.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ChatRequest, Tool } from '../../core/chat.ts';
import { GatewayError } from '../../core/errors.ts';
import { answerFormatOf, engineToolsOf } from './answer-format.ts';
import { GbnfReader } from './grammar/gbnf-testing.ts';

const REQUEST: ChatRequest = {
  model: 'm',
  prompt: { kind: 'messages', messages: [{ role: 'user', content: 'hi' }] },
  sampling: {},
  stop: [],
  choices: 1,
  extra: {},
};
const tool = (name: string, parameters: unknown, isStrict = false): Tool => ({
  name,
  parameters,
  isStrict,
  path: `tools.${name}`,
  original: { type: 'function', function: { name, parameters } },
});
const CITY = { type: 'object', properties: { city: { enum: ['A', 'B'] } }, required: ['city'] };
const LOOK = tool('look', CITY);
const ODD = { type: 'object', not: {} };
const of = (more: Partial<ChatRequest>) => answerFormatOf({ ...REQUEST, ...more });
const accepts = (rules: string, root: string, text: string) => new GbnfReader(rules).accepts(text, root);

test('nothing that asks for a form: no grammar', () => {
  for (const more of [
    {},
    { responseFormat: { kind: 'text', original: {} } },
    { tools: [LOOK] },
    { tools: [LOOK], toolChoice: 'auto' },
  ] as const) {
    assert.equal(of(more), undefined);
  }
});

test('any object, or what a schema allows', () => {
  const any = of({ responseFormat: { kind: 'json', original: {} } })!;
  assert.ok(accepts(any.rules, any.value!, '{"a":[1,{"b":null}]}'));
  assert.ok(!accepts(any.rules, any.value!, '[1]'));
  const city = of({ responseFormat: { kind: 'schema', schema: CITY, path: 'p', original: {} } })!;
  assert.ok(accepts(city.rules, city.value!, '{"city":"A"}'));
  assert.equal(city.mustCall, false);
});

test('a schema that cannot be honoured is refused by its place', () => {
  assert.throws(
    () => of({ responseFormat: { kind: 'schema', schema: ODD, path: 'p', original: {} } }),
    (error) => error instanceof GatewayError && error.param === 'p.not',
  );
});

test('a call that must be made: the arguments of every tool, or of the one that is named', () => {
  const tools = [LOOK, tool('wait', undefined)];
  const all = of({ tools, toolChoice: 'required' })!;
  assert.equal(all.mustCall, true);
  assert.equal(all.value, undefined);
  assert.deepEqual(
    all.calls.map(({ name }) => name),
    ['look', 'wait'],
  );
  assert.ok(accepts(all.rules, all.calls[0]!.entry, '{"city":"B"}'));
  assert.ok(!accepts(all.rules, all.calls[0]!.entry, '{"town":"B"}'));
  assert.ok(accepts(all.rules, all.calls[1]!.entry, '{"any":1}'));
  assert.deepEqual(
    of({ tools, toolChoice: { name: 'wait' } })!.calls.map(({ name }) => name),
    ['wait'],
  );
});

test("a strict tool's schema is kept to, or refused; another's only as far as it can be", () => {
  const strict = of({ tools: [tool('look', CITY, true), tool('odd', ODD)] })!;
  assert.equal(strict.mustCall, false);
  assert.ok(!accepts(strict.rules, strict.calls[0]!.entry, '{}'));
  assert.ok(accepts(strict.rules, strict.calls[1]!.entry, '{"any":1}'));
  assert.throws(
    () => of({ tools: [tool('odd', ODD, true)] }),
    (error) => error instanceof GatewayError && error.param === 'tools.odd.not',
  );
});

test('what the template is to offer: the originals, none where no tool may be called', () => {
  assert.deepEqual(engineToolsOf({ ...REQUEST, tools: [LOOK] }), {
    definitions: [LOOK.original],
    isSingle: false,
  });
  assert.equal(engineToolsOf({ ...REQUEST, tools: [LOOK], parallelToolCalls: false })?.isSingle, true);
  assert.equal(engineToolsOf({ ...REQUEST, tools: [LOOK], toolChoice: { name: 'look' } })?.isSingle, true);
  assert.equal(engineToolsOf({ ...REQUEST, tools: [LOOK], toolChoice: 'none' }), undefined);
  assert.equal(engineToolsOf(REQUEST), undefined);
});
