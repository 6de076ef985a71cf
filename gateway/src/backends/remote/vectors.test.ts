// What other servers are asked for vectors, and that nothing is believed that is none.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { GatewayError } from '../../core/errors.ts';
import { toBase64 } from '../../wire/dialects/float-base64.ts';
import { embeddingQuestion, rerankQuestion } from './vectors.ts';
import type { Embedding } from './vendors.ts';

const FLOATS: Embedding = { way: 'openai', base64: false, takesTokens: true };
const request = { model: 'm', inputs: ['a', 'b'], extra: { user: 'u' } };
const embed = embeddingQuestion(request, '/v1', FLOATS);
const own = embeddingQuestion(request, '/v1', { way: 'ollama', base64: false, takesTokens: false });
const rank = rerankQuestion({ model: 'm', query: 'q', documents: ['a', 'b'], extra: {} }, '/v1');

test('they are asked in the words that servers of this kind share', () => {
  assert.deepEqual(
    [embed.path, JSON.parse(embed.body)],
    ['/v1/embeddings', { user: 'u', model: 'm', input: ['a', 'b'], encoding_format: 'float' }],
  );
  assert.deepEqual(
    [rank.path, JSON.parse(rank.body)],
    ['/v1/rerank', { model: 'm', query: 'q', documents: ['a', 'b'], top_n: 2, return_documents: false }],
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
  ['a number that is none of 32 bits', { data: [0, 1].map((index) => ({ index, embedding: [1e300] })) }],
  ['base64 of no whole numbers', { data: [0, 1].map((index) => ({ index, embedding: 'AAAAAAA=' })) }],
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

test('SGLang answers with a bare list of scores', () => {
  const { scores } = rank.read([
    { score: 0.2, index: 1, document: 'b' },
    { score: 0.7, index: 0, document: 'a' },
  ]);
  assert.deepEqual(scores, [0.7, 0.2]);
});

for (const embeddings of [undefined, [], [[1]], [[1], [2], [3]], [[1], []], [[1], ['2']], [[1], [2, 3]]]) {
  test(`vectors of Ollama's own kind that are ${JSON.stringify(embeddings)} are a failure`, () => {
    assert.throws(() => own.read({ embeddings }), { code: 'backend_failed' });
  });
}

test('whatever 32-bit numbers a vector has, base64 and JSON tell the same', () => {
  const vectors = fc.array(fc.float({ noNaN: true, noDefaultInfinity: true }), { minLength: 1 });
  fc.assert(
    fc.property(vectors, (numbers) => {
      const vector = Float32Array.from(numbers);
      const read = (embedding: unknown) =>
        embed.read({ data: [0, 1].map((index) => ({ index, embedding })) }).vectors[1];
      assert.deepEqual(read(toBase64(vector)), vector);
      assert.deepEqual(
        read(JSON.parse(JSON.stringify([...vector].map((one) => one + 0)))),
        vector.map((one) => one + 0),
      );
    }),
  );
});
