// Checks engine-texts.ts: what crosses to the engine, and that what is too long is refused by its place.
// It must never load a model.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EmbeddingRequest, RerankRequest } from '../../core/embedding.ts';
import { placeOfText, refuseLongText, toEmbeddingTexts, toRerankTexts } from './engine-texts.ts';

const WINDOW = 8;
const embedding = (...inputs: EmbeddingRequest['inputs']): EmbeddingRequest => ({
  model: 'm',
  inputs,
  extra: {},
});
const ranking = (query: string, ...documents: string[]): RerankRequest => ({
  model: 'm',
  query,
  documents,
  extra: {},
});

const LONG = 'x'.repeat(WINDOW * 16 + 1);

test('texts and token numbers cross as they are, lone surrogates mended', () => {
  const { inputs, query } = toEmbeddingTexts(embedding('a\ud800', [1, 2]), WINDOW);
  assert.deepEqual([inputs, query], [['a\uFFFD', [1, 2]], undefined]);
  assert.deepEqual(toRerankTexts(ranking('q\udc00', 'a', 'b'), WINDOW), {
    query: 'q\uFFFD',
    inputs: ['a', 'b'],
  });
});

for (const [name, run, place] of [
  ['the only text', () => toEmbeddingTexts(embedding(LONG), WINDOW), 'input'],
  ['a text among others', () => toEmbeddingTexts(embedding('a', 'b', LONG), WINDOW), 'input[2]'],
  ['token numbers', () => toEmbeddingTexts(embedding('a', Array(9).fill(1)), WINDOW), 'input[1]'],
  ['a document', () => toRerankTexts(ranking('q', LONG), WINDOW), 'documents[0]'],
  ['a query', () => toRerankTexts(ranking(LONG, 'a'), WINDOW), 'query'],
] as const) {
  test(`${name} that can never fit is refused as ${place}`, () => {
    assert.throws(run, ({ code, param, message }) => {
      assert.deepEqual([code, param], ['context_length_exceeded', place]);
      assert.ok(message.startsWith(`${place} has `) && message.includes('at most 8 tokens'), message);
      return true;
    });
  });
}

test('as many tokens as the window has fit', () => {
  refuseLongText(WINDOW, WINDOW, 'input');
  assert.throws(() => refuseLongText(WINDOW + 1, WINDOW, 'input'), { code: 'context_length_exceeded' });
  assert.equal(placeOfText({ inputs: ['a', 'b'], query: undefined }, 1), 'input[1]');
});
