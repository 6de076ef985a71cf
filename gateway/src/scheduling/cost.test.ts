// Guards the guess at a call's cost: made of size alone, bounded against mad requests, never below nothing.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { ChatRequest } from '../core/chat.ts';
import { estimateCost } from './cost.ts';

function request(rest: Partial<ChatRequest>): ChatRequest {
  const prompt = { kind: 'text', text: '' } as const;
  return { model: 'm', prompt, sampling: {}, stop: [], choices: 1, extra: {}, ...rest };
}

test('a prompt costs a third of its characters, rounded up, as text or as messages', () => {
  assert.equal(estimateCost(request({ prompt: { kind: 'text', text: 'x'.repeat(31) } })).promptTokens, 11);
  const messages = [
    { role: 'system', content: 'x'.repeat(10) },
    { role: 'assistant', content: null },
    {
      role: 'user',
      content: [
        { type: 'text', text: 'x'.repeat(20) },
        { type: 'other', kind: 'image_url', value: 'x'.repeat(1_000_000) },
      ],
    },
  ] as const;
  assert.equal(estimateCost(request({ prompt: { kind: 'messages', messages } })).promptTokens, 10);
});

test('a beginning that is to be gone on from costs as the prompt does', () => {
  const choice = { text: 'x'.repeat(20), reasoning: 'x'.repeat(10), toolCalls: [], reason: undefined };
  const continueFrom = { speaker: undefined, choices: [choice], usage: undefined };
  const prompt = { kind: 'text', text: 'x'.repeat(3) } as const;
  assert.equal(estimateCost(request({ prompt, continueFrom })).promptTokens, 11);
});

test('an answer costs what it may have at most, or a usual one if the request does not say', () => {
  assert.equal(estimateCost(request({ maxTokens: 100 })).outputTokens, 100);
  assert.equal(estimateCost(request({})).outputTokens, 512);
});

test('each choice costs an answer', () => {
  assert.equal(estimateCost(request({ maxTokens: 100, choices: 3 })).outputTokens, 300);
});

test('a max_tokens that means "as it comes" does not fill the queue by itself', () => {
  const { outputTokens } = estimateCost(request({ maxTokens: 10 ** 18 }));
  assert.ok(outputTokens <= 10_000, `${outputTokens}`);
});

test('the guess is a whole number of tokens and not negative, whatever is asked', () => {
  fc.assert(
    fc.property(fc.string(), fc.option(fc.nat(), { nil: undefined }), (text, maxTokens) => {
      const cost = estimateCost(request({ prompt: { kind: 'text', text }, maxTokens }));
      for (const tokens of [cost.promptTokens, cost.outputTokens]) {
        assert.ok(Number.isSafeInteger(tokens) && tokens >= 0);
      }
    }),
  );
});
