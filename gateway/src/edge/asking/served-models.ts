// The models of a World as clients meet them: which there are, which is meant by a name, which a key may use.
// Where any model's name may be sent on, the list is what the back ends say they serve.
import type { ModelType } from '../../core/backend.ts';
import { GatewayError } from '../../core/errors.ts';
import type { AccessKey, OpenModels, Readiness, ServedModel, World } from '../../core/world.ts';
import { authorizeModel, mayUse } from '../access/access.ts';

const FOR: Readonly<Record<ModelType, string>> = {
  chat: 'one that writes',
  embedding: 'one that makes vectors of texts',
  reranker: 'one that judges documents by a query',
};
const ROUTES: Readonly<Record<ModelType, string>> = {
  chat: '/v1/chat/completions',
  embedding: '/v1/embeddings',
  reranker: '/v1/rerank',
};

/** What a metric calls a model that is in no list: what clients write is never a label. */
const UNLISTED = 'other';

/** Every model once: those of the configuration, then those that open back ends list. */
export function listModels({ models, openModels }: World): ServedModel[] {
  const listed = new Map([...models.values()].map((model) => [model.id, model]));
  if (openModels) {
    for (const backend of openModels.backends) {
      for (const id of backend.models?.() ?? []) {
        if (!models.has(id) && !listed.has(id)) listed.set(id, openModel(openModels, id));
      }
    }
  }
  return [...listed.values()];
}

/** As `listModels`, of those that the key may use. */
export function listModelsFor(world: World, key: AccessKey): ServedModel[] {
  return listModels(world).filter(({ id }) => mayUse(key, id));
}

/** The model that a request asks for. Throws `model_not_found` with the ids that the key may use, or `forbidden`. */
export function findModel(world: World, key: AccessKey, asked: string): ServedModel {
  const model = world.models.get(asked) ?? (world.openModels && openModel(world.openModels, asked));
  if (!model) throw modelNotFound(world, key, 'model');
  authorizeModel(key, model.id);
  return model;
}

/** By its owner's word, else by its back ends', where all of them are for the same. Undefined: nobody says. */
function typeOf({ type, backends }: ServedModel): ModelType | undefined {
  if (type !== undefined) return type;
  const [first] = backends;
  return backends.every(({ isFor }) => isFor === first?.isFor) ? first?.isFor : undefined;
}

/** What lists call it: who does not say what a model is for has one that writes. */
export function listedType(model: ServedModel): ModelType {
  return typeOf(model) ?? 'chat';
}

/** Throws `invalid_request` for a request that the model is not for, as far as that is known. */
export function refuseOtherType(model: ServedModel, wanted: ModelType): void {
  const type = typeOf(model);
  if (type === undefined || type === wanted) return;
  const message = `This model is ${FOR[type]}: post to ${ROUTES[type]}.`;
  throw new GatewayError('invalid_request', message, { param: 'model' });
}

/** A model of the list, by any of its names. Throws `model_not_found`, also where the key may not use it. */
export function findListedModel(world: World, key: AccessKey, asked: string): ServedModel {
  const model = world.models.get(asked) ?? listModels(world).find(({ id }) => id === asked);
  if (!model || !mayUse(key, model.id)) throw modelNotFound(world, key);
  return model;
}

/** The model's name in metrics: its id where this server lists it. */
export function modelLabel({ models, openModels }: World, { id }: ServedModel): string {
  if (models.has(id)) return id;
  return openModels?.backends.some((backend) => backend.models?.().includes(id)) ? id : UNLISTED;
}

/** Whoever lists it is asked; else whoever lists nothing, and so may have it; else anyone. */
function openModel({ backends, tiers, created, prices }: OpenModels, id: string): ServedModel {
  const lists = backends.map((backend) => backend.models?.() ?? []);
  const places = [...backends.keys()];
  const listing = places.filter((place) => lists[place]!.includes(id));
  const silent = places.filter((place) => lists[place]!.length === 0);
  const chosen = [listing, silent].find((some) => some.length > 0) ?? places;
  return {
    id,
    speaker: id,
    contextWindow: undefined,
    licence: undefined,
    created,
    backends: chosen.map((place) => backends[place]!),
    tiers: tiers && chosen.map((place) => tiers[place]!),
    prices,
  };
}

function modelNotFound(world: World, key: AccessKey, param?: string): GatewayError {
  const known = listModelsFor(world, key).map(({ id }) => id);
  const message = `There is no such model here. The models are: ${known.join(', ')}.`;
  return new GatewayError('model_not_found', message, { param });
}

/** Throws `not_ready` where requests to models are not taken. */
export function refuseUnlessReady({ state, reason }: Readiness): void {
  if (state !== 'ready' && state !== 'restarting') throw new GatewayError('not_ready', reason);
}
