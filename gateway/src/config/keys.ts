// Who may call: the keys of the file and of the environment. Only their hashes are kept.
import { hash } from 'node:crypto';
import type { Fault } from './config-error.ts';
import { suggestion } from './hints.ts';
import type { ModelConfig } from './models.ts';
import type { RawKey } from './schema.ts';
import { type Environment, readSecret, type SecretSources } from './secrets.ts';

export interface KeyConfig {
  readonly tenant: string;
  /** SHA-256 of the secret. */
  readonly digest: Buffer;
  /** Ids of models; absent: all. */
  readonly models: readonly string[] | undefined;
  /** Calls that may run or wait at once. */
  readonly maxParallel?: number | undefined;
  /** Requests a minute, an hour, a day. */
  readonly rpm?: number | undefined;
  readonly rph?: number | undefined;
  readonly rpd?: number | undefined;
  /** Tokens a minute, a day. */
  readonly tpm?: number | undefined;
  readonly tpd?: number | undefined;
  /** In the currency of the back ends' prices. */
  readonly dailyBudget?: number | undefined;
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
    maxParallel: entry.max_parallel,
    rpm: entry.rpm,
    rph: entry.rph,
    rpd: entry.rpd,
    tpm: entry.tpm,
    tpd: entry.tpd,
    dailyBudget: entry.daily_budget,
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
  return keys.map((key, index) => ({
    ...key,
    models: key.models?.map((name, place) => {
      const id = idOf.get(name);
      if (id !== undefined) return id;
      const rest = `names "${name}", and there is no such model. ${suggestion(name, [...idOf.keys()])}`;
      throw fault(['keys', index, 'models', place], rest);
    }),
  }));
}

export function sha256(secret: string): Buffer {
  return hash('sha256', secret, 'buffer');
}

function digestOf({ key }: RawKey, path: readonly PropertyKey[], sources: SecretSources): Buffer {
  if (typeof key === 'string' && /^sha256:/i.test(key)) {
    const digits = /^sha256:([0-9a-f]{64})$/i.exec(key)?.[1];
    if (digits === undefined) throw sources.fault(path, 'must have 64 hex digits after "sha256:".');
    return Buffer.from(digits, 'hex');
  }
  return sha256(readSecret(key, path, sources, `"\${VARIABLE}" or "sha256:…"`));
}
