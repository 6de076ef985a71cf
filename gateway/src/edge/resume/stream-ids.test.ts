// Guards that a stream's name tells only its owner that there was such a stream.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hashKey } from '../access/access.ts';
import { StreamIds } from './stream-ids.ts';

const alice = { digest: hashKey('alice') };
const bob = { digest: hashKey('bob') };

test('a name is known to be of who got it, and of nobody else', () => {
  const ids = new StreamIds();
  const id = ids.make(alice);
  assert.match(id, /^[\w-]{24}$/);
  assert.equal(ids.isOf(id, alice), true);
  assert.equal(ids.isOf(id, { digest: hashKey('alice') }), true);
  assert.equal(ids.isOf(id, bob), false);
  assert.equal(new StreamIds().isOf(id, alice), false);
});

test('a name that is changed, cut, longer or written in another way is none', () => {
  const ids = new StreamIds();
  const id = ids.make(alice);
  const other = id.startsWith('A') ? 'B' : 'A';
  for (const wrong of [
    '',
    id.slice(1),
    `${id}A`,
    `${id}=`,
    other + id.slice(1),
    `${id} `,
    'x'.repeat(5_000),
  ]) {
    assert.equal(ids.isOf(wrong, alice), false, wrong);
  }
});

test('on a server without keys all are one', () => {
  const ids = new StreamIds();
  const nobody = { digest: Buffer.alloc(0) };
  assert.equal(ids.isOf(ids.make(nobody), nobody), true);
});
