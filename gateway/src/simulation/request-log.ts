// A log of Sluice's own as a trace: the lines that it writes as JSON when a request to a model has ended.
// Pure.
import { PRIORITIES } from '../core/priority.ts';
import type { Row } from './workload.ts';

export interface LoggedRequests {
  readonly rows: readonly Row[];
  /** Requests of which the log does not say how long they were: they got no answer. */
  readonly withoutTokens: number;
}

/** What is no line of a request is passed over. */
export function parseRequestLog(text: string): LoggedRequests {
  const found: Row[] = [];
  let withoutTokens = 0;
  for (const line of text.split('\n')) {
    const fields = fieldsOf(line);
    if (fields === undefined || !('outcome' in fields)) continue;
    const { time, total_ms, prompt_tokens, completion_tokens, tenant, priority } = fields;
    const endedAt = typeof time === 'string' ? Date.parse(time) : Number(time);
    if (!isCount(total_ms) || !Number.isFinite(endedAt)) continue;
    if (!isCount(prompt_tokens) || !isCount(completion_tokens)) {
      withoutTokens += 1;
      continue;
    }
    found.push({
      atMs: endedAt - total_ms,
      promptTokens: prompt_tokens,
      outputTokens: completion_tokens,
      tenant: typeof tenant === 'string' ? tenant : undefined,
      priority: PRIORITIES.find((one) => one === priority),
    });
  }
  found.sort((a, b) => a.atMs - b.atMs);
  const first = found[0]?.atMs ?? 0;
  return { rows: found.map((row) => ({ ...row, atMs: row.atMs - first })), withoutTokens };
}

function fieldsOf(line: string): Readonly<Record<string, unknown>> | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    return JSON.parse(line);
  } catch {
    // The last line of a log that is being written may be cut.
    return undefined;
  }
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && value >= 0;
}
