// The prompts: what must be shared is shared, and what must be new is new from its beginning.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { chat, question, shortQuestion, systemMessage } from './workload.ts';

const variants = fc.uniqueArray(fc.nat(5_000), { minLength: 2, maxLength: 2 });

test('the same variant is the same text', () => {
  assert.deepEqual(chat(300, 7, 9), chat(300, 7, 9));
  assert.equal(chat(300, 7, 9).system, chat(300, 7, 10).system);
});

test('another variant differs within its first words, so nothing of it can be reused', () => {
  fc.assert(
    fc.property(variants, fc.integer({ min: 14, max: 1_400 }), ([one, other], tokens) => {
      for (const write of [question, shortQuestion, (variant: number) => systemMessage(tokens, variant)]) {
        assert.notEqual(write(one!).slice(0, 24), write(other!).slice(0, 24));
      }
    }),
  );
});

test('system messages of one length differ by a few characters only, whatever the variant', () => {
  fc.assert(
    fc.property(variants, fc.integer({ min: 14, max: 1_400 }), ([one, other], tokens) => {
      const lengths = [one!, other!].map((variant) => systemMessage(tokens, variant).length);
      assert.ok(Math.abs(lengths[0]! - lengths[1]!) <= 10, lengths.join());
    }),
  );
});
