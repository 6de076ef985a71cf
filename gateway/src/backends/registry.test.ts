// Guards what a reload does to back ends: what is the same stays the same object, what is gone closes when the last who began
// with it has ended and never before, and a configuration that cannot be made changes nothing.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Backend } from '../core/backend.ts';
import { BackendRegistry } from './registry.ts';

interface Config {
  readonly id: string;
  readonly url?: string;
  readonly overrides?: { readonly slots: number };
}

interface Probe extends Backend {
  closed: number;
}

function probeOf(id: string): Probe {
  const probe: Probe = {
    id,
    closed: 0,
    chat: () => Promise.reject(new Error('not asked in this test')),
    load: () => ({ state: probe.closed ? 'closed' : 'ready', slots: 1 }),
    onLoadChange: () => () => {},
    close: () => {
      probe.closed += 1;
      return Promise.resolve();
    },
  };
  return probe;
}

function setUp() {
  const made: Probe[] = [];
  const logged: string[] = [];
  const registry = new BackendRegistry<Config>(
    ({ id, url }) => {
      if (url === 'broken') throw new Error('cannot be made');
      const probe = probeOf(id);
      made.push(probe);
      return probe;
    },
    (_level, message) => logged.push(message),
  );
  const closed = () => made.filter((probe) => probe.closed > 0).map((probe) => made.indexOf(probe));
  return { registry, made, closed, logged };
}

test('what is deeply the same is the same object, in the order of the new configuration', () => {
  const { registry, made, closed } = setUp();
  const { backends } = registry.apply([{ id: 'a', overrides: { slots: 1 } }, { id: 'b' }]);
  const next = registry.apply([{ id: 'b' }, { id: 'c' }, { id: 'a', overrides: { slots: 1 } }]);
  assert.deepEqual(
    next.backends.map(({ id }) => id),
    ['b', 'c', 'a'],
  );
  assert.equal(next.backends[2], backends[0]);
  assert.equal(next.backends[0], backends[1]);
  assert.equal(made.length, 3);
  assert.deepEqual(closed(), []);
});

test('what nobody holds closes at once when it is gone or has changed', () => {
  const { registry, made, closed } = setUp();
  registry.apply([{ id: 'a', url: '1' }, { id: 'b' }]);
  registry.apply([{ id: 'a', url: '2' }]);
  assert.deepEqual(closed(), [0, 1]);
  assert.equal(made.length, 3);
  assert.deepEqual(registry.open, [made[2]]);
});

test('what is held stays open until the last holder lets go, over several reloads', () => {
  const { registry, closed } = setUp();
  const first = registry.apply([{ id: 'a' }, { id: 'b' }]);
  const letGo = first.hold();
  const letAlsoGo = first.hold();
  registry.apply([{ id: 'b' }]);
  registry.apply([{ id: 'c' }]);
  assert.deepEqual(closed(), []);
  letGo();
  letGo();
  assert.deepEqual(closed(), [], 'letting go twice is once');
  letAlsoGo();
  assert.deepEqual(closed(), [0, 1]);
});

test('holding what is newest costs nothing, and a back end that came back is the same', () => {
  const { registry, closed } = setUp();
  const first = registry.apply([{ id: 'a' }]);
  first.hold()();
  const letGo = first.hold();
  registry.apply([{ id: 'b' }]);
  registry.apply([{ id: 'a' }]);
  letGo();
  assert.deepEqual(closed(), [0, 1], 'the first a is another one than the second');
});

test('a configuration that cannot be made leaves everything as it was', () => {
  const { registry, made, closed } = setUp();
  const { backends } = registry.apply([{ id: 'a' }]);
  assert.throws(() => registry.apply([{ id: 'new' }, { id: 'a', url: 'broken' }]), /cannot be made/);
  assert.deepEqual(closed(), [1], 'what was made for it is closed');
  assert.equal(registry.apply([{ id: 'a' }]).backends[0], backends[0]);
  assert.equal(made.length, 2);
});

test('closing ends all, held or not, and a back end that cannot be closed is only told of', async () => {
  const { registry, made, closed, logged } = setUp();
  registry.apply([{ id: 'a' }, { id: 'b' }]).hold();
  registry.apply([{ id: 'c' }]);
  made[1]!.close = () => Promise.reject(new Error('stuck'));
  await registry.close();
  await registry.close();
  assert.deepEqual(closed(), [0, 2]);
  assert.deepEqual(registry.open, []);
  assert.deepEqual(logged, ['A back end could not be closed.']);
});

test('in any order of reloads and requests: open is exactly what is newest or held, and nothing closes twice', () => {
  const action = fc.oneof(
    fc.record({
      do: fc.constant('apply' as const),
      ids: fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd')),
    }),
    fc.record({ do: fc.constant('hold' as const) }),
    fc.record({ do: fc.constant('let go' as const), which: fc.nat(20) }),
  );
  fc.assert(
    fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
      const { registry, made } = setUp();
      let newest = registry.apply([]);
      const held: { letGo: () => void; backends: readonly Backend[] }[] = [];
      for (const one of actions) {
        if (one.do === 'apply') newest = registry.apply(one.ids.map((id) => ({ id })));
        if (one.do === 'hold') held.push({ letGo: newest.hold(), backends: newest.backends });
        if (one.do === 'let go' && held.length > 0) held.splice(one.which % held.length, 1)[0]!.letGo();
        const needed = new Set([...newest.backends, ...held.flatMap(({ backends }) => backends)]);
        for (const probe of made) assert.equal(probe.closed, needed.has(probe) ? 0 : 1);
        assert.deepEqual(new Set(registry.open), needed);
      }
    }),
  );
});
