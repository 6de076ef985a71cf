// Who may call: the keys of the file and of the environment. Only their hashes are kept.
import { hash } from 'node:crypto';
import type { Fault } from './config-error.ts';
import { suggestion } from './hints.ts';
import { type LimitsConfig, resolveLimits } from './limits.ts';
import type { ModelConfig } from './models.ts';
import type { RawKey } from './schema.ts';
import { type Environment, readSecret, type SecretSources } from './secrets.ts';

export interface KeyConfig extends LimitsConfig {
  readonly tenant: string;
  /** SHA-256 of the secret. */
  readonly digest: Buffer;
  /** Ids of models; absent: all. */
  readonly models: readonly string[] | undefined;
  /** Beside its own, by the ids of models. */
  readonly modelLimits?: ReadonlyMap<string, LimitsConfig> | undefined;
  /** The highest priority that it may have. */
  readonly priority?: RawKey['priority'];
  /** Its share against the others'. */
  readonly weight?: number | undefined;
}

/** Throws ConfigError. */
export function resolveKeys(entries: readonly RawKey[], sources: SecretSources): KeyConfig[] {
  return entries.map((entry, index) => ({
    tenant: entry.name ?? `key-${index + 1}`,
    digest: digestOf(entry, ['keys', index, 'key'], sources),
    models: entry.models,
    ...resolveLimits(entry),
    modelLimits: entry.model_limits && modelLimitsOf(entry.model_limits),
    priority: entry.priority,
    weight: entry.weight,
  }));
}

/** The keys of `SLUICE_API_KEYS`, which may use everything. */
export function keysOfEnvironment(env: Environment): KeyConfig[] {
  return secretsOfEnvironment(env).map((secret, index) => ({
    tenant: `env-${index + 1}`,
    digest: sha256(secret),
    models: undefined,
  }));
}

export function secretsOfEnvironment(env: Environment): string[] {
  const secrets = (env.SLUICE_API_KEYS ?? '').split(',').map((secret) => secret.trim());
  return secrets.filter((secret) => secret !== '');
}

/** The keys with their models by id, where the file gave an alias. Throws ConfigError for a model that there is not. */
export function withKnownModels(
  keys: readonly KeyConfig[],
  models: readonly ModelConfig[],
  fault: Fault,
): KeyConfig[] {
  const idOf = new Map(
    models.flatMap(({ id, aliases }) => [id, ...aliases].map((name) => [name, id] as const)),
  );
  const known = (name: string, path: readonly PropertyKey[]) => {
    const id = idOf.get(name);
    if (id !== undefined) return id;
    const rest = `names "${name}", and there is no such model. ${suggestion(name, [...idOf.keys()])}`;
    throw fault(path, rest);
  };
  return keys.map((key, index) => {
    const models = key.models?.map((name, place) => known(name, ['keys', index, 'models', place]));
    if (!key.modelLimits) return { ...key, models };
    const modelLimits = new Map<string, LimitsConfig>();
    for (const [name, limits] of key.modelLimits) {
      const path = ['keys', index, 'model_limits', name];
      const id = known(name, path);
      if (modelLimits.has(id)) throw fault(path, `limits the model "${id}" a second time.`);
      modelLimits.set(id, limits);
    }
    return { ...key, models, modelLimits };
  });
}

export function sha256(secret: string): Buffer {
  return hash('sha256', secret, 'buffer');
}

function modelLimitsOf(raw: NonNullable<RawKey['model_limits']>): ReadonlyMap<string, LimitsConfig> {
  return new Map(Object.entries(raw).map(([name, limits]) => [name, resolveLimits(limits)]));
}

function digestOf({ key }: RawKey, path: readonly PropertyKey[], sources: SecretSources): Buffer {
  if (typeof key === 'string' && /^sha256:/i.test(key)) {
    const digits = /^sha256:([0-9a-f]{64})$/i.exec(key)?.[1];
    if (digits === undefined) throw sources.fault(path, 'must have 64 hex digits after "sha256:".');
    return Buffer.from(digits, 'hex');
  }
  return sha256(readSecret(key, path, sources, `"\${VARIABLE}" or "sha256:…"`));
}
