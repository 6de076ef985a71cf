// Guards what is remembered of a back end's prompts: a beginning counts by its part, the oldest goes first and of that the
// end, nothing grows without bound, and what a back end says it had not is forgotten.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { PromptPrefix } from '../core/ticket.ts';
import { PrefixIndex } from './prefix-index.ts';

const prefix = (...blocks: number[]): PromptPrefix => ({ blocks, whole: 0 });

test('a prompt is known as far as one with the same beginning was seen', () => {
  const index = new PrefixIndex();
  const seen = prefix(1, 2, 3, 4);
  assert.equal(index.shareOf(seen), 0);
  index.saw(seen);
  assert.equal(index.shareOf(seen), 1);
  assert.equal(index.shareOf(prefix(1, 2)), 1);
  assert.equal(index.shareOf(prefix(1, 2, 7, 8)), 0.5);
  assert.equal(index.shareOf(prefix(7, 8)), 0);
  assert.equal(index.shareOf(prefix()), 0, 'what is shorter than a block is like nothing');
});

test('what stands behind the last whole block counts too, and is known only with the whole prompt', () => {
  const index = new PrefixIndex();
  const question = (whole: number, rest: number): PromptPrefix => ({ blocks: [1, 2, 3], rest, whole });
  index.saw(question(100, 0.5));
  assert.equal(index.shareOf(question(100, 0.5)), 1);
  assert.equal(index.shareOf(question(101, 0.5)), 3 / 3.5);
  assert.equal(index.shareOf(question(102, 0.25)), 3 / 3.25);
  const short = { blocks: [], rest: 0.5, whole: 103 };
  index.saw(short);
  assert.equal(index.shareOf(short), 0, 'what is shorter than a block is like nothing');
  index.answered(question(100, 0.5), 1, { cachedTokens: 0 });
  assert.equal(index.shareOf(question(100, 0.5)), 0);
});

test('what was longest unused is forgotten first, a prompt from its end', () => {
  const index = new PrefixIndex(6);
  index.saw(prefix(1, 2, 3));
  index.saw(prefix(11, 12, 13));
  index.saw(prefix(1, 2, 3));
  index.saw(prefix(21, 22));
  assert.equal(index.shareOf(prefix(1, 2, 3)), 1);
  assert.equal(index.shareOf(prefix(11, 12, 13)), 1 / 3);
  assert.equal(index.shareOf(prefix(21, 22)), 1);
});

test('of a prompt that is larger than the memory its beginning is kept', () => {
  const index = new PrefixIndex(2);
  index.saw(prefix(1, 2, 3, 4));
  assert.equal(index.shareOf(prefix(1, 2, 3, 4)), 0.5);
});

test('what a back end should have had and had nothing of is forgotten', () => {
  const index = new PrefixIndex();
  const seen = prefix(1, 2);
  index.saw(seen);
  index.answered(seen, 0, { cachedTokens: 0 });
  index.answered(seen, 1, {});
  index.answered(seen, 1, { cachedTokens: 16 });
  assert.equal(index.shareOf(seen), 1, 'it was new to it, it does not say, or it had it');
  index.answered(seen, 1, { cachedTokens: 0 });
  assert.equal(index.shareOf(seen), 0);
});

test('against a walk over all blocks: the halving finds the same border, and the bound holds', () => {
  // Blocks of conversations that branch: each is named by all before it, as chained hashes are.
  const path = fc.array(fc.nat(2), { minLength: 1, maxLength: 12 });
  const blocksOf = (steps: readonly number[]) => {
    let name = 1;
    return steps.map((step) => {
      name = name * 4 + step;
      return name;
    });
  };
  fc.assert(
    fc.property(
      fc.array(path, { maxLength: 60 }),
      fc.integer({ min: 1, max: 40 }),
      path,
      (seen, most, asked) => {
        const index = new PrefixIndex(most);
        // The same memory, kept slowly: newest first.
        let kept: number[] = [];
        for (const steps of seen) {
          const blocks = blocksOf(steps);
          index.saw(prefix(...blocks));
          kept = [...blocks, ...kept.filter((block) => !blocks.includes(block))].slice(0, most);
        }
        const blocks = blocksOf(asked);
        const unknown = blocks.findIndex((block) => !kept.includes(block));
        assert.equal(
          index.shareOf(prefix(...blocks)),
          (unknown < 0 ? blocks.length : unknown) / blocks.length,
        );
      },
    ),
  );
});
