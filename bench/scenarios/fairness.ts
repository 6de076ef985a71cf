// What tenants feel of another that floods: first tokens of three quiet ones, alone and beside a hundred times the
// other's share, in turns; once where everybody waits as long as it takes, and once where first tokens have a deadline,
// so that who would be too late is refused. Scripted words, no model: the speed is known, so the share is. Answers differ
// in length, or slots would come free all at once.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../gateway/src/core/clock.ts';
import { type Panel, plot } from '../../gateway/src/figures/plot.ts';
import { quantile, rounded, type Spread, spreadOf } from '../../gateway/src/figures/statistics.ts';
import { steadyArrivals } from '../../gateway/src/load/arrivals.ts';
import type { Attempt } from '../../gateway/src/load/load-record.ts';
import { measureLoad } from '../../gateway/src/load/load-result.ts';
import { bodyOf, randomPrompts } from '../../gateway/src/load/prompts.ts';
import { seededRandom } from '../../gateway/src/load/seeded-random.ts';
import { Endpoint } from '../../gateway/src/load/streamed-request.ts';
import { scratchFolder } from '../scratch.ts';
import { endWithThisProcess, startSluice } from '../servers.ts';

const ROUNDS = 3;
const MODEL = 'deepseek-r1';
const FLOOD_KEY = 'flood-key';
const QUIET_KEYS = ['quiet-1', 'quiet-2', 'quiet-3'];
/**
 * Beside a flood every slot is taken, so the P99 of the wait for one is ln(100) over the slots that come free each second less
 * the quiet ones' own requests (M/M/1): with so many it is a ninth of the time to a first token.
 */
const SLOTS = 128;
const FIRST_TOKEN_MS = 2_500;
const TOKEN_MS = 20;
/** Evenly distributed. */
const ANSWER_TOKENS = { least: 20, most: 280 };
const PROMPT_TOKENS = 40;
/** Answers a second: all slots over what an answer takes on the average. */
const CAPACITY =
  (SLOTS * 1000) / (FIRST_TOKEN_MS + (TOKEN_MS * (ANSWER_TOKENS.least + ANSWER_TOKENS.most)) / 2);
/** Of each tenant, if all of them want as much as they can get. */
const SHARE = CAPACITY / (QUIET_KEYS.length + 1);
const FLOOD_FACTOR = 100;
/** Of its share: what a quiet tenant asks for. */
const QUIET_PART = 0.4;
const SECONDS = 60;
/** Until the flood has filled every slot and the queue, and until all of it has gone. */
const SETTLE_SECONDS = 15;
/** Where there is one: long enough for several turns of all slots. */
const DEADLINE_MS = 8_000;
const WANTED_PERCENT = 20;

const WAYS = ['alone', 'besideFlood', 'besideFloodWithDeadline'] as const;
type Way = (typeof WAYS)[number];

interface Measured {
  readonly attempts: readonly Attempt[];
  readonly generatorLateMs: number;
}

export async function run(rounds = ROUNDS): Promise<object> {
  const sluice = await startSluice({
    log_level: 'silent',
    backends: [
      {
        kind: 'fake',
        slots: SLOTS,
        first_token_ms: FIRST_TOKEN_MS,
        token_ms: TOKEN_MS,
        pieces: Array(ANSWER_TOKENS.most).fill('word '),
      },
    ],
    keys: [FLOOD_KEY, ...QUIET_KEYS].map((key) => ({ name: key, key })),
  });
  const taken: Record<Way, Measured[]> = { alone: [], besideFlood: [], besideFloodWithDeadline: [] };
  try {
    for (let round = 1; round <= rounds; round += 1) {
      // Who begins changes: what one leaves behind must not be the other's.
      for (const way of round % 2 === 1 ? WAYS : WAYS.toReversed()) {
        const deadlineMs = way === 'besideFloodWithDeadline' ? DEADLINE_MS : undefined;
        const endFlood = way === 'alone' ? async () => {} : startFlood(sluice.port, round, deadlineMs);
        const measured = await quietLoad(sluice.port, round, deadlineMs).finally(endFlood);
        taken[way].push(measured);
        console.error(round, way, JSON.stringify(figuresOf([measured])));
        await sleep(SETTLE_SECONDS * 1000);
      }
    }
  } finally {
    await sluice.stop();
  }
  const p99 = (way: Way) => quantile(firstsOf(taken[way].flatMap(({ attempts }) => attempts)), 0.99);
  return {
    unit: `ms to the first token; ${SLOTS} scripted slots, ${rounded(CAPACITY, 1)} answers/s; ${rounds} rounds of ${SECONDS} s each`,
    sharePerSecond: rounded(SHARE),
    floodPerSecond: rounded(SHARE * FLOOD_FACTOR),
    quietPerSecond: rounded(SHARE * QUIET_PART * QUIET_KEYS.length),
    wantedPercent: WANTED_PERCENT,
    deadlineMs: DEADLINE_MS,
    /** Of the P99 over all rounds together; null: nobody was answered. */
    p99MovedByPercent: Object.fromEntries(
      WAYS.slice(1).map((way) => [way, rounded((p99(way) / p99('alone') - 1) * 100, 1)]),
    ),
    ...Object.fromEntries(WAYS.map((way) => [way, figuresOf(taken[way])])),
  };
}

/** What the quiet tenants see, once the flood is there. */
async function quietLoad(port: number, round: number, deadlineMs: number | undefined): Promise<Measured> {
  const random = seededRandom(round);
  const ratePerSecond = SHARE * QUIET_PART * QUIET_KEYS.length;
  const requests = Math.round(ratePerSecond * (SETTLE_SECONDS + SECONDS));
  const { atMs, phases } = steadyArrivals({ random, requests, ratePerSecond, burstiness: 1 });
  const answers = atMs.map(() => answerTokens(random()));
  const prompts = randomPrompts({
    seed: round,
    prefixTokens: 0,
    lengthsOf: (index) => ({ inputTokens: PROMPT_TOKENS, outputTokens: answers[index]! }),
  });
  const { attempts, generator } = await measureLoad({
    endpoint: new Endpoint({
      url: new URL(`http://127.0.0.1:${port}/v1/chat/completions`),
      headers: deadlineMs === undefined ? {} : { 'x-sluice-deadline-ms': String(deadlineMs) },
      clock: systemClock,
    }),
    pace: { kind: 'open', atMs },
    phases,
    request: (visitor) => {
      const key = QUIET_KEYS[visitor % QUIET_KEYS.length]!;
      return { body: bodyOf(prompts(visitor), { model: MODEL, isChat: true }), key, tenant: key };
    },
    patienceMs: 30_000,
    returns: 0,
    maxConcurrency: Number.POSITIVE_INFINITY,
    signal: new AbortController().signal,
    percentiles: [50, 99],
    objectives: {},
  });
  return {
    attempts: attempts.filter(({ dueMs }) => dueMs >= SETTLE_SECONDS * 1000),
    generatorLateMs: generator.lateP99Ms,
  };
}

/** In a process of its own, so that its work delays nobody whose time is taken. The returned function ends it. */
function startFlood(port: number, round: number, deadlineMs: number | undefined): () => Promise<void> {
  const prompts = join(scratchFolder(), 'flood.jsonl');
  const lines = Array.from({ length: 200 }, (_, index) =>
    JSON.stringify({ prompt: `Flood ${round}, ${index}.`, output_tokens: answerTokens(index / 200) }),
  );
  writeFileSync(prompts, lines.join('\n'));
  const ratePerSecond = SHARE * FLOOD_FACTOR;
  const args =
    `bench --base-url http://127.0.0.1:${port} --model ${MODEL} --dataset-name custom --dataset-path ${prompts} ` +
    `--request-rate ${ratePerSecond} --num-prompts ${Math.round(ratePerSecond * (SETTLE_SECONDS + SECONDS + 30))}` +
    (deadlineMs === undefined ? '' : ` --header x-sluice-deadline-ms=${deadlineMs}`);
  const bin = new URL('../../gateway/bin/sluice.js', import.meta.url).pathname;
  const child = spawn(process.execPath, [bin, ...args.split(' ')], {
    env: { ...process.env, SLUICE_BENCH_API_KEY: FLOOD_KEY },
    stdio: 'ignore',
  });
  endWithThisProcess(child);
  return async () => {
    if (child.exitCode !== null) throw new Error(`The flood ended early, with ${child.exitCode}.`);
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  };
}

/** `part`: from 0 up to 1. */
function answerTokens(part: number): number {
  return ANSWER_TOKENS.least + Math.floor(part * (ANSWER_TOKENS.most - ANSWER_TOKENS.least + 1));
}

function firstsOf(attempts: readonly Attempt[]): number[] {
  return attempts.filter(({ ending }) => ending === 'complete').map(({ firstMs }) => firstMs!);
}

interface Figures {
  readonly requests: number;
  /** By the reason. */
  readonly notAnswered: Readonly<Record<string, number>>;
  readonly firstP50Ms: Spread;
  readonly firstP99Ms: Spread;
  readonly generatorLateP99Ms: Spread;
}

/** The spread is that of the rounds. */
function figuresOf(rounds: readonly Measured[]): Figures {
  const attempts = rounds.flatMap((round) => round.attempts);
  const firsts = rounds.map((round) => firstsOf(round.attempts));
  return {
    requests: attempts.length,
    notAnswered: notAnsweredIn(attempts),
    firstP50Ms: spreadOf(firsts.map((values) => quantile(values, 0.5))),
    firstP99Ms: spreadOf(firsts.map((values) => quantile(values, 0.99))),
    generatorLateP99Ms: spreadOf(
      rounds.map(({ generatorLateMs }) => generatorLateMs),
      1,
    ),
  };
}

function notAnsweredIn(attempts: readonly Attempt[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { ending, reason = ending } of attempts)
    if (ending !== 'complete') counts[reason] = (counts[reason] ?? 0) + 1;
  return counts;
}

export function draw(figures: Readonly<Record<Way, Figures>>): string {
  const panel: Panel = {
    title: 'First token of the quiet tenants',
    xLabel: `beside a tenant that sends ${FLOOD_FACTOR} times its share, and alone`,
    yLabel: 'ms',
    x: ['alone', 'beside the flood', 'with a deadline'],
    series: [
      { name: 'P50', values: WAYS.map((way) => figures[way].firstP50Ms) },
      { name: 'P99', values: WAYS.map((way) => figures[way].firstP99Ms) },
    ],
    isColumns: true,
  };
  return plot('What tenants feel of a flood', [panel]);
}
