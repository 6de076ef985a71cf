// What an answer's head and its closing record say of how it came to be.
import type { RequestRecord } from '../../core/observer.ts';
import type { ServedModel } from '../../core/world.ts';
import type { Report } from '../../wire/dialect.ts';
import type { ResponseHeaders } from '../http/response.ts';

/** What is known of the answer when its head leaves. */
export function answerHeaders(record: RequestRecord, model?: Pick<ServedModel, 'speaker'>): ResponseHeaders {
  const headers: Record<string, string> = {};
  const speaker = record.speaker ?? model?.speaker;
  if (speaker !== undefined) headers['x-sluice-model'] = speaker;
  if (record.backend !== undefined) headers['x-sluice-backend'] = record.backend;
  if (record.degraded.length > 0) headers['x-sluice-degraded'] = record.degraded.join(',');
  const timings: string[] = [];
  if (record.queueMs !== undefined) timings.push(`queue;dur=${record.queueMs.toFixed(1)}`);
  if (record.firstTokenMs !== undefined) timings.push(`first_token;dur=${record.firstTokenMs.toFixed(1)}`);
  if (timings.length > 0) headers['server-timing'] = timings.join(', ');
  return headers;
}

/** Proxies on the way must neither hold a stream back nor compress it. */
export function streamHeaders(contentType: string): ResponseHeaders {
  return {
    'content-type': contentType,
    'cache-control': 'no-cache, no-transform',
    'x-accel-buffering': 'no',
  };
}

/** For `x-sluice-report: 1`. */
export function reportOf(record: RequestRecord): Report {
  return {
    backend: record.backend,
    model: record.speaker,
    continued: record.continued,
    hedged: record.hedged || undefined,
    preempted: record.preempted || undefined,
    degraded: record.degraded.length > 0 ? record.degraded.join(',') : undefined,
    stutters: record.stutters,
    longest_gap_ms: Math.round(record.longestGapMs),
    queue_ms: rounded(record.queueMs),
    first_token_ms: rounded(record.firstTokenMs),
  };
}

function rounded(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : Math.round(ms);
}
