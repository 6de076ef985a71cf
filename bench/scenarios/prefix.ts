// The first token with a system message that was seen before beside one that was not, through the whole server. The
// question is always new, so the system message is all that can be reused.

import { plot } from '../../gateway/src/figures/plot.ts';
import { type Spread, spreadOf } from '../../gateway/src/figures/statistics.ts';
import { ask } from '../chat-load.ts';
import { modelFile, modelIn, startSluice } from '../servers.ts';
import { question, shortQuestion, systemMessage } from '../workload.ts';

const ROUNDS = 5;
const SYSTEM_TOKENS = [128, 512, 1024];
/** The question is computed either way: the shorter it is, the more a system message that was seen before saves. */
const QUESTIONS = { shortQuestion, longQuestion: question };
const WANTED_PERCENT = 60;

interface Sample {
  readonly coldMs: number;
  readonly warmMs: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
}

export async function run(rounds = ROUNDS): Promise<object> {
  const file = await modelFile();
  const sluice = await startSluice({ model: file, log_level: 'silent', engine: { threads: 1 } });
  const cases = Object.entries(QUESTIONS).flatMap(([kind, ask]) =>
    SYSTEM_TOKENS.map((tokens) => ({ kind, ask, tokens, samples: [] as Sample[] })),
  );
  let variant = 0;
  const first = (tokens: number, systemVariant: number, write: (variant: number) => string) => {
    variant += 1;
    const system = systemMessage(tokens, systemVariant);
    return ask(sluice.port, { system, user: write(variant), maxTokens: 2 });
  };
  try {
    await first(SYSTEM_TOKENS[0]!, 0, question);
    for (let round = 1; round <= rounds; round += 1) {
      for (const [index, { ask: write, tokens, samples }] of cases.entries()) {
        const systemVariant = round * 50 + index;
        const cold = await first(tokens, systemVariant, write);
        const warm = await first(tokens, systemVariant, write);
        samples.push({
          coldMs: cold.firstMs,
          warmMs: warm.firstMs,
          promptTokens: warm.promptTokens,
          cachedTokens: warm.cachedTokens ?? 0,
        });
      }
    }
  } finally {
    await sluice.stop();
  }
  return {
    unit: `ms to the first token, one request at a time, one thread, ${rounds} rounds`,
    wantedPercent: WANTED_PERCENT,
    model: modelIn(file),
    points: cases.map(({ kind, tokens, samples }) => ({
      question: kind,
      systemTokens: tokens,
      promptTokens: samples[0]!.promptTokens,
      cachedTokens: spreadOf(samples.map(({ cachedTokens }) => cachedTokens)),
      coldMs: spreadOf(samples.map(({ coldMs }) => coldMs)),
      warmMs: spreadOf(samples.map(({ warmMs }) => warmMs)),
      fasterByPercent: spreadOf(
        samples.map(({ coldMs, warmMs }) => (1 - warmMs / coldMs) * 100),
        1,
      ),
    })),
  };
}

interface Point {
  readonly question: string;
  readonly systemTokens: number;
  readonly coldMs: Spread;
  readonly warmMs: Spread;
}

export function draw({ points }: { points: readonly Point[] }): string {
  const panels = Object.keys(QUESTIONS).map((kind) => {
    const taken = points.filter(({ question }) => question === kind);
    return {
      title: `First token, ${kind === 'shortQuestion' ? 'a short question' : 'a longer question'}`,
      xLabel: 'tokens of the system message, about',
      yLabel: 'ms',
      x: taken.map(({ systemTokens }) => systemTokens),
      series: [
        { name: 'system message is new', values: taken.map(({ coldMs }) => coldMs) },
        { name: 'was seen before', values: taken.map(({ warmMs }) => warmMs) },
      ],
    };
  });
  return plot('First token with a system message, new and seen before, one thread', panels);
}
