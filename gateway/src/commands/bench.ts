// `sluice bench`: sends a load to a server and tells what its users saw. The result goes to standard output, what is
// going on meanwhile to standard error. Ctrl-C ends the load and tells what there was. A key is never shown.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { prefersChinese } from '../config.ts';
import { systemClock } from '../core/clock.ts';
import { rounded } from '../figures/statistics.ts';
import { firstModel } from '../load/first-model.ts';
import { showLiveLine } from '../load/live-line.ts';
import { type LoadResult, type MeasureOptions, measureLoad } from '../load/load-result.ts';
import { type LoadSettings, resultFile, resultFileName } from '../load/result-file.ts';
import { resultPlot } from '../load/result-plot.ts';
import { resultText } from '../load/result-text.ts';
import { Endpoint } from '../load/streamed-request.ts';
import { CHINESE, ENGLISH } from '../load/words.ts';
import type { BenchFlags } from './bench-flags.ts';
import { type BenchPlan, planOf, tenantsOf } from './bench-plan.ts';
import { fail } from './terminal.ts';

export async function bench(flags: BenchFlags, version: string): Promise<void> {
  const words = prefersChinese() ? CHINESE : ENGLISH;
  const url = routeOf(flags);
  const headers = flags.header ?? {};
  const tenants = tenantsOf(flags);
  const model =
    flags.model ??
    (await firstModel({ url, headers, key: tenants[0]!.key }).catch((thrown: Error) => fail(thrown.message)));
  const plan = planOf(flags, model, tenants);
  const stop = new AbortController();
  const onInterrupt = () => stop.abort();
  process.once('SIGINT', onInterrupt);
  const endpoint = new Endpoint({ url, headers, clock: systemClock });
  const common = {
    endpoint,
    patienceMs: flags.giveUpMs,
    maxConcurrency: flags.maxConcurrency ?? Number.POSITIVE_INFINITY,
    signal: stop.signal,
    percentiles: [...new Set([50, 99, ...flags.metricPercentiles])].sort((a, b) => a - b),
    objectives: flags.goodput,
  };
  await warmUp({ ...common, request: plan.warmUp }, flags.numWarmups);
  const startedAt = new Date();
  let endLiveLine = () => {};
  const result = await measureLoad({
    ...common,
    request: plan.request,
    pace: plan.pace,
    phases: plan.phases,
    returns: flags.comeBack === true ? 1 : (flags.comeBack ?? 0),
    onBegin: (record) => {
      endLiveLine = showLiveLine(record, {
        write: (text) => process.stderr.write(text),
        isTerminal: process.stderr.isTTY === true,
        columns: () => process.stderr.columns,
        words,
        now: () => systemClock.now(),
      });
    },
  }).finally(() => endLiveLine());
  process.off('SIGINT', onInterrupt);
  const { percentileMetrics: metrics, goodput } = flags;
  process.stdout.write(resultText(result, { words, metrics, objectives: goodput }));
  keep(result, flags, settingsOf(flags, plan, { version, startedAt, model, url }));
  if (result.all.complete === 0) process.exitCode = 1;
}

/** `/v1` at the end of the one and the beginning of the other is the same. */
function routeOf({ baseUrl, endpoint }: BenchFlags): URL {
  const base = baseUrl.pathname.replace(/\/+$/, '');
  const isTwice = base.endsWith('/v1') && endpoint.startsWith('/v1/');
  return new URL((isTwice ? base.slice(0, -'/v1'.length) : base) + endpoint, baseUrl.origin);
}

type WarmUp = Omit<MeasureOptions, 'pace' | 'phases' | 'returns'>;

/** One after the other: what a server does once must not be in the figures. */
async function warmUp(options: WarmUp, requests: number): Promise<void> {
  if (requests === 0) return;
  const pace = { kind: 'closed' as const, clients: 1, requests };
  const { all, messages } = await measureLoad({ ...options, pace, phases: [], returns: 0 });
  const [reason] = Object.entries(messages)[0] ?? [];
  if (all.complete === 0)
    fail(`None of the requests before the load was answered (${reason ?? Object.keys(all.reasons)[0]}).`);
}

function settingsOf(
  flags: BenchFlags,
  { pace, requests }: BenchPlan,
  run: { readonly version: string; readonly startedAt: Date; readonly model: string; readonly url: URL },
): LoadSettings {
  // Headers may hold a key of another kind.
  const { header: _header, apiKeyFile: _apiKeyFile, tenants: _tenants, ...options } = flags;
  const { version, startedAt, model, url } = run;
  return {
    version,
    startedAt,
    model,
    requests,
    baseUrl: url.origin,
    endpoint: url.pathname,
    label: flags.label,
    requestRate: rateOf(pace),
    burstiness: flags.burstiness,
    // A closed loop is what vLLM has as an infinite rate that is bounded by its concurrency.
    maxConcurrency: flags.maxConcurrency ?? (pace.kind === 'closed' ? pace.clients : undefined),
    seed: flags.seed,
    options: { ...options, baseUrl: url.origin },
  };
}

/** As they are due, on the average. */
function rateOf(pace: BenchPlan['pace']): number {
  const lastMs = pace.kind === 'open' ? (pace.atMs.at(-1) ?? 0) : 0;
  return pace.kind === 'open' && lastMs > 0
    ? rounded((pace.atMs.length * 1000) / lastMs)
    : Number.POSITIVE_INFINITY;
}

/** Writes the files that were asked for, and says where. */
function keep(result: LoadResult, flags: BenchFlags, settings: LoadSettings): void {
  const { saveResult, saveDetailed = false, resultDir, resultFilename, plot } = flags;
  const write = (file: string, text: string) => {
    try {
      writeFileSync(file, text);
    } catch (thrown) {
      fail(`${file} cannot be written: ${(thrown as Error).message}`);
    }
    process.stderr.write(`${file}\n`);
  };
  if (saveResult || saveDetailed) {
    mkdirSync(resultDir, { recursive: true });
    write(
      join(resultDir, resultFilename ?? resultFileName(settings)),
      resultFile(result, settings, saveDetailed),
    );
  }
  if (plot !== undefined) write(plot, resultPlot(result, plotTitle(settings), flags.goodput.ttft));
}

function plotTitle({ label, model, baseUrl }: LoadSettings): string {
  return label ?? `${model} at ${baseUrl}`;
}
