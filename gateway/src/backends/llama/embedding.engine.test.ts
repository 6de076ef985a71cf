// Checks vectors and judgements with the real engine: a tiny BERT of random numbers, whose vectors mean nothing but must be
// the same whenever and beside whatever they are made, and a real decoder that is told to pool.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { missingModel } from '../../../test/parts.ts';
import {
  BERT_LENGTH,
  BERT_TOKENS,
  BERT_VOCABULARY,
  copyWithMetadata,
  POOLING,
  writeTinyBert,
} from '../../../test/tiny-models.ts';
import type { EmbeddingAnswer, EmbeddingInput, RerankAnswer } from '../../core/embedding.ts';
import { aborted, chat, sleep, until } from './engine-testing.ts';
import { LlamaBackend, type LlamaBackendOptions } from './llama-backend.ts';

const folder = mkdtempSync(join(tmpdir(), 'sluice-embedding-'));
after(() => rmSync(folder, { recursive: true, force: true }));

function open(modelFile: string, options: Partial<LlamaBackendOptions> = {}): LlamaBackend {
  return new LlamaBackend({
    id: 'engine',
    modelFile,
    speaker: 'the model',
    contextTokens: 4096,
    threads: 1,
    log: () => {},
    ...options,
  });
}

function embed(
  backend: LlamaBackend,
  inputs: readonly EmbeddingInput[],
  { signal = new AbortController().signal, dimensions }: { signal?: AbortSignal; dimensions?: number } = {},
): Promise<EmbeddingAnswer> {
  assert.ok(backend.embed, 'it makes vectors');
  return backend.embed({ model: 'm', inputs, dimensions, extra: {} }, contextWith(signal));
}

function rerank(backend: LlamaBackend, query: string, documents: readonly string[]): Promise<RerankAnswer> {
  assert.ok(backend.rerank, 'it judges');
  return backend.rerank(
    { model: 'm', query, documents, extra: {} },
    contextWith(new AbortController().signal),
  );
}

const contextWith = (signal: AbortSignal) => ({ callId: 'c', tenant: 'a', signal });
const lengthOf = (vector: Float32Array) => Math.hypot(...vector);
const words = (count: number) => Array(count).fill('sea').join(' ');
const TEXTS = ['the sea is blue', 'a cat sat on the mat', 'tax law', 'the river is cold', words(40)];

describe('a model that makes vectors', () => {
  let backend: LlamaBackend;
  before(async () => {
    const file = join(folder, 'mean.gguf');
    writeTinyBert(file, POOLING.mean);
    backend = open(file);
    await backend.start();
  });
  after(() => backend.close());

  test('it says that it embeds and does nothing else, and a chat is told where to go', async () => {
    assert.deepEqual([backend.load().state, backend.load().slots], ['ready', 8]);
    assert.deepEqual([typeof backend.embed, backend.rerank], ['function', undefined]);
    assert.equal(backend.isFor, 'embedding');
    await assert.rejects(chat(backend, {}), ({ code, param, message }) => {
      assert.deepEqual([code, param], ['invalid_request', 'model']);
      assert.match(message, /\/v1\/embeddings/);
      return true;
    });
    const request = { model: 'm', sampling: {}, stop: [], choices: 1, extra: {} };
    const prompt = { kind: 'text', text: 'a' } as const;
    const { signal } = new AbortController();
    assert.equal(await backend.countTokens({ ...request, prompt }, contextWith(signal)), undefined);
  });

  test('a batch is each text by itself, in order, of length one; the same text is the same vector', async () => {
    const batch = await embed(backend, [...TEXTS, ...TEXTS]);
    assert.equal(batch.speaker, 'the model');
    assert.equal(batch.vectors.length, 2 * TEXTS.length);
    let tokens = 0;
    for (const [at, text] of TEXTS.entries()) {
      const { vectors, usage } = await embed(backend, [text]);
      assert.deepEqual(batch.vectors[at], vectors[0], text);
      assert.deepEqual(batch.vectors[at + TEXTS.length], vectors[0], text);
      assert.equal(vectors[0]!.length, BERT_LENGTH);
      assert.ok(Math.abs(lengthOf(vectors[0]!) - 1) < 1e-5);
      tokens += usage.promptTokens!;
    }
    assert.equal(batch.usage.promptTokens, 2 * tokens);
    const distinct = new Set(batch.vectors.map((vector) => vector.join()));
    assert.equal(distinct.size, TEXTS.length, 'different texts have different vectors');
  });

  test('calls side by side get their own vectors', async () => {
    const alone = await embed(backend, TEXTS);
    const answers = await Promise.all(TEXTS.map((text) => embed(backend, Array(20).fill(text))));
    for (const [at, { vectors }] of answers.entries()) {
      for (const vector of vectors) assert.deepEqual(vector, alone.vectors[at]);
    }
    assert.equal(backend.load().slots, 8);
  });

  test('tokens that the client made are the text that they stand for', async () => {
    // [CLS], "sea" and "is": the first words of the vocabulary are marks.
    const { vectors, usage } = await embed(backend, ['sea is', [6, 8], [2, 6, 8, 3]]);
    assert.deepEqual(vectors[1], vectors[0]);
    assert.deepEqual(vectors[2], vectors[0], 'marks are not put there twice');
    assert.equal(usage.promptTokens, 12);
  });

  test('what looks like a mark in a text is text', async () => {
    const { usage } = await embed(backend, ['[SEP]']);
    assert.ok(usage.promptTokens! > 3, `${usage.promptTokens} tokens`);
  });

  test('a text fills the window to its last token, and one more is refused by its place', async () => {
    const { usage } = await embed(backend, [words(BERT_TOKENS - 2)]);
    assert.equal(usage.promptTokens, BERT_TOKENS);
    for (const [inputs, param] of [
      [['a', words(BERT_TOKENS - 1)], 'input[1]'],
      [[words(10_000)], 'input'],
      [[Array(BERT_TOKENS - 1).fill(6)], 'input'],
    ] as const) {
      await assert.rejects(embed(backend, inputs), { code: 'context_length_exceeded', param });
    }
  });

  test('what cannot be computed is refused, and the engine lives on', async () => {
    const pid = backend.childPid;
    for (const [inputs, options, param] of [
      [['a', ''], {}, 'input[1]'],
      [['a', []], {}, 'input[1]'],
      [['a', [BERT_VOCABULARY]], {}, 'input[1]'],
      [[[-1]], {}, 'input'],
      [['a'], { dimensions: 8 }, 'dimensions'],
    ] as const) {
      await assert.rejects(embed(backend, inputs, options), { code: 'invalid_request', param });
    }
    await embed(backend, ['a'], { dimensions: BERT_LENGTH });
    assert.equal(backend.childPid, pid);
  });

  test('an abort rejects with its reason and frees the place; others go on', async () => {
    const leaving = new AbortController();
    const many = embed(backend, Array(5_000).fill(words(60)), { signal: leaving.signal });
    const others = Promise.all(TEXTS.map((text) => embed(backend, [text])));
    const reason = aborted();
    await sleep(20);
    leaving.abort(reason);
    await assert.rejects(many, (thrown) => thrown === reason);
    assert.equal((await others).length, TEXTS.length);
    await Promise.all(Array.from({ length: 8 }, () => embed(backend, ['a'])));
    await assert.rejects(embed(backend, ['a'], { signal: leaving.signal }), (thrown) => thrown === reason);
  });

  test('more calls than places are told that it is busy', async () => {
    const leaving = new AbortController();
    const options = { signal: leaving.signal };
    const filling = Array.from({ length: 8 }, () => embed(backend, Array(2_000).fill('a'), options));
    await assert.rejects(embed(backend, ['a']), { code: 'backend_busy' });
    leaving.abort(aborted());
    assert.ok((await Promise.allSettled(filling)).every(({ status }) => status === 'rejected'));
    await embed(backend, ['a']);
  });

  test('its death fails what runs, it comes back, and makes the same vectors', async () => {
    const before = await embed(backend, TEXTS);
    const many = embed(backend, Array(5_000).fill(words(60)));
    const failure = assert.rejects(many, { code: 'backend_failed' });
    await sleep(20);
    process.kill(backend.childPid!, 'SIGKILL');
    await failure;
    assert.equal(typeof backend.embed, 'function', 'what it is for is known while it restarts');
    await until(() => backend.load().state === 'ready', 30_000, 'it did not come back');
    assert.deepEqual((await embed(backend, TEXTS)).vectors, before.vectors);
  });
});

describe('a model that judges', () => {
  let backend: LlamaBackend;
  before(async () => {
    const file = join(folder, 'rank.gguf');
    writeTinyBert(file, POOLING.rank);
    backend = open(file);
    await backend.start();
  });
  after(() => backend.close());

  test('scores are from 0 to 1, in the order of the documents, whatever is beside them', async () => {
    assert.equal(backend.embed, undefined);
    const documents = TEXTS.slice(0, 4);
    const { scores, usage } = await rerank(backend, 'the sea', documents);
    assert.equal(scores.length, documents.length);
    let tokens = 0;
    for (const [at, document] of documents.entries()) {
      const alone = await rerank(backend, 'the sea', [document]);
      assert.ok(scores[at]! > 0 && scores[at]! < 1, `${scores[at]}`);
      assert.equal(scores[at], alone.scores[0]);
      tokens += alone.usage.promptTokens!;
    }
    assert.equal(usage.promptTokens, tokens);
    assert.ok(new Set(scores).size > 1, 'documents differ');
    const [other] = (await rerank(backend, 'tax', documents)).scores;
    assert.notEqual(other, scores[0], 'so do queries');
  });

  test('a pair has the marks that BERT was taught with', async () => {
    // [CLS] sea [SEP] cat [SEP]
    assert.equal((await rerank(backend, 'sea', ['cat'])).usage.promptTokens, 5);
  });

  test('a document that does not fit beside the query is refused by its place', async () => {
    await rerank(backend, 'sea', [words(BERT_TOKENS - 4)]);
    await assert.rejects(rerank(backend, 'sea', ['cat', words(BERT_TOKENS - 3)]), {
      code: 'context_length_exceeded',
      param: 'documents[1]',
    });
    await assert.rejects(rerank(backend, 'sea', ['']), { code: 'invalid_request', param: 'documents[0]' });
    await assert.rejects(rerank(backend, words(10_000), ['cat']), { param: 'query' });
  });
});

test('an encoder that does not say how it pools is told so when it is started', async () => {
  const file = join(folder, 'silent.gguf');
  writeTinyBert(file, undefined);
  const backend = open(file);
  await assert.rejects(backend.start(), /bert\.pooling_type/);
  await backend.close();
});

describe('a decoder that pools, in place of a chat', { skip: missingModel() }, () => {
  let backend: LlamaBackend;
  before(async () => {
    const file = join(folder, 'decoder.gguf');
    await copyWithMetadata(process.env.SLUICE_TEST_MODEL ?? '', file, [['llama.pooling_type', POOLING.mean]]);
    backend = open(file, { contextTokens: 1_024 });
    await backend.start();
  });
  after(() => backend.close());

  test('its vectors are the same alone and in a batch, also behind a long text', async () => {
    const long = words(900);
    const { vectors } = await embed(backend, [TEXTS[0]!, long, TEXTS[1]!, TEXTS[0]!]);
    assert.deepEqual(vectors[3], vectors[0]);
    assert.deepEqual((await embed(backend, [TEXTS[1]!])).vectors[0], vectors[2]);
    assert.deepEqual((await embed(backend, [long])).vectors[0], vectors[1]);
  });

  test('texts about one thing are nearer to each other than to another', async () => {
    const [sea, ocean, tax] = (
      await embed(backend, [
        'The sea is cold and blue today.',
        'The ocean is chilly and deep blue today.',
        'def parse(tokens): return int(tokens[0])',
      ])
    ).vectors;
    const near = (a: Float32Array, b: Float32Array) => a.reduce((sum, value, at) => sum + value * b[at]!, 0);
    assert.ok(near(sea!, ocean!) > near(sea!, tax!));
  });
});
