// Vectors and judgements over real sockets by the embedded engine, with tiny models of random numbers: the routes' pieces and
// the engine's turns fit together, and what is wrong is told by the client's own places.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import OpenAI from 'openai';
import { BERT_LENGTH, BERT_TOKENS, POOLING, writeTinyBert } from '../tiny-models.ts';
import { post, type Sluice, startSluice } from './harness.ts';

const MODEL = 'deepseek-r1';
const folder = mkdtempSync(join(tmpdir(), 'sluice-vectors-'));
after(() => rmSync(folder, { recursive: true, force: true }));

function open(pooling: number): () => Sluice {
  let sluice: Sluice;
  before(async () => {
    const file = join(folder, `${pooling}.gguf`);
    writeTinyBert(file, pooling);
    sluice = await startSluice({ args: ['--model', file] });
  });
  after(() => sluice.stop());
  return () => sluice;
}

async function refused(answer: Promise<Response>): Promise<{ code: string; param: string; message: string }> {
  const response = await answer;
  const { error } = (await response.json()) as { error: { code: string; param: string; message: string } };
  assert.equal(response.status, 400, error.message);
  return error;
}

const LONG = Array(BERT_TOKENS).fill('sea').join(' ');

describe('a server with a model that makes vectors', () => {
  const get = open(POOLING.mean);

  test("OpenAI's client gets the same vectors for many texts as for each", async () => {
    const client = new OpenAI({ baseURL: `${get().url}/v1`, apiKey: 'none', maxRetries: 0 });
    const input = Array.from({ length: 300 }, (_, index) => `the sea ${index}`);
    const { data, usage } = await client.embeddings.create({ model: MODEL, input });
    assert.equal(data.length, input.length);
    for (const index of [0, 127, 128, 299]) {
      const alone = await client.embeddings.create({ model: MODEL, input: input[index]! });
      assert.deepEqual(alone.data[0]!.embedding, data[index]!.embedding);
      assert.equal(alone.data[0]!.embedding.length, BERT_LENGTH);
    }
    assert.ok(usage.prompt_tokens > 3 * input.length, `${usage.prompt_tokens}`);
  });

  test('what is too long is told by its place among the client’s texts', async () => {
    const embed = (input: unknown) => post(`${get().url}/v1/embeddings`, { model: MODEL, input });
    const { code, param, message } = await refused(embed([...Array(256).fill('a'), LONG]));
    assert.deepEqual([code, param], ['context_length_exceeded', 'input[256]']);
    assert.ok(message.startsWith('input[256] has '), message);
    assert.equal((await refused(embed(LONG))).param, 'input');
  });

  test('a chat and a judgement are told that this model does neither', async () => {
    const { url } = get();
    const chat = { model: MODEL, messages: [{ role: 'user', content: 'hi' }] };
    assert.equal((await refused(post(`${url}/v1/chat/completions`, chat))).param, 'model');
    const rerank = { model: MODEL, query: 'a', documents: ['b'] };
    assert.equal((await refused(post(`${url}/v1/rerank`, rerank))).param, 'model');
  });
});

describe('a server with a model that judges', () => {
  const get = open(POOLING.rank);

  test('the best come first, the same however many are judged', async () => {
    const documents = Array.from({ length: 200 }, (_, index) => `the river ${index}`);
    const ask = { model: MODEL, query: 'the sea', documents };
    const { results } = (await (await post(`${get().url}/v1/rerank`, ask)).json()) as {
      results: { index: number; relevance_score: number }[];
    };
    assert.equal(results.length, documents.length);
    const scores = results.map(({ relevance_score }) => relevance_score);
    assert.deepEqual(
      scores,
      scores.toSorted((a, b) => b - a),
    );
    const { index, relevance_score } = results[0]!;
    const alone = await post(`${get().url}/v1/rerank`, { ...ask, documents: [documents[index]] });
    const one = (await alone.json()) as { results: { relevance_score: number }[] };
    assert.equal(one.results[0]!.relevance_score, relevance_score);
    const long = await refused(post(`${get().url}/v1/rerank`, { ...ask, documents: [...documents, LONG] }));
    assert.equal(long.param, 'documents[200]');
  });
});
