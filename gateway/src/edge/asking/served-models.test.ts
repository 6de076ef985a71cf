// Guards which models there are for whom: aliases are one model, any name goes on where back ends are open, a key sees and
// uses its own only, and no metric is labelled by what a client wrote.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Backend, ModelType } from '../../core/backend.ts';
import type { AccessKey, ServedModel, World } from '../../core/world.ts';
import {
  findListedModel,
  findModel,
  listedType,
  listModels,
  listModelsFor,
  modelLabel,
  refuseOtherType,
} from './served-models.ts';

function backendOf(id: string, models?: readonly string[]): Backend {
  return {
    id,
    ...(models && { models: () => models }),
    chat: () => Promise.reject(new Error('not asked in this test')),
    load: () => ({ state: 'ready', slots: 1 }),
    onLoadChange: () => () => {},
    close: () => Promise.resolve(),
  };
}

function modelOf(id: string): ServedModel {
  return {
    id,
    speaker: id,
    contextWindow: undefined,
    licence: undefined,
    created: 1,
    backends: [backendOf('x')],
  };
}

const ANY: AccessKey = { tenant: 'any', digest: Buffer.alloc(32), models: undefined };
const ids = (models: readonly ServedModel[]) => models.map(({ id }) => id);

const large = modelOf('large');
const small = modelOf('small');
const CLOSED: World = {
  models: new Map([
    ['large', large],
    ['big', large],
    ['small', small],
  ]),
  keys: [],
};
const [first, second, third] = [backendOf('1', ['a', 'b']), backendOf('2', ['b', 'c']), backendOf('3')];
const OPEN: World = {
  models: new Map(),
  openModels: { backends: [first, second, third], tiers: [0, 0, 1], created: 7 },
  keys: [],
};

test('a model with aliases is listed once, and found by every name', () => {
  assert.deepEqual(ids(listModels(CLOSED)), ['large', 'small']);
  assert.equal(findModel(CLOSED, ANY, 'big'), large);
  assert.equal(findListedModel(CLOSED, ANY, 'big'), large);
});

test('a key sees and uses its own models, by their aliases too', () => {
  const key = { ...ANY, models: ['large'] };
  assert.deepEqual(ids(listModelsFor(CLOSED, key)), ['large']);
  assert.equal(findModel(CLOSED, key, 'big'), large);
  assert.throws(() => findModel(CLOSED, key, 'small'), { code: 'forbidden', param: 'model' });
  assert.throws(() => findListedModel(CLOSED, key, 'small'), { code: 'model_not_found' });
});

test('an unknown model is not found, with what there is for the key', () => {
  const key = { ...ANY, models: ['small'] };
  assert.throws(() => findModel(CLOSED, key, 'x'), { code: 'model_not_found', message: /are: small\.$/ });
});

test('open back ends: what they list is listed once, anything else is passed on all the same', () => {
  assert.deepEqual(ids(listModels(OPEN)), ['a', 'b', 'c']);
  assert.equal(findModel(OPEN, ANY, 'never heard of').id, 'never heard of');
  assert.throws(() => findListedModel(OPEN, ANY, 'never heard of'), { code: 'model_not_found' });
  assert.equal(findListedModel(OPEN, ANY, 'c').created, 7);
  assert.throws(() => findModel(OPEN, { ...ANY, models: ['a'] }, 'b'), { code: 'forbidden' });
});

test('open back ends: who lists the model is asked, else who lists nothing, else everyone', () => {
  const asked = (world: World, id: string) => {
    const { backends, tiers } = findModel(world, ANY, id);
    return [backends.map((backend) => backend.id).join(), tiers?.join()];
  };
  assert.deepEqual(asked(OPEN, 'b'), ['1,2', '0,0']);
  assert.deepEqual(asked(OPEN, 'c'), ['2', '0']);
  assert.deepEqual(asked(OPEN, 'z'), ['3', '1']);
  const telling: World = { ...OPEN, openModels: { backends: [first, second], created: 1 } };
  assert.deepEqual(asked(telling, 'z'), ['1,2', undefined]);
});

test('a metric is labelled by ids of this server only', () => {
  assert.equal(modelLabel(CLOSED, large), 'large');
  assert.equal(modelLabel(OPEN, findModel(OPEN, ANY, 'c')), 'c');
  assert.equal(modelLabel(OPEN, findModel(OPEN, ANY, 'written by a client')), 'other');
});

const forAll = (...types: readonly (ModelType | undefined)[]) => ({
  ...modelOf('m'),
  backends: types.map((isFor, index) => ({ ...backendOf(`${index}`), isFor })),
});

test('a model is for what its owner says, else for what all its back ends are, else nobody says', () => {
  const ALL: readonly ModelType[] = ['chat', 'embedding', 'reranker'];
  const takenBy = (model: ServedModel) =>
    ALL.filter((type) => {
      try {
        refuseOtherType(model, type);
        return true;
      } catch {
        return false;
      }
    });
  assert.deepEqual(takenBy(modelOf('m')), ALL);
  assert.deepEqual(takenBy(forAll('embedding', 'embedding')), ['embedding']);
  assert.deepEqual(takenBy(forAll('embedding', undefined)), ALL);
  assert.deepEqual(takenBy({ ...forAll('chat'), type: 'reranker' }), ['reranker']);
  assert.deepEqual(takenBy({ ...modelOf('m'), type: 'chat' }), ['chat']);
  assert.deepEqual([modelOf('m'), forAll('embedding')].map(listedType), ['chat', 'embedding']);
});

test('who asks a model for what it is not for is told where it is asked', () => {
  assert.throws(() => refuseOtherType(forAll('embedding'), 'chat'), {
    code: 'invalid_request',
    param: 'model',
    message: /\/v1\/embeddings/,
  });
});
