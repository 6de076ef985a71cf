// The models of a configuration as the server takes them: who computes each, in which order, what it is called there, and
// what of an answer may be given up.
// Whatever is named must exist: a name that leads nowhere is refused with the one that was meant.
import type { Fault } from './config-error.ts';
import { type DegradeConfig, type KnownBackend, resolveDegrade } from './degrade.ts';
import { suggestion } from './hints.ts';
import { type LimitsConfig, resolveLimits } from './limits.ts';
import type { RawModel, RawModelType, RawPriority } from './schema.ts';

export interface ModelConfig {
  /** What clients put into `model`. */
  readonly id: string;
  /** Other names that clients may use. */
  readonly aliases: readonly string[];
  /** Ids of back ends: the first tier is preferred, those of one tier are equals. No tier is empty. */
  readonly tiers: readonly (readonly string[])[];
  /** What a back end calls it, by the back end's id; one that is not there calls it as clients do. */
  readonly names: Readonly<Record<string, string>>;
  /** Tokens that prompt and answer share, where the user said so. */
  readonly contextWindow: number | undefined;
  /** When the first token is due where a request does not say, in ms. */
  readonly firstTokenObjectiveMs: number | undefined;
  /** Of its requests where neither they nor their kind say. */
  readonly priority: RawPriority | undefined;
  /** Identical requests under way are computed once. */
  readonly coalesces?: boolean | undefined;
  /** How whole answers are kept; absent: they are not. */
  readonly answerCache?: { readonly ttlMs: number; readonly maxBytes: number } | undefined;
  /** How long conversations are shortened, and whether always. */
  readonly trim: { readonly maxTokens: number; readonly always: boolean } | undefined;
  readonly degrade: DegradeConfig | undefined;
  /** Its streams leave evenly. */
  readonly isPaced: boolean;
  /** What it is for, and for nothing else; undefined: for what its back ends are. */
  readonly type: RawModelType | undefined;
  /** Its streams can be resumed. */
  readonly isResumable: boolean;
  /** Of all keys together. */
  readonly limits?: LimitsConfig | undefined;
}

/** `backends`: all that there are, preferred first. Throws ConfigError. */
export function resolveModels(
  entries: readonly RawModel[],
  backends: readonly KnownBackend[],
  fault: Fault,
): ModelConfig[] {
  const taken = new Set<string>();
  const backendIds = backends.map(({ id }) => id);
  const spilled = new Set(entries.flatMap(({ degrade }) => degrade?.spill?.backends ?? []));
  const ownIds = backendIds.filter((id) => !spilled.has(id));
  return entries.map((entry, index) => {
    const path = ['models', index];
    for (const [name, at] of namesOf(entry)) {
      if (taken.has(name))
        throw fault([...path, ...at], `is wrong: "${name}" is the name of a model already.`);
      taken.add(name);
    }
    if (!entry.backends && ownIds.length === 0) {
      throw fault([...path, 'id'], 'has no back end of its own: all that there are are named under "spill".');
    }
    const tiers = entry.backends
      ? tiersOf(entry.backends, backendIds, path, fault)
      : ownIds.map((id) => [id]);
    const degrade = resolveDegrade(entry, { entries, backends, own: tiers.flat() }, path, fault);
    const ids = [...tiers.flat(), ...(degrade?.spill?.backends ?? [])];
    return {
      id: entry.id,
      aliases: entry.aliases,
      tiers,
      names: upstreamNames(entry, ids, path, fault),
      contextWindow: entry.context_window,
      firstTokenObjectiveMs: entry.first_token_objective_ms,
      priority: entry.priority,
      coalesces: entry.coalesce,
      answerCache: entry.answer_cache && {
        ttlMs: entry.answer_cache.ttl_ms,
        maxBytes: entry.answer_cache.max_bytes,
      },
      trim: entry.trim && { maxTokens: entry.trim.max_tokens, always: entry.trim.always },
      degrade,
      isPaced: entry.pacing,
      type: entry.type,
      isResumable: entry.resumable,
      limits: entry.limits && resolveLimits(entry.limits),
    };
  });
}

function namesOf({ id, aliases }: RawModel): [string, PropertyKey[]][] {
  return [
    [id, ['id']],
    ...aliases.map((alias, index): [string, PropertyKey[]] => [alias, ['aliases', index]]),
  ];
}

function tiersOf(
  backends: NonNullable<RawModel['backends']>,
  backendIds: readonly string[],
  path: readonly PropertyKey[],
  fault: Fault,
): string[][] {
  const seen = new Set<string>();
  const check = (id: string, at: readonly PropertyKey[]) => {
    if (!backendIds.includes(id)) {
      throw fault(at, `names "${id}", and there is no such back end. ${suggestion(id, backendIds)}`);
    }
    if (seen.has(id)) throw fault(at, `names "${id}" a second time.`);
    seen.add(id);
    return id;
  };
  return backends.map((tier, index) => {
    const at = [...path, 'backends', index];
    return typeof tier === 'string' ? [check(tier, at)] : tier.map((id, inner) => check(id, [...at, inner]));
  });
}

function upstreamNames(
  { name }: RawModel,
  ids: readonly string[],
  path: readonly PropertyKey[],
  fault: Fault,
): Record<string, string> {
  if (name === undefined) return {};
  if (typeof name === 'string') return Object.fromEntries(ids.map((id) => [id, name]));
  for (const id of Object.keys(name)) {
    if (!ids.includes(id)) {
      const rest = `names "${id}", which is no back end of this model. ${suggestion(id, ids)}`;
      throw fault([...path, 'name', id], rest);
    }
  }
  return name;
}
