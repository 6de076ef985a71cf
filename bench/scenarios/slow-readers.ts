// What clients that stop reading do to the others: nothing, is the claim. Scripted words; 50 readers are watched while 100
// more clients ask for the same, once reading what they get and once not reading a byte. So both sides carry the same
// load, and all that differs is that 100 clients have stopped.

import { median, quantile, rounded } from '../../gateway/src/figures/statistics.ts';
import { Clients } from '../clients.ts';
import { REQUEST } from '../recording.ts';
import { KEY, startSluice, type Target } from '../servers.ts';

const ROUNDS = 5;
const READERS = 50;
const OTHERS = 100;
const STEP_MS = 20;
const PIECES = 300;
const PIECE_LENGTH = 24_000;
const LOG_BYTES = 256 * 1024;
/** Within a round, so that those who stopped are seen to be cut off. */
const LIMIT_MS = 3_000;
const path = '/v1/models/deepseek-r1/generate_stream';
const outcome = 'sluice_requests_total{route="generate_stream",model="deepseek-r1",outcome="slow_reader"}';

export async function run(rounds = ROUNDS): Promise<object> {
  const watched = new Clients();
  const others = new Clients();
  const pieces = Array.from({ length: PIECES }, (_, index) => `${index} ${'x'.repeat(PIECE_LENGTH)} `);
  const target = await startSluice({
    log_level: 'silent',
    replay_buffer_bytes: LOG_BYTES,
    slow_reader_limit_ms: LIMIT_MS,
    backends: [{ kind: 'fake', slots: 1_000, first_token_ms: 0, token_ms: STEP_MS, pieces }],
  });
  try {
    await watched.send(order(target, READERS));
    const samples: { reading: Sample; deaf: Sample }[] = [];
    let peakBytes = 0;
    for (let round = 0; round < rounds; round += 1) {
      const [reading] = await Promise.all([
        watched.send(order(target, READERS)),
        others.send(order(target, OTHERS)),
      ]);
      const idle = await target.settledRss();
      const [deaf] = await Promise.all([
        watched.send(order(target, READERS)),
        others.send({ ...order(target, OTHERS), isDeaf: true }),
      ]);
      peakBytes = Math.max(peakBytes, (await target.settledRss()) - idle);
      await others.send({ ...order(target, 0), kind: 'close' });
      samples.push({ reading: sample(reading), deaf: sample(deaf) });
    }
    const change = (pick: (one: Sample) => number) =>
      rounded((median(samples.map((one) => pick(one.deaf) / pick(one.reading))) - 1) * 100, 1);
    return {
      readers: READERS,
      stoppedReading: OTHERS,
      cutOffPerRound: rounded((await cutOff(target)) / rounds, 1),
      answerP99Ms: {
        othersRead: middle(samples, 'reading', 'totalP99'),
        othersStopped: middle(samples, 'deaf', 'totalP99'),
      },
      gapP99Ms: {
        othersRead: middle(samples, 'reading', 'gapP99'),
        othersStopped: middle(samples, 'deaf', 'gapP99'),
      },
      answerP99ChangePercent: change((one) => one.totalP99),
      gapP99ChangePercent: change((one) => one.gapP99),
      growthMiB: rounded(peakBytes / 2 ** 20, 1),
      boundMiB: (OTHERS * LOG_BYTES) / 2 ** 20,
    };
  } finally {
    watched.stop();
    others.stop();
    await target.stop();
  }
}

/** Streams that ended because nobody read them. */
async function cutOff(target: Target): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${target.port}/metrics`, {
    headers: { authorization: `Bearer ${KEY}` },
  });
  const line = (await response.text()).split('\n').find((one) => one.startsWith(outcome));
  return Number(line?.split(' ').at(-1) ?? 0);
}

interface Sample {
  readonly totalP99: number;
  readonly gapP99: number;
}

function sample({ totalsMs, gapsMs }: { totalsMs: readonly number[]; gapsMs: readonly number[] }): Sample {
  return { totalP99: quantile(totalsMs, 0.99), gapP99: quantile(gapsMs, 0.99) };
}

function middle(
  samples: readonly { reading: Sample; deaf: Sample }[],
  side: 'reading' | 'deaf',
  figure: keyof Sample,
): number {
  return rounded(median(samples.map((one) => one[side][figure])), 1);
}

function order(target: Target, count: number) {
  return { kind: 'stream' as const, port: target.port, count, path, body: REQUEST, key: KEY };
}
