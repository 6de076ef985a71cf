// Guards the table of vendors: what a user says of a back end wins over its kind, and rows keep to what belongs together.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { REMOTE_KINDS } from '../../config/schema.ts';
import { traitsOf } from './vendors.ts';

test('what the user says wins, and what is not said is the kind’s own', () => {
  const own = traitsOf('llama.cpp');
  assert.deepEqual(traitsOf('llama.cpp', {}), own);
  assert.deepEqual(
    traitsOf('llama.cpp', { slots: undefined, thinkTags: undefined, template: undefined }),
    own,
  );
  assert.deepEqual(
    traitsOf('llama.cpp', {
      slots: 9,
      limit: 'aimd',
      thinkTags: true,
      toolMarkup: 'qwen',
      ignoresStop: true,
    }),
    { ...own, slots: 9, limit: 'aimd', thinkTags: true, toolMarkup: 'qwen', ignoresStop: true },
  );
});

test('a template says how it treats thinking, whatever the kind', () => {
  for (const [template, history, begins] of [
    ['deepseek-r1', 'strip', true],
    ['deepseek-v3.2', 'tool-turns', false],
    ['deepseek-v4', 'tool-turns', false],
    ['qwen', 'strip', false],
  ] as const) {
    for (const kind of ['vllm', 'sglang', 'generic'] as const) {
      const traits = traitsOf(kind, { template });
      assert.deepEqual([traits.historyReasoning, traits.beginsInReasoning], [history, begins], template);
      assert.deepEqual(traits.prefill, traitsOf(kind).prefill);
    }
  }
});

test('every kind of the configuration has a row, and rows hang together', () => {
  for (const kind of REMOTE_KINDS) {
    const { slots, prefill, infill, isSluice, protocol } = traitsOf(kind);
    assert.ok(slots >= 1, kind);
    assert.equal(isSluice, kind === 'sluice', 'our own headers mean something to our own server only');
    assert.equal(protocol === 'ollama', kind === 'ollama');
    if (prefill?.pathPrefix !== undefined) assert.match(prefill.pathPrefix, /^\/.*[^/]$/);
    if (infill?.way === 'llama.cpp') assert.equal(kind, 'llama.cpp', 'nobody else has its request');
  }
  const clouds = ['siliconflow', 'deepseek', 'moonshot', 'openai'] as const;
  for (const kind of clouds) assert.equal(traitsOf(kind).limit, 'aimd', 'nobody knows how much they take');
  assert.equal(traitsOf('generic').prefill?.repeats, true, 'of an unknown server nothing may be assumed');
  assert.equal(traitsOf('generic').infill, undefined, 'it might pass over the suffix in silence');
});
