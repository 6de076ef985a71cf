// Asks each back end of a configuration what it serves, and says in a line what came back, or what is wrong and what to do.
// How one is asked is handed in. Every question has an end.
import type { RemoteBackendConfig } from '../config/backends.ts';
import type { ModelConfig } from '../config/models.ts';
import { toGatewayError } from '../core/errors.ts';

/** What a back end says to the question for its models. */
export interface Listing {
  /** HTTP status of the answer. */
  readonly status: number;
  /** Empty where it gave no list. */
  readonly models: readonly string[];
}

/** Rejects with a GatewayError, or with the signal's reason. */
export type AskBackend = (backend: RemoteBackendConfig, signal: AbortSignal) => Promise<Listing>;

export interface BackendProbe {
  readonly id: string;
  readonly kind: string;
  readonly url: string;
  readonly isGood: boolean;
  /** What came back; a sentence or two. */
  readonly text: string;
}

const PROBE_LIMIT_MS = 10_000;
const MOST_SHOWN = 8;

/** In the order of the configuration. Never rejects. */
export function probeBackends(
  backends: readonly RemoteBackendConfig[],
  models: readonly ModelConfig[],
  ask: AskBackend,
): Promise<BackendProbe[]> {
  return Promise.all(
    backends.map(async (backend) => {
      const { id, kind, url } = backend;
      return { id, kind, url, ...(await probe(backend, models, ask)) };
    }),
  );
}

/** A line for each, in columns. */
export function renderProbes(probes: readonly BackendProbe[]): string {
  const columns = (['id', 'kind', 'url'] as const).map((name) => ({
    name,
    width: Math.max(...probes.map((one) => one[name].length)),
  }));
  return probes
    .map((one) => {
      const cells = columns.map(({ name, width }) => one[name].padEnd(width));
      return `${[...cells, one.isGood ? 'ok   ' : 'WRONG', one.text].join('  ')}\n`;
    })
    .join('');
}

async function probe(
  backend: RemoteBackendConfig,
  models: readonly ModelConfig[],
  ask: AskBackend,
): Promise<Pick<BackendProbe, 'isGood' | 'text'>> {
  const startedAt = performance.now();
  const limit = AbortSignal.timeout(PROBE_LIMIT_MS);
  let listing: Listing;
  try {
    listing = await ask(backend, limit);
  } catch (thrown) {
    if (limit.aborted) {
      return {
        isGood: false,
        text: `No answer in ${PROBE_LIMIT_MS / 1000} s. Is it up, and is the url right?`,
      };
    }
    return { isGood: false, text: `${toGatewayError(thrown).message} Is it up, and is the url right?` };
  }
  const tookMs = Math.round(performance.now() - startedAt);
  const problem = problemOf(listing, wantedOf(backend, models));
  if (problem !== undefined) return { isGood: false, text: `It answers in ${tookMs} ms, but ${problem}` };
  const count = listing.models.length;
  return { isGood: true, text: `${tookMs} ms, ${count} ${count === 1 ? 'model' : 'models'}` };
}

/** The rest of a sentence about what is wrong and what to do; undefined: nothing is. */
function problemOf({ status, models }: Listing, wanted: readonly string[]): string | undefined {
  if (status === 401 || status === 403) return `does not take the api_key (${status}): look at it.`;
  if (status === 404) return 'has no list of models there (404): look at the path of the url.';
  if (status !== 200) return `says ${status} to the question for its models: look at its own log.`;
  if (models.length === 0) return 'lists no models: has it loaded one, and is the path of the url right?';
  const missing = wanted.filter((name) => !models.includes(name));
  if (missing.length === 0) return undefined;
  return `does not list ${missing.join(', ')}. It has ${someOf(models)}: set "name" of the model.`;
}

/** The names by which it will be asked for models. */
function wantedOf({ id }: RemoteBackendConfig, models: readonly ModelConfig[]): string[] {
  return models
    .filter(({ tiers }) => tiers.some((tier) => tier.includes(id)))
    .map((model) => model.names[id] ?? model.id);
}

function someOf(ids: readonly string[]): string {
  const more = ids.length - MOST_SHOWN;
  return `${ids.slice(0, MOST_SHOWN).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}
