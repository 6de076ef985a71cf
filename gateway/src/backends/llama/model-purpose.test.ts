// What a file is for: what vendors' files say of themselves.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { purposeOf } from './model-purpose.ts';

for (const [what, architecture, pooling, purpose] of [
  ['a chat model', 'llama', undefined, 'chat'],
  ['a chat model that says that it does not pool', 'qwen3', 0, 'chat'],
  ['bge-small', 'bert', 2, 'embed'],
  ['nomic-embed-text', 'nomic-bert', 1, 'embed'],
  ['Qwen3-Embedding', 'qwen3', 3, 'embed'],
  ['bge-reranker', 'bert', 4, 'rerank'],
  ['Qwen3-Reranker', 'qwen3', 4, 'rerank'],
] as const) {
  test(`${what} is for: ${purpose}`, () => assert.equal(purposeOf(architecture, pooling), purpose));
}

test('an encoder that does not say how it pools is of no use, and is told so', () => {
  for (const pooling of [undefined, 0]) {
    assert.throws(() => purposeOf('bert', pooling), /\(bert\) writes no text.*bert\.pooling_type/);
  }
});
