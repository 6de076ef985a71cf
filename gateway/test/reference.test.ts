// The reference pages against the code: every name that exists is told, every name that is told exists.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { settingNames } from '../src/config/schema-names.ts';
import { ERROR_TRAITS } from '../src/core/errors.ts';
import { Metrics } from '../src/telemetry/metrics.ts';

/** The first column of a page's table, without its back ticks. */
function namesIn(page: string): string[] {
  const text = readFileSync(new URL(`../../docs/reference/${page}`, import.meta.url), 'utf8');
  return [...text.matchAll(/^\| `([^`]+)`/gm)].map((match) => match[1]!.replace('[]', ''));
}

test('configuration.md has every setting', () => {
  assert.deepEqual(namesIn('configuration.md').sort(), settingNames().sort());
});

test('errors.md has every code with its status', () => {
  assert.deepEqual(namesIn('errors.md').sort(), Object.keys(ERROR_TRAITS).sort());
  const text = readFileSync(new URL('../../docs/reference/errors.md', import.meta.url), 'utf8');
  for (const [code, { status, type, wireCode }] of Object.entries(ERROR_TRAITS)) {
    if (code === 'cancelled' || code === 'slow_reader' || code === 'backend_refused') continue;
    assert.ok(text.includes(`| \`${code}\` | ${status} | ${type} / ${wireCode} |`), code);
  }
});

test('metrics.md has every metric', async () => {
  const metrics = new Metrics({
    backends: () => [],
    queue: () => ({ waiting: 0, running: 0 }),
    placesOn: () => 0,
    limits: () => [],
    kept: () => ({ count: 0, bytes: 0 }),
    sockets: () => ({ connections: 0, frames: {} }),
  });
  const { text } = await metrics.render();
  const names = [...text.matchAll(/^# TYPE (\S+)/gm)].map((match) => match[1]!);
  assert.deepEqual(namesIn('metrics.md').sort(), names.sort());
});
