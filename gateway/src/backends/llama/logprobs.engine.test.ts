// Checks n and logprobs with a real model: that the probabilities are the model's own, whatever the sampler does with
// them, and that asking for them changes no answer.
// It must never compare across batches of different shapes to the last bit: logits depend on the batch.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { missingModel } from '../../../test/parts.ts';
import type { Sampling, TokenLogprob } from '../../core/chat.ts';
import { chat } from './engine-testing.ts';
import { LlamaBackend } from './llama-backend.ts';

const modelFile = process.env.SLUICE_TEST_MODEL ?? '';
const skip = missingModel();

describe('probabilities of tokens', { skip, concurrency: false }, () => {
  let backend: LlamaBackend;
  before(async () => {
    backend = new LlamaBackend({ id: 'm', modelFile, speaker: 's', batchSize: 2, log: () => {} });
    await backend.start();
  });
  after(async () => {
    await backend.close();
  });

  let asked = 0;
  /** Each in a tenant of its own: nothing is read from a cache, so all batches have one shape. */
  const ask = async (
    sampling: Sampling,
    rest: { logprobs?: number; stop?: string[]; user?: string } = {},
  ) => {
    const answer = await chat(backend, { sampling, maxTokens: 12, tenant: `t${asked++}`, ...rest });
    const told = answer.events.flatMap((event) =>
      event.type === 'text-delta' ? (event.logprobs ?? []) : [],
    );
    return { text: answer.text, told, answer };
  };
  const total = (one: TokenLogprob): number =>
    one.top.reduce((sum, { logprob }) => sum + Math.exp(logprob), 0);
  const close = (a: number, b: number): void => assert.ok(Math.abs(a - b) < 0.01, `${a} and ${b}`);

  test('greedy: the chosen token is the likeliest, and the few add up to no more than all', async () => {
    const { told, text, answer } = await ask({ temperature: 0 }, { logprobs: 20 });
    assert.equal(told.length, 12);
    assert.equal(told.map(({ token }) => token).join(''), text);
    for (const one of told) {
      assert.equal(one.top.length, 20);
      assert.equal(one.token, one.top[0]?.token);
      assert.equal(one.logprob, one.top[0]?.logprob);
      assert.ok(total(one) > 0.1 && total(one) < 1.0001, `${total(one)}`);
      const logprobs = one.top.map(({ logprob }) => logprob);
      assert.deepEqual(
        logprobs,
        logprobs.toSorted((a, b) => b - a),
      );
      assert.equal(text.indexOf(one.token, one.offset), one.offset);
    }
    assert.equal(answer.usage.completionTokens, 12);
  });

  test('asking changes no answer, and whoever does not ask is told nothing', async () => {
    for (const sampling of [{ temperature: 0 }, { temperature: 0.9, seed: 5 }]) {
      const silent = await ask(sampling);
      assert.equal((await ask(sampling, { logprobs: 3 })).text, silent.text);
      assert.deepEqual(silent.told, []);
    }
  });

  test("they are the model's own: temperature, filters and penalties do not change the first place's", async () => {
    const plain = (await ask({ temperature: 0 }, { logprobs: 20 })).told[0]!;
    for (const sampling of [
      { temperature: 2, topK: 5, seed: 1 },
      { temperature: 0.3, topP: 0.2, seed: 1 },
      { temperature: 1, topK: 2, minP: 0.5, seed: 1, repetitionPenalty: 3, presencePenalty: 2 },
    ]) {
      const first = (await ask(sampling, { logprobs: 20 })).told[0]!;
      assert.deepEqual(
        first.top.slice(0, 5).map(({ token }) => token),
        plain.top.slice(0, 5).map(({ token }) => token),
      );
      for (const [place, { logprob }] of first.top.entries()) close(logprob, plain.top[place]!.logprob);
      const same = first.top.find(({ token }) => token === first.token);
      if (same) assert.equal(first.logprob, same.logprob);
    }
  });

  test('a token that is not among the likeliest has its own probability all the same', async () => {
    // The whole vocabulary, flattened: what comes is seldom among the likeliest 64.
    const { told } = await ask({ temperature: 100, topK: 0, topP: 1, seed: 3 }, { logprobs: 1 });
    assert.ok(told.length > 0);
    for (const one of told) {
      assert.ok(one.logprob < 0 && one.logprob > -60, `${one.logprob}`);
      assert.ok(one.logprob <= one.top[0]!.logprob);
    }
    assert.ok(told.some(({ logprob }) => logprob < -8));
  });

  test('what a stop string swallows is not told', async () => {
    const whole = await ask({ temperature: 0 }, { logprobs: 0 });
    const cut = whole.told[6]!;
    const stop = whole.text.slice(cut.offset);
    const stopped = await ask({ temperature: 0 }, { logprobs: 0, stop: [stop] });
    assert.equal(stopped.text, whole.text.slice(0, cut.offset));
    assert.deepEqual(
      stopped.told.map(({ token }) => token),
      whole.told.slice(0, 6).map(({ token }) => token),
    );
  });

  test('parts of a character are told with their bytes', async () => {
    const { told, text } = await ask({ temperature: 0 }, { logprobs: 0, user: 'Repeat exactly: 😀😀😀' });
    const bytes = told.flatMap((one) => one.bytes ?? [...Buffer.from(one.token)]);
    const end = text.includes('\uFFFD') ? text.indexOf('\uFFFD') : text.length;
    assert.equal(Buffer.from(bytes).toString().slice(0, end), text.slice(0, end));
  });
});
