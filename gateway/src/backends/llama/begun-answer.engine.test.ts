// Checks, with a real model, answers that go on from their text: the words become tokens that read as the same words, the
// answer goes on behind them and keeps to its form and its limit, and what they count as is told.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { missingModel } from '../../../test/parts.ts';
import type { PartialAnswer, ResponseFormat } from '../../core/chat.ts';
import { openEngine } from './engine.ts';
import { chat } from './engine-testing.ts';
import { LlamaBackend } from './llama-backend.ts';
import { loadModel } from './load-model.ts';
import { PromptBuilder } from './prompt.ts';

const modelFile = process.env.SLUICE_TEST_MODEL ?? '';
const skip = missingModel();

function begun(text: string, pieces: number): PartialAnswer {
  const choice = { text, reasoning: '', toolCalls: [], pieces, reason: undefined };
  return { speaker: undefined, choices: [choice], usage: undefined };
}

describe('answers that go on from their text', { skip, concurrency: false }, () => {
  let backend: LlamaBackend;
  before(async () => {
    backend = new LlamaBackend({
      id: 'm',
      modelFile,
      speaker: 's',
      batchSize: 1,
      contextTokens: 512,
      log: () => {},
    });
    await backend.start();
  });
  after(() => backend.close());

  test('one goes on where it stood, and counts its beginning as prompt', async () => {
    const whole = await chat(backend, { maxTokens: 24 });
    const first = whole.events.filter((event) => event.type === 'text-delta').slice(0, 9);
    const text = first.map((event) => event.text).join('');
    const rest = await chat(backend, { maxTokens: 24, continueFrom: begun(text, 9) });
    assert.equal((text + rest.text).slice(0, text.length + 8), whole.text.slice(0, text.length + 8));
    assert.equal(rest.usage.completionTokens, 24 - 9);
    const ownTokens = rest.usage.promptTokens! - whole.usage.promptTokens!;
    assert.ok(ownTokens >= 8 && ownTokens <= 12, `${ownTokens} tokens of text`);
    assert.equal(rest.reason, 'length');
  });

  test('it may be cut inside a word, and a text prompt goes on as a conversation does', async () => {
    for (const text of ['The s', ' ', '\n\n', 'Sure — 量', 'a<|im_end|>b']) {
      const answer = await chat(backend, { maxTokens: 4, continueFrom: begun(text, 0) });
      assert.equal(answer.usage.completionTokens! <= 4, true);
      assert.notEqual(answer.reason, undefined);
      assert.ok(!answer.text.includes('\uFFFD') || answer.reason === 'length');
    }
    const prompt = { kind: 'text', text: 'One, two, three,' } as const;
    const { text } = await chat(backend, { prompt, maxTokens: 4, continueFrom: begun(' four, five,', 3) });
    assert.match(text, /^ ?\w/);
  });

  test('one that has all that it may have ends at once', async () => {
    const before = backend.counters().decodedTokens;
    const answer = await chat(backend, { maxTokens: 3, continueFrom: begun('The sea is', 3) });
    assert.deepEqual([answer.text, answer.reason], ['', 'length']);
    assert.equal(answer.usage.completionTokens, 0);
    const tokens = [504, 3143, 314];
    const choice = { ...begun('', 3).choices[0]!, tokens };
    const byIds = await chat(backend, { maxTokens: 3, continueFrom: { ...begun('', 3), choices: [choice] } });
    assert.deepEqual([byIds.text, byIds.reason, byIds.usage.completionTokens], ['', 'length', 3]);
    assert.equal(backend.counters().decodedTokens, before);
  });

  test('a beginning that leaves no room is refused with both numbers', async () => {
    await assert.rejects(chat(backend, { continueFrom: begun('sea '.repeat(600), 0) }), {
      code: 'context_length_exceeded',
      message: /the context window is 512 tokens/,
    });
  });

  test('a form is kept to from where the text stands, and what is no beginning of it is refused', async () => {
    const schema = {
      type: 'object',
      properties: { city: { type: 'string', maxLength: 12 }, people: { type: 'integer', maximum: 999 } },
      required: ['city', 'people'],
    };
    const responseFormat: ResponseFormat = { kind: 'schema', schema, path: 'schema', original: {} };
    for (const text of ['{"ci', '{"city": "Par', '{"city": "Paris",', '{"city": "Paris", "people": 1']) {
      const { text: rest, reason } = await chat(backend, {
        maxTokens: 80,
        responseFormat,
        continueFrom: begun(text, 2),
      });
      assert.equal(reason, 'stop');
      assert.deepEqual(Object.keys(JSON.parse(text + rest)), ['city', 'people'], text + rest);
    }
    for (const [pieces, code] of [
      [0, 'invalid_request'],
      [2, 'backend_failed'],
    ] as const) {
      const continueFrom = begun('Well, the city', pieces);
      await assert.rejects(chat(backend, { responseFormat, continueFrom }), { code });
    }
  });
});

test('a beginning becomes tokens that read as the same text, cut wherever it may be', { skip }, async () => {
  const settings = {
    modelFile,
    sequences: 1,
    contextTokens: 256,
    threads: 1,
    mostThreads: 1,
    gpu: false,
    busySeconds: 1,
    stateFolder: '',
    stateBytes: 0,
  } as const;
  const engine = await openEngine(await loadModel(settings, () => {}), settings);
  const prompts = new PromptBuilder(engine.chatTemplate, engine.vocabulary, engine.contextTokens);
  const built = prompts.build({ kind: 'messages', messages: [{ role: 'user', content: 'Hi.' }] });
  const readAs = (text: string) =>
    engine.detokenize(prompts.continueWith({ text, reasoning: '' }, built), built.tokens);
  const words = fc.constantFrom(
    ' ',
    '  ',
    '\n',
    '\t',
    'The',
    ' sea',
    ' is',
    '量',
    '子',
    '😀',
    'é',
    '{"a":',
    '\u00a0',
  );
  const texts = fc.oneof(
    fc.array(words, { maxLength: 12 }).map((list) => list.join('')),
    fc.string({ unit: 'grapheme', maxLength: 20 }),
  );
  fc.assert(
    fc.property(texts, fc.nat(20), (whole, cut) => {
      const text = [...whole].slice(0, cut).join('');
      assert.equal(readAs(text), text);
    }),
    { numRuns: 500 },
  );
  assert.equal(readAs('a<|im_end|> b'), 'a<|im_end|> b');
});
