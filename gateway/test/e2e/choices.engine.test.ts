// The whole server over the real engine: several answers to one prompt, and how likely their tokens were.
// It must never ask for bit-equal text of answers that ran beside others: logits depend on the batch.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { missingModel } from '../parts.ts';
import { metric, post, type Sluice, startSluice, waitUntil } from './harness.ts';

const skip = missingModel();
const modelFile = process.env.SLUICE_TEST_MODEL ?? '';
const MESSAGES = [{ role: 'user', content: 'Tell me about the sea.' }];

describe('several answers to one prompt', { skip, concurrency: false }, () => {
  let sluice: Sluice;
  before(async () => {
    const args = ['--model', modelFile];
    sluice = await startSluice({ args, config: { engine: { batch_size: 3 } } });
  });
  after(() => sluice.stop());

  const ask = async (path: string, body: object) => {
    const response = await post(`${sluice.url}/v1/${path}`, { model: 'deepseek-r1', ...body });
    assert.equal(response.status, 200, response.ok ? '' : await response.text());
    return JSON.parse(await response.text());
  };
  const chat = (body: object) => ask('chat/completions', { messages: MESSAGES, max_tokens: 8, ...body });
  const running = () => metric(sluice.url, 'sluice_requests_running');

  test('with a seed they differ, and the first is what the seed alone gives', async () => {
    const sampling = { temperature: 1.5, top_p: 1, seed: 11 };
    const three = await chat({ ...sampling, n: 3 });
    const texts: string[] = three.choices.map((one: { message: { content: string } }) => one.message.content);
    assert.deepEqual(
      three.choices.map((one: { index: number }) => one.index),
      [0, 1, 2],
    );
    assert.equal(new Set(texts).size, 3, texts.join(' | '));
    const again = await chat({ ...sampling, n: 3 });
    const repeated = again.choices.filter(
      (one: { message: { content: string } }, index: number) => one.message.content === texts[index],
    );
    assert.ok(repeated.length >= 2, `${repeated.length} of 3 repeat`);
  });

  test('the prompt is counted once, and the answers all', async () => {
    const one = await chat({ temperature: 0 });
    const three = await chat({ temperature: 0, n: 3 });
    assert.equal(three.choices.length, 3);
    assert.equal(three.usage.prompt_tokens, one.usage.prompt_tokens);
    assert.equal(three.usage.completion_tokens, 24);
    assert.ok(three.usage.prompt_tokens_details.cached_tokens < three.usage.prompt_tokens);
  });

  test('text completions: prompts times n, numbered through, with best_of equal to n', async () => {
    const body = { prompt: ['The sea', 'A ship'], n: 2, best_of: 2, max_tokens: 3, temperature: 0 };
    const { choices, usage } = await ask('completions', { ...body, logprobs: 2 });
    assert.deepEqual(
      choices.map((one: { index: number }) => one.index),
      [0, 1, 2, 3],
    );
    assert.equal(usage.completion_tokens, 12);
    for (const { text, logprobs } of choices) {
      assert.equal(logprobs.tokens.join(''), text);
      assert.equal(logprobs.text_offset[0], 0);
      assert.ok(logprobs.top_logprobs.every((top: object) => Object.keys(top).length === 2));
    }
  });

  test('streamed, the tokens of all chunks make the text', async () => {
    const body = { messages: MESSAGES, max_tokens: 8, temperature: 0, n: 2, stream: true };
    const response = await post(`${sluice.url}/v1/chat/completions`, {
      model: 'deepseek-r1',
      ...body,
      logprobs: true,
      top_logprobs: 1,
    });
    const texts = ['', ''];
    const tokens = ['', ''];
    for (const block of (await response.text()).trim().split('\n\n')) {
      if (block === 'data: [DONE]') continue;
      const { index, delta, logprobs } = JSON.parse(block.slice('data: '.length)).choices[0];
      texts[index] += delta.content ?? '';
      for (const one of logprobs?.content ?? []) {
        tokens[index] += Buffer.from(one.bytes).toString();
        assert.equal(one.top_logprobs.length, 1);
        assert.equal(one.token, one.top_logprobs[0].token);
      }
    }
    assert.ok(texts[0] !== '');
    assert.deepEqual(tokens, texts);
  });

  test('a client that leaves frees the slots of all its answers', async () => {
    const leaving = new AbortController();
    const body = { model: 'deepseek-r1', messages: MESSAGES, n: 3, max_tokens: 2_000 };
    const asked = post(`${sluice.url}/v1/chat/completions`, body, { signal: leaving.signal });
    await waitUntil(
      async () => (await running()) === 3,
      5_000,
      () => 'three do not run',
    );
    leaving.abort();
    await assert.rejects(asked);
    await waitUntil(
      async () => (await running()) === 0,
      5_000,
      () => 'it runs on',
    );
    // All three slots at once: each answers.
    const after = await chat({ n: 3, max_tokens: 2 });
    assert.equal(after.choices.length, 3);
  });
});
