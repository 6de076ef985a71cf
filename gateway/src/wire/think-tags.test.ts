// Checks think-tags.ts at every cut of known texts, and with random pieces.
// It must never use the clock or a model.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ThinkTags } from './think-tags.ts';

interface Split {
  reasoning: string;
  text: string;
}

function run(pieces: readonly string[], beginsInReasoning: boolean): Split {
  const tags = new ThinkTags({ beginsInReasoning });
  const split: Split = { reasoning: '', text: '' };
  for (const piece of pieces) for (const part of tags.push(piece)) split[part.kind] += part.text;
  for (const part of tags.flush()) split[part.kind] += part.text;
  return split;
}

const CASES: readonly [string, boolean, string, Split][] = [
  ['R1: only the closing tag', true, 'I think.\n</think>\n\nYes.', { reasoning: 'I think.\n', text: 'Yes.' }],
  ['R1-0528: both', true, '<think>\nI think.</think>Yes.', { reasoning: 'I think.', text: 'Yes.' }],
  ['the model opens', false, '\n<think>\nhm</think>\n\nYes.', { reasoning: 'hm', text: 'Yes.' }],
  ['no thinking', false, '  Yes <b>', { reasoning: '', text: '  Yes <b>' }],
  ['never closed', true, 'hm </thin', { reasoning: 'hm </thin', text: '' }],
  ['never closed, opened', false, '<think>hm <', { reasoning: 'hm <', text: '' }],
  ['a later tag is text', false, 'Use <think> here', { reasoning: '', text: 'Use <think> here' }],
  ['empty thinking', false, '<think>\n\n</think>\n\nYes', { reasoning: '', text: 'Yes' }],
  ['ends inside the opening tag', false, ' <thi', { reasoning: '', text: ' <thi' }],
  ['a near miss', true, 'a</thinkx></think>b', { reasoning: 'a</thinkx>', text: 'b' }],
  ['tags in the answer', true, 'a</think>b</think>c', { reasoning: 'a', text: 'b</think>c' }],
];

for (const [name, beginsInReasoning, text, expected] of CASES) {
  test(`${name}: at every pair of cuts`, () => {
    for (let a = 0; a <= text.length; a++) {
      for (let b = a; b <= text.length; b++) {
        const pieces = [text.slice(0, a), text.slice(a, b), text.slice(b)];
        assert.deepEqual(run(pieces, beginsInReasoning), expected, `cut at ${a} and ${b}`);
      }
    }
    assert.deepEqual(run([...text], beginsInReasoning), expected, 'character by character');
  });
}

test('the chunking never matters', () => {
  const words = fc.constantFrom('<think>', '</think>', '<', '</th', 'ink>', ' ', '\n', 'a', '中');
  fc.assert(
    fc.property(fc.array(words, { maxLength: 12 }), fc.boolean(), (pieces, begins) => {
      assert.deepEqual(run(pieces, begins), run([pieces.join('')], begins));
    }),
    { numRuns: 2000 },
  );
});

test('nothing is held longer than a tag is long', () => {
  const tags = new ThinkTags({ beginsInReasoning: true });
  assert.deepEqual(tags.push('abc'), [{ kind: 'reasoning', text: 'abc' }]);
  assert.deepEqual(tags.push('d</t'), [{ kind: 'reasoning', text: 'd' }]);
  assert.deepEqual(tags.push('o'), [{ kind: 'reasoning', text: '</to' }]);
  assert.equal(tags.inReasoning, true);
});

test('a thought that goes on keeps its white space, and a tag in it is its own', () => {
  const text = '\n <think> so.</think>\n\nYes.';
  for (let cut = 0; cut <= text.length; cut++) {
    const tags = new ThinkTags({ beginsInReasoning: false, continues: true });
    const split: Split = { reasoning: '', text: '' };
    const pieces = [...tags.push(text.slice(0, cut)), ...tags.push(text.slice(cut)), ...tags.flush()];
    for (const piece of pieces) split[piece.kind] += piece.text;
    assert.deepEqual(split, { reasoning: '\n <think> so.', text: 'Yes.' });
  }
});
