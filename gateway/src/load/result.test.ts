// A load's result as people and programs get it: as text in their language, as JSON, as a picture, and as a line while
// it runs.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { liveLine, showLiveLine } from './live-line.ts';
import { figuresOf } from './load-figures.ts';
import { type Attempt, LoadRecord } from './load-record.ts';
import type { LoadResult } from './load-result.ts';
import { heardAt } from './load-testing.ts';
import { type LoadSettings, resultFile, resultFileName } from './result-file.ts';
import { resultPlot } from './result-plot.ts';
import { resultText } from './result-text.ts';
import type { Heard } from './streamed-request.ts';
import { timeSeries } from './time-series.ts';
import { CHINESE, ENGLISH } from './words.ts';

const OPTIONS = { percentiles: [50, 99, 99.9], objectives: { ttft: 500, gap: 500 } };
const SETTINGS: LoadSettings = {
  version: '1.2.3',
  startedAt: new Date(2026, 0, 31, 23, 59, 58),
  baseUrl: 'http://127.0.0.1:8080',
  endpoint: '/v1/chat/completions',
  model: 'org/some model',
  label: undefined,
  requests: 40,
  requestRate: Number.POSITIVE_INFINITY,
  burstiness: 1,
  maxConcurrency: 8,
  seed: 0,
  options: { giveUpMs: 30_000 },
};

function heard(sentAt: number, more: Partial<Heard>): Heard {
  return heardAt(sentAt, {
    endedAt: sentAt + 810,
    wordsAt: [sentAt + 100, sentAt + 140, sentAt + 800],
    usage: { tokens: 3, promptTokens: 1_200, cachedTokens: 600 },
    ...more,
  });
}

/** 30 answers, 5 refusals of which one came back, a loss, a failure, over three seconds and a bit. */
function exampleRecord(): LoadRecord {
  const record = new LoadRecord(0);
  const take = (visitor: number, at: number, more: Partial<Heard> = {}, number = 1) => {
    record.sent(at);
    const one = heard(at, more);
    for (const wordAt of one.wordsAt) record.word(wordAt);
    record.ended({ visitor, number, tenant: visitor % 2 ? 'odd' : 'even', dueAt: at, lateMs: 0.5 }, one);
  };
  const refusal = {
    ending: 'refused' as const,
    reason: 'overloaded',
    message: 'The queue is full.',
    retryAfterMs: 1_000,
    wordsAt: [],
  };
  for (let visitor = 0; visitor < 30; visitor += 1) take(visitor, visitor * 100);
  for (let visitor = 30; visitor < 35; visitor += 1) take(visitor, 2_000, { ...refusal, endedAt: 2_004 });
  take(30, 3_004, {}, 2);
  take(35, 2_100, { ending: 'lost', reason: 'no [DONE]' });
  take(36, 2_200, { ending: 'failed', reason: 'ECONNRESET', wordsAt: [], endedAt: 2_201 });
  return record;
}

function exampleResult(more: Partial<LoadResult> = {}): LoadResult {
  const record = exampleRecord();
  const of = (some: readonly Attempt[]) => figuresOf(some, undefined, 2, OPTIONS);
  const { attempts } = record;
  return {
    seconds: 3.9,
    mostInFlight: record.mostInFlight,
    all: figuresOf(attempts, record.gaps.get(''), 3.9, OPTIONS),
    phases: {
      before: of(attempts.filter(({ dueMs }) => dueMs < 1_000)),
      surge: of(attempts.filter(({ dueMs }) => dueMs >= 1_000)),
      after: of([]),
    },
    tenants: {
      even: of(attempts.filter(({ tenant }) => tenant === 'even')),
      odd: of(attempts.filter(({ tenant }) => tenant === 'odd')),
    },
    generator: {
      lateP50Ms: 0.5,
      lateP99Ms: 0.5,
      lateMostMs: 0.5,
      readingDelayP99Ms: 1.25,
      cpuShare: 0.07,
      isTooSlow: false,
    },
    series: timeSeries(record),
    messages: Object.fromEntries(record.messages),
    attempts,
    ...more,
  };
}

const METRICS = ['ttft', 'tpot', 'itl', 'e2el'] as const;

test('the text tells how every request ended, and how long they took', () => {
  const text = resultText(exampleResult(), {
    words: ENGLISH,
    metrics: METRICS,
    objectives: OPTIONS.objectives,
  });
  assert.match(text, /^requests +38 +3\.9 s, .*goodput 0\/s \(within: ttft 500 ms, gap 500 ms\)$/m);
  assert.match(text, /^ {2}complete +31 +81\.6 %$/m);
  assert.match(
    text,
    /^ {2}refused +5 +with Retry-After 5, without 0, came back 1, answered then 1 \(100\.0 %\), refused again 0$/m,
  );
  assert.match(text, /^ {2}lost +1$/m);
  assert.match(text, /^ {2}failed +1\n {2}why +overloaded 5, no \[DONE\] 1, ECONNRESET 1$/m);
  assert.match(text, /^tokens of answers +93 +.*of prompts 37,200, cached 50\.0 %$/m);
  assert.match(text, /^ms +mean +P50 +P99 +P99\.9 +most$/m);
  assert.match(text, /^first token +100 +100 +100 +100 +100$/m);
  assert.match(text, /^refusal +4\.0/m);
  assert.match(text, /^stutters \(over 500 ms\): 32, in answers 32$/m);
  assert.match(text, /^surge +28 +21 +5 +2 /m);
  assert.match(text, /^after +0 +0 +0 +0 +0 +– +– +–$/m);
  assert.match(text, /^odd +/m);
  assert.match(text, /^the server said: overloaded: The queue is full\.$/m);
  assert.match(text, /^load generator: late P99 0\.5 ms, reading delay P99 1\.25 ms, 7 % of a core$/m);
  assert.doesNotMatch(text, / $|undefined|NaN/m);
});

test('the text is Chinese for those who read it, its columns in line', () => {
  const text = resultText(exampleResult(), { words: CHINESE, metrics: ['ttft'], objectives: {} });
  assert.match(text, /^ {2}完成 +31/m);
  assert.match(text, /高峰/);
  const places = (text.match(/^(首 token|最长停顿|拒绝耗时) .*$/gm) ?? []).map((line) =>
    [...line].reduce((width, character) => width + (character >= '\u2e80' ? 2 : 1), 0),
  );
  assert.equal(places.length, 3);
  assert.equal(new Set(places).size, 1, `${places}`);
  assert.doesNotMatch(text, /每 token 耗时|限定/);
});

test('a run whose generator was too slow says so', () => {
  const generator = { ...exampleResult().generator, lateP99Ms: 80, isTooSlow: true };
  const text = resultText(exampleResult({ generator }), { words: ENGLISH, metrics: [], objectives: {} });
  assert.match(text, /too slow itself/);
});

test('the file has the names of vLLM, and everything else beside them', () => {
  const file = JSON.parse(resultFile(exampleResult(), SETTINGS, false));
  assert.equal(file.date, '20260131-235958');
  assert.equal(file.endpoint_type, 'openai-chat');
  assert.equal(file.request_rate, 'inf');
  assert.equal(file.completed, 31);
  assert.equal(file.failed, 7);
  assert.equal(file.total_output_tokens, 93);
  assert.equal(file.mean_ttft_ms, 100);
  assert.equal(file.median_ttft_ms, 100);
  assert.equal(file['p99.9_e2el_ms'], 810);
  assert.equal(file.sluice.all.refused.withRetryAfter, 5);
  assert.equal(file.sluice.phases.surge.lost, 1);
  assert.equal(file.sluice.series.length, 4);
  assert.equal(file.sluice.attempts, undefined);
  assert.equal(JSON.parse(resultFile(exampleResult(), SETTINGS, true)).sluice.attempts.length, 38);
});

test('a file has a name that any system takes', () => {
  assert.equal(resultFileName(SETTINGS), 'sluice-bench-infqps-concurrency8-some_model-20260131-235958.json');
  const named = { ...SETTINGS, label: '../up', requestRate: 2.5, maxConcurrency: undefined };
  assert.equal(resultFileName(named), '.._up-2.5qps-some_model-20260131-235958.json');
});

test('the picture shows first tokens, requests, words and what is in flight over the time', () => {
  const svg = resultPlot(exampleResult(), 'A <load>', 500);
  assert.equal(svg.match(/<g transform/g)?.length, 4);
  assert.match(svg, /A &lt;load&gt;/);
  assert.match(svg, /wanted: 500 ms/);
  assert.doesNotMatch(svg, /NaN|Infinity/);
  assert.doesNotMatch(resultPlot(exampleResult(), 'A load', undefined), /wanted/);
});

test('the live line tells of the last seconds', () => {
  assert.equal(
    liveLine(exampleRecord(), 3_950, ENGLISH),
    '3 s  in flight 0  complete 31  refused 5  left or failed 2  first token P50 100 ms  24 pieces/s',
  );
  assert.match(liveLine(new LoadRecord(0), 10, CHINESE), /^0 s {2}进行中 0 .*P50 – {2}0 片段\/秒$/);
});

test('on a terminal the live line redraws itself within its width, and goes away', async (context) => {
  context.mock.timers.enable({ apis: ['setInterval'] });
  const show = (isTerminal: boolean) => {
    let written = '';
    const end = showLiveLine(exampleRecord(), {
      write: (text) => {
        written += text;
      },
      isTerminal,
      columns: () => 40,
      words: ENGLISH,
      now: () => 3_950,
    });
    context.mock.timers.tick(5_000);
    end();
    context.mock.timers.tick(5_000);
    return written;
  };
  const drawn = show(true).split('\r\u001b[2K');
  assert.equal(drawn.length, 22, '20 draws, what was before the first, and nothing after the last');
  assert.ok(drawn.every((line) => line.length <= 39 && !line.includes('\n')));
  assert.equal(drawn.at(-1), '');
  const plain = show(false);
  assert.ok(plain.startsWith('3 s ') && plain.endsWith('\n') && !plain.includes('\u001b'), plain);
  assert.equal(plain.split('\n').length, 2);
});
