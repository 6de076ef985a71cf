// Asks a back end whether it is there, what it serves, and where its kind tells it, how much it has to do.
// Only the first question can fail: a server that does not tell its load is still a server. All bodies are bounded.
import { GatewayError } from '../../core/errors.ts';
import { readMetrics } from './prometheus-text.ts';
import { type ShortAnswer, shortExchange } from './short-exchange.ts';
import type { Transport } from './transport.ts';
import { hasMembers, jsonIn } from './upstream-json.ts';
import type { LoadSource, Traits, VendorKind } from './vendors.ts';

/** Of a list of models, and of a model's name in characters: more is no list that people would read. */
const MOST_MODELS = 10_000;
const MOST_NAME = 512;

export interface ProbeOptions {
  /** The path of its API, as `/v1`; what tells the load stands beside it. */
  readonly basePath: string;
  readonly kind: VendorKind;
  readonly traits: Traits;
  /** With its key, if it has one. */
  readonly headers: Readonly<Record<string, string>>;
  /** Ends the probe, which rejects with its reason. */
  readonly signal: AbortSignal;
}

export interface ProbeResult extends ReportedLoad {
  readonly reachable: true;
  /** HTTP status of the list of models: an answer that is no list is an answer too. */
  readonly status: number;
  /** As it names them; empty where it gave no list. */
  readonly models: readonly string[];
  /** What kind of server it is, where its list says so. */
  readonly kind: VendorKind | undefined;
}

/** What a server tells of its load; absent: not told. */
export interface ReportedLoad {
  readonly running?: number | undefined;
  readonly waiting?: number | undefined;
  /** 0 to 1. */
  readonly kvCacheUsage?: number | undefined;
  /** Calls that it can run at once. */
  readonly slots?: number | undefined;
}

/** Resolves when it answered at all. Rejects with `backend_failed` when it is not reachable, or the signal's reason. */
export async function probe(transport: Transport, options: ProbeOptions): Promise<ProbeResult> {
  const root = options.basePath.replace(/\/+$/, '').replace(/\/(v\d+|api)$/, '');
  const isOllama = options.kind === 'ollama';
  const path = isOllama ? `${root}/api/tags` : `${options.basePath.replace(/\/+$/, '')}/models`;
  const list = await get(transport, path, options);
  const entries = list.status === 200 ? entriesOf(jsonIn(list.body), isOllama) : [];
  const load = options.traits.load ? await readLoad(transport, root, options.traits.load, options) : {};
  const models = namesOf(entries, isOllama);
  return { reachable: true, status: list.status, models, kind: ownerOf(entries), ...load };
}

async function readLoad(
  transport: Transport,
  root: string,
  source: LoadSource,
  options: ProbeOptions,
): Promise<ReportedLoad> {
  const body = async (path: string) => {
    try {
      const answer = await get(transport, root + path, options);
      return answer.status === 200 ? answer.body : '';
    } catch (thrown) {
      options.signal.throwIfAborted();
      if (thrown instanceof GatewayError) return '';
      throw thrown;
    }
  };
  switch (source) {
    case 'vllm-metrics':
      return vllmLoad(await body('/metrics'));
    case 'sglang-metrics':
      return sglangLoad(await body('/metrics'));
    case 'llama.cpp-slots':
      return llamaLoad(jsonIn(await body('/slots')), jsonIn(await body('/props')));
  }
}

const VLLM = {
  running: 'vllm:num_requests_running',
  waiting: 'vllm:num_requests_waiting',
  usage: 'vllm:kv_cache_usage_perc',
  /** Its name until 2025. */
  oldUsage: 'vllm:gpu_cache_usage_perc',
};

/** Each of a server's engines counts for itself. */
function vllmLoad(text: string): ReportedLoad {
  const metrics = readMetrics(text, Object.values(VLLM));
  return {
    running: sum(metrics.get(VLLM.running)),
    waiting: sum(metrics.get(VLLM.waiting)),
    kvCacheUsage: share(metrics.get(VLLM.usage)) ?? share(metrics.get(VLLM.oldUsage)),
  };
}

const SGLANG = {
  running: 'sglang:num_running_reqs',
  waiting: 'sglang:num_queue_reqs',
  usage: 'sglang:token_usage',
};

function sglangLoad(text: string): ReportedLoad {
  const metrics = readMetrics(text, Object.values(SGLANG));
  return {
    running: sum(metrics.get(SGLANG.running)),
    waiting: sum(metrics.get(SGLANG.waiting)),
    kvCacheUsage: share(metrics.get(SGLANG.usage)),
  };
}

/** Its list of slots can be switched off; how many there are it says all the same. */
function llamaLoad(slots: unknown, props: unknown): ReportedLoad {
  const total = hasMembers(props) ? props.total_slots : undefined;
  const count = typeof total === 'number' && Number.isInteger(total) && total > 0 ? total : undefined;
  if (!Array.isArray(slots) || slots.length === 0) return { slots: count };
  const running = slots.filter((slot) => hasMembers(slot) && slot.is_processing === true).length;
  return { running, slots: count ?? slots.length };
}

function sum(values: readonly number[] | undefined): number | undefined {
  return values && values.length > 0 ? values.reduce((total, value) => total + value) : undefined;
}

/** The fullest engine's. */
function share(values: readonly number[] | undefined): number | undefined {
  return values && values.length > 0 ? Math.min(1, Math.max(0, ...values)) : undefined;
}

/** As servers call themselves in `owned_by` of the models they list. */
const OWNERS: ReadonlyMap<unknown, VendorKind> = new Map([
  ['vllm', 'vllm'],
  ['sglang', 'sglang'],
  ['llamacpp', 'llama.cpp'],
  ['sluice', 'sluice'],
]);

function ownerOf(entries: readonly unknown[]): VendorKind | undefined {
  const [first] = entries;
  return hasMembers(first) ? OWNERS.get(first.owned_by) : undefined;
}

function entriesOf(list: unknown, isOllama: boolean): readonly unknown[] {
  const entries = hasMembers(list) ? list[isOllama ? 'models' : 'data'] : undefined;
  return Array.isArray(entries) ? entries.slice(0, MOST_MODELS) : [];
}

function namesOf(entries: readonly unknown[], isOllama: boolean): string[] {
  return entries
    .map((entry) => (hasMembers(entry) ? entry[isOllama ? 'name' : 'id'] : undefined))
    .filter((id) => typeof id === 'string' && id !== '' && id.length <= MOST_NAME) as string[];
}

function get(transport: Transport, path: string, { headers, signal }: ProbeOptions): Promise<ShortAnswer> {
  return shortExchange(transport, { method: 'GET', path, headers, signal });
}
