// A load's result for people: a screen of text, in their language.
// Pure.
import { type Distribution, type GroupFigures, type Objectives, refusedIn } from './load-figures.ts';
import type { LoadResult } from './load-result.ts';
import type { Words } from './words.ts';

/** Which latencies are shown; `vllm bench serve`'s names. */
export type PercentileMetric = 'ttft' | 'tpot' | 'itl' | 'e2el';

export interface TextOptions {
  readonly words: Words;
  readonly metrics: readonly PercentileMetric[];
  readonly objectives: Objectives;
}

const INDENT = '  ';

/** Lines, each ended. */
export function resultText(result: LoadResult, options: TextOptions): string {
  const { words } = options;
  const { all, phases, tenants, messages } = result;
  const parts = [
    counts(all, options),
    table([headOf(words, all.ttft), ...latencyRows(all, options)]),
    `${words.stutters}: ${number(all.stutters.count)}, ${words.inAnswers} ${number(all.stutters.answers)}\n`,
    groupTable(phases, words, (name) => words.phases[name as keyof Words['phases']]),
    groupTable(tenants, words, (name) => name),
    Object.entries(messages)
      .map(([reason, message]) => `${words.serverSaid}: ${reason}: ${message}\n`)
      .join(''),
    generatorText(result, words),
  ];
  return parts.filter((part) => part !== '').join('\n');
}

function counts(all: GroupFigures, { words, objectives }: TextOptions): string {
  const limits = Object.entries(objectives).map(([name, limit]) => `${name} ${limit} ms`);
  const { withRetryAfter, without } = all.refused;
  const { visitors, complete, refusedAgain } = all.cameBack;
  const refused = [
    `${words.withRetryAfter} ${number(withRetryAfter)}`,
    `${words.without} ${number(without)}`,
  ];
  const returned =
    visitors === 0
      ? []
      : [
          `${words.cameBack} ${number(visitors)}`,
          `${words.admitted} ${number(complete)} (${share(complete, visitors)})`,
          `${words.refusedAgain} ${number(refusedAgain)}`,
        ];
  const cached = all.cachedShare === null ? [] : [`${words.cached} ${(all.cachedShare * 100).toFixed(1)} %`];
  const why = Object.entries(all.reasons)
    .map(([reason, count]) => `${reason} ${number(count)}`)
    .join(', ');
  return table([
    [
      words.requests,
      number(all.requests),
      `${all.seconds} s, ${all.requestsPerSecond}${words.perSecond}; ${words.goodput} ` +
        `${all.goodputPerSecond}${words.perSecond}${limits.length > 0 ? ` (${words.within}: ${limits.join(', ')})` : ''}`,
    ],
    [`${INDENT}${words.complete}`, number(all.complete), share(all.complete, all.requests)],
    [
      `${INDENT}${words.refused}`,
      number(refusedIn(all)),
      refusedIn(all) === 0 ? '' : [...refused, ...returned].join(', '),
    ],
    [`${INDENT}${words.gaveUp}`, number(all.gaveUp), ''],
    [`${INDENT}${words.lost}`, number(all.lost), ''],
    [`${INDENT}${words.failed}`, number(all.failed), ''],
    ...(why === '' ? [] : [[`${INDENT}${words.why}`, '', why]]),
    [
      words.outputTokens,
      number(all.outputTokens),
      [
        `${all.outputTokensPerSecond} ${words.tokensPerSecond}`,
        `${words.promptTokens} ${number(all.promptTokens)}`,
        ...cached,
      ].join(', '),
    ],
  ]);
}

function headOf({ mean, most }: Words, { percentiles }: Distribution): string[] {
  return ['ms', mean, ...Object.keys(percentiles).map((percentile) => `P${percentile}`), most];
}

function latencyRows(all: GroupFigures, { words, metrics }: TextOptions): string[][] {
  const row = (name: string, { mean, percentiles, most }: Distribution) => [
    name,
    ...[mean, ...Object.values(percentiles), most].map(duration),
  ];
  const names = {
    ttft: words.firstToken,
    tpot: words.perToken,
    itl: words.between,
    e2el: words.wholeAnswer,
  };
  const rows = metrics.map((metric) => row(names[metric], all[metric]));
  rows.push(row(words.longestGap, all.longestGap));
  if (refusedIn(all) > 0) rows.push(row(words.refusal, all.refusal));
  return rows;
}

/** A row for each group, with what tells them apart. */
function groupTable(
  groups: Readonly<Record<string, GroupFigures>>,
  words: Words,
  nameOf: (name: string) => string,
): string {
  const entries = Object.entries(groups);
  if (entries.length === 0) return '';
  const head = [
    '',
    words.requests,
    words.complete,
    words.refused,
    words.unhappy,
    `${words.goodput}${words.perSecond}`,
    `${words.firstToken} P50`,
    'P99',
    words.longestGap,
  ];
  const rows = entries.map(([name, one]) => [
    nameOf(name),
    ...[one.requests, one.complete, refusedIn(one), one.gaveUp + one.lost + one.failed].map(number),
    String(one.goodputPerSecond),
    ...[one.ttft.percentiles['50'] ?? null, one.ttft.percentiles['99'] ?? null, one.longestGap.most].map(
      duration,
    ),
  ]);
  return table([head, ...rows]);
}

function generatorText({ generator }: LoadResult, words: Words): string {
  const { lateP99Ms, readingDelayP99Ms, cpuShare, isTooSlow } = generator;
  const line =
    `${words.generator}: ${words.late} ${lateP99Ms} ms, ${words.reading} ${readingDelayP99Ms} ms, ` +
    `${Math.round(cpuShare * 100)} % ${words.ofOneCore}\n`;
  return isTooSlow ? `${line}${words.tooSlow}\n` : line;
}

/** Columns in line, numbers to the right; the last column of words as it is. */
function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => widthOf(row[column] ?? ''))));
  const lines = rows.map((row) =>
    row
      .map((cell, column) => {
        const blanks = ' '.repeat(widths[column]! - widthOf(cell));
        const isText = column === 0 || /[^\d.,–\s]/.test(rows.at(-1)![column] ?? '');
        return isText ? cell + blanks : blanks + cell;
      })
      .join('  ')
      .trimEnd(),
  );
  return `${lines.join('\n')}\n`;
}

/** On a terminal, where Chinese characters and their signs take two places each. */
function widthOf(text: string): number {
  let width = 0;
  for (const character of text) width += character >= '\u2e80' ? 2 : 1;
  return width;
}

function number(value: number): string {
  return value.toLocaleString('en');
}

function duration(ms: number | null): string {
  if (ms === null) return '–';
  return ms < 100 ? ms.toFixed(1) : number(Math.round(ms));
}

function share(part: number, whole: number): string {
  return whole === 0 ? '–' : `${((part / whole) * 100).toFixed(1)} %`;
}
