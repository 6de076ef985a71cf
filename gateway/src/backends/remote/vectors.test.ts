// What other servers are asked for vectors, and that nothing is believed that is none.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GatewayError } from '../../core/errors.ts';
import { embeddingQuestion, rerankQuestion } from './vectors.ts';

const embed = embeddingQuestion({ model: 'm', inputs: ['a', 'b'], dimensions: 2, extra: { user: 'u' } });
const rank = rerankQuestion({ model: 'm', query: 'q', documents: ['a', 'b'], extra: {} });

test('they are asked in the words that servers of this kind share', () => {
  assert.deepEqual(
    [embed.path, JSON.parse(embed.body)],
    ['/embeddings', { user: 'u', model: 'm', input: ['a', 'b'], encoding_format: 'float', dimensions: 2 }],
  );
  assert.deepEqual(
    [rank.path, JSON.parse(rank.body)],
    ['/rerank', { model: 'm', query: 'q', documents: ['a', 'b'], top_n: 2, return_documents: false }],
  );
});

test('results in any order find their places', () => {
  const { vectors, usage } = embed.read({
    data: [
      { index: 1, embedding: [3, 4] },
      { index: 0, embedding: [1, 2] },
    ],
    usage: { prompt_tokens: 5 },
  });
  assert.deepEqual(
    vectors.map((vector) => [...vector]),
    [
      [1, 2],
      [3, 4],
    ],
  );
  assert.equal(usage.promptTokens, 5);
  const { scores, usage: counted } = rank.read({
    results: [
      { index: 1, relevance_score: 0.9 },
      { index: 0, relevance_score: -1 },
    ],
    meta: { tokens: { input_tokens: 9 } },
  });
  assert.deepEqual([scores, counted.promptTokens], [[-1, 0.9], 9]);
});

const BAD: readonly [string, unknown][] = [
  ['nothing', undefined],
  ['a text', 'vectors'],
  ['too few', { data: [{ index: 0, embedding: [1] }] }],
  ['too many', { data: [0, 1, 2].map((index) => ({ index, embedding: [1] })) }],
  ['the same twice', { data: [0, 0].map((index) => ({ index, embedding: [1] })) }],
  ['a place that is none', { data: [0, 7].map((index) => ({ index, embedding: [1] })) }],
  ['an empty vector', { data: [0, 1].map((index) => ({ index, embedding: [] })) }],
  ['a vector with a null', { data: [0, 1].map((index) => ({ index, embedding: [1, null] })) }],
  ['a vector with NaN', { data: [0, 1].map((index) => ({ index, embedding: [Number.NaN] })) }],
  ['different lengths', { data: [0, 1].map((index) => ({ index, embedding: [1, 2].slice(index) })) }],
];

for (const [name, answer] of BAD) {
  test(`an answer of ${name} is the back end's failure`, () => {
    assert.throws(
      () => embed.read(answer),
      (error) => error instanceof GatewayError && error.code === 'backend_failed',
    );
  });
}

test('a judgement without a number is a failure', () => {
  assert.throws(() => rank.read({ results: [0, 1].map((index) => ({ index, relevance_score: 'high' })) }), {
    code: 'backend_failed',
  });
});
