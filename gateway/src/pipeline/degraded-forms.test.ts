// Guards which forms of a call there are and in which order: what is milder comes first, nothing that changes nothing, and
// nothing that its model does not allow.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Backend } from '../core/backend.ts';
import type { ChatRequest } from '../core/chat.ts';
import type { ServedModel } from '../core/world.ts';
import { degradedForms, formAsAsked, mayBeDegraded } from './degraded-forms.ts';

const backend = (id: string, rest: Partial<Backend> = {}) => ({ id, ...rest }) as Backend;
const unknown = { contextWindow: undefined, licence: undefined, created: 0 };
const model = (id: string, rest: Partial<ServedModel> = {}): ServedModel => ({
  id,
  speaker: id,
  backends: [backend(`of ${id}`)],
  ...unknown,
  ...rest,
});
const SMALL = model('small', { contextWindow: 500 });
const spill = { backends: [backend('cloud')], budgetPerDay: 1, price: { input: 1, output: 1 } };
const trim = { maxTokens: 20, always: false };
const ALL = model('large', { trim, degrade: { smallerModel: SMALL, shorterTokens: 50, spill } });

/** About 10 tokens each, but for the first. */
function request(rest: Partial<ChatRequest> = {}, firstUnits = 30): ChatRequest {
  const say = (role: 'user' | 'assistant', units = 30) => ({ role, content: 'x'.repeat(units) });
  const messages = [say('user', firstUnits), say('assistant'), say('user')];
  return {
    model: 'large',
    prompt: { kind: 'messages', messages },
    sampling: {},
    stop: [],
    choices: 1,
    extra: {},
    ...rest,
  };
}

const forms = (served: ServedModel, asked = request()) => [
  ...degradedForms(formAsAsked(served, asked, true)),
];
const names = (served: ServedModel, asked?: ChatRequest) =>
  forms(served, asked).map(({ steps }) => steps.join(','));
const only = (degrade: ServedModel['degrade']) => model('large', { degrade });

test('a later step comes only after all that the earlier ones can do together', () => {
  assert.deepEqual(names(ALL), [
    'trimmed',
    'smaller-model',
    'trimmed,smaller-model',
    'shorter',
    'trimmed,shorter',
    'smaller-model,shorter',
    'trimmed,smaller-model,shorter',
    'spill',
    'trimmed,spill',
    'shorter,spill',
    'trimmed,shorter,spill',
  ]);
});

test('without a word of the configuration there is no other form', () => {
  assert.equal(mayBeDegraded(formAsAsked(model('plain'), request(), true)), false);
  assert.deepEqual(names(model('plain')), []);
  assert.deepEqual(formAsAsked(model('plain'), request(), true).steps, []);
});

test('each step changes what it says, and nothing else', () => {
  const asked = request({ maxTokens: 80 });
  const [trimmed] = forms(model('large', { trim }), asked);
  assert.deepEqual(trimmed!.request, { ...asked, prompt: trimmed!.request.prompt });
  assert.ok(trimmed!.request.prompt.kind === 'messages' && trimmed!.request.prompt.messages.length === 1);
  const [smaller] = forms(only({ smallerModel: SMALL }), asked);
  assert.deepEqual([smaller!.request, smaller!.model], [{ ...asked, model: 'small' }, SMALL]);
  const [shorter] = forms(only({ shorterTokens: 50 }), asked);
  assert.deepEqual(shorter!.request, { ...asked, maxTokens: 50 });
  const [spilled] = forms(only({ spill }), asked);
  assert.deepEqual([spilled!.request, spilled!.spill], [asked, spill]);
  assert.deepEqual([spilled!.model.id, spilled!.model.backends], ['large', spill.backends]);
});

test('a step that changes nothing is none', () => {
  assert.deepEqual(names(model('large', { trim: { maxTokens: 1_000, always: false } })), []);
  assert.deepEqual(names(only({ shorterTokens: 50 }), request({ maxTokens: 50 })), []);
  assert.deepEqual(names(only({ shorterTokens: 50 })), ['shorter'], 'no bound was asked for');
});

test('a smaller model gets only what fits its window; trimmed, it may', () => {
  assert.deepEqual(names(only({ smallerModel: SMALL }), request({}, 6_000)), []);
  const both = model('large', { trim, degrade: { smallerModel: SMALL } });
  assert.deepEqual(names(both, request({}, 6_000)), ['trimmed', 'trimmed,smaller-model']);
});

test('several answers in one call go only to who gives them', () => {
  const several = request({ choices: 3 });
  assert.deepEqual(names(only({ smallerModel: SMALL, spill }), several), []);
  const able = { ...spill, backends: [backend('cloud', { answersSeveral: true })] };
  assert.deepEqual(names(only({ spill: able }), several), ['spill']);
});

test('a model that always trims does so without pressure, unless its client minds', () => {
  const always = model('large', { trim: { ...trim, always: true }, degrade: { shorterTokens: 50 } });
  const form = formAsAsked(always, request(), true);
  assert.deepEqual(form.steps, ['trimmed']);
  assert.deepEqual(
    [...degradedForms(form)].map(({ steps }) => steps),
    [['trimmed', 'shorter']],
  );
  assert.deepEqual(formAsAsked(always, request(), false).steps, []);
  assert.equal(mayBeDegraded(formAsAsked(model('m', { trim: always.trim }), request(), true)), false);
});
