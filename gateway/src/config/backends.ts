// The back ends of a configuration as the server takes them: each with an id of its own, a whole address, its key read.
// It never asks a server anything, and no message of its holds a key or what may be one in an address.
import { ConfigError, type Fault } from './config-error.ts';
import { type CurveConfig, readCurve } from './curve-file.ts';
import type { RawBackend, RawPrice, RemoteKind, Settings } from './schema.ts';
import { type Environment, nonEmpty, readSecret, type SecretSources } from './secrets.ts';

type RawFake = Extract<RawBackend, { kind: 'fake' }>;
type RawRemote = Exclude<RawBackend, { kind: 'fake' | 'embedded' }>;

/** A scripted back end; its names are those of the file. */
export interface FakeBackendConfig extends Readonly<Omit<RawFake, 'id' | 'slots' | 'curve'>> {
  readonly id: string;
  readonly slots: number;
  /** Its times, instead of `first_token_ms` and `token_ms`. */
  readonly curve: CurveConfig | undefined;
}

/** The embedded engine; its settings are `engine` and `model`. */
export interface EmbeddedBackendConfig {
  readonly kind: 'embedded';
  readonly id: string;
  /** Of a million tokens, in the operator's currency. */
  readonly price?: RawPrice;
}

/** Another server. Two that are equal in all of this are one and the same to a reload. */
export interface RemoteBackendConfig {
  readonly kind: RemoteKind;
  readonly id: string;
  /** The base of its API: scheme, host, port and path, without a slash at the end, a query or credentials. */
  readonly url: string;
  /** For its eyes only: never to be logged or shown. */
  readonly apiKey: string | undefined;
  /** Tokens that prompt and answer share, where the user said so. */
  readonly contextWindow: number | undefined;
  /** What the user says of it that its kind does not. */
  readonly overrides: {
    readonly slots: number | undefined;
    readonly limit: RawRemote['limit'];
    readonly thinkTags: boolean | undefined;
    readonly template: RawRemote['template'];
    readonly toolMarkup: RawRemote['tool_markup'];
    readonly ignoresStop: boolean | undefined;
  };
  readonly limits: BackendLimits;
  /** Of a million tokens, in the operator's currency. */
  readonly price?: RawPrice;
}

export type BackendConfig = FakeBackendConfig | EmbeddedBackendConfig | RemoteBackendConfig;

/** The patience that all remote back ends are met with, in ms. */
export interface BackendLimits {
  readonly firstTokenTimeoutMs: number;
  readonly silenceLimitMs: number;
  readonly answerTimeoutMs: number;
  readonly probeIntervalMs: number;
}

export const EMBEDDED_ID = 'engine';
const FAKE_ID = 'fake';
const FAKE_SLOTS = 8;
const MOST_ID_LENGTH = 64;

/** The public hosts of clouds whose ways are known. */
const CLOUDS: ReadonlyMap<string, RemoteKind> = new Map([
  ['api.openai.com', 'openai'],
  ['api.deepseek.com', 'deepseek'],
  ['api.moonshot.cn', 'moonshot'],
  ['api.moonshot.ai', 'moonshot'],
  ['api.siliconflow.cn', 'siliconflow'],
  ['api.siliconflow.com', 'siliconflow'],
]);

export function isRemote(config: BackendConfig): config is RemoteBackendConfig {
  return config.kind !== 'fake' && config.kind !== 'embedded';
}

export function limitsOf(settings: Settings): BackendLimits {
  return {
    firstTokenTimeoutMs: settings.first_token_timeout_ms,
    silenceLimitMs: settings.silence_limit_ms,
    answerTimeoutMs: settings.answer_timeout_ms,
    probeIntervalMs: settings.probe_interval_ms,
  };
}

/** Throws ConfigError. */
export function resolveBackends(
  entries: readonly RawBackend[],
  limits: BackendLimits,
  sources: SecretSources,
): BackendConfig[] {
  const { fault } = sources;
  const ids = new Ids(chosenIds(entries, fault));
  let embedded = 0;
  return entries.map((entry, index): BackendConfig => {
    const path = ['backends', index];
    if (entry.kind === 'fake') return { ...resolveFake(entry, path, sources), id: ids.of(entry.id, FAKE_ID) };
    if (entry.kind === 'embedded') {
      embedded += 1;
      if (embedded > 1)
        throw fault([...path, 'kind'], 'is wrong: there is one embedded engine, and it is above.');
      return { kind: 'embedded', id: ids.of(entry.id, EMBEDDED_ID), price: entry.price };
    }
    const url = parseUrl(entry.url, (rest) => fault([...path, 'url'], rest));
    return {
      kind: entry.kind ?? kindOf(url),
      id: ids.of(entry.id, url.host),
      url: baseOf(url),
      apiKey:
        entry.api_key === undefined ? undefined : apiKeyOf(entry.api_key, [...path, 'api_key'], sources),
      contextWindow: entry.context_window,
      overrides: {
        slots: entry.slots,
        limit: entry.limit,
        thinkTags: entry.think_tags,
        template: entry.template,
        toolMarkup: entry.tool_markup,
        ignoresStop: entry.ignores_stop,
      },
      limits,
      price: entry.price,
    };
  });
}

function resolveFake(
  entry: RawFake,
  path: readonly PropertyKey[],
  { folder, fault }: SecretSources,
): Omit<FakeBackendConfig, 'id'> {
  let curve: CurveConfig | undefined;
  try {
    curve = entry.curve === undefined ? undefined : readCurve(entry.curve, folder);
  } catch (thrown) {
    if (thrown instanceof ConfigError) throw fault([...path, 'curve'], `is wrong: ${thrown.message}`);
    throw thrown;
  }
  return { ...entry, slots: entry.slots ?? curve?.slots ?? FAKE_SLOTS, curve };
}

/** The back ends of `--backend`, with `SLUICE_BACKEND_API_KEY` as their key. `fault` gets the rest of a sentence. */
export function backendsOfFlags(
  urls: readonly string[],
  env: Environment,
  limits: BackendLimits,
  fault: (rest: string) => Error,
): RemoteBackendConfig[] {
  const apiKey = nonEmpty(env.SLUICE_BACKEND_API_KEY);
  if (apiKey !== undefined && !isHeaderSafe(apiKey)) {
    throw fault('takes its key from SLUICE_BACKEND_API_KEY, which holds what no header can carry.');
  }
  const ids = new Ids();
  return urls.map((text) => {
    const url = parseUrl(text, fault);
    return {
      kind: kindOf(url),
      id: ids.of(undefined, url.host),
      url: baseOf(url),
      apiKey,
      contextWindow: undefined,
      overrides: {
        slots: undefined,
        limit: undefined,
        thinkTags: undefined,
        template: undefined,
        toolMarkup: undefined,
        ignoresStop: undefined,
      },
      limits,
      price: undefined,
    };
  });
}

/** Throws ConfigError for an id that two have chosen. */
function chosenIds(entries: readonly RawBackend[], fault: Fault): Set<string> {
  const chosen = new Set<string>();
  for (const [index, { id }] of entries.entries()) {
    if (id === undefined) continue;
    if (chosen.has(id)) throw fault(['backends', index, 'id'], `is wrong: "${id}" is taken by another one.`);
    chosen.add(id);
  }
  return chosen;
}

/** Gives ids. Those that the user chose are taken from the start, so that none that is made here can be one of them. */
class Ids {
  readonly #taken: Set<string>;

  constructor(taken = new Set<string>()) {
    this.#taken = taken;
  }

  /** The chosen id, or the wish, with a number behind it where it is taken. */
  of(id: string | undefined, wish: string): string {
    if (id !== undefined) return id;
    for (let number = 1; ; number += 1) {
      const suffix = number === 1 ? '' : `-${number}`;
      const made = `${wish.slice(0, MOST_ID_LENGTH - suffix.length)}${suffix}`;
      if (this.#taken.has(made)) continue;
      this.#taken.add(made);
      return made;
    }
  }
}

/** The text never stands in the error: it may hold a password. */
function parseUrl(text: string, fault: (rest: string) => Error): URL {
  const url = URL.parse(text);
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw fault('is wrong: an address like http://127.0.0.1:8000/v1 is expected.');
  }
  if (url.username !== '' || url.password !== '') {
    throw fault('is wrong: it holds a user or a password. A key belongs into "api_key".');
  }
  if (/[?#]/.test(text)) throw fault('is wrong: the base of an API has no "?" and no "#".');
  return url;
}

function baseOf(url: URL): string {
  const path = url.pathname.replace(/\/+$/, '');
  return `${url.origin}${path === '' ? '/v1' : path}`;
}

function kindOf(url: URL): RemoteKind {
  return CLOUDS.get(url.hostname) ?? 'generic';
}

function apiKeyOf(
  value: NonNullable<RawRemote['api_key']>,
  path: readonly PropertyKey[],
  sources: SecretSources,
): string {
  const secret = readSecret(value, path, sources, `"\${VARIABLE}" or {file: PATH}`);
  if (!isHeaderSafe(secret)) throw sources.fault(path, 'holds what no header can carry.');
  return secret;
}

/** Whether a key can be sent as a bearer token. */
function isHeaderSafe(text: string): boolean {
  return /^[\x21-\x7e]+$/.test(text);
}
