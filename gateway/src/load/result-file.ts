// A load's result as JSON. Its outer names are those of `vllm bench serve --save-result`, so that whatever reads those
// files reads ours; all else is under `sluice`.
// Pure.
import { rounded } from '../figures/statistics.ts';
import type { Distribution } from './load-figures.ts';
import type { LoadResult } from './load-result.ts';

/** What was asked for, by the options' names; never a key. */
export interface LoadSettings {
  readonly version: string;
  readonly startedAt: Date;
  readonly baseUrl: string;
  readonly endpoint: string;
  readonly model: string;
  readonly label: string | undefined;
  readonly requests: number;
  /** Infinity: all at once. */
  readonly requestRate: number;
  readonly burstiness: number;
  readonly maxConcurrency: number | undefined;
  readonly seed: number;
  /** The rest, for people. */
  readonly options: Readonly<Record<string, unknown>>;
}

/** `isDetailed`: with an entry for each request. */
export function resultFile(result: LoadResult, settings: LoadSettings, isDetailed: boolean): string {
  const { all, seconds } = result;
  const tokens = all.promptTokens + all.outputTokens;
  const { attempts, ...figures } = result;
  const file = {
    date: compactDate(settings.startedAt),
    endpoint_type: settings.endpoint.endsWith('/chat/completions') ? 'openai-chat' : 'openai',
    label: settings.label ?? null,
    model_id: settings.model,
    num_prompts: settings.requests,
    request_rate: Number.isFinite(settings.requestRate) ? settings.requestRate : 'inf',
    burstiness: settings.burstiness,
    max_concurrency: settings.maxConcurrency ?? null,
    duration: rounded(seconds, 3),
    completed: all.complete,
    failed: all.requests - all.complete,
    total_input_tokens: all.promptTokens,
    total_output_tokens: all.outputTokens,
    request_throughput: all.requestsPerSecond,
    request_goodput: all.goodputPerSecond,
    output_throughput: all.outputTokensPerSecond,
    total_token_throughput: rounded(tokens / Math.max(seconds, 1e-3)),
    max_concurrent_requests: result.mostInFlight,
    ...flat('ttft', all.ttft),
    ...flat('tpot', all.tpot),
    ...flat('itl', all.itl),
    ...flat('e2el', all.e2el),
    sluice: {
      version: settings.version,
      started_at: settings.startedAt.toISOString(),
      base_url: settings.baseUrl,
      endpoint: settings.endpoint,
      seed: settings.seed,
      options: settings.options,
      ...figures,
      ...(isDetailed && { attempts }),
    },
  };
  return `${JSON.stringify(file, undefined, 2)}\n`;
}

/** `mean_ttft_ms`, `median_ttft_ms`, `std_ttft_ms`, `p99_ttft_ms`. */
function flat(metric: string, { mean, std, percentiles }: Distribution): Record<string, number | null> {
  return {
    [`mean_${metric}_ms`]: mean,
    [`std_${metric}_ms`]: std,
    ...('50' in percentiles && { [`median_${metric}_ms`]: percentiles['50']! }),
    ...Object.fromEntries(
      Object.entries(percentiles).map(([percentile, value]) => [`p${percentile}_${metric}_ms`, value]),
    ),
  };
}

/** Where it is put if nobody says where: as `vllm bench serve` names its own. */
export function resultFileName(settings: LoadSettings): string {
  const { label = 'sluice-bench', requestRate, maxConcurrency, model, startedAt } = settings;
  const rate = Number.isFinite(requestRate) ? requestRate : 'inf';
  const limit = maxConcurrency === undefined ? '' : `-concurrency${maxConcurrency}`;
  const name = `${label}-${rate}qps${limit}-${model.split('/').at(-1)}-${compactDate(startedAt)}`;
  return `${name.replace(/[^\w.-]+/g, '_')}.json`;
}

/** 20260131-235959, in the local time. */
function compactDate(date: Date): string {
  const two = (value: number) => String(value).padStart(2, '0');
  const day = `${date.getFullYear()}${two(date.getMonth() + 1)}${two(date.getDate())}`;
  return `${day}-${two(date.getHours())}${two(date.getMinutes())}${two(date.getSeconds())}`;
}
