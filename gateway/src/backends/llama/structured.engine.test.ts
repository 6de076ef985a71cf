// Checks answers that must have a form with a real model: whatever it would like to say, what it says is valid.
// The model calls no tools: a copy of its file with another chat template shows that the way of a call holds, not that
// this model is any good at it.
import assert from 'node:assert/strict';
import { copyFileSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { missingModel } from '../../../test/parts.ts';
import type { ChatRequest, ResponseFormat, Tool } from '../../core/chat.ts';
import { GatewayError } from '../../core/errors.ts';
import { AnswerFold } from '../../pipeline/partial.ts';
import { type Answer, type Ask, chat } from './engine-testing.ts';
import { isValid, schemasWithValues } from './grammar/schema-testing.ts';
import { LlamaBackend } from './llama-backend.ts';

const modelFile = process.env.SLUICE_TEST_MODEL ?? '';
const skip = missingModel();
const SLOTS = 8;
const RANDOM_SCHEMAS = 200;
/** So that few of them take long; the unit tests go deeper. */
const DEPTHS = [0, 1, 1, 1];

const schemaForm = (schema: unknown): ResponseFormat => ({
  kind: 'schema',
  schema,
  path: 'schema',
  original: schema,
});
const newBackend = (file: string) =>
  new LlamaBackend({
    id: 'm',
    modelFile: file,
    speaker: 'm',
    batchSize: SLOTS,
    contextTokens: 1024,
    log: () => {},
  });

describe('an answer with a form, from the real engine', { skip, concurrency: false }, () => {
  let backend: LlamaBackend;
  before(async () => {
    backend = newBackend(modelFile);
    await backend.start();
  });
  after(() => backend.close());

  const ask = (schema: unknown, more: Ask = {}): Promise<Answer> =>
    chat(backend, {
      user: 'Give me an example.',
      maxTokens: 200,
      responseFormat: schemaForm(schema),
      ...more,
    });

  test(`${RANDOM_SCHEMAS} random schemas: whatever the model says to its end is valid`, async (t) => {
    const samples = DEPTHS.flatMap((depth, seed) =>
      fc.sample(schemasWithValues(depth), { numRuns: RANDOM_SCHEMAS / DEPTHS.length, seed }),
    );
    let ended = 0;
    let next = 0;
    // Each worker asks again as soon as it has its answer, so that no slot waits for the longest of eight.
    const worker = async (): Promise<void> => {
      for (let index = next++; index < RANDOM_SCHEMAS; index = next++) {
        const { schema } = samples[index]!;
        const answer = await ask(schema, { sampling: { temperature: index % 2, seed: index } });
        assert.ok(answer.reason === 'stop' || answer.reason === 'length');
        if (answer.reason === 'length') continue;
        ended++;
        assert.ok(isValid(schema, JSON.parse(answer.text)), `${JSON.stringify(schema)}: ${answer.text}`);
      }
    };
    await Promise.all(Array.from({ length: SLOTS }, worker));
    t.diagnostic(`${ended} of ${RANDOM_SCHEMAS} ended by themselves`);
    assert.ok(ended >= RANDOM_SCHEMAS * 0.9, `only ${ended} ended`);
  });

  test('Chinese and emoji come whole, also where a token is a part of a character', async () => {
    for (const text of ['中文', '量子力学', '🦄', '👩‍🚀🚀', 'naïve 北京 🏯']) {
      const answer = await ask({ type: 'object', properties: { a: { const: text } }, required: ['a'] });
      assert.deepEqual(JSON.parse(answer.text), { a: text });
      assert.equal(answer.reason, 'stop');
      assert.ok(!answer.events.some((event) => event.type === 'text-delta' && event.text.includes('\uFFFD')));
    }
    const choices = { enum: ['红色', '绿色', '🔵', '🟣'] };
    const picked = await Promise.all(
      [1, 2, 3, 4].map((seed) => ask(choices, { sampling: { temperature: 2, seed } })),
    );
    for (const { text } of picked) assert.ok(isValid(choices, JSON.parse(text)), text);
  });

  test("a control token's name is text like any other", async () => {
    const answer = await ask({ const: '<|im_start|>x<|im_end|>' });
    assert.equal(JSON.parse(answer.text), '<|im_start|>x<|im_end|>');
  });

  test('json_object: an object, whole or cut by max_tokens', async () => {
    const answers = await Promise.all(
      [1, 2, 3, 4].map((seed) =>
        chat(backend, {
          user: 'Describe a person as JSON.',
          maxTokens: 150,
          responseFormat: { kind: 'json', original: {} },
          sampling: { temperature: 1, seed },
        }),
      ),
    );
    for (const { text, reason } of answers) {
      assert.match(text, /^\{/);
      if (reason === 'stop') assert.equal(typeof JSON.parse(text), 'object');
      else assert.equal(reason, 'length');
    }
  });

  test('an answer that lost its engine goes on inside its form', async () => {
    const schema = {
      type: 'object',
      properties: { city: { type: 'string', maxLength: 20 }, people: { type: 'integer' } },
      required: ['city', 'people'],
    };
    const whole = await ask(schema, { tenant: 'a' });
    assert.equal(whole.reason, 'stop');
    const fold = new AnswerFold();
    for (const event of whole.events.slice(0, Math.floor(whole.events.length / 2))) fold.add(event);
    const begun = fold.answer();
    const rest = await ask(schema, { tenant: 'b', continueFrom: begun });
    assert.equal(begun.choices[0]!.text + rest.text, whole.text);
  });

  test('probabilities are told beside a form, and are the model’s own', async () => {
    const answer = await ask({ enum: ['yes', 'no'] }, { logprobs: 2 });
    const told = answer.events.flatMap((event) =>
      event.type === 'text-delta' ? (event.logprobs ?? []) : [],
    );
    assert.equal(told.map(({ token }) => token).join(''), answer.text);
    assert.ok(
      told.some(({ token, top }) => top.every((one) => one.token !== token)),
      'no token was forced',
    );
  });

  test('a form beside a free answer changes nothing in that', async () => {
    const alone = await chat(backend, { maxTokens: 8 });
    const [free, formed] = await Promise.all([
      chat(backend, { maxTokens: 8 }),
      ask({ type: 'array', items: { type: 'integer' }, minItems: 3, maxItems: 3 }),
    ]);
    assert.equal(JSON.parse(formed.text).length, 3);
    assert.notEqual(free.text.trimStart()[0], '[');
    assert.equal(free.usage.completionTokens, alone.usage.completionTokens);
  });

  test('what cannot be honoured is refused before anything is computed', async () => {
    const refused = async (more: Partial<ChatRequest>, param: string) => {
      await assert.rejects(
        chat(backend, more),
        (error) => error instanceof GatewayError && error.code === 'invalid_request' && error.param === param,
      );
    };
    await refused(
      { responseFormat: schemaForm({ properties: { x: { pattern: '(?=a)' } } }) },
      'schema.properties.x.pattern',
    );
    await refused({ tools: [LOOK] }, 'tools');
    await refused({ tools: [LOOK], toolChoice: 'required' }, 'tools');
    await chat(backend, { tools: [LOOK], toolChoice: 'none', maxTokens: 1 });
  });
});

const LOOK: Tool = {
  name: 'look_up',
  parameters: {
    type: 'object',
    properties: { city: { enum: ['Paris', '北京'] }, days: { type: 'integer', minimum: 1, maximum: 9 } },
    required: ['city', 'days'],
  },
  isStrict: true,
  path: 'tools[0].function.parameters',
  original: { type: 'function', function: { name: 'look_up', description: 'The weather.' } },
};

const HEAD =
  '{% if tools %}<|im_start|>system\n{% for t in tools %}{{ t|tojson }}{% endfor %}Answer by <tool_call>.<|im_end|>\n{% endif %}' +
  "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n";

/** A copy of the model whose chat template is another: in its place, and of its length. */
function withTemplate(file: string, folder: string, template: string): string {
  const copy = join(folder, `${template.length}.gguf`);
  copyFileSync(file, copy);
  const descriptor = openSync(copy, 'r+');
  const start = Buffer.alloc(16 * 2 ** 20);
  readSync(descriptor, start, 0, start.length, 0);
  const key = start.indexOf('tokenizer.chat_template');
  // Behind the key: the type's number, 4 bytes, and the text's length, 8.
  const at = key + 'tokenizer.chat_template'.length + 12;
  const length = Number(start.readBigUInt64LE(at - 8));
  const padding = length - Buffer.byteLength(template);
  assert.ok(key > 0 && padding >= 4, `the model's template has only ${length} bytes`);
  writeSync(descriptor, `{#${' '.repeat(padding - 4)}#}${template}`, at);
  return copy;
}

describe('a model whose template offers tools', { skip, concurrency: false }, () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-template-'));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  test('a call that must be made is made, in a form that the client can read', async () => {
    const backend = newBackend(withTemplate(modelFile, folder, HEAD));
    await backend.start();
    try {
      const user = 'How is the weather in Paris?';
      const answer = await chat(backend, {
        user,
        tools: [LOOK],
        toolChoice: 'required',
        parallelToolCalls: false,
        maxTokens: 100,
      });
      const fold = new AnswerFold();
      for (const event of answer.events) fold.add(event);
      const [choice] = fold.answer().choices;
      assert.equal(choice!.text, '');
      assert.equal(answer.reason, 'tool_calls');
      const [call] = choice!.toolCalls;
      assert.equal(call!.name, 'look_up');
      assert.match(call!.id!, /^call_[0-9a-f]{24}$/);
      assert.ok(isValid(LOOK.parameters, JSON.parse(call!.arguments)), call!.arguments);

      const begun = new AnswerFold();
      for (const event of answer.events.slice(0, 5)) begun.add(event);
      const rest = await chat(backend, {
        user,
        tools: [LOOK],
        toolChoice: 'required',
        parallelToolCalls: false,
        maxTokens: 100,
        tenant: 'b',
        continueFrom: begun.answer(),
      });
      for (const event of rest.events) begun.add(event);
      assert.deepEqual(begun.answer().choices[0]!.toolCalls, choice!.toolCalls);
      assert.equal(rest.reason, 'tool_calls');

      const form = { type: 'object', properties: { a: { type: 'integer' } }, required: ['a'] };
      const either = await chat(backend, {
        user,
        tools: [LOOK],
        parallelToolCalls: false,
        responseFormat: schemaForm(form),
        maxTokens: 100,
      });
      if (either.reason === 'stop') assert.ok(isValid(form, JSON.parse(either.text)), either.text);
      else assert.equal(either.reason, 'tool_calls');
    } finally {
      await backend.close();
    }
  });

  test('a model that thinks does so, and its form begins behind its thinking', async () => {
    const backend = newBackend(
      withTemplate(modelFile, folder, `${HEAD.slice(HEAD.indexOf('{% for m'))}<think>\n`),
    );
    await backend.start();
    try {
      const form = { type: 'object', properties: { a: { enum: ['yes', 'no'] } }, required: ['a'] };
      const free = await chat(backend, { responseFormat: schemaForm(form), maxTokens: 12 });
      assert.deepEqual([free.text, free.reason], ['', 'length']);
      assert.ok(free.events.filter(({ type }) => type === 'reasoning-delta').length > 5, 'it thinks');

      // This model never learned to close its thinking. So it is made to write the tag, in a form, and goes on from there.
      const other = newBackend(modelFile);
      await other.start();
      const written = await chat(other, {
        responseFormat: schemaForm({ const: 'hm </think> x' }),
        maxTokens: 40,
      });
      await other.close();
      const tokens: number[] = [];
      let thought = '';
      for (const event of written.events) {
        if (event.type !== 'text-delta' || thought.endsWith('</think>')) continue;
        thought += event.text;
        tokens.push(...event.tokens!);
      }
      assert.equal(thought, '"hm </think>');
      const begun = { text: '', reasoning: thought, toolCalls: [], tokens, reason: undefined };
      const continueFrom = { speaker: 'm', choices: [begun], usage: undefined };
      const answer = await chat(backend, { responseFormat: schemaForm(form), maxTokens: 60, continueFrom });
      assert.equal(answer.reason, 'stop');
      assert.ok(isValid(form, JSON.parse(answer.text)), answer.text);
      assert.ok(!answer.events.some(({ type }) => type === 'reasoning-delta'));
    } finally {
      await backend.close();
    }
  });
});
