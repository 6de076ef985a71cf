// What the gateway takes from its engine: tokens a second through the whole server beside the binding alone, on the same
// model in the same run; how late the gateway's timers get meanwhile, and its share of the CPU.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { median, rounded } from '../../gateway/src/figures/statistics.ts';
import type { BindingOrder } from '../binding-process.ts';
import { KEY, modelFile, startSluice, type Target } from '../servers.ts';

const ROUNDS = 5;
const NEW_TOKENS = 64;
const STREAMS = [1, 4, 8];
const SLOTS = 8;

export async function run(rounds = ROUNDS): Promise<object> {
  const file = await modelFile();
  const figures: Record<string, object> = {};
  const samples = new Map(STREAMS.map((streams) => [streams, [] as { sluice: number; binding: number }[]]));
  const delays: number[] = [];
  const shares: number[] = [];
  const sluice = await startSluice({
    model: file,
    log_level: 'silent',
    engine: { batch_size: SLOTS, threads: 1 },
  });
  const binding = fork(new URL('../binding-process.ts', import.meta.url), [file, String(SLOTS), '1']);
  try {
    await once(binding, 'message');
    await throughSluice(sluice, order(1, 0));
    await throughBinding(binding, order(1, 0));
    for (let round = 1; round <= rounds; round += 1) {
      for (const streams of STREAMS) {
        await eventLoopDelay(sluice);
        const cpuBefore = sluice.cpuSeconds();
        const startedAt = performance.now();
        const throughServer = await throughSluice(sluice, order(streams, round));
        shares.push((sluice.cpuSeconds() - cpuBefore) / ((performance.now() - startedAt) / 1000));
        delays.push(await eventLoopDelay(sluice));
        samples
          .get(streams)!
          .push({ sluice: throughServer, binding: await throughBinding(binding, order(streams, round)) });
      }
    }
  } finally {
    binding.kill('SIGKILL');
    await sluice.stop();
  }
  for (const [streams, taken] of samples) {
    figures[`streams${streams}`] = {
      sluice: rounded(median(taken.map((one) => one.sluice)), 1),
      binding: rounded(median(taken.map((one) => one.binding)), 1),
      ratio: rounded(median(taken.map((one) => one.sluice / one.binding))),
      ratios: taken.map((one) => rounded(one.sluice / one.binding)),
    };
  }
  return {
    unit: `tokens/s, ${NEW_TOKENS} new tokens a stream, greedy, one thread, prompts without a common beginning`,
    ...figures,
    eventLoopDelayP99Ms: { median: rounded(median(delays), 1), worst: rounded(Math.max(...delays), 1) },
    gatewayCpuSharePercent: rounded(median(shares) * 100, 1),
  };
}

function order(streams: number, round: number): BindingOrder {
  const prompts = Array.from({ length: streams }, (_, index) =>
    `${(round * 31 + index * 7) % 97} rivers flow from these mountains to the sea, and each of them has a story. `.repeat(
      3,
    ),
  );
  return { streams, newTokens: NEW_TOKENS, prompts };
}

async function throughBinding(binding: ChildProcess, what: BindingOrder): Promise<number> {
  binding.send(what);
  const [rate] = await once(binding, 'message');
  return rate as number;
}

async function throughSluice(sluice: Target, { newTokens, prompts }: BindingOrder): Promise<number> {
  const startedAt = performance.now();
  const tokens = await Promise.all(
    prompts.map(async (prompt) => {
      const response = await fetch(`http://127.0.0.1:${sluice.port}/v1/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${KEY}` },
        body: JSON.stringify({
          model: 'deepseek-r1',
          prompt,
          max_tokens: newTokens,
          temperature: 0,
          stream: true,
          stream_options: { include_usage: true },
        }),
      });
      return Number(/"completion_tokens":(\d+)/.exec(await response.text())![1]);
    }),
  );
  return (tokens.reduce((sum, one) => sum + one, 0) * 1000) / (performance.now() - startedAt);
}

/** P99 in ms since the last look. */
async function eventLoopDelay(sluice: Target): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${sluice.port}/metrics`, {
    headers: { authorization: `Bearer ${KEY}` },
  });
  return (
    Number(/^sluice_event_loop_delay_seconds\{quantile="0.99"\} (\S+)/m.exec(await response.text())![1]) *
    1000
  );
}
