// Where a simulated load comes from: a trace in a file, a log of Sluice's own, the hour of real requests that comes with
// it, or a promotion that is made up.
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { surgeArrivals } from '../load/arrivals.ts';
import { seededRandom } from '../load/seeded-random.ts';
import { parseTrace } from '../load/trace.ts';
import { type LoggedRequests, parseRequestLog } from './request-log.ts';
import type { Row } from './workload.ts';

const AZURE = new URL('../../data/azure-llm-2023-conversation.csv.gz', import.meta.url).pathname;

/** The promotion: steady, ten times as much for a minute, steady. */
const SURGE = { factor: 10, beforeSeconds: 60, surgeSeconds: 60, afterSeconds: 120 };
/** Its requests, in tokens: a system message with a question of 20 to 80, and an answer. */
const SURGE_PROMPT = { least: 320, most: 380 };
const SURGE_ANSWER = 64;
const MOST_REQUESTS = 5_000_000;

/** `trace`: `azure`, or a file, gzipped where its name ends so. Throws an Error that says what is wrong with it. */
export function readTrace(trace: string): LoggedRequests {
  const path = trace === 'azure' ? AZURE : trace;
  const bytes = readFileSync(path);
  const text = (path.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8');
  if (text.trimStart().startsWith('{')) return parseRequestLog(text);
  return { rows: parseTrace(text), withoutTokens: 0 };
}

/** The same requests, so many times as fast. */
export function atRate(rows: readonly Row[], factor: number): Row[] {
  return rows.map((row) => ({ ...row, atMs: row.atMs / factor }));
}

/** `steadyRps`: requests a second before and after the surge. */
export function surgeRows(seed: number, steadyRps: number): Row[] {
  const random = seededRandom(seed);
  const { least, most } = SURGE_PROMPT;
  return surgeArrivals(random, 1, { ...SURGE, steadyRps }, MOST_REQUESTS).atMs.map((atMs) => ({
    atMs,
    promptTokens: least + Math.floor(random() * (most - least + 1)),
    outputTokens: SURGE_ANSWER,
    maxTokens: SURGE_ANSWER,
  }));
}
