// Guards how long an answer about a name is believed, with a clock that the test moves, and that those who ask at the
// same time share one look-up.
import assert from 'node:assert/strict';
import type { LookupAddress } from 'node:dns';
import { test } from 'node:test';
import { NameAddresses } from './name-addresses.ts';

/** A name whose look-ups wait until they are answered by hand. */
class Played {
  now = 0;
  readonly pending: ((error: Error | null, addresses: readonly LookupAddress[]) => void)[] = [];
  readonly addresses = new NameAddresses({
    name: 'x.test',
    lookup: (name, answer) => {
      assert.equal(name, 'x.test');
      this.pending.push(answer);
    },
    ttlMs: 1_000,
    now: () => this.now,
  });

  answer(...addresses: string[]): void {
    assert.equal(this.pending.length, 1);
    this.pending.pop()!(
      null,
      addresses.map((address) => ({ address, family: 4 })),
    );
  }

  /** What a connection would be told; undefined while it waits. */
  ask(all = true): { result: unknown } {
    const told: { result: unknown } = { result: undefined };
    this.addresses.lookup('ignored', { all }, (error, address) => {
      told.result = error ?? address;
    });
    return told;
  }
}

test('an answer holds for its time and not longer', () => {
  const name = new Played();
  assert.equal(name.addresses.leadsTo('10.0.0.1'), undefined);
  const told = name.ask();
  assert.equal(told.result, undefined);
  name.answer('10.0.0.1');
  assert.deepEqual(told.result, [{ address: '10.0.0.1', family: 4 }]);
  assert.equal(name.ask(false).result, '10.0.0.1');
  assert.deepEqual([name.addresses.leadsTo('10.0.0.1'), name.addresses.leadsTo('10.0.0.2')], [true, false]);
  name.now = 1_000;
  assert.equal(name.addresses.leadsTo('10.0.0.1'), undefined);
  assert.equal(name.ask().result, undefined);
  assert.equal(name.pending.length, 1);
});

test('half of the time gone, the next answer is asked for while the last one still holds', () => {
  const name = new Played();
  name.ask();
  name.answer('10.0.0.1');
  name.now = 499;
  name.addresses.leadsTo('10.0.0.1');
  assert.equal(name.pending.length, 0);
  name.now = 501;
  assert.equal(name.addresses.leadsTo('10.0.0.1'), true);
  assert.equal(name.addresses.leadsTo('10.0.0.1'), true);
  name.answer('10.0.0.2');
  assert.deepEqual([name.addresses.leadsTo('10.0.0.1'), name.addresses.leadsTo('10.0.0.2')], [false, true]);
  name.now = 1_400;
  assert.equal(name.addresses.leadsTo('10.0.0.2'), true);
});

test('those who ask at the same time share one look-up, and its failure', () => {
  const name = new Played();
  const told = [name.ask(), name.ask(), name.ask()];
  const failure = Object.assign(new Error('no'), { code: 'EAI_AGAIN' });
  assert.equal(name.pending.length, 1);
  name.pending.pop()!(failure, []);
  assert.deepEqual(
    told.map(({ result }) => result),
    [failure, failure, failure],
  );
  name.ask();
  assert.equal(name.pending.length, 1, 'a failure is not remembered');
});

test('a name without an address is not found; what is forgotten is asked for again', () => {
  const name = new Played();
  const told = name.ask();
  name.answer();
  assert.equal((told.result as { code?: string }).code, 'ENOTFOUND');
  name.ask();
  name.answer('10.0.0.1');
  name.addresses.forget();
  assert.equal(name.addresses.leadsTo('10.0.0.1'), undefined);
});
