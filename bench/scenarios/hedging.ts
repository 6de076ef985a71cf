// What hedging does to the first word when 3 of 100 calls are late for no reason of their own, and what it costs: the same calls
// at the same moments without hedging, after a fixed time, and by each back end's own times. Two scripted upstreams, equals, in
// this process.
import { setTimeout as sleep } from 'node:timers/promises';
import { median, quantile, rounded, spreadOf } from '../../gateway/src/figures/statistics.ts';
import { steadyArrivals } from '../../gateway/src/load/arrivals.ts';
import { seededRandom } from '../../gateway/src/load/seeded-random.ts';
import { type AskedUpstream, HandUpstream, say, sayAll } from '../hand-upstream.ts';
import { KEY, startSluice, type Target } from '../servers.ts';
import { TimedRequest } from '../timed-request.ts';

const ROUNDS = 3;
const CALLS = 1_000;
/** Before anything is counted: `auto` has to see how fast its back ends are. */
const WARM_UP_CALLS = 120;
const CALLS_A_SECOND = 40;
/** To a first word: this, and an exponential rest. */
const LEAST_MS = 30;
const REST_MS = 20;
const LATE_SHARE = 0.03;
const LATE_MS = 1_000;
const FIXED_MS = 150;
const WORDS = ['One', ' two', ' three.'];

const SIDES = { off: {}, fixed: { hedge_after_ms: FIXED_MS }, auto: { hedge_after_ms: 'auto' } } as const;
type Side = keyof typeof SIDES;

/** One load's figures; times in ms. */
interface Sample {
  readonly p50: number;
  readonly p99: number;
  readonly worst: number;
  /** Calls that the upstreams got above those of the clients, in percent of these. */
  readonly moreCallsPercent: number;
  /** From the first word of the one to the close of the other's connection. */
  readonly losersEndedMs: readonly number[];
}

export async function run(rounds = ROUNDS): Promise<object> {
  const upstreams = [await HandUpstream.start(), await HandUpstream.start()] as const;
  const samples: Record<Side, Sample[]> = { off: [], fixed: [], auto: [] };
  try {
    for (let round = 0; round < rounds; round += 1) {
      for (const side of Object.keys(SIDES) as Side[]) {
        const sluice = await start(side, upstreams);
        try {
          await load(sluice, upstreams, { calls: WARM_UP_CALLS, seed: 0, lateShare: 0 });
          samples[side].push(
            await load(sluice, upstreams, { calls: CALLS, seed: round + 1, lateShare: LATE_SHARE }),
          );
        } finally {
          await sluice.stop();
        }
      }
    }
  } finally {
    await Promise.all(upstreams.map((upstream) => upstream.close()));
  }
  const ratio = (side: Side) =>
    spreadOf(
      samples[side].map(({ p99 }, round) => p99 / samples.off[round]!.p99),
      2,
    );
  return {
    unit: 'ms to the first word; median, least and most of the rounds',
    load: `${CALLS} calls, ${CALLS_A_SECOND} a second, Poisson; ${100 * LATE_SHARE} % come ${LATE_MS} ms late`,
    wanted: 'P99 at most half of that without hedging, at less than 5 % more calls',
    off: told(samples.off),
    fixed: { afterMs: FIXED_MS, ...told(samples.fixed), p99ToOff: ratio('fixed') },
    auto: { ...told(samples.auto), p99ToOff: ratio('auto') },
  };
}

function start(side: Side, [a, b]: readonly [HandUpstream, HandUpstream]): Promise<Target> {
  return startSluice({
    log_level: 'silent',
    backends: [
      { id: 'a', url: a.url, slots: 100 },
      { id: 'b', url: b.url, slots: 100 },
    ],
    models: [{ id: 'case', backends: [['a', 'b']] }],
    ...SIDES[side],
  });
}

interface Load {
  readonly calls: number;
  readonly seed: number;
  readonly lateShare: number;
}

async function load(
  { port }: Target,
  upstreams: readonly HandUpstream[],
  { calls, seed, lateShare }: Load,
): Promise<Sample> {
  const random = seededRandom(seed);
  const { atMs } = steadyArrivals({ random, requests: calls, ratePerSecond: CALLS_A_SECOND, burstiness: 1 });
  let asked = 0;
  const spokeAt = new Map<string, number>();
  const losersEndedMs: number[] = [];
  const answer = async ({ body, response, left }: AskedUpstream) => {
    asked += 1;
    const { content: call } = body.messages[0]!;
    const lateMs = random() < lateShare ? LATE_MS : 0;
    let isLeft = false;
    void left.then((at) => {
      isLeft = true;
      const wonAt = spokeAt.get(call);
      if (wonAt !== undefined) losersEndedMs.push(at - wonAt);
    });
    say(response, []);
    await sleep(LEAST_MS - Math.log(1 - random()) * REST_MS + lateMs);
    if (isLeft) return;
    spokeAt.set(call, performance.now());
    sayAll(response, WORDS);
  };
  for (const upstream of upstreams) upstream.answer = (one) => void answer(one);
  const firstMs: Promise<number>[] = [];
  const startedAt = performance.now();
  for (const [call, at] of atMs.entries()) {
    await sleep(Math.max(0, startedAt + at - performance.now()));
    firstMs.push(firstWordOf(port, `call ${call} of ${seed}`));
  }
  const times = await Promise.all(firstMs);
  return {
    p50: median(times),
    p99: quantile(times, 0.99),
    worst: Math.max(...times),
    moreCallsPercent: (100 * (asked - calls)) / calls,
    losersEndedMs,
  };
}

async function firstWordOf(port: number, content: string): Promise<number> {
  const body = { model: 'case', stream: true, messages: [{ role: 'user', content }] };
  const request = await TimedRequest.send(port, KEY, body);
  await request.untilEnded();
  // A figure of a broken answer would be none.
  if (request.answer !== WORDS.join('')) throw new Error(`The answer is not the script: ${request.answer}`);
  return request.texts[0]!.at - request.sentAt;
}

function told(samples: readonly Sample[]): object {
  const spread = (of: (sample: Sample) => number, digits = 0) => spreadOf(samples.map(of), digits);
  const losers = samples.flatMap(({ losersEndedMs }) => losersEndedMs);
  return {
    p50: spread(({ p50 }) => p50),
    p99: spread(({ p99 }) => p99),
    worst: spread(({ worst }) => worst),
    moreCallsPercent: spread(({ moreCallsPercent }) => moreCallsPercent, 1),
    ...(losers.length > 0 && {
      loserEndedAfterMs: { median: rounded(median(losers), 1), worst: rounded(Math.max(...losers), 1) },
    }),
  };
}
