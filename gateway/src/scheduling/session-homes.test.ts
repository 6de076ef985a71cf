// Guards where sessions ran last: by tenant and name, the last place counts, and they are bounded.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SessionHomes } from './session-homes.ts';

test('a session is at home where it ran last, and tenants share no names', () => {
  const homes = new SessionHomes();
  assert.equal(homes.homeOf('t', 's'), undefined);
  homes.ran('t', 's', 'a');
  homes.ran('t', 's', 'b');
  homes.ran('u', 's', 'c');
  assert.deepEqual([homes.homeOf('t', 's'), homes.homeOf('u', 's')], ['b', 'c']);
  homes.ran('a,b', 'c', 'one');
  homes.ran('a', 'b,c', 'other');
  assert.equal(homes.homeOf('a,b', 'c'), 'one');
});

test('the one that was longest without a call is forgotten first', () => {
  const homes = new SessionHomes(2);
  homes.ran('t', '1', 'a');
  homes.ran('t', '2', 'a');
  homes.ran('t', '1', 'a');
  homes.ran('t', '3', 'a');
  assert.deepEqual(
    ['1', '2', '3'].map((session) => homes.homeOf('t', session)),
    ['a', undefined, 'a'],
  );
});
