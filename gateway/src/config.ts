// The configuration: one schema, every default, and the only place that looks at the environment.
// Flags win over the environment, the environment over the file. Unknown keys are refused with a hint: a setting that
// is spelled wrong and silently ignored is found on the day of the surge.
import { hash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';

/** What the user got wrong, in one sentence that says where. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

const ms = z.int().min(1).max(86_400_000);
const count = z.int().min(1);

const fakeBackend = z.strictObject({
  kind: z.literal('fake'),
  id: z.string().min(1).max(64).default('fake'),
  slots: count.max(100_000).default(8),
  /** What it says, a piece a step. */
  pieces: z.array(z.string().min(1)).min(1).default(['This ', 'is ', 'the ', 'fake ', 'back ', 'end.']),
  reasoning: z.array(z.string().min(1)).optional(),
  first_token_ms: z.int().min(0).max(600_000).default(50),
  token_ms: z.int().min(1).max(600_000).default(20),
  fail_after: z.int().min(0).optional(),
  stall_after: z.int().min(0).optional(),
});

const accessKey = z.strictObject({
  /** The secret itself, `${VARIABLE}`, or `sha256:` and the hash's 64 hex digits. */
  key: z.string().min(1),
  /** Whose it is: for logs, and to keep what is computed for one apart from others. */
  name: z.string().min(1).max(64).optional(),
  models: z.array(z.string().min(1)).min(1).optional(),
});

const engine = z.strictObject({
  /** Answers that are computed at once. */
  slots: count.max(64).default(8),
  /** Tokens of one conversation, prompt and answer. */
  context: z.int().min(256).max(1_048_576).default(4096),
  /** Default: one less than the processors, at least one. */
  threads: count.max(256).optional(),
  memory_limit_mb: z.int().min(256).optional(),
  /** The longest that running answers stand still while a new prompt is computed: longer is faster for the newcomer. */
  longest_step_ms: z.int().min(50).max(60_000).default(330),
  /** Computed beginnings that several prompts share are kept up to this; 0 keeps none. */
  prefix_cache_mb: z.int().min(0).max(1_048_576).default(256),
  /** Use a GPU build of the engine if one is installed. */
  gpu: z.boolean().default(false),
});

const schema = z.strictObject({
  host: z.string().min(1).default('127.0.0.1'),
  port: z.int().min(0).max(65_535).default(8080),
  /** A file (GGUF) or a name of the catalogue; default: what suits the machine. */
  model: z.string().min(1).optional(),
  /** The id by which clients ask for it. */
  model_id: z.string().min(1).max(200).default('deepseek-r1'),
  engine: engine.prefault({}),
  backends: z.array(fakeBackend).min(1).optional(),
  keys: z.array(accessKey).default([]),
  cors_origins: z.array(z.string().min(1)).default([]),
  keep_alive_ms: ms.default(10_000),
  slow_reader_limit_ms: ms.default(30_000),
  /** An answer that loses its back end in the middle goes on, where it can. */
  continuation: z.boolean().default(true),
  /** Bound on what one answer holds that its client has not read. */
  replay_buffer_bytes: z
    .int()
    .min(4096)
    .default(1024 * 1024),
  /** The longest wait for a slot, and the tokens (prompts and expected answers) that may wait. */
  queue: z.strictObject({ max_wait_ms: ms.default(60_000), max_tokens: count.default(500_000) }).prefault({}),
  body_limit_bytes: z
    .int()
    .min(1024)
    .max(1024 ** 3)
    .default(32 * 1024 * 1024),
  body_timeout_ms: ms.default(15_000),
  header_timeout_ms: ms.default(15_000),
  /** How long streams may go on after SIGTERM. */
  drain_limit_ms: ms.default(30_000),
  log_level: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
});

type Settings = z.output<typeof schema>;

export interface KeyConfig {
  readonly tenant: string;
  /** SHA-256 of the secret. */
  readonly digest: Buffer;
  readonly models: readonly string[] | undefined;
}

/** The whole configuration, frozen. Names are those of the file. */
export interface Config extends Readonly<Omit<Settings, 'keys'>> {
  readonly keys: readonly KeyConfig[];
  /** The environment, for modules that hand it to child processes or look for a proxy. */
  readonly env: Environment;
  /** The user's home folder. */
  readonly homedir: string;
  /** Sentences for the operator: what works but should be otherwise. */
  readonly warnings: readonly string[];
}

export type Environment = Readonly<Record<string, string | undefined>>;

export interface ConfigFlags {
  readonly config?: string | undefined;
  readonly host?: string | undefined;
  readonly port?: string | undefined;
  readonly model?: string | undefined;
}

/** Throws ConfigError. */
export function loadConfig(flags: ConfigFlags, env: Environment = process.env): Config {
  const file = flags.config === undefined ? {} : readConfigFile(flags.config);
  const overrides = {
    host: flags.host ?? nonEmpty(env.SLUICE_HOST),
    port: portOf('--port', flags.port) ?? portOf('SLUICE_PORT', nonEmpty(env.SLUICE_PORT)),
    model: flags.model ?? nonEmpty(env.SLUICE_MODEL),
  };
  const merged = { ...file };
  for (const [name, value] of Object.entries(overrides)) if (value !== undefined) merged[name] = value;
  const parsed = schema.safeParse(merged);
  if (!parsed.success) throw new ConfigError(explain(parsed.error.issues[0]!, flags.config));
  const warnings: string[] = [];
  const { keys: fileKeys, ...settings } = parsed.data;
  const keys = [
    ...fileKeys.map((key, index) => keyFromFile(key, index, env, warnings)),
    ...keysFromEnvironment(env),
  ];
  return Object.freeze({
    ...deepFrozen(settings),
    keys: Object.freeze(keys),
    env,
    homedir: homedir(),
    warnings: Object.freeze(warnings),
  });
}

/** Every name that a configuration may have; those of a section with its name before them. For the reference. */
export function settingNames(): string[] {
  return Object.entries(schema.shape).flatMap(([name, type]) => {
    const inner = unwrapped(type);
    return inner instanceof z.ZodObject ? Object.keys(inner.shape).map((key) => `${name}.${key}`) : [name];
  });
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
  return secretsOf(env)[0];
}

function readConfigFile(path: string): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (thrown) {
    throw new ConfigError(
      `The configuration ${path} cannot be read: ${(thrown as NodeJS.ErrnoException).code}.`,
    );
  }
  let value: unknown;
  try {
    // JSON is YAML too. Aliases are bounded by the library, so a "billion laughs" file is refused.
    value = parseYaml(text) ?? {};
  } catch (thrown) {
    throw new ConfigError(
      `The configuration ${path} is not YAML: ${(thrown as Error).message.split('\n')[0]}`,
    );
  }
  if (typeof value !== 'object' || Array.isArray(value)) {
    throw new ConfigError(`The configuration ${path} must be a mapping of names to values.`);
  }
  return value as Record<string, unknown>;
}

function portOf(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text);
  throw new ConfigError(`${name} must be a port number from 0 to 65535, not "${text}".`);
}

function keyFromFile(
  { key, name, models }: z.output<typeof accessKey>,
  index: number,
  env: Environment,
  warnings: string[],
): KeyConfig {
  const tenant = name ?? `key-${index + 1}`;
  const hash = /^sha256:([0-9a-f]{64})$/i.exec(key);
  if (hash) return { tenant, digest: Buffer.from(hash[1]!, 'hex'), models };
  if (/^sha256:/i.test(key)) {
    throw new ConfigError(`keys[${index}].key must have 64 hex digits after "sha256:".`);
  }
  const variable = /^\$\{(\w+)\}$/.exec(key);
  if (variable) {
    const secret = nonEmpty(env[variable[1]!]);
    if (secret === undefined)
      throw new ConfigError(`keys[${index}].key names ${variable[1]}, which is not set.`);
    return { tenant, digest: sha256(secret), models };
  }
  warnings.push(
    `keys[${index}].key stands in the configuration as plain text: "\${VARIABLE}" or "sha256:…" keeps it out of there.`,
  );
  return { tenant, digest: sha256(key), models };
}

function keysFromEnvironment(env: Environment): KeyConfig[] {
  return secretsOf(env).map((secret, index) => ({
    tenant: `env-${index + 1}`,
    digest: sha256(secret),
    models: undefined,
  }));
}

function secretsOf(env: Environment): string[] {
  const secrets = (env.SLUICE_API_KEYS ?? '').split(',').map((secret) => secret.trim());
  return secrets.filter((secret) => secret !== '');
}

function explain(issue: z.core.$ZodIssue, file: string | undefined): string {
  const where = issue.path.reduce<string>(
    (path, step) =>
      typeof step === 'number' ? `${path}[${step}]` : path ? `${path}.${String(step)}` : String(step),
    '',
  );
  const source = file === undefined ? '' : ` in ${file}`;
  if (issue.code === 'unrecognized_keys') {
    const [unknown = ''] = issue.keys;
    const known = knownKeys(issue.path);
    const [near] = known
      .map((name) => ({ name, edits: distance(simplified(name), simplified(unknown)) }))
      .filter(({ edits }) => edits <= 2)
      .sort((a, b) => a.edits - b.edits);
    const hint = near ? `Did you mean "${near.name}"?` : `Known are: ${known.join(', ')}.`;
    return `"${where ? `${where}.` : ''}${unknown}"${source} is no setting of Sluice. ${hint}`;
  }
  return `"${where}"${source} is wrong: ${issue.message}.`;
}

/** The names that may stand at a place of the schema. */
function knownKeys(path: readonly PropertyKey[]): string[] {
  let at: unknown = schema;
  for (const step of path) {
    at = unwrapped(at);
    if (at instanceof z.ZodObject) at = at.shape[String(step)];
    else if (at instanceof z.ZodArray) at = at.element;
  }
  at = unwrapped(at);
  return at instanceof z.ZodObject ? Object.keys(at.shape) : [];
}

function unwrapped(type: unknown): unknown {
  let inner = type;
  while (inner instanceof z.ZodOptional || inner instanceof z.ZodDefault || inner instanceof z.ZodPrefault) {
    inner = inner.unwrap();
  }
  return inner;
}

/** `keepAliveMs` and `keep-alive-ms` are `keep_alive_ms` to a hint. */
function simplified(name: string): string {
  return name.replaceAll(/[_-]/g, '').toLowerCase();
}

/** Edits from one word to the other (Levenshtein, row by row). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const swap = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(swap, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}

function deepFrozen<T>(value: T): Readonly<T> {
  if (typeof value !== 'object' || value === null) return value;
  for (const inner of Object.values(value)) deepFrozen(inner);
  return Object.freeze(value);
}

function sha256(secret: string): Buffer {
  return hash('sha256', secret, 'buffer');
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}
