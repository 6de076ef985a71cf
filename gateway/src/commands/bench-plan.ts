// From the options of `sluice bench` to a load: reads the files that they name, and says in a sentence what is wrong.
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { benchKey } from '../config.ts';
import { type Arrivals, rampArrivals, steadyArrivals, surgeArrivals } from '../load/arrivals.ts';
import type { Pace, WantedRequest } from '../load/load-run.ts';
import {
  bodyOf,
  customPrompts,
  inTurn,
  type PromptOf,
  randomPrompts,
  shareGptPrompts,
  strangersOf,
} from '../load/prompts.ts';
import { seededRandom } from '../load/seeded-random.ts';
import { parseTrace, type TraceRow } from '../load/trace.ts';
import type { BenchFlags } from './bench-flags.ts';
import { fail } from './terminal.ts';

export interface BenchPlan {
  readonly pace: Pace;
  readonly phases: Arrivals['phases'];
  readonly requests: number;
  readonly request: (visitor: number) => WantedRequest;
  /** Before the load: like its requests, with prompts of their own, so that none of the load's is in a cache. */
  readonly warmUp: (visitor: number) => WantedRequest;
}

/** Who sends: a key, and how large a part of the requests is theirs. */
export interface Tenant {
  readonly name: string;
  readonly key: string | undefined;
  readonly share: number;
}

const DEFAULT_REQUESTS = 1_000;
const MOST_REQUESTS = 1_000_000;
const MOST_TENANTS = 1_000;
/** Arrivals, prompts and what comes before them must not come from the same numbers. */
const ARRIVALS_SEED = 0x51ce;
const TENANTS_SEED = 0x7e4a;
const WARM_UP_SEED = 0x3a91;

/** Ends the process with a sentence where the options do not go together. */
export function planOf(flags: BenchFlags, model: string, tenants: readonly Tenant[]): BenchPlan {
  const ways = [
    ['--surge', flags.surge],
    ['--trace', flags.trace],
    ['--closed-loop', flags.closedLoop],
    ['--ramp-up-strategy', flags.rampUpStrategy],
    ['--request-rate', Number.isFinite(flags.requestRate) ? flags.requestRate : undefined],
  ].filter(([, value]) => value !== undefined);
  if (ways.length > 1) fail(`${ways.map(([name]) => name).join(' and ')} exclude each other: choose one.`);
  const rows = flags.trace === undefined ? undefined : traceRows(flags);
  const { pace, phases, requests } = paceOf(flags, rows);
  if (requests === 0) fail('No request would be sent: the rate is too low for so short a time.');
  const prompts = promptsOf(flags, rows);
  const isChat = flags.endpoint.endsWith('/chat/completions');
  const { ignoreEos: ignoresEos, temperature, extraBody: extra } = flags;
  const tenantOf = tenantsInTurn(tenants, flags.seed);
  const asking = (promptOf: PromptOf) => (visitor: number) => {
    const { key, name } = tenantOf(visitor);
    const body = bodyOf(promptOf(visitor), { model, isChat, ignoresEos, temperature, extra });
    return { body, key, tenant: name };
  };
  const strangers = strangersOf(prompts, flags.seed ^ WARM_UP_SEED);
  return { pace, phases, requests, request: asking(prompts), warmUp: asking(strangers) };
}

function paceOf(
  flags: BenchFlags,
  rows: readonly TraceRow[] | undefined,
): Pick<BenchPlan, 'pace' | 'phases' | 'requests'> {
  const { numPrompts = DEFAULT_REQUESTS, burstiness, closedLoop, requestRate } = flags;
  const random = seededRandom(flags.seed ^ ARRIVALS_SEED);
  const open = ({ atMs, phases }: Arrivals) => ({
    pace: { kind: 'open' as const, atMs },
    phases,
    requests: atMs.length,
  });
  if (closedLoop !== undefined)
    return {
      pace: { kind: 'closed', clients: closedLoop, requests: numPrompts },
      phases: [],
      requests: numPrompts,
    };
  if (rows) return open({ atMs: rows.map(({ atMs }) => atMs / flags.rate), phases: [] });
  if (flags.surge) return open(surgeArrivals(random, burstiness, flags.surge, MOST_REQUESTS));
  if (flags.rampUpStrategy === undefined)
    return open(steadyArrivals({ random, requests: numPrompts, ratePerSecond: requestRate, burstiness }));
  const { rampUpStrategy: strategy, rampUpStartRps: startRps, rampUpEndRps: endRps } = flags;
  if (startRps === undefined || endRps === undefined)
    return fail('--ramp-up-strategy needs --ramp-up-start-rps and --ramp-up-end-rps.');
  return open(rampArrivals({ random, requests: numPrompts, burstiness, strategy, startRps, endRps }));
}

function promptsOf(flags: BenchFlags, rows: readonly TraceRow[] | undefined): PromptOf {
  const { seed, randomInputLen, randomOutputLen, randomPrefixLen: prefixTokens, datasetPath } = flags;
  if (rows) {
    if (flags.datasetName !== 'random') fail('--trace has its own lengths: leave --dataset-name out.');
    return randomPrompts({
      seed,
      prefixTokens,
      lengthsOf: (index) => {
        const { promptTokens, outputTokens } = rows[index % rows.length]!;
        return { inputTokens: promptTokens, outputTokens: Math.max(1, outputTokens) };
      },
    });
  }
  if (flags.datasetName === 'random') {
    const lengths = { inputTokens: randomInputLen, outputTokens: randomOutputLen };
    return randomPrompts({ seed, prefixTokens, lengthsOf: () => lengths });
  }
  if (datasetPath === undefined) return fail(`--dataset-name ${flags.datasetName} needs --dataset-path.`);
  const text = textOf(datasetPath);
  return parsed(datasetPath, () =>
    inTurn(
      flags.datasetName === 'sharegpt'
        ? shareGptPrompts(text, flags.sharegptOutputLen)
        : customPrompts(text, flags.customOutputLen),
      seed,
    ),
  );
}

/** The first `--num-prompts` of them, where that was asked for. */
function traceRows({ trace: file = '', numPrompts }: BenchFlags): TraceRow[] {
  const text = textOf(file);
  const rows = parsed(file, () => parseTrace(text));
  return rows.slice(0, numPrompts);
}

/** From `--tenants`, else one by its key. */
export function tenantsOf({ tenants: file, apiKeyFile }: BenchFlags): Tenant[] {
  if (file === undefined) {
    const key = apiKeyFile === undefined ? benchKey() : textOf(apiKeyFile).trim();
    return [{ name: 'all', key, share: 1 }];
  }
  const lines = textOf(file)
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
  const tenants = lines.map((line, index) => {
    const [name = '', key, share = '1', ...rest] = line.split(/\s+/);
    // The line itself is not told: there is a key in it.
    if (key === undefined || !(Number(share) > 0) || rest.length > 0)
      return fail(`${file}: entry ${index + 1} is not NAME KEY, or NAME KEY SHARE.`);
    return { name, key, share: Number(share) };
  });
  if (tenants.length === 0 || tenants.length > MOST_TENANTS)
    fail(`${file} must name 1 to ${MOST_TENANTS} tenants.`);
  if (new Set(tenants.map(({ name }) => name)).size < tenants.length) fail(`${file} has a name twice.`);
  return tenants;
}

/** Chosen by share, alike for the same seed and visitor. */
export function tenantsInTurn(tenants: readonly Tenant[], seed: number): (visitor: number) => Tenant {
  const total = tenants.reduce((sum, { share }) => sum + share, 0);
  return (visitor) => {
    let left = seededRandom((seed ^ TENANTS_SEED) + visitor * 0x9e3779b1)() * total;
    for (const tenant of tenants) {
      left -= tenant.share;
      if (left < 0) return tenant;
    }
    return tenants.at(-1)!;
  };
}

function textOf(file: string): string {
  try {
    const bytes = readFileSync(file);
    return (file.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8');
  } catch (thrown) {
    return fail(`${file} cannot be read: ${(thrown as Error).message}`);
  }
}

function parsed<Parsed>(file: string, parse: () => Parsed): Parsed {
  try {
    return parse();
  } catch (thrown) {
    return fail(`${file} ${(thrown as Error).message}.`);
  }
}
