// The first token with a system message that was seen before beside one that was not, through the whole server. The
// question is always new, so the system message is all that can be reused.
import { ask } from '../chat-load.ts';
import { plot } from '../plot.ts';
import { modelFile, startSluice } from '../servers.ts';
import { median, rounded } from '../statistics.ts';
import { chat } from '../workload.ts';

const ROUNDS = 5;
const SYSTEM_TOKENS = [128, 512, 1024];

export async function run(): Promise<object> {
  const sluice = await startSluice({
    model: await modelFile(),
    log_level: 'silent',
    engine: { threads: 1 },
  });
  const samples = SYSTEM_TOKENS.map(() => [] as { cold: number; warm: number; cached: number }[]);
  let variant = 0;
  const first = async (system: number, systemVariant: number) => {
    variant += 1;
    return ask(sluice.port, chat(system, systemVariant, variant, 2));
  };
  try {
    await first(128, 0);
    for (let round = 1; round <= ROUNDS; round += 1) {
      for (const [index, tokens] of SYSTEM_TOKENS.entries()) {
        const systemVariant = round * 10 + index;
        const cold = await first(tokens, systemVariant);
        const warm = await first(tokens, systemVariant);
        samples[index]!.push({ cold: cold.firstMs, warm: warm.firstMs, cached: warm.cachedTokens ?? 0 });
      }
    }
  } finally {
    await sluice.stop();
  }
  return Object.fromEntries(
    samples.map((taken, index) => [
      `system${SYSTEM_TOKENS[index]}`,
      {
        coldMs: Math.round(median(taken.map(({ cold }) => cold))),
        warmMs: Math.round(median(taken.map(({ warm }) => warm))),
        cachedTokens: median(taken.map(({ cached }) => cached)),
        fasterByPercent: rounded(median(taken.map(({ cold, warm }) => (1 - warm / cold) * 100)), 1),
        allPercent: taken.map(({ cold, warm }) => rounded((1 - warm / cold) * 100, 1)),
      },
    ]),
  );
}

interface Figures {
  readonly coldMs: number;
  readonly warmMs: number;
}

export function draw(figures: Record<string, Figures>): string {
  const taken = Object.values(figures);
  return plot('First token with a system message, new and seen before', [
    {
      title: 'First token, ms',
      xLabel: 'tokens of the system message',
      x: SYSTEM_TOKENS,
      series: [
        { name: 'new', values: taken.map(({ coldMs }) => coldMs) },
        { name: 'seen before', values: taken.map(({ warmMs }) => warmMs) },
      ],
    },
  ]);
}
