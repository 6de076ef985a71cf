// A report as people read it in a terminal: one line a figure, a table of classes, a table of tenants.
// Pure.
import { numberText } from '../figures/axis.ts';
import type { GroupReport, Quantiles, Report } from './report.ts';

/** Tenants in the table; the JSON has them all. */
const MOST_TENANTS = 12;

export function reportText(report: Report): string {
  const { requests, returned, prediction, tenants } = report;
  const part = (count: number) => `${numberText(count)} (${percent(count / Math.max(1, requests))})`;
  const lines: (readonly [string, string])[] = [
    ['requests', `${numberText(requests)} in ${numberText(report.seconds)} s`],
    ['answered', part(report.answered)],
    ['refused', `${part(report.refused)}${refusalsText(report)}`],
    ['left', part(report.left)],
    ['late', part(report.late)],
    ...(report.broken > 0 ? [['broken', part(report.broken)] as const] : []),
    ['goodput', `${numberText(report.goodPerSecond)} answers/s; ${part(report.good)}`],
    ['first token', quantilesText(report.firstToken)],
    ['inter-token', `${quantilesText(report.interToken)}, longest ${ms(report.interToken.longestMs)}`],
    ['output', `${numberText(report.outputTokensPerSecond)} tokens/s`],
    ['cached', `${percent(report.cachedPart)} of the prompts' tokens`],
    ['fairness', `${report.fairness.toFixed(3)} (1 is fair)`],
    [
      'replicas',
      `busy ${percent(report.busyPart)} of their time (prompts ${percent(report.promptsPart)}), ` +
        `all slots taken ${percent(report.fullPart)}`,
    ],
    [
      'cost',
      `${numberText(report.cost)} for ${numberText(report.replicaHours)} replica hours` +
        (report.costPerMillionGoodTokens === null
          ? ''
          : `; ${numberText(report.costPerMillionGoodTokens)} a million tokens of good answers`),
    ],
  ];
  if (returned.admittedPart !== null) {
    const came = `${numberText(returned.asked)} came back when told to`;
    lines.push(['returned', `${came}, ${percent(returned.admittedPart)} of them were admitted`]);
  }
  if (prediction) {
    const { calls, error } = prediction;
    const errors = `P1 ${ms(error.p1Ms)}, P50 ${ms(error.p50Ms)}, P99 ${ms(error.p99Ms)}`;
    lines.push(['predicted', `${numberText(calls)} first tokens; real less predicted ${errors}`]);
  }
  const more = tenants.length - MOST_TENANTS;
  return [
    ...lines.map(([name, text]) => `${name.padEnd(12)} ${text}`),
    '',
    groupTable('class', report.classes),
    '',
    groupTable('tenant', tenants.slice(0, MOST_TENANTS)),
    ...(more > 0 ? [`and ${more} more, in the JSON`] : []),
    '',
  ].join('\n');
}

function refusalsText({ refusals }: Report): string {
  const codes = Object.entries(refusals).map(([code, count]) => `${code} ${numberText(count)}`);
  return codes.length === 0 ? '' : `; why, also of those who left then: ${codes.join(', ')}`;
}

function groupTable(title: string, groups: readonly GroupReport[]): string {
  const head = [
    title,
    'requests',
    'answered',
    'good',
    'refused',
    'left',
    'late',
    'queue P50',
    'P99',
    'first P50',
    'P99',
  ];
  const rows = groups.map((group) => [
    group.name,
    numberText(group.requests),
    numberText(group.answered),
    numberText(group.good),
    numberText(group.refused),
    numberText(group.left),
    numberText(group.late),
    ms(group.queue.p50Ms),
    ms(group.queue.p99Ms),
    ms(group.firstToken.p50Ms),
    ms(group.firstToken.p99Ms),
  ]);
  return table([head, ...rows]);
}

/** Columns to the right, but for those that are named. */
export function table(rows: readonly (readonly string[])[], toTheLeft: readonly number[] = [0]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => {
          const width = widths[column]!;
          return toTheLeft.includes(column) ? cell.padEnd(width) : cell.padStart(width);
        })
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function quantilesText({ p50Ms, p99Ms }: Quantiles): string {
  return `P50 ${ms(p50Ms)}, P99 ${ms(p99Ms)}`;
}

function ms(value: number | null): string {
  return value === null ? '-' : `${numberText(Math.round(value))} ms`;
}

function percent(part: number): string {
  return `${numberText(Number((part * 100).toFixed(1)))} %`;
}
