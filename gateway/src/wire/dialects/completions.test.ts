// What text completions understand, beyond the fields that all dialects share.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GatewayError } from '../../core/errors.ts';
import { completions } from './completions.ts';

const parse = (body: object) => completions.parse({ model: 'm', prompt: 'hi', ...body }, undefined);

for (const [name, body, param] of [
  ['no model', { model: null }, 'model'],
  ['no prompt', { prompt: undefined }, 'prompt'],
  ['a null prompt', { prompt: null }, 'prompt'],
  ['no prompts', { prompt: [] }, 'prompt'],
  ['1025 prompts', { prompt: Array(1025).fill('x') }, 'prompt'],
  ['token numbers', { prompt: [1, 2] }, 'prompt[0]'],
  ['lists of token numbers', { prompt: ['a', [1]] }, 'prompt[1]'],
  ['n of 1.5', { n: 1.5 }, 'n'],
  ['a suffix that is no text', { suffix: ['a'] }, 'suffix'],
] as const) {
  test(`${name} is refused by name`, () => {
    assert.throws(
      () => parse(body),
      (error) => error instanceof GatewayError && error.code === 'invalid_request' && error.param === param,
    );
  });
}

test('a text is one call, with the defaults of the dialect', () => {
  const { calls, names, ...rest } = parse({});
  assert.equal(names?.messages, undefined, 'nothing is named that it has not');
  assert.deepEqual(rest, { parallel: 8, stream: false, includeUsage: false, ignored: [] });
  assert.equal(calls.length, 1);
  assert.deepEqual(calls[0]!.prompt, { kind: 'text', text: 'hi' });
  assert.equal(calls[0]!.maxTokens, 16);
  assert.equal(calls[0]!.sampling.temperature, undefined);
});

test('texts are a call each; what has no name goes on untouched', () => {
  const options = { best: 's', echo: true, user: null };
  const { calls } = parse({ prompt: ['a', '', 'b'], n: 2, max_tokens: 5, ...options });
  assert.deepEqual(
    calls.map(({ prompt }) => prompt.kind === 'text' && prompt.text),
    ['a', '', 'b'],
  );
  for (const { extra, choices, maxTokens } of calls) {
    assert.deepEqual(extra, { best: 's', echo: true });
    assert.deepEqual({ choices, maxTokens }, { choices: 2, maxTokens: 5 });
  }
});

test('a suffix goes with each prompt; an empty one is none', () => {
  const promptsOf = (suffix: string | null) =>
    parse({ prompt: ['a', 'b'], suffix }).calls.map(({ prompt }) => prompt);
  assert.deepEqual(promptsOf('\n}'), [
    { kind: 'text', text: 'a', suffix: '\n}' },
    { kind: 'text', text: 'b', suffix: '\n}' },
  ]);
  for (const none of ['', null]) assert.deepEqual(promptsOf(none)[0], { kind: 'text', text: 'a' });
});

test('a whole answer has every choice', () => {
  const choice = { reasoning: '', toolCalls: [], reason: 'stop' } as const;
  const choices = [
    { ...choice, text: 'a' },
    { ...choice, text: '', reasoning: 'r' },
  ];
  const usage = { promptTokens: 1, completionTokens: 2 };
  assert.deepEqual(
    JSON.parse(
      JSON.stringify(
        completions.whole(
          { speaker: 's', choices, usage },
          { id: '1', created: 2, model: 'm' },
          { calls: [], parallel: 1, stream: false, includeUsage: false, ignored: [] },
          undefined,
        ),
      ),
    ),
    {
      id: 'cmpl-1',
      object: 'text_completion',
      created: 2,
      model: 'm',
      choices: [
        { index: 0, text: 'a', logprobs: null, finish_reason: 'stop' },
        { index: 1, text: '', reasoning_content: 'r', logprobs: null, finish_reason: 'stop' },
      ],
      usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 },
    },
  );
});
