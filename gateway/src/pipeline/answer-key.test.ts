// Guards by what two requests count as one: everything that a back end is told, and whose it is; and that an answer that
// could come out otherwise is never one with another.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { chatRequest } from '../../test/hand-pipeline.ts';
import type { ChatRequest } from '../core/chat.ts';
import { answerKey } from './answer-key.ts';

const GREEDY = { temperature: 0 } as const;
const keyOf = (rest: Partial<ChatRequest> = {}, tenant = 'one') =>
  answerKey(tenant, chatRequest({ sampling: GREEDY, ...rest }));
const asked = (content: string): Partial<ChatRequest> => ({
  prompt: { kind: 'messages', messages: [{ role: 'user', content }] },
});
const exactly = (digits: string) => (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(digits);

test('only greedy sampling is decided by what is asked', () => {
  assert.equal(typeof keyOf(), 'string');
  for (const sampling of [{}, { temperature: 0.1 }, { seed: 7 }, { temperature: 1, seed: 7 }, { topK: 1 }]) {
    assert.equal(keyOf({ sampling }), undefined, JSON.stringify(sampling));
  }
});

test('equal requests are one, whether they are to come in one piece or not', () => {
  assert.equal(keyOf(asked('hi')), keyOf(asked('hi')));
  assert.equal(keyOf({ isWhole: true }), keyOf({ isWhole: undefined }));
  assert.equal(keyOf({ maxTokens: undefined }), keyOf(), 'absent is absent');
});

test('whatever differs makes two of them', () => {
  const variants: readonly (string | undefined)[] = [
    keyOf(),
    keyOf({}, 'another tenant'),
    keyOf({ model: 'another name' }),
    keyOf(asked('hello')),
    keyOf(asked('hello ')),
    keyOf(asked('hellp')),
    keyOf({ prompt: { kind: 'text', text: 'hello\n' } }),
    keyOf({ prompt: { kind: 'messages', messages: [{ role: 'system', content: 'hello' }] } }),
    keyOf({ prompt: { kind: 'messages', messages: [{ role: 'user', content: 'hello', name: 'n' }] } }),
    keyOf({ sampling: { ...GREEDY, seed: 1 } }),
    keyOf({ sampling: { ...GREEDY, frequencyPenalty: 0.1 } }),
    keyOf({ maxTokens: 9 }),
    keyOf({ stop: ['9'] }),
    keyOf({ stop: ['9', ''] }),
    keyOf({ choices: 2 }),
    keyOf({ logprobs: 0 }),
    keyOf({ logprobs: 1 }),
    keyOf({ parallelToolCalls: false }),
    keyOf({ extra: { user: 'u' } }),
    keyOf({ extra: { user: 1 } }),
    keyOf({ extra: { user: '1' } }),
    keyOf({ extra: { user: null } }),
    keyOf({ extra: { user: true } }),
    keyOf({ extra: { user: 'true' } }),
    keyOf({ extra: { a: 1, b: 2 } }),
    keyOf({ extra: { b: 2, a: 1 } }),
    keyOf({ extra: { user: exactly('9007199254740993') } }),
    keyOf({ extra: { user: exactly('9007199254740992') } }),
    keyOf({ extra: { user: { rawJSON: '9007199254740993' } } }),
    keyOf({ continueFrom: { speaker: undefined, choices: [], usage: undefined } }),
  ];
  assert.equal(new Set(variants).size, variants.length);
});

test('one character more, less or other, wherever it stands in however long a prompt, makes another', () => {
  const units = fc.string({ unit: 'binary', minLength: 1, maxLength: 20 });
  const lengths = fc.constantFrom(0, 100, 8 * 1024 - 20, 8 * 1024, 20_000);
  fc.assert(
    fc.property(units, units, lengths, (a, b, length) => {
      const long = 'x'.repeat(length);
      const [one, other] = [long + a, long + b];
      assert.equal(keyOf(asked(one)) === keyOf(asked(other)), one === other);
      assert.notEqual(keyOf({ stop: [a, b] }), keyOf({ stop: [a + b] }));
    }),
    { numRuns: 30 },
  );
  const halves = ['\ud83d', '\ude00', '\ufffd'].map((half) => keyOf(asked(half)));
  assert.equal(new Set(halves).size, 3);
});
