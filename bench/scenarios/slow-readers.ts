// What clients that stop reading do to the others: nothing, is the claim. Scripted words, 50 readers that read, with
// and without 100 that ask for long answers and never read a byte; and the memory that those can hold at the most.
import { Clients } from '../clients.ts';
import { REQUEST } from '../recording.ts';
import { KEY, startSluice, type Target } from '../servers.ts';
import { median, quantile, rounded } from '../statistics.ts';

const ROUNDS = 5;
const READERS = 50;
const DEAF = 100;
const STEP_MS = 20;
const PIECES = 150;
const LOG_BYTES = 1024 * 1024;
const path = '/v1/models/deepseek-r1/generate_stream';

export async function run(): Promise<object> {
  const clients = new Clients();
  const deafClients = new Clients();
  // Long pieces, so that the sockets' own buffers are soon full and the log has to hold the rest.
  const pieces = Array.from({ length: PIECES }, (_, index) => `${index} ${'x'.repeat(24_000)} `);
  const target = await startSluice({
    log_level: 'silent',
    replay_buffer_bytes: LOG_BYTES,
    backends: [{ kind: 'fake', slots: 1_000, first_token_ms: 0, token_ms: STEP_MS, pieces }],
  });
  try {
    await clients.send(order(target, READERS));
    const samples: { without: Sample; with: Sample }[] = [];
    let peakBytes = 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      const idle = await target.settledRss();
      const without = sample(await clients.send(order(target, READERS)));
      await deafClients.send({ ...order(target, DEAF), isDeaf: true });
      const withDeaf = sample(await clients.send(order(target, READERS)));
      peakBytes = Math.max(peakBytes, (await target.settledRss()) - idle);
      await deafClients.send({ ...order(target, 0), kind: 'close' });
      samples.push({ without, with: withDeaf });
    }
    const change = (pick: (one: Sample) => number) =>
      rounded((median(samples.map((one) => pick(one.with) / pick(one.without))) - 1) * 100, 1);
    return {
      readers: READERS,
      deaf: DEAF,
      answerP99Ms: {
        without: middle(samples, 'without', 'totalP99'),
        with: middle(samples, 'with', 'totalP99'),
      },
      gapP99Ms: { without: middle(samples, 'without', 'gapP99'), with: middle(samples, 'with', 'gapP99') },
      answerP99ChangePercent: change((one) => one.totalP99),
      gapP99ChangePercent: change((one) => one.gapP99),
      memoryMiB: rounded(peakBytes / 2 ** 20, 1),
      memoryBoundMiB: (DEAF * LOG_BYTES) / 2 ** 20,
    };
  } finally {
    clients.stop();
    deafClients.stop();
    await target.stop();
  }
}

interface Sample {
  readonly totalP99: number;
  readonly gapP99: number;
}

function sample({ totalsMs, gapsMs }: { totalsMs: readonly number[]; gapsMs: readonly number[] }): Sample {
  return { totalP99: quantile(totalsMs, 0.99), gapP99: quantile(gapsMs, 0.99) };
}

function middle(
  samples: readonly { without: Sample; with: Sample }[],
  side: 'without' | 'with',
  figure: keyof Sample,
): number {
  return rounded(median(samples.map((one) => one[side][figure])), 1);
}

function order(target: Target, count: number) {
  return { kind: 'stream' as const, port: target.port, count, path, body: REQUEST, key: KEY };
}
