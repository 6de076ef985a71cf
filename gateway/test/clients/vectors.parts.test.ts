// Clients that ask for vectors, unchanged, over the whole server: however each asks and reads them, its user has the same
// numbers in the same order.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { createOpenAI } from '@ai-sdk/openai';
import { OpenAIEmbeddings } from '@langchain/openai';
import { embed, embedMany } from 'ai';
import { fakeConfig, post, type Sluice, startSluice } from '../e2e/harness.ts';
import { missingPython, TEST_PYTHON } from '../parts.ts';
import { CLIENT_LIMIT_MS } from './client.ts';

const MODEL = 'deepseek-r1';
const TEXTS = ['a river', '一条街道', 'a “way” 👩‍👩‍👧'];
const SCRIPT = new URL('./python/vectors_client.py', import.meta.url).pathname;

interface Body {
  readonly data: readonly { readonly embedding: readonly number[] }[];
}

interface Shown {
  readonly openai: {
    readonly vectors: readonly (readonly number[])[];
    readonly tokens: number;
    readonly shorter: number;
    readonly refused: string;
  };
  readonly langchain: {
    readonly vectors: readonly (readonly number[])[];
    readonly query: readonly number[];
  };
}

describe('clients of vectors', () => {
  let sluice: Sluice;
  /** As the server's own JSON has them. */
  let vectors: readonly (readonly number[])[];
  before(async () => {
    sluice = await startSluice({ config: fakeConfig({ pieces: ['a'] }) });
    const body = { model: MODEL, input: TEXTS, encoding_format: 'float' };
    const response = await post(`${sluice.url}/v1/embeddings`, body);
    vectors = ((await response.json()) as Body).data.map(({ embedding }) => embedding);
    assert.equal(new Set(vectors.map(String)).size, TEXTS.length);
  });
  after(() => sluice.stop());

  test("Vercel's AI SDK", async () => {
    const provider = createOpenAI({ baseURL: `${sluice.url}/v1`, apiKey: 'none' });
    const model = provider.embeddingModel(MODEL);
    const many = await embedMany({ model, values: TEXTS, maxRetries: 0 });
    assert.deepEqual(many.embeddings, vectors);
    assert.equal(many.usage.tokens, TEXTS.length);
    assert.deepEqual((await embed({ model, value: TEXTS[1]!, maxRetries: 0 })).embedding, vectors[1]);
  });

  test('LangChain (JavaScript)', async () => {
    const configuration = { baseURL: `${sluice.url}/v1` };
    const model = new OpenAIEmbeddings({ model: MODEL, apiKey: 'none', maxRetries: 0, configuration });
    assert.deepEqual(await model.embedDocuments(TEXTS), vectors);
    assert.deepEqual(await model.embedQuery(TEXTS[2]!), vectors[2]);
  });

  test('openai and LangChain (Python)', { skip: missingPython('openai', 'langchain-openai') }, async () => {
    const asked = JSON.stringify({ url: sluice.url, model: MODEL, texts: TEXTS });
    const { stdout } = await promisify(execFile)(TEST_PYTHON, [SCRIPT, asked], { timeout: CLIENT_LIMIT_MS });
    const { openai, langchain } = JSON.parse(stdout) as Shown;
    assert.deepEqual(openai, { vectors, tokens: TEXTS.length, shorter: 3, refused: 'input' });
    assert.deepEqual(langchain, { vectors, query: vectors[0] });
  });
});
