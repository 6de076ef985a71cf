// Guards that a log of Sluice's own is read as a trace: requests by when they came, everything else passed over.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newRecord } from '../core/observer.ts';
import { requestLog } from '../telemetry/logger.ts';
import { parseRequestLog } from './request-log.ts';

/** A line as the logger writes it. */
function line(endedAt: number, totalMs: number, promptTokens: number | undefined, tenant = 'alice'): string {
  let text = '';
  const observer = requestLog((level, message, fields) => {
    text = JSON.stringify({ level, time: new Date(endedAt).toISOString(), ...fields, msg: message });
  });
  const record = newRecord('id', 'chat', tenant, 0);
  record.priority = 'batch';
  record.usage = { promptTokens, completionTokens: promptTokens && 20 };
  observer.ended!(record, promptTokens === undefined ? 'overloaded' : 'ok', totalMs, undefined);
  return text;
}

test('requests are read as they came: when they ended less what they took, in the order of their coming', () => {
  const log = [
    '{"level":"info","time":"2026-01-01T00:00:00.000Z","msg":"The engine is ready."}',
    line(10_000, 2_000, 100),
    'Sluice serves on http://127.0.0.1:8080',
    line(10_500, 9_500, 300, 'bob'),
    line(11_000, 5, undefined),
    '{"level":"info","time":"2026-01-01T00:0',
  ].join('\n');
  assert.deepEqual(parseRequestLog(log), {
    rows: [
      { atMs: 0, promptTokens: 300, outputTokens: 20, tenant: 'bob', priority: 'batch' },
      { atMs: 7000, promptTokens: 100, outputTokens: 20, tenant: 'alice', priority: 'batch' },
    ],
    withoutTokens: 1,
  });
});

test('a log without requests is none', () => {
  assert.deepEqual(parseRequestLog(''), { rows: [], withoutTokens: 0 });
});
