// Checks begun-answer.ts: words written as a model would have, and what there is counted once, as prompt or as answer.
// It must never load a model.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ThinkTags } from '../../wire/think-tags.ts';
import { type ContinuationOptions, planContinuation, writtenAnswer } from './begun-answer.ts';

const INSIDE = { beginsInReasoning: true };
const OUTSIDE = { beginsInReasoning: false };

test('a thought stands between tags, as templates write it, and an open one is left open', () => {
  for (const [text, reasoning, thinking, expected] of [
    ['a', '', undefined, 'a'],
    ['a', 'hm', undefined, 'a'],
    ['', '', INSIDE, ''],
    ['', 'hm', INSIDE, 'hm'],
    ['a', 'hm', INSIDE, 'hm\n</think>\n\na'],
    ['a', 'hm\n', INSIDE, 'hm\n</think>\n\na'],
    ['a', '', INSIDE, '\n</think>\n\na'],
    ['', 'hm', OUTSIDE, '<think>\nhm'],
    ['a', 'hm', OUTSIDE, '<think>\nhm\n</think>\n\na'],
    ['a', '', OUTSIDE, 'a'],
  ] as const) {
    const { written, words } = writtenAnswer({ text, reasoning }, thinking);
    assert.equal(written, expected);
    const ours = words.map(({ start, end }) => written.slice(start, end)).join('');
    assert.equal(ours, thinking === undefined ? text : reasoning + text, 'the words are told from the tags');
  }
});

test('what is written reads as what was said', () => {
  for (const thinking of [INSIDE, OUTSIDE]) {
    for (const [text, reasoning] of [
      ['a b', 'hm.'],
      ['', 'hm.'],
      ['a', ''],
    ] as const) {
      const tags = new ThinkTags(thinking);
      const read = { text: '', reasoning: '' };
      const { written } = writtenAnswer({ text, reasoning }, thinking);
      for (const piece of [...tags.push(written), ...tags.flush()]) read[piece.kind] += piece.text;
      assert.deepEqual([read.text, read.reasoning.trimEnd()], [text, reasoning]);
    }
  }
});

const plan = (options: Partial<ContinuationOptions>) =>
  planContinuation({
    begun: undefined,
    promptTokens: 10,
    contextTokens: 100,
    maxTokens: undefined,
    tokenize: ({ text }) => [...text].map((character) => character.charCodeAt(0)),
    ...options,
  });
const words = (text: string, pieces: number) => ({ kind: 'words', text, reasoning: '', pieces }) as const;

test('without a beginning the answer has what the window leaves, or what was asked for', () => {
  assert.deepEqual(plan({}), { continued: [], isPrompt: false, maxTokens: 90, isSpent: false });
  assert.equal(plan({ maxTokens: 1e18 }).maxTokens, 90);
  assert.equal(plan({ maxTokens: 7 }).maxTokens, 7);
});

test("a model's own tokens are the answer's, and count towards its limit", () => {
  const begun = { kind: 'ids', tokens: [1, 2, 3] } as const;
  assert.deepEqual(plan({ begun, maxTokens: 5 }), {
    continued: [1, 2, 3],
    isPrompt: false,
    maxTokens: 5,
    isSpent: false,
  });
  assert.equal(plan({ begun, maxTokens: 3 }).isSpent, true);
  assert.equal(plan({ begun, promptTokens: 97 }).isSpent, true, 'the window is full');
});

test('words are prompt: of the limit they take as many tokens as they were given in pieces', () => {
  const begun = words('abcd', 2);
  assert.deepEqual(plan({ begun, maxTokens: 5 }), {
    continued: [97, 98, 99, 100],
    isPrompt: true,
    maxTokens: 3,
    isSpent: false,
  });
  assert.equal(plan({ begun }).maxTokens, 86);
  assert.equal(plan({ begun, maxTokens: 2 }).isSpent, true);
  assert.equal(plan({ begun, promptTokens: 96 }).isSpent, true, 'the window is full');
  assert.equal(
    plan({ begun: words('abcd', 0), maxTokens: 2 }).isSpent,
    false,
    "a client's own are for nothing",
  );
});

test("a client's own beginning that leaves no room is refused with both numbers", () => {
  assert.throws(() => plan({ begun: words('abcd', 0), promptTokens: 96 }), {
    code: 'context_length_exceeded',
    message: /has 100 tokens .* the context window is 100 tokens/,
  });
});
