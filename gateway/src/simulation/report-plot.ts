// A report as a picture: the queue and what became of requests over time, first tokens as they came and as a distribution,
// tenants side by side, predictions against what came.
// Pure.
import { type NumericPanel, type Panel, type Point, type PointSeries, plot } from '../figures/plot.ts';
import { quantile } from '../figures/statistics.ts';
import { isGood, predictedPairs, type Report } from './report.ts';
import type { QueueSample, Simulation, SimulationOptions } from './simulate.ts';
import type { RequestEnd } from './simulated-client.ts';

/** Points of a line over time. */
const MOST_STEPS = 120;
/** Points of a cloud: more only make the file larger. */
const MOST_DOTS = 2000;
const MOST_TENANTS = 12;
/** Where a distribution is looked at. */
const PARTS = [0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999];

export function reportPlot(
  title: string,
  simulation: Simulation,
  options: SimulationOptions,
  { classes, tenants }: Report,
): string {
  const { ends, queue } = simulation;
  const { objectiveMs } = options;
  const limit = { name: 'objective', value: objectiveMs };
  const answered = ends.filter(({ firstTokenMs }) => firstTokenMs !== undefined);
  const panels: (Panel | NumericPanel)[] = [
    queuePanel(queue),
    flowPanel(ends, objectiveMs),
    {
      title: 'First token of each answer',
      xLabel: 's',
      yLabel: 'ms',
      xScale: 'linear',
      yScale: 'log',
      limit,
      series: classes.map(({ name }) => ({
        name,
        style: 'dots',
        points: everyNth(
          answered.filter(({ arrival }) => arrival.priority === name),
          MOST_DOTS / classes.length,
        ).map(({ askedAtMs, firstTokenMs }) => ({ x: askedAtMs / 1000, y: firstTokenMs! })),
      })),
    },
    {
      title: 'First token: how many came within',
      xLabel: 'ms',
      yLabel: '% of the answers',
      xScale: 'log',
      series: classes.map(({ name }) => {
        const times = answered
          .filter(({ arrival }) => arrival.priority === name)
          .map(({ firstTokenMs }) => firstTokenMs!);
        const points = PARTS.map((part) => ({ x: quantile(times, part), y: part * 100 }));
        return { name, style: 'line', points };
      }),
    },
  ];
  if (tenants.length > 1) {
    const shown = tenants.slice(0, MOST_TENANTS);
    panels.push({
      title: 'First token, P99 of each tenant',
      xLabel: 'tenant',
      yLabel: 'ms',
      x: shown.map(({ name }, index) => (shown.length > 4 ? index + 1 : name)),
      isColumns: true,
      limit,
      series: [
        { name: 'P99', values: shown.map(({ firstToken }) => alone(Math.round(firstToken.p99Ms ?? 0))) },
      ],
    });
  }
  const calibration = calibrationPanel(ends);
  if (calibration) panels.push(calibration);
  return plot(title, panels);
}

function queuePanel(samples: readonly QueueSample[]): NumericPanel {
  const kept = peaks(samples);
  const series = (['waiting', 'running'] as const).map((name) => ({
    name,
    style: 'line' as const,
    points: kept.map((sample) => ({ x: sample.atMs / 1000, y: sample[name] })),
  }));
  return { title: 'The queue', xLabel: 's', yLabel: 'calls', xScale: 'linear', series };
}

/** What came, and what became of it, by the time at which it was first asked for. */
function flowPanel(ends: readonly RequestEnd[], objectiveMs: number): NumericPanel {
  const lastMs = Math.max(1, lastArrival(ends));
  const stepMs = lastMs / MOST_STEPS;
  const rate = (name: string, isCounted: (end: RequestEnd) => boolean): PointSeries => {
    const counts = new Array<number>(MOST_STEPS).fill(0);
    for (const end of ends) {
      if (isCounted(end)) counts[Math.min(MOST_STEPS - 1, Math.floor(end.arrival.atMs / stepMs))]! += 1;
    }
    const points = counts.map((count, index) => ({
      x: ((index + 0.5) * stepMs) / 1000,
      y: (count * 1000) / stepMs,
    }));
    return { name, style: 'line', points };
  };
  return {
    title: 'What came of the requests',
    xLabel: 's',
    yLabel: 'requests/s',
    xScale: 'linear',
    series: [
      rate('asked', () => true),
      rate('answered well', (end) => isGood(end, objectiveMs)),
      rate('not answered', ({ outcome }) => outcome !== 'answered'),
    ],
  };
}

function calibrationPanel(ends: readonly RequestEnd[]): NumericPanel | undefined {
  const pairs = everyNth(predictedPairs(ends), MOST_DOTS);
  if (pairs.length === 0) return undefined;
  const points: Point[] = pairs.map(({ predictedMs, firstTokenMs }) => ({ x: predictedMs, y: firstTokenMs }));
  const all = pairs.flatMap(({ predictedMs, firstTokenMs }) => [predictedMs, firstTokenMs]);
  const known = all.filter((value) => value > 0);
  const exact = [Math.min(...known), Math.max(...known)].map((value) => ({ x: value, y: value }));
  return {
    title: 'First token, predicted and real',
    xLabel: 'predicted, ms',
    yLabel: 'real, ms',
    xScale: 'log',
    yScale: 'log',
    series: [
      { name: 'calls', style: 'dots', points },
      { name: 'as predicted', style: 'line', points: exact },
    ],
  };
}

/** The sample with the most waiting of each of some stretches: a peak must not be lost. */
function peaks(samples: readonly QueueSample[]): QueueSample[] {
  const each = Math.ceil(samples.length / MOST_STEPS);
  const kept: QueueSample[] = [];
  for (let from = 0; from < samples.length; from += each) {
    const stretch = samples.slice(from, from + each);
    kept.push(stretch.reduce((high, one) => (one.waiting > high.waiting ? one : high)));
  }
  return kept;
}

function everyNth<T>(values: readonly T[], most: number): T[] {
  const each = Math.ceil(values.length / most);
  return values.filter((_, index) => index % each === 0);
}

function lastArrival(ends: readonly RequestEnd[]): number {
  return ends.reduce((last, { arrival }) => Math.max(last, arrival.atMs), 0);
}

function alone(value: number) {
  return { median: value, least: value, most: value };
}
