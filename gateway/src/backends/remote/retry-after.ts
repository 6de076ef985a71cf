// When a server that is busy wants to be asked again: in each form that headers say it, or worked out from the limit that
// its text names. Pure, and bounded: no server can make us wait for more than an hour.
import type { UpstreamHeaders } from './upstream-reader.ts';

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;
const DAY_MS = 24 * HOUR_MS;
/** Sooner than this nothing has changed. */
const LEAST_PAUSE_MS = 1_000;

/** Of OpenAI's durations: `6m0s`, `1.5s`, `20ms`. */
const UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: MINUTE_MS,
  h: HOUR_MS,
  d: DAY_MS,
};
/** Above these a number of seconds, or of ms, is a point in time and no duration. */
const EPOCH_SECONDS = 1e9;
const EPOCH_MS = 1e12;

/**
 * What the headers say, in ms from `now` (ms since the epoch), 0 to one hour; undefined where they say nothing that can
 * be read.
 */
export function retryAfterOf(headers: UpstreamHeaders, now: number): number | undefined {
  const ms = bounded(readNumber(first(headers['retry-after-ms'])));
  return ms ?? bounded(readRetryAfter(first(headers['retry-after']), now)) ?? readReset(headers, now);
}

/**
 * When the limit that a refusal names begins anew: one by the minute at the next minute, one by the hour at the next
 * hour, one by the day at the next day of UTC or in an hour, whichever is sooner. Without a name: a second.
 */
export function retryAfterLimit(text: string, now: number): number {
  const per = /\b[RT]P([MHD])\b/i.exec(text)?.[1]?.toUpperCase();
  if (per === undefined) return LEAST_PAUSE_MS;
  if (per === 'M') return untilNext(MINUTE_MS, now);
  return Math.min(HOUR_MS, untilNext(per === 'H' ? HOUR_MS : DAY_MS, now));
}

function untilNext(window: number, now: number): number {
  return Math.max(LEAST_PAUSE_MS, window - (now % window));
}

/**
 * How long until a limit begins anew, as headers say it, in ms from `now`, 0 to one hour; undefined: it cannot be read. Of
 * `6m0s`, a number of seconds, a time since the epoch in seconds or ms, or a date.
 */
export function resetOf(value: string | string[] | undefined, now: number): number | undefined {
  return bounded(readDuration(first(value), now));
}

/** A number without a sign, in a header; undefined: it is none. */
export function countOf(value: string | string[] | undefined): number | undefined {
  return readNumber(first(value));
}

function first(value: string | string[] | undefined): string | undefined {
  return (Array.isArray(value) ? value[0] : value)?.trim();
}

function bounded(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : Math.min(HOUR_MS, Math.max(0, Math.ceil(ms)));
}

function readNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^\d+(\.\d+)?$/.test(text) ? Number(text) : undefined;
}

/** Seconds, or a date. */
function readRetryAfter(text: string | undefined, now: number): number | undefined {
  const seconds = readNumber(text);
  return seconds !== undefined ? seconds * 1_000 : readDate(text, now);
}

function readDate(text: string | undefined, now: number): number | undefined {
  // Date.parse makes a date of nearly anything.
  if (text === undefined || !/^[a-z]+, .* GMT$|^\d{4}-\d\d-\d\dT/i.test(text)) return undefined;
  const at = Date.parse(text);
  return Number.isNaN(at) ? undefined : at - now;
}

/** When the limits begin anew: the last of those that are used up, where it says so; else the first of all. */
function readReset(headers: UpstreamHeaders, now: number): number | undefined {
  const all: number[] = [];
  const usedUp: number[] = [];
  for (const name of Object.keys(headers)) {
    const isReset = /^(x-)?ratelimit-reset(-|$)/.test(name);
    const reset = isReset ? resetOf(headers[name], now) : undefined;
    if (reset === undefined) continue;
    all.push(reset);
    if (countOf(headers[name.replace('-reset', '-remaining')]) === 0) usedUp.push(reset);
  }
  if (usedUp.length > 0) return Math.max(...usedUp);
  return all.length > 0 ? Math.min(...all) : undefined;
}

function readDuration(text: string | undefined, now: number): number | undefined {
  if (text === undefined) return undefined;
  const number = readNumber(text);
  if (number !== undefined) {
    if (number >= EPOCH_MS) return number - now;
    return number >= EPOCH_SECONDS ? number * 1_000 - now : number * 1_000;
  }
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(text)) return readDate(text, now);
  let sum = 0;
  for (const [, count, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g))
    sum += Number(count) * UNITS[unit!]!;
  return sum;
}
