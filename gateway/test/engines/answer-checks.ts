// What engines answer through the gateway: text, streamed and whole, what is counted, what was asked of its form. Greedy texts
// are only compared where nothing else can change them.
import assert from 'node:assert/strict';
import { flawOf, readChat } from '../e2e/chat-stream.ts';
import { post } from '../e2e/harness.ts';
import type { EngineCheck, Ground } from './check.ts';
import { askDirectly, type Completion, complete, type Message } from './engine.ts';

const MESSAGES: readonly Message[] = [{ role: 'user', content: 'Tell me about rivers.' }];
const TOKENS = 32;

/** Through the gateway, as one JSON. */
function chat({ engine, gateway }: Ground, body: object): Promise<Completion> {
  const asked = { model: engine.model, messages: MESSAGES, max_tokens: TOKENS, temperature: 0, ...body };
  return complete(`${gateway.url}/v1`, 'chat/completions', asked);
}

const textOf = (answer: Completion) => answer.choices[0]?.message?.content ?? '';

const wholeChat: EngineCheck = {
  title: 'chat, as one JSON',
  async run(ground) {
    const answer = await chat(ground, {});
    assert.equal(answer.object, 'chat.completion');
    assert.equal(answer.model, ground.engine.model);
    assert.match(textOf(answer), /[a-z]{3,} [a-z]{2,}/i);
    assert.match(answer.choices[0]!.finish_reason, /^(stop|length)$/);
    return 'yes';
  },
};

const streamedChat: EngineCheck = {
  title: 'chat, streamed',
  async run({ engine, gateway }) {
    const body = { model: engine.model, messages: MESSAGES, max_tokens: TOKENS, temperature: 0 };
    const seen = await readChat(gateway.url, body);
    // Its own text, whatever it is, must come without a seam.
    assert.equal(flawOf(seen, seen.text), undefined);
    assert.ok(seen.pieces >= TOKENS / 2, `${seen.pieces} pieces`);
    return `yes, ${seen.pieces} pieces of ${TOKENS} tokens`;
  },
};

const byAddress: EngineCheck = {
  title: '`--backend` alone: chat, streamed and whole, and its models',
  async run({ engine, bare }) {
    const body = { model: engine.model, messages: MESSAGES, max_tokens: 8, temperature: 0 };
    const seen = await readChat(bare.url, body);
    assert.equal(flawOf(seen, seen.text), undefined);
    assert.ok(seen.text.length > 0);
    const whole = await complete(`${bare.url}/v1`, 'chat/completions', body);
    assert.ok(textOf(whole).length > 0);
    const list = (await (await fetch(`${bare.url}/v1/models`)).json()) as { data: { id: string }[] };
    const own = (await (await fetch(`${engine.url}/models`)).json()) as { data: { id: string }[] };
    assert.deepEqual(
      list.data.map(({ id }) => id),
      own.data.map(({ id }) => id),
    );
    return 'yes';
  },
};

const completions: EngineCheck = {
  title: 'text completions, streamed and whole',
  async run({ engine, gateway }) {
    const body = { model: engine.model, prompt: 'The river flows', max_tokens: 12, temperature: 0 };
    const whole = await complete(`${gateway.url}/v1`, 'completions', body);
    assert.ok(whole.choices[0]!.text!.length > 0);
    const response = await post(`${gateway.url}/v1/completions`, { ...body, stream: true });
    const blocks = (await response.text()).trim().split('\n\n');
    assert.equal(blocks.pop(), 'data: [DONE]');
    const texts = blocks.map((block) => JSON.parse(block.slice('data: '.length)).choices[0].text as string);
    assert.ok(texts.length > 4, `${texts.length} chunks`);
    assert.ok(texts.join('').length > 0);
    return 'yes';
  },
};

const usage: EngineCheck = {
  title: 'usage, as the engine itself counts',
  async run(ground) {
    const { engine, gateway } = ground;
    const own = await askDirectly(engine, MESSAGES, TOKENS);
    const whole = await chat(ground, engine.afresh);
    assert.equal(whole.usage.prompt_tokens, own.promptTokens);
    assert.ok(whole.usage.completion_tokens > 0 && whole.usage.completion_tokens <= TOKENS);
    const body = { model: engine.model, messages: MESSAGES, max_tokens: TOKENS, temperature: 0 };
    const { completionTokens } = await readChat(gateway.url, body);
    assert.ok(completionTokens !== undefined && completionTokens <= TOKENS);
    return `yes, ${own.promptTokens} and ${own.completionTokens}`;
  },
};

const stop: EngineCheck = {
  title: '`stop`',
  async run(ground) {
    const { text } = await askDirectly(ground.engine, MESSAGES, TOKENS);
    const word = text.match(/[a-z]{4,}/gi)?.[4];
    assert.ok(word, `no five words: ${text}`);
    const whole = await chat(ground, { stop: [word] });
    assert.equal(whole.choices[0]!.finish_reason, 'stop');
    assert.ok(!textOf(whole).includes(word));
    const { engine, gateway } = ground;
    const body = {
      model: engine.model,
      messages: MESSAGES,
      max_tokens: TOKENS,
      temperature: 0,
      stop: [word],
    };
    const streamed = await readChat(gateway.url, body);
    assert.deepEqual([streamed.finishes, streamed.text.includes(word)], [['stop'], false]);
    return 'yes';
  },
};

const several: EngineCheck = {
  title: '`n`: 2',
  async run(ground) {
    const one = await chat(ground, { max_tokens: 8 });
    const sampling = { temperature: 1.5, seed: 5, max_tokens: 8 };
    const two = await chat(ground, { ...sampling, n: 2 });
    assert.deepEqual(
      two.choices.map(({ index }) => index),
      [0, 1],
    );
    const texts = two.choices.map(({ message }) => message?.content);
    assert.notEqual(texts[0], texts[1]);
    assert.equal(two.usage.prompt_tokens, one.usage.prompt_tokens, 'the prompt is counted once');
    return 'yes, the prompt counted once';
  },
};

const logprobs: EngineCheck = {
  title: '`logprobs`, `top_logprobs`: 2',
  async run(ground) {
    const answer = await chat(ground, { logprobs: true, top_logprobs: 2, max_tokens: 12 });
    const tokens = answer.choices[0]!.logprobs?.content;
    assert.ok(tokens, 'none came');
    assert.equal(tokens.map(({ token }) => token).join(''), textOf(answer));
    assert.ok(tokens.every(({ top_logprobs }) => top_logprobs.length === 2));
    return 'yes';
  },
};

const SCHEMA = {
  type: 'object',
  properties: { river: { type: 'string', maxLength: 20 }, days: { type: 'integer', minimum: 1, maximum: 9 } },
  required: ['river', 'days'],
  additionalProperties: false,
};

const form: EngineCheck = {
  title: '`response_format`: a JSON schema',
  async run(ground) {
    const response_format = {
      type: 'json_schema',
      json_schema: { name: 'trip', strict: true, schema: SCHEMA },
    };
    const answer = await chat(ground, { response_format, max_tokens: 80 });
    const value = JSON.parse(textOf(answer)) as { river: unknown; days: unknown };
    assert.deepEqual(Object.keys(value).sort(), ['days', 'river']);
    assert.equal(typeof value.river, 'string');
    assert.ok(Number.isInteger(value.days));
    return 'yes';
  },
};

export const ANSWER_CHECKS: readonly EngineCheck[] = [
  wholeChat,
  streamedChat,
  byAddress,
  completions,
  usage,
  stop,
  several,
  logprobs,
  form,
];
