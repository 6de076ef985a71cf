// The options of `sluice bench` as commander reads them: their forms, and what is refused.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Command, type CommanderError } from 'commander';
import { type BenchFlags, declareBench } from './bench-flags.ts';

/** The flags that a command line makes; throws commander's error. */
function flagsOf(...args: readonly string[]): BenchFlags {
  let flags: BenchFlags | undefined;
  const program = new Command('sluice').exitOverride().configureOutput({ writeErr: () => {} });
  declareBench(program, async (given) => {
    flags = given;
  });
  program.commands[0]!.exitOverride().configureOutput({ writeErr: () => {} });
  program.parse(['bench', ...args], { from: 'user' });
  return flags!;
}

function refusalOf(...args: readonly string[]): string {
  try {
    flagsOf(...args);
  } catch (thrown) {
    return (thrown as CommanderError).message;
  }
  return assert.fail(`${args.join(' ')} was taken`);
}

test('without options there are the defaults', () => {
  const flags = flagsOf();
  assert.equal(flags.baseUrl.href, 'http://127.0.0.1:8080/');
  assert.equal(flags.requestRate, Number.POSITIVE_INFINITY);
  assert.deepEqual(flags.goodput, { ttft: 500, gap: 500 });
  assert.deepEqual(flags.percentileMetrics, ['ttft', 'tpot', 'itl', 'e2el']);
  assert.deepEqual(flags.metricPercentiles, [50, 90, 99, 99.9]);
  assert.equal(flags.giveUpMs, 30_000);
  assert.equal(flags.comeBack, undefined);
});

test("vLLM's forms are understood", () => {
  const args =
    '--request-rate 2.5 --goodput ttft:300 tpot:50 --percentile-metrics ttft,itl --metric-percentiles 50,99.9 ' +
    '--header a=b --header X-C=d=e --max-concurrency 4 --come-back';
  const flags = flagsOf(...args.split(' '));
  assert.equal(flags.requestRate, 2.5);
  assert.deepEqual(flags.goodput, { ttft: 300, tpot: 50 });
  assert.deepEqual(flags.percentileMetrics, ['ttft', 'itl']);
  assert.deepEqual(flags.metricPercentiles, [50, 99.9]);
  assert.deepEqual(flags.header, { a: 'b', 'x-c': 'd=e' });
  assert.equal(flags.comeBack, true);
  assert.equal(flagsOf('--come-back', '3').comeBack, 3);
  assert.deepEqual(flagsOf('--extra-body', '{"top_p":0.9}').extraBody, { top_p: 0.9 });
});

test('a surge names its rates and times; what is before and after is as long as it', () => {
  assert.deepEqual(flagsOf('--surge', 'steady=2').surge, {
    steadyRps: 2,
    factor: 10,
    beforeSeconds: 60,
    surgeSeconds: 60,
    afterSeconds: 60,
  });
  assert.deepEqual(flagsOf('--surge', 'steady=2,factor=5,seconds=10,before=0,after=30').surge, {
    steadyRps: 2,
    factor: 5,
    beforeSeconds: 0,
    surgeSeconds: 10,
    afterSeconds: 30,
  });
});

const wrong: readonly (readonly string[])[] = [
  ['--num-prompts', '0'],
  ['--num-prompts', '1e3'],
  ['--request-rate', 'fast'],
  ['--request-rate', '0'],
  ['--burstiness', '-1'],
  ['--base-url', 'localhost:8080'],
  ['--base-url', 'ftp://host'],
  ['--endpoint', '/v1/embeddings'],
  ['--dataset-name', 'sonnet'],
  ['--goodput', 'ttft'],
  ['--goodput', 'speed:5'],
  ['--goodput', 'ttft:0'],
  ['--percentile-metrics', 'ttft,speed'],
  ['--metric-percentiles', '101'],
  ['--surge', 'factor=3'],
  ['--surge', 'steady=2,steady=3'],
  ['--surge', 'steady=2,much=3'],
  ['--surge', 'steady=1.2.3'],
  ['--header', 'a'],
  ['--extra-body', '[1]'],
  ['--extra-body', '{'],
  ['--come-back', 'often'],
  ['--give-up-ms', '0'],
];
for (const args of wrong) {
  test(`${args.join(' ')} is refused in words that name the option`, () => {
    const message = refusalOf(...args);
    assert.match(message, /is invalid\. \S/);
    assert.ok(message.includes(args[0]!), message);
  });
}
