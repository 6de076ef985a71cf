// Where the store lies, and what people see of a pull.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultHome, isModelName } from './home.ts';
import { createProgressMeter, type PullProgress } from './progress.ts';
import { createProgressRenderer, formatBytes, formatDuration } from './progress-renderer.ts';

test('the store lies where the platform keeps data, never where it keeps a cache', () => {
  assert.equal(defaultHome({ SLUICE_HOME: '/x' }, 'linux', '/home/me'), '/x');
  assert.equal(defaultHome({}, 'linux', '/home/me'), '/home/me/.local/share/sluice');
  assert.equal(defaultHome({ XDG_DATA_HOME: '/data' }, 'linux', '/home/me'), '/data/sluice');
  assert.equal(defaultHome({ XDG_DATA_HOME: 'data' }, 'linux', '/home/me'), '/home/me/.local/share/sluice');
  assert.equal(defaultHome({}, 'darwin', '/Users/me'), '/Users/me/Library/Application Support/sluice');
  assert.equal(defaultHome({}, 'win32', 'C:\\Users\\me'), 'C:\\Users\\me\\AppData\\Local\\sluice');
});

test('names that can be folders, and those that cannot', () => {
  for (const name of ['a', 'smollm2-135m-instruct', 'deepseek-r1-distill-qwen-1.5b'])
    assert.ok(isModelName(name), name);
  for (const name of ['', '.', '..', '.a', '-a', 'a/b', 'a\\b', 'A', 'a b', 'a\n', 'a'.repeat(101)]) {
    assert.ok(!isModelName(name), JSON.stringify(name));
  }
});

test('the meter tells a rate and the time that is left, at most ten times a second', () => {
  let now = 0;
  const events: PullProgress[] = [];
  const meter = createProgressMeter(
    { name: 'a', title: 'A' },
    (event) => events.push(event),
    () => now,
  );
  meter.begin('downloading', 1_000, 11_000);
  for (let step = 1; step <= 100; step += 1) {
    now += 10;
    meter.at(1_000 + step * 50);
  }
  meter.end();
  assert.ok(events.length <= 12, `${events.length}`);
  const last = events.at(-1);
  assert.equal(last?.bytes, 6_000);
  assert.ok(Math.abs((last?.bytesPerSecond ?? 0) - 5_000) < 500, `${last?.bytesPerSecond}`);
  assert.ok(Math.abs((last?.etaMs ?? 0) - 1_000) < 150, `${last?.etaMs}`);
});

test('figures for people', () => {
  assert.deepEqual([1.12e9, 98_362_432, 512_300, 12].map(formatBytes), [
    '1.12 GB',
    '98 MB',
    '512 kB',
    '12 B',
  ]);
  assert.deepEqual([44_100, 200_000, 7_500_000].map(formatDuration), ['45 s', '3 min 20 s', '2 h 05 min']);
});

test('a bar on a terminal that never wraps, plain lines elsewhere', () => {
  const progress: PullProgress = {
    model: 'smollm2-135m-instruct',
    title: 'S',
    phase: 'downloading',
    bytes: 50e6,
    totalBytes: 100e6,
    bytesPerSecond: 10e6,
    etaMs: 5_000,
  };
  for (const columns of [20, 40, 80, 200]) {
    let text = '';
    const bar = createProgressRenderer({
      write: (piece) => (text += piece),
      isTerminal: true,
      columns: () => columns,
    });
    bar.show(progress);
    assert.ok(text.startsWith('\r\u001b[2K'));
    assert.ok(text.length - '\r\u001b[2K'.length < Math.max(columns, 21), text);
    assert.match(columns > 70 ? text : '50%', /50%/);
  }
  const lines: string[] = [];
  let now = 0;
  const plain = createProgressRenderer({
    write: (line) => lines.push(line),
    isTerminal: false,
    now: () => now,
  });
  for (; now < 12_000; now += 100) plain.show(progress);
  assert.equal(lines.length, 3);
  assert.equal(lines[0], 'Downloading smollm2-135m-instruct 50%, 50 MB of 100 MB, 10 MB/s, 5 s left\n');
  assert.ok(lines.every((line) => !line.includes('\u001b')));
  plain.show({ ...progress, phase: 'rewriting' });
  assert.match(lines.at(-1) ?? '', /^Re-writing smollm2-135m-instruct 50%/);
});
