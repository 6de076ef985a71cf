// Checks sampling.ts: what the sampler gets, and which fields are refused by name.
// It must never load a model.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ChatRequest } from '../../core/chat.ts';
import { GatewayError } from '../../core/errors.ts';
import { refuseUnsupported, toEngineSampling } from './sampling.ts';

const request = (extra: Record<string, unknown>, choices = 1): ChatRequest => ({
  model: 'm',
  prompt: { kind: 'text', text: 'x' },
  sampling: {},
  stop: [],
  choices,
  extra,
});

function refusedParam(extra: Record<string, unknown>, choices = 1): string | undefined {
  try {
    refuseUnsupported(request(extra, choices));
    return undefined;
  } catch (error) {
    assert.ok(error instanceof GatewayError);
    assert.equal(error.code, 'invalid_request');
    return error.param;
  }
}

test('defaults, and a seed of its own for every call', () => {
  const { seed, ...rest } = toEngineSampling({});
  assert.deepEqual(rest, {
    temperature: 0.6,
    topP: 0.95,
    topK: 40,
    minP: 0,
    presencePenalty: 0,
    frequencyPenalty: 0,
    repetitionPenalty: 1,
  });
  const seeds = new Set(Array.from({ length: 20 }, () => toEngineSampling({}).seed));
  assert.ok(seeds.size > 10 && Number.isInteger(seed));
});

test('values are brought into what the binding takes', () => {
  assert.equal(toEngineSampling({ topK: 1e18 }).topK, 2 ** 31 - 1);
  assert.equal(toEngineSampling({ topK: -1 }).topK, 0);
  assert.equal(toEngineSampling({ repetitionPenalty: 0 }).repetitionPenalty, 0.01);
  assert.equal(toEngineSampling({ seed: -1 }).seed, 2 ** 32 - 2);
  assert.equal(toEngineSampling({ seed: 42.9 }).seed, 42);
  assert.ok(toEngineSampling({ seed: 1e300 }).seed < 2 ** 32 - 1);
});

const REFUSED: readonly [string, unknown][] = [
  ['tools', [{}]],
  ['tool_choice', 'required'],
  ['tool_choice', { type: 'function' }],
  ['functions', [{}]],
  ['response_format', { type: 'json_object' }],
  ['logit_bias', { 5: 1 }],
  ['suffix', 'end'],
  ['echo', true],
  ['best_of', 2],
  ['modalities', ['text', 'audio']],
  ['audio', { voice: 'x' }],
  ['prediction', { type: 'content' }],
  ['grammar', 'root ::= "a"'],
  ['guided_json', {}],
  ['guided_choice', ['a']],
];

test('what it cannot honour is refused by name', () => {
  for (const [field, value] of REFUSED) {
    const asks = !(field === 'guided_json');
    assert.equal(
      refusedParam({ [field]: value }),
      asks ? field : undefined,
      `${field}=${JSON.stringify(value)}`,
    );
  }
  assert.equal(refusedParam({}, 2), 'n');
});

test('what asks for nothing is not refused, nor what nobody knows', () => {
  assert.equal(
    refusedParam({
      tools: [],
      tool_choice: 'auto',
      response_format: { type: 'text' },
      logit_bias: {},
      suffix: '',
      echo: false,
      best_of: 1,
      n: 1,
      modalities: ['text'],
      audio: null,
      user: 'u',
      whatever: { a: 1 },
    }),
    undefined,
  );
});
