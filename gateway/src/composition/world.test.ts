// Guards the picture of what is served: who computes which model in which order, by which names, and what any name may be
// sent to.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LlamaBackend } from '../backends/llama/llama-backend.ts';
import { type Config, loadConfig } from '../config.ts';
import type { Backend } from '../core/backend.ts';
import { makeWorld, type Parts } from './world.ts';

function backendOf(id: string): Backend {
  return {
    id,
    chat: () => Promise.reject(new Error('not asked in this test')),
    load: () => ({ state: 'ready', slots: 1 }),
    onLoadChange: () => () => {},
    close: () => Promise.resolve(),
  };
}

const A = { id: 'a', url: 'http://a:1' };
const B = { id: 'b', url: 'http://b:1' };
const C = { id: 'c', url: 'http://c:1' };
const FAKE = { kind: 'fake', id: 'script' };

/** A configuration from the content of its file. */
function configOf(file: object): Config {
  return loadConfig({ config: 'file' }, {}, JSON.stringify(file));
}

/** `there`: ids of the back ends that are there, in order; default: all. */
function worldOf(file: object, there?: readonly string[], engine?: Parts['engine']) {
  const config = configOf(file);
  const ids = there ?? (config.backends ?? []).map(({ id }) => id);
  const backends = ids.map((id) => (engine?.backend.id === id ? engine.backend : backendOf(id)));
  let holds = 0;
  const hold = () => {
    holds += 1;
    return () => {
      holds -= 1;
    };
  };
  const world = makeWorld(config, { set: { backends, hold }, engine, created: 7 });
  /** A model as far as a test looks at it. */
  const model = (name: string) => {
    const found = world.models.get(name);
    return found && { ...found, backends: found.backends.map(({ id }) => id) };
  };
  return { world, model, holds: () => holds };
}

const ENGINE = {
  backend: backendOf('engine') as LlamaBackend,
  speaker: 'SmolLM2',
  licence: 'Apache-2.0',
  contextWindow: 4096,
};

test('without models any name goes to the other servers, and to no script', () => {
  const { world, model } = worldOf({ backends: [A, FAKE, B] });
  assert.deepEqual(
    world.openModels?.backends.map(({ id }) => id),
    ['a', 'b'],
  );
  assert.equal(world.openModels?.created, 7);
  assert.deepEqual([...world.models.keys()], ['deepseek-r1'], 'the script has the one name of its own');
  assert.deepEqual(model('deepseek-r1')?.backends, ['script']);
  assert.equal(model('deepseek-r1')?.speaker, 'fake (scripted words, no model)');
});

test('servers alone have no model of their own', () => {
  assert.equal(worldOf({ backends: [A] }).world.models.size, 0);
});

test('with models only what is listed is served', () => {
  const { world, model } = worldOf({ backends: [A, B], models: [{ id: 'm' }] });
  assert.equal(world.openModels, undefined);
  assert.deepEqual([...world.models.keys()], ['m']);
  assert.deepEqual(model('m')?.backends, ['a', 'b']);
  assert.deepEqual(model('m')?.tiers, [0, 1], 'each a tier of its own, preferred first');
});

test('tiers are as listed; equals stand in the order of the back ends', () => {
  const models = [{ id: 'm', backends: ['c', ['b', 'a']] }];
  const { model } = worldOf({ backends: [A, B, C], models });
  assert.deepEqual(model('m')?.backends, ['c', 'a', 'b']);
  assert.deepEqual(model('m')?.tiers, [0, 1, 1]);
});

test('an alias is the same model', () => {
  const { world } = worldOf({ backends: [A], models: [{ id: 'm', aliases: ['n', 'o'] }] });
  assert.deepEqual([...world.models.keys()], ['m', 'n', 'o']);
  assert.equal(world.models.get('n'), world.models.get('m'));
  assert.equal(world.models.get('o')?.id, 'm');
});

test('what the first back end calls it is who speaks, until it says so itself', () => {
  const name = { b: 'theirs' };
  const speaker = (backends: string[]) =>
    worldOf({ backends: [A, B], models: [{ id: 'm', backends, name }] }).model('m');
  assert.equal(speaker(['b', 'a'])?.speaker, 'theirs');
  assert.equal(speaker(['a', 'b'])?.speaker, 'm');
  assert.deepEqual([...speaker(['a', 'b'])!.names!], [['b', 'theirs']]);
});

test('what of its answers is shared and kept is that of the configuration', () => {
  const models = [{ id: 'm', coalesce: true, answer_cache: { ttl_ms: 5 } }, { id: 'n' }];
  const { model } = worldOf({ backends: [A], models });
  assert.deepEqual(
    [model('m')?.coalesces, model('m')?.answerCache],
    [true, { ttlMs: 5, maxBytes: 64 * 1024 * 1024 }],
  );
  assert.deepEqual([model('n')?.coalesces, model('n')?.answerCache], [false, undefined]);
});

test('windows and objectives are those of the configuration', () => {
  const models = [{ id: 'm', context_window: 99, first_token_objective_ms: 5 }, { id: 'n' }];
  const { model } = worldOf({ backends: [A], models });
  assert.deepEqual([model('m')?.contextWindow, model('m')?.firstTokenObjectiveMs], [99, 5]);
  assert.deepEqual([model('n')?.contextWindow, model('n')?.firstTokenObjectiveMs], [undefined, undefined]);
});

test('priorities are those of the configuration, and prices go by back end, to any model', () => {
  const price = { input: 1, output: 2 };
  const models = [{ id: 'm', priority: 'batch' }, { id: 'n' }];
  const { model } = worldOf({ backends: [{ ...A, price }, B], models });
  assert.deepEqual([model('m')?.priority, model('n')?.priority], ['batch', undefined]);
  assert.deepEqual([...model('n')!.prices!], [['a', price]]);
  assert.deepEqual(
    [...worldOf({ backends: [A, { ...B, price }] }).world.openModels!.prices!],
    [['b', price]],
  );
  assert.equal(worldOf({ backends: [A] }).world.openModels!.prices, undefined, 'nobody has one');
});

test('what is still on its way is not there: a model that has nobody else is not served yet', () => {
  const file = {
    backends: [{ kind: 'embedded' }, A],
    models: [
      { id: 'm', backends: ['engine'] },
      { id: 'n', backends: ['engine', 'a'] },
    ],
  };
  const before = worldOf(file, ['a']);
  assert.deepEqual([...before.world.models.keys()], ['n']);
  assert.deepEqual(before.model('n')?.backends, ['a']);
  assert.deepEqual(before.model('n')?.tiers, [1]);
  const { model } = worldOf(file, ['engine', 'a'], ENGINE);
  assert.deepEqual(model('m')?.backends, ['engine']);
  assert.deepEqual(model('n')?.backends, ['engine', 'a']);
});

test('the engine says itself what it speaks, under which licence and in which window', () => {
  const alone = worldOf({}, ['engine'], ENGINE).model('deepseek-r1');
  assert.deepEqual(
    [alone?.speaker, alone?.licence, alone?.contextWindow, alone?.created],
    ['SmolLM2', 'Apache-2.0', 4096, 7],
  );
  const backends = [A, { kind: 'embedded' }];
  const second = worldOf({ backends, models: [{ id: 'm' }] }, ['a', 'engine'], ENGINE).model('m');
  assert.deepEqual([second?.speaker, second?.licence, second?.contextWindow], ['m', undefined, undefined]);
  const own = { id: 'm', backends: ['engine'], context_window: 99 };
  assert.equal(worldOf({ backends, models: [own] }, ['a', 'engine'], ENGINE).model('m')?.contextWindow, 99);
});

test('a stand-in is the other model as it is by itself; who is still on the way stands in for nobody', () => {
  const price = { input: 1, output: 2 };
  const spill = { backends: ['c', 'd'], budget_per_day: 5 };
  const file = {
    backends: [A, B, { ...C, price }, { id: 'd', url: 'http://d:1', price: { input: 3, output: 1 } }],
    models: [
      {
        id: 'm',
        aliases: ['n'],
        backends: ['a'],
        trim: { max_tokens: 9 },
        degrade: { smaller_model: 's', spill },
      },
      { id: 's', backends: ['b'], degrade: { smaller_model: 'm', shorter: 7 } },
    ],
  };
  const { world, model } = worldOf(file);
  const { trim, degrade } = model('m')!;
  assert.deepEqual(trim, { maxTokens: 9, always: false });
  assert.deepEqual([degrade?.smallerModel?.id, degrade?.smallerModel?.degrade], ['s', undefined]);
  assert.deepEqual(
    degrade?.spill?.backends.map(({ id }) => id),
    ['c', 'd'],
  );
  assert.deepEqual(degrade?.spill?.price, { input: 3, output: 2, cached: 3 });
  assert.equal(model('s')?.degrade?.shorterTokens, 7);
  assert.equal(world.models.get('n'), world.models.get('m'));
  const partly = worldOf(file, ['a', 'd']).model('m')!;
  assert.equal(partly.degrade?.smallerModel, undefined);
  assert.deepEqual(
    partly.degrade?.spill?.backends.map(({ id }) => id),
    ['d'],
  );
  assert.equal(worldOf(file, ['a']).model('m')?.degrade?.spill, undefined);
});

test('who holds the picture holds its back ends', () => {
  const { world, holds } = worldOf({ backends: [A] });
  const letGo = world.hold!();
  assert.equal(holds(), 1);
  letGo();
  assert.equal(holds(), 0);
});
