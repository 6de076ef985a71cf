// The configuration: where it comes from and what it is in the end; the only place that looks at the environment.
// Flags win over the environment, the environment over the file. The names and their bounds are in config/schema.ts.
import { homedir } from 'node:os';
import { dirname, resolve } from 'node:path';
import {
  type BackendConfig,
  backendsOfFlags,
  EMBEDDED_ID,
  isRemote,
  limitsOf,
  resolveBackends,
} from './config/backends.ts';
import { ConfigError, type Fault, pathText } from './config/config-error.ts';
import { ConfigFile, readConfigText } from './config/config-file.ts';
import {
  type KeyConfig,
  keysOfEnvironment,
  resolveKeys,
  secretsOfEnvironment,
  sha256,
  withKnownModels,
} from './config/keys.ts';
import { type ModelConfig, resolveModels } from './config/models.ts';
import { type Settings, schema } from './config/schema.ts';
import { explainIssues } from './config/schema-names.ts';
import { type Environment, nonEmpty } from './config/secrets.ts';

export { ConfigError, type Environment };

/** The whole configuration, frozen. Names are those of the file. */
export interface Config extends Readonly<Omit<Settings, 'backends' | 'models' | 'keys'>> {
  /** Preferred first, never empty, ids unique. Absent: the embedded engine alone. */
  readonly backends?: readonly BackendConfig[];
  /** Absent: `model_id` for the embedded engine and for scripts; any model for other servers. */
  readonly models?: readonly ModelConfig[];
  readonly keys: readonly KeyConfig[];
  /** SHA-256 of `SLUICE_ADMIN_KEY`; absent: there is nothing to administer by. */
  readonly adminKeyDigest?: Buffer;
  /** The environment, for modules that hand it to child processes or look for a proxy. */
  readonly env: Environment;
  /** The user's home folder. */
  readonly homedir: string;
  /** Sentences for the operator: what works but should be otherwise. */
  readonly warnings: readonly string[];
}

export interface ConfigFlags {
  readonly config?: string | undefined;
  readonly host?: string | undefined;
  readonly port?: string | undefined;
  readonly model?: string | undefined;
  /** Addresses of back ends, preferred first: they stand for the file's `backends` and `models`. */
  readonly backend?: readonly string[] | undefined;
}

/** `text`: what the file holds, where it has been read already. Throws ConfigError. */
export function loadConfig(flags: ConfigFlags, env: Environment = process.env, text?: string): Config {
  const file =
    flags.config === undefined
      ? undefined
      : new ConfigFile(flags.config, text ?? readConfigText(flags.config));
  const merged: Record<string, unknown> = { ...file?.values };
  const overrides = overridesOf(flags, env);
  for (const [name, value] of Object.entries(overrides)) if (value !== undefined) merged[name] = value;

  /** Only what the file says has a place in it. */
  const inFile = (path: readonly PropertyKey[], isName: boolean) => {
    if (!file || overrides[String(path[0])] !== undefined) return '';
    return ` in ${isName ? file.placeOfName(path) : file.placeOf(path)}`;
  };
  const parsed = schema.safeParse(merged);
  if (!parsed.success) {
    const { path, isName, rest } = explainIssues(parsed.error.issues, merged);
    throw new ConfigError(`"${pathText(path)}"${inFile(path, isName)} ${rest}`);
  }
  const fault: Fault = (path, rest) => new ConfigError(`"${pathText(path)}"${inFile(path, false)} ${rest}`);
  const folder = flags.config === undefined ? process.cwd() : dirname(resolve(flags.config));
  return assemble(parsed.data, flags, env, folder, fault);
}

/** Whether the embedded engine is among the back ends, or all there is. */
export function usesEngine({ backends }: Pick<Config, 'backends'>): boolean {
  return backends?.some(({ kind }) => kind === 'embedded') ?? true;
}

/** Whether colours are wanted on a stream that is a terminal or not: https://no-color.org. */
export function wantsColour(isTerminal: boolean, env: Environment = process.env): boolean {
  return isTerminal && !env.NO_COLOR && env.TERM !== 'dumb';
}

/** Whether npm started us: then a parent that is gone means that someone wanted us to end. */
export function isUnderNpm(env: Environment = process.env): boolean {
  return env.npm_lifecycle_event !== undefined;
}

/** The key that `sluice chat` shows: the first that the server would take. */
export function clientKey(env: Environment = process.env): string | undefined {
  return secretsOfEnvironment(env)[0];
}

/** The key that `sluice bench` shows, where no file holds one. */
export function benchKey(env: Environment = process.env): string | undefined {
  return nonEmpty(env.SLUICE_BENCH_API_KEY) ?? nonEmpty(env.OPENAI_API_KEY);
}

/** Whether people who started us read Chinese, by their locale, as POSIX orders its variables. */
export function prefersChinese(env: Environment = process.env): boolean {
  return (nonEmpty(env.LC_ALL) ?? nonEmpty(env.LC_MESSAGES) ?? nonEmpty(env.LANG) ?? '').startsWith('zh');
}

/** What does not come from the file, by the file's names. */
function overridesOf(flags: ConfigFlags, env: Environment): Readonly<Record<string, unknown>> {
  return {
    host: flags.host ?? nonEmpty(env.SLUICE_HOST),
    port: portOf('--port', flags.port) ?? portOf('SLUICE_PORT', nonEmpty(env.SLUICE_PORT)),
    model: flags.model ?? nonEmpty(env.SLUICE_MODEL),
  };
}

/** From checked values to what the server takes: secrets are read, what is named is looked up, all is frozen. */
function assemble(
  parsed: Settings,
  flags: ConfigFlags,
  env: Environment,
  folder: string,
  fault: Fault,
): Config {
  const { backends: rawBackends, models: rawModels, keys: rawKeys, ...settings } = parsed;
  const warnings: string[] = [];
  const sources = { env, folder, fault, warn: (sentence: string) => warnings.push(sentence) };
  const limits = limitsOf(parsed);
  const isByFlags = flags.backend !== undefined && flags.backend.length > 0;
  const backends = isByFlags
    ? backendsOfFlags(flags.backend, env, limits, (rest) => new ConfigError(`--backend ${rest}`))
    : rawBackends && resolveBackends(rawBackends, limits, sources);
  const known = backends ?? [{ id: EMBEDDED_ID }];
  const models = isByFlags ? undefined : rawModels && resolveModels(rawModels, known, fault);
  const fileKeys = resolveKeys(rawKeys, sources);
  if (!models && !backends?.some(isRemote)) warnings.push(...uselessParts(fileKeys, settings.model_id));
  const keys = [...(models ? withKnownModels(fileKeys, models, fault) : fileKeys), ...keysOfEnvironment(env)];
  const adminKey = nonEmpty(env.SLUICE_ADMIN_KEY);
  return Object.freeze({
    ...deepFrozen(settings),
    ...(backends && { backends: deepFrozen(backends) }),
    ...(models && { models: deepFrozen(models) }),
    keys: Object.freeze(keys),
    ...(adminKey !== undefined && { adminKeyDigest: sha256(adminKey) }),
    env,
    homedir: homedir(),
    warnings: Object.freeze(warnings),
  });
}

/** Where one model is served, a key or a limit for others alone does nothing: it may be meant so, but hardly is. */
function uselessParts(keys: readonly KeyConfig[], modelId: string): string[] {
  return keys.flatMap(({ models, modelLimits }, index) => [
    ...(models === undefined || models.includes(modelId)
      ? []
      : [`keys[${index}].models has not "${modelId}", the only model here: the key opens nothing.`]),
    ...(modelLimits === undefined || modelLimits.has(modelId)
      ? []
      : [`keys[${index}].model_limits has not "${modelId}", the only model here: it limits nothing.`]),
  ]);
}

function portOf(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text);
  throw new ConfigError(`${name} must be a port number from 0 to 65535, not "${text}".`);
}

function deepFrozen<T>(value: T): Readonly<T> {
  if (typeof value !== 'object' || value === null) return value;
  for (const inner of Object.values(value)) deepFrozen(inner);
  return Object.freeze(value);
}
