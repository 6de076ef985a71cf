// What embeddings and reranking understand, and what their answers say.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GatewayError } from '../../core/errors.ts';
import { embeddingsBody, readEmbeddings } from './embeddings.ts';
import { readRerank, rerankBody } from './rerank.ts';

const embeddings = (body: object) => readEmbeddings({ model: 'm', input: 'a', ...body });
const rerank = (body: object) => readRerank({ model: 'm', query: 'q', documents: ['a'], ...body });
const many = (count: number) => Array.from({ length: count }, () => 'x');

const WRONG: readonly [name: string, ask: () => unknown, param: string][] = [
  ['no input', () => embeddings({ input: undefined }), 'input'],
  ['an empty text', () => embeddings({ input: '' }), 'input'],
  ['an empty list', () => embeddings({ input: [] }), 'input'],
  ['an empty text in a list', () => embeddings({ input: ['a', ''] }), 'input[1]'],
  ['10,000 texts', () => embeddings({ input: many(10_000) }), 'input'],
  ['an object', () => embeddings({ input: { a: 1 } }), 'input'],
  ['a fraction as a token', () => embeddings({ input: [1, 2.5] }), 'input'],
  ['a negative token in a list of lists', () => embeddings({ input: [[1], [-1]] }), 'input[1]'],
  ['an unknown format', () => embeddings({ encoding_format: 'hex' }), 'encoding_format'],
  ['no dimensions', () => embeddings({ dimensions: 0 }), 'dimensions'],
  ['no model', () => embeddings({ model: undefined }), 'model'],
  ['no query', () => rerank({ query: undefined }), 'query'],
  ['no documents', () => rerank({ documents: [] }), 'documents'],
  ['a number as a document', () => rerank({ documents: ['a', 1] }), 'documents[1]'],
  ['10,000 documents', () => rerank({ documents: many(10_000) }), 'documents'],
  ['a top_n of 0', () => rerank({ top_n: 0 }), 'top_n'],
];

for (const [name, ask, param] of WRONG) {
  test(`${name} is refused by name`, () => {
    assert.throws(ask, (error) => {
      assert.ok(error instanceof GatewayError, String(error));
      assert.deepEqual([error.code, error.param], ['invalid_request', param]);
      return true;
    });
  });
}

test('a text, texts, tokens, and lists of tokens are inputs', () => {
  const inputsOf = (input: unknown) => embeddings({ input }).request.inputs;
  assert.deepEqual(inputsOf('a'), ['a']);
  assert.deepEqual(inputsOf(['a', 'b']), ['a', 'b']);
  assert.deepEqual(inputsOf([1, 2]), [[1, 2]]);
  assert.deepEqual(inputsOf([[1, 2], [3]]), [[1, 2], [3]]);
  assert.equal(inputsOf(many(2048)).length, 2048);
});

test('vectors are told as numbers or in base64, little-endian, and mean the same', () => {
  const vectors = [Float32Array.of(0.5, -1), Float32Array.of(3, 1e-7)];
  const answer = { speaker: 's', vectors, usage: { promptTokens: 4 } };
  const bodyOf = (format: string) =>
    JSON.parse(
      [...embeddingsBody(answer, embeddings({ input: ['a', 'b'], encoding_format: format }))].join(''),
    ) as {
      data: { index: number; embedding: unknown }[];
      usage: object;
    };
  const floats = bodyOf('float');
  assert.deepEqual(floats.data, [
    { object: 'embedding', index: 0, embedding: [0.5, -1] },
    { object: 'embedding', index: 1, embedding: [3, Math.fround(1e-7)] },
  ]);
  assert.deepEqual(floats.usage, { prompt_tokens: 4, total_tokens: 4 });
  const [first] = bodyOf('base64').data;
  assert.equal(first!.embedding, Buffer.from([0, 0, 0, 0x3f, 0, 0, 0x80, 0xbf]).toString('base64'));
});

test('documents come best first, as many as were asked for, with their texts if they are wanted', () => {
  const answer = { speaker: 's', scores: [0.1, 0.9, 0.9], usage: { promptTokens: 7 } };
  const asked = rerank({ documents: ['a', { text: 'b' }, 'c'], top_n: 2, return_documents: true });
  assert.deepEqual(rerankBody(answer, asked, '1'), {
    id: 'rerank-1',
    model: 'm',
    results: [
      { index: 1, relevance_score: 0.9, document: { text: 'b' } },
      { index: 2, relevance_score: 0.9, document: { text: 'c' } },
    ],
    usage: { prompt_tokens: 7, total_tokens: 7 },
    meta: { tokens: { input_tokens: 7, output_tokens: 0 } },
  });
});
