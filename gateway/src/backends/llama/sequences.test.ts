// Checks sequences.ts: whose tokens are reused, and whose never.
// It must never load a model.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SequencePool } from './sequences.ts';

class Sequence {
  readonly name: string;
  contextTokens: readonly number[] = [];
  canTruncate = true;
  constructor(name: string) {
    this.name = name;
  }
}

function pool(count: number): { pool: SequencePool<Sequence>; sequences: Sequence[] } {
  const sequences = Array.from({ length: count }, (_, index) => new Sequence(String(index)));
  return { pool: new SequencePool(sequences), sequences };
}

/** Takes a sequence, leaves `tokens` in it, and gives it back. */
function use(places: SequencePool<Sequence>, tenant: string, tokens: readonly number[]): string {
  const placement = places.acquire(tenant, tokens);
  assert.ok(placement);
  placement.sequence.contextTokens = tokens;
  places.release(placement.sequence);
  return placement.sequence.name;
}

test('the longest common prefix wins, and the last token is always evaluated', () => {
  const { pool: places } = pool(3);
  use(places, 'a', [1, 2, 3]);
  use(places, 'a', [9, 8, 7, 6]);
  const placement = places.acquire('a', [9, 8, 7, 6]);
  assert.equal(placement?.sequence.name, '1');
  assert.equal(placement?.reusedTokens, 3);
});

test("another tenant's tokens are never reused", () => {
  const { pool: places } = pool(1);
  use(places, 'a', [1, 2, 3]);
  assert.equal(places.acquire('b', [1, 2, 3])?.reusedTokens, 0);
});

test('without a prefix the least recently used is taken, unused ones first and lowest first', () => {
  const { pool: places } = pool(3);
  assert.equal(use(places, 'a', [1]), '0');
  assert.equal(use(places, 'a', [2]), '1');
  assert.equal(use(places, 'a', [3]), '2');
  assert.equal(use(places, 'a', [4]), '0');
  assert.equal(use(places, 'a', [5]), '1');
});

test('busy sequences are not given twice', () => {
  const { pool: places } = pool(2);
  assert.equal(places.acquire('a', [1])?.sequence.name, '0');
  assert.equal(places.acquire('a', [1])?.sequence.name, '1');
  assert.equal(places.acquire('a', [1]), undefined);
});

test('a sequence that cannot be cut back is reused only when the prompt continues it', () => {
  const { pool: places, sequences } = pool(1);
  for (const sequence of sequences) sequence.canTruncate = false;
  use(places, 'a', [1, 2, 3]);
  assert.equal(places.acquire('a', [1, 2, 9, 9])?.reusedTokens, 0);
  for (const sequence of sequences) places.release(sequence);
  assert.equal(places.acquire('a', [1, 2, 3, 4])?.reusedTokens, 3);
});

test('one of the first few is taken while one of them is free, and then any other', () => {
  const { pool: places } = pool(4);
  assert.equal(use(places, 'a', [1, 2]), '0');
  const names = Array.from({ length: 4 }, () => places.acquire('b', [7], 0, 2)?.sequence.name);
  assert.deepEqual(names, ['1', '0', '2', '3']);
  assert.equal(places.acquire('b', [7], 0, 2), undefined);
});
