// Guards `sluice simulate` as it is typed: what it prints, what it writes, and that what it cannot use is told in a sentence.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';

const BIN = new URL('../../bin/sluice.js', import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), 'sluice-simulate-'));
after(() => rmSync(folder, { recursive: true }));

function simulate(...args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [BIN, 'simulate', ...args], {
    cwd: folder,
    encoding: 'utf8',
    timeout: 50_000,
  });
  return { status, stdout, stderr };
}

test('two minutes of the trace that comes with it, the same each time', () => {
  const first = simulate('--duration', '120', '--plot', 'out.svg');
  assert.equal(first.status, 0, first.stderr);
  assert.match(first.stdout, /^azure at 1 times its rate; 2 x gpu-8b of 128 slots; seed 1\ncurve: Assumed/);
  assert.match(first.stdout, /^requests +\d+ in \d+/m);
  assert.match(first.stdout, /^interactive +\d+/m);
  assert.match(readFileSync(join(folder, 'out.svg'), 'utf8'), /^<svg .*<\/svg>\n$/s);
  assert.equal(simulate('--duration', '120').stdout, first.stdout);
});

test('a surge as JSON: all that came is accounted for', () => {
  const { status, stdout, stderr } = simulate('--surge', '--curve', 'vllm-cpu', '--return', '--json');
  assert.equal(status, 0, stderr);
  const told = JSON.parse(stdout);
  const { requests, answered, refused, left, late, broken } = told;
  assert.equal(requests, answered + refused + left + late + broken);
  assert.ok(told.requests > 500 && told.queue.length > 100);
  assert.ok(told.returned.asked > 0);
});

test('a trace and a curve of one’s own', () => {
  const rows = Array.from({ length: 20 }, (_, index) => `2026-01-01 00:00:${10 + index}.0000000,100,10`);
  writeFileSync(join(folder, 'own.csv'), ['TIMESTAMP,ContextTokens,GeneratedTokens', ...rows].join('\n'));
  const curve = {
    name: 'own',
    origin: 'Measured here.',
    slots: 1,
    decode_ms: [[1, 10]],
    prefill_ms: [[1, 100]],
    prompts: 'one',
    slice_tokens: 1000,
    cache_tokens: 1000,
  };
  writeFileSync(join(folder, 'own.json'), JSON.stringify(curve));
  const { status, stdout, stderr } = simulate(
    '--trace',
    'own.csv',
    '--curve',
    './own.json',
    '--replicas',
    '1',
  );
  assert.equal(status, 0, stderr);
  assert.match(stdout, /curve: Measured here\.\n/);
  assert.match(stdout, /answered +20 \(100 %\)/);
  assert.match(stdout, /first token +P50 100 ms, P99 100 ms/);
});

test('how many replicas, as a table with a verdict', () => {
  const { status, stdout, stderr } = simulate('--duration', '60', '--rate', '4', '--find-replicas');
  assert.equal(status, 0, stderr);
  assert.match(stdout, /^\d+ replicas give the first token within 500 ms at P99/m);
});

test('what cannot be used is told, with what can', () => {
  for (const [args, sentence] of [
    [['--curve', 'none'], /no curve "none": it is one of embedded-q8/],
    [['--trace', 'nowhere.csv'], /The trace nowhere\.csv cannot be used: ENOENT/],
    [['--mix', 'urgent=1'], /--mix names classes .*"urgent=1"/],
    [['--mix', 'batch=0'], /no class a part above 0/],
    [['--turns', '2'], /0 to 1/],
    [['--replicas', '0'], /above 0/],
  ] as const) {
    const { status, stderr } = simulate(...args);
    assert.notEqual(status, 0);
    assert.match(stderr, sentence);
  }
});
