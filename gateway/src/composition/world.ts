// The picture of what is served, from a configuration and its back ends. Pure: it makes nothing that runs.

import type { BackendSet } from '../backends/registry.ts';
import { EMBEDDED_ID, isRemote } from '../config/backends.ts';
import type { DegradeConfig, SpillConfig } from '../config/degrade.ts';
import type { ModelConfig } from '../config/models.ts';
import type { Config } from '../config.ts';
import type { Backend } from '../core/backend.ts';
import { dearest, type Price } from '../core/price.ts';
import type { DegradePolicy, ServedModel, SpillPolicy, World } from '../core/world.ts';
import type { EmbeddedEngine } from './embedded-engine.ts';

/** What of a configuration is there already. */
export interface Parts {
  readonly set: BackendSet;
  /** Absent: there is none, or its model is still on its way. */
  readonly engine: EmbeddedEngine | undefined;
  /** Seconds since the epoch. */
  readonly created: number;
}

const FAKE_SPEAKER = 'fake (scripted words, no model)';

/** Models whose back ends are all still on their way are not in it yet. */
export function makeWorld(config: Config, parts: Parts): World {
  const { set } = parts;
  const configured = config.models ?? unnamedModels(config);
  // What stands in for another is that model as it is by itself.
  const plain = new Map<string, ServedModel>();
  for (const model of configured) {
    const served = servedModel(model, config, parts);
    if (served) plain.set(model.id, served);
  }
  const models = new Map<string, ServedModel>();
  for (const { id, aliases, degrade } of configured) {
    const served = plain.get(id);
    if (!served) continue;
    const whole = degrade ? { ...served, degrade: degradePolicy(degrade, config, set, plain) } : served;
    for (const name of [id, ...aliases]) models.set(name, whole);
  }
  const open = config.models ? [] : remoteBackends(config, set);
  const prices = pricesOf(config);
  return {
    models,
    openModels: open.length > 0 ? { backends: open, created: parts.created, prices } : undefined,
    keys: config.keys,
    hold: () => set.hold(),
  };
}

/** Without `models`: one, of the engine and of scripts. */
function unnamedModels(config: Config): readonly ModelConfig[] {
  const own = config.backends?.filter(({ kind }) => kind === 'fake' || kind === 'embedded');
  const ids = own?.map(({ id }) => id) ?? [EMBEDDED_ID];
  if (ids.length === 0) return [];
  const tiers = ids.map((id) => [id]);
  const { model_id: id } = config;
  return [
    {
      id,
      aliases: [],
      tiers,
      names: {},
      contextWindow: undefined,
      firstTokenObjectiveMs: undefined,
      trim: undefined,
      degrade: undefined,
      isPaced: false,
      type: undefined,
      isResumable: false,
      priority: undefined,
    },
  ];
}

function servedModel(
  model: ModelConfig,
  config: Config,
  { set, engine, created }: Parts,
): ServedModel | undefined {
  const backends: Backend[] = [];
  const tiers: number[] = [];
  for (const [tier, ids] of model.tiers.entries()) {
    for (const backend of set.backends) {
      if (!ids.includes(backend.id)) continue;
      backends.push(backend);
      tiers.push(tier);
    }
  }
  if (backends.length === 0) return undefined;
  const first = backends[0]!;
  const isEngine = engine !== undefined && first === engine.backend;
  const isFake = config.backends?.some(({ id, kind }) => id === first.id && kind === 'fake');
  return {
    id: model.id,
    speaker: isEngine ? engine.speaker : isFake ? FAKE_SPEAKER : (model.names[first.id] ?? model.id),
    contextWindow: model.contextWindow ?? (isEngine ? engine.contextWindow : undefined),
    licence: isEngine ? engine.licence : undefined,
    created,
    backends,
    tiers,
    names: new Map(Object.entries(model.names)),
    firstTokenObjectiveMs: model.firstTokenObjectiveMs,
    priority: model.priority,
    prices: pricesOf(config),
    coalesces: model.coalesces,
    answerCache: model.answerCache,
    trim: model.trim,
    isPaced: model.isPaced,
    type: model.type,
    isResumable: model.isResumable,
    limits: model.limits,
  };
}

/** What is still on its way is not in it. */
function degradePolicy(
  { smallerModel, shorterTokens, spill }: DegradeConfig,
  config: Config,
  set: BackendSet,
  models: ReadonlyMap<string, ServedModel>,
): DegradePolicy {
  return {
    smallerModel: smallerModel === undefined ? undefined : models.get(smallerModel),
    shorterTokens,
    spill: spill && spillPolicy(spill, config, set),
  };
}

function spillPolicy(
  { backends: ids, budgetPerDay }: SpillConfig,
  config: Config,
  set: BackendSet,
): SpillPolicy | undefined {
  const backends = ids.flatMap((id) => set.backends.find((backend) => backend.id === id) ?? []);
  const known = pricesOf(config);
  const prices = ids.flatMap((id) => known?.get(id) ?? []);
  if (backends.length === 0 || prices.length === 0) return undefined;
  return { backends, budgetPerDay, price: dearest(prices) };
}

/** By the ids of back ends; undefined: none has a price. */
function pricesOf({ backends = [] }: Config): ReadonlyMap<string, Price> | undefined {
  const priced = backends.flatMap(({ id, price }) => (price ? [[id, price] as const] : []));
  return priced.length === 0 ? undefined : new Map(priced);
}

function remoteBackends({ backends }: Config, set: BackendSet): readonly Backend[] {
  const ids = new Set(backends?.filter(isRemote).map(({ id }) => id));
  return set.backends.filter(({ id }) => ids.has(id));
}
