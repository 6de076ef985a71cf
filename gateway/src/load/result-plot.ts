// A load as a picture (SVG): how long first tokens took, what came and how it ended, how fast words came, over its time.
// Pure.
import { type NumericPanel, type PointSeries, plot } from '../figures/plot.ts';
import type { LoadResult } from './load-result.ts';
import type { SeriesStep } from './time-series.ts';

/** `firstTokenLimitMs`: drawn across the first tokens, if there is one. */
export function resultPlot(
  { series, all }: Pick<LoadResult, 'series' | 'all'>,
  title: string,
  firstTokenLimitMs: number | undefined,
): string {
  const line = (name: string, pick: (step: SeriesStep) => number | null): PointSeries => ({
    name,
    style: 'line',
    points: series.map((step) => ({ x: step.second, y: pick(step) ?? Number.NaN })),
  });
  const panel = (titled: string, yLabel: string, lines: readonly PointSeries[]): NumericPanel => ({
    title: titled,
    xLabel: 's from the start, when the request was due',
    yLabel,
    xScale: 'linear',
    series: lines,
  });
  const firsts = panel('First token', 'ms', [
    line('P99 of the second', ({ firstP99Ms }) => firstP99Ms),
    line('P50', ({ firstP50Ms }) => firstP50Ms),
  ]);
  const overTime = 's from the start';
  return plot(title, [
    {
      ...firsts,
      limit:
        firstTokenLimitMs === undefined
          ? undefined
          : { name: `wanted: ${firstTokenLimitMs} ms`, value: firstTokenLimitMs },
    },
    {
      ...panel('Requests', 'requests/s', [
        line('sent', ({ sent }) => sent),
        line('complete', ({ complete }) => complete),
        line('refused', ({ refused }) => refused),
        line('left, lost, failed', ({ unhappy }) => unhappy),
      ]),
      xLabel: overTime,
    },
    {
      ...panel(`Words: ${all.outputTokens.toLocaleString('en')} tokens in all`, 'pieces/s', [
        line('pieces', ({ pieces }) => pieces),
      ]),
      xLabel: overTime,
    },
    { ...panel('In flight', 'requests', [line('in flight', ({ inFlight }) => inFlight)]), xLabel: overTime },
  ]);
}
