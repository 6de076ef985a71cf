// The options of `sluice bench`, and what of them is refused. Names follow `vllm bench serve` where it has one.
import { type Command, InvalidArgumentError } from 'commander';
import type { Surge } from '../load/arrivals.ts';
import type { Objective, Objectives } from '../load/load-figures.ts';
import type { PercentileMetric } from '../load/result-text.ts';

/** As commander gives them. */
export interface BenchFlags {
  readonly baseUrl: URL;
  readonly endpoint: string;
  readonly model?: string;
  readonly header?: Readonly<Record<string, string>>;
  readonly extraBody?: Readonly<Record<string, unknown>>;
  readonly apiKeyFile?: string;
  readonly tenants?: string;
  readonly datasetName: 'random' | 'sharegpt' | 'custom';
  readonly datasetPath?: string;
  readonly numPrompts?: number;
  readonly numWarmups: number;
  readonly randomInputLen: number;
  readonly randomOutputLen: number;
  readonly randomPrefixLen: number;
  readonly sharegptOutputLen?: number;
  readonly customOutputLen: number;
  readonly temperature?: number;
  readonly ignoreEos?: boolean;
  readonly seed: number;
  readonly requestRate: number;
  readonly burstiness: number;
  readonly maxConcurrency?: number;
  readonly rampUpStrategy?: 'linear' | 'exponential';
  readonly rampUpStartRps?: number;
  readonly rampUpEndRps?: number;
  readonly surge?: Surge;
  readonly trace?: string;
  readonly rate: number;
  readonly closedLoop?: number;
  readonly giveUpMs: number;
  readonly comeBack?: number | true;
  readonly goodput: Objectives;
  readonly percentileMetrics: readonly PercentileMetric[];
  readonly metricPercentiles: readonly number[];
  readonly label?: string;
  readonly saveResult?: boolean;
  readonly saveDetailed?: boolean;
  readonly resultDir: string;
  readonly resultFilename?: string;
  readonly plot?: string;
}

/** Objects for each request are kept until the end. */
const MOST_REQUESTS = 1_000_000;
const MOST_TOKENS = 1_000_000;
const MOST_RATE = 100_000;
const MOST_SECONDS = 86_400;
const OBJECTIVES: readonly Objective[] = ['ttft', 'tpot', 'e2el', 'gap'];
const METRICS: readonly PercentileMetric[] = ['ttft', 'tpot', 'itl', 'e2el'];
const DEFAULT_GOODPUT: Objectives = { ttft: 500, gap: 500 };

const HELP = `
Times count from when a request was due, so a server that is slow cannot hide it by slowing the clients. The key is
SLUICE_BENCH_API_KEY or OPENAI_API_KEY, or in a file (--api-key-file). The same seed sends the same requests.

  sluice bench --request-rate 5 --num-prompts 300
  sluice bench --surge steady=2,factor=10,seconds=60 --come-back --plot surge.svg
  sluice bench --trace azure.csv --rate 2 --goodput ttft:500 tpot:100`;

/** Adds the command; `run` gets what was given. */
export function declareBench(program: Command, run: (flags: BenchFlags) => Promise<void>): void {
  const whole = (least: number, most: number) => (text: string) => wholeNumber(text, least, most);
  const decimal = (least: number, most: number) => (text: string) => decimalNumber(text, least, most);
  program
    .command('bench')
    .description('send a load to any server that speaks OpenAI’s protocol, and tell what its users saw')
    .option('--base-url <url>', 'the server', address, new URL('http://127.0.0.1:8080'))
    .option('--endpoint <path>', 'or /v1/completions', path, '/v1/chat/completions')
    .option('-m, --model <id>', 'the model; default: the first that the server lists')
    .option('--header <name=value>', 'sent with each request; repeatable', header)
    .option('--extra-body <json>', 'more fields of each request, as a JSON object', jsonObject)
    .option('--api-key-file <file>', 'holds the key')
    .option('--tenants <file>', 'several keys, a line each: NAME KEY [SHARE of the requests, default 1]')
    .option(
      '--dataset-name <name>',
      'random, sharegpt, custom',
      oneOf('random', 'sharegpt', 'custom'),
      'random',
    )
    .option('--dataset-path <file>', 'ShareGPT’s JSON, or a JSON object a line with "prompt" or "messages"')
    .option('--num-prompts <number>', 'requests; default: 1000, or all of a trace', whole(1, MOST_REQUESTS))
    .option('--num-warmups <number>', 'requests before, which do not count', whole(0, 1000), 0)
    .option('--random-input-len <tokens>', 'of a question', whole(1, MOST_TOKENS), 1024)
    .option('--random-output-len <tokens>', 'of an answer', whole(1, MOST_TOKENS), 128)
    .option('--random-prefix-len <tokens>', 'of a system message, the same for all', whole(0, MOST_TOKENS), 0)
    .option('--sharegpt-output-len <tokens>', 'default: as long as the answer there', whole(1, MOST_TOKENS))
    .option('--custom-output-len <tokens>', 'where a line has no "output_tokens"', whole(1, MOST_TOKENS), 256)
    .option('--temperature <number>', 'default: the server’s', decimal(0, 2))
    .option('--ignore-eos', 'answers do not end before their length, where the server knows the field')
    .option('--seed <number>', 'of prompts and arrivals', whole(0, 2 ** 32 - 1), 0)
    .option(
      '--request-rate <per second>',
      'Poisson arrivals; inf: all at once',
      rate,
      Number.POSITIVE_INFINITY,
    )
    .option('--burstiness <shape>', 'of the gaps’ gamma distribution: 1 is Poisson', decimal(0.001, 1000), 1)
    .option('--max-concurrency <number>', 'requests in flight; others are held back', whole(1, 100_000))
    .option('--ramp-up-strategy <name>', 'linear, exponential', oneOf('linear', 'exponential'))
    .option('--ramp-up-start-rps <number>', 'rate of the first request', decimal(0.001, MOST_RATE))
    .option('--ramp-up-end-rps <number>', 'rate of the last one', decimal(0.001, MOST_RATE))
    .option(
      '--surge <steady=R,factor=10,seconds=60>',
      'steady, a surge, steady; also before=S,after=S',
      surge,
    )
    .option('--trace <file>', 'arrivals and lengths: TIMESTAMP,ContextTokens,GeneratedTokens; also .gz')
    .option('--rate <factor>', 'so many times as fast as the trace', decimal(0.001, 1000), 1)
    .option('--closed-loop <clients>', 'so many, each asking again once it is answered', whole(1, 100_000))
    .option(
      '--give-up-ms <ms>',
      'a client leaves when no word comes for so long',
      whole(1, 3_600_000),
      30_000,
    )
    .option('--come-back [times]', 'who is refused returns at its Retry-After', whole(1, 100))
    .option(
      '--goodput <name:ms...>',
      'what a good answer keeps: ttft, tpot, e2el, gap',
      objectives,
      DEFAULT_GOODPUT,
    )
    .option('--percentile-metrics <names>', 'of ttft, tpot, itl, e2el', metrics, METRICS)
    .option('--metric-percentiles <numbers>', 'separated by commas', percentiles, [50, 90, 99, 99.9])
    .option('--label <text>', 'for the result')
    .option('--save-result', 'write the figures as JSON')
    .option('--save-detailed', 'with an entry for each request')
    .option('--result-dir <folder>', 'where to', '.')
    .option('--result-filename <name>', 'default: of label, rate, model and time')
    .option('--plot <file>', 'write a picture of it over time (SVG)')
    .addHelpText('after', HELP)
    .action(run);
}

function wholeNumber(text: string, least: number, most: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= least && value <= most) return value;
  throw new InvalidArgumentError(`A whole number from ${least} to ${most} is needed.`);
}

function decimalNumber(text: string, least: number, most: number): number {
  const value = Number(text);
  if (text.trim() !== '' && value >= least && value <= most) return value;
  throw new InvalidArgumentError(`A number from ${least} to ${most} is needed.`);
}

function rate(text: string): number {
  return text === 'inf' ? Number.POSITIVE_INFINITY : decimalNumber(text, 0.001, MOST_RATE);
}

function address(text: string): URL {
  if (!URL.canParse(text) || !/^https?:/.test(text))
    throw new InvalidArgumentError('An http(s) address is needed.');
  return new URL(text);
}

function path(text: string): string {
  if (/^\/\S*\/(chat\/)?completions$/.test(text)) return text;
  throw new InvalidArgumentError('A path that ends in /chat/completions or /completions is needed.');
}

function header(text: string, before: Readonly<Record<string, string>> = {}): Record<string, string> {
  const [, name, value] = /^([\w-]+)=(.*)$/.exec(text) ?? [];
  if (name === undefined || value === undefined) throw new InvalidArgumentError('NAME=VALUE is needed.');
  return { ...before, [name.toLowerCase()]: value };
}

function jsonObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return value as Record<string, unknown>;
  } catch {
    // What follows says it.
  }
  throw new InvalidArgumentError('A JSON object is needed.');
}

function oneOf<Name extends string>(...names: readonly Name[]): (text: string) => Name {
  return (text) => {
    const name = names.find((one) => one === text);
    if (name !== undefined) return name;
    throw new InvalidArgumentError(`One of ${names.join(', ')} is needed.`);
  };
}

/** `steady=2,factor=10,seconds=60`; before and after are as long as the surge, unless they are given. */
export function surge(text: string): Surge {
  const given = new Map<string, number>();
  for (const part of text.split(',')) {
    const [, name, value] = /^(steady|factor|seconds|before|after)=([\d.]+)$/.exec(part.trim()) ?? [];
    if (name === undefined || value === undefined || given.has(name))
      throw new InvalidArgumentError('steady=R,factor=F,seconds=S is needed; also before=S, after=S.');
    given.set(name, Number(value));
  }
  const take = (name: string, fallback: number | undefined, least: number, most: number) => {
    const value = given.get(name) ?? fallback;
    if (value !== undefined && value >= least && value <= most) return value;
    throw new InvalidArgumentError(`${name} must be a number from ${least} to ${most}.`);
  };
  const surgeSeconds = take('seconds', 60, 0.001, MOST_SECONDS);
  return {
    steadyRps: take('steady', undefined, 0.001, MOST_RATE),
    factor: take('factor', 10, 0.001, 1000),
    surgeSeconds,
    beforeSeconds: take('before', surgeSeconds, 0, MOST_SECONDS),
    afterSeconds: take('after', surgeSeconds, 0, MOST_SECONDS),
  };
}

/** `ttft:500`, one at a time; what is given stands for the default, not beside it. */
export function objectives(text: string, before: Objectives): Objectives {
  const [name = '', value = ''] = text.split(':');
  const objective = OBJECTIVES.find((one) => one === name);
  const ms = Number(value);
  if (objective === undefined || !(ms > 0))
    throw new InvalidArgumentError(`NAME:MS is needed, the name one of ${OBJECTIVES.join(', ')}.`);
  return { ...(before === DEFAULT_GOODPUT ? {} : before), [objective]: ms };
}

function metrics(text: string): PercentileMetric[] {
  return text.split(',').map(oneOf(...METRICS));
}

function percentiles(text: string): number[] {
  return text.split(',').map((part) => decimalNumber(part, 0, 100));
}
