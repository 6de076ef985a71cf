// A newcomer with a long prompt beside four running answers: how long these stand still, and how much later its own
// first token comes than alone. As a curve over the time that a step may take (engine.longest_step_ms).
import { ask, type Seen } from '../chat-load.ts';
import { plot } from '../plot.ts';
import { modelFile, startSluice } from '../servers.ts';
import { median, rounded } from '../statistics.ts';
import { chat } from '../workload.ts';

const ROUNDS = 3;
const STEP_MS = [150, 250, 330, 500, 1_000, 5_000];
const PROMPT_TOKENS = 1_330;
const RUNNING = 4;
/** Enough that the running answers outlast the newcomer's prompt. */
const RUNNING_TOKENS = 300;

export async function run(): Promise<object> {
  const file = await modelFile();
  const points: object[] = [];
  for (const stepMs of STEP_MS) {
    const sluice = await startSluice({
      model: file,
      log_level: 'silent',
      engine: { threads: 1, longest_step_ms: stepMs },
    });
    const samples: { gap: number; beside: number; alone: number; promptTokens: number }[] = [];
    try {
      await ask(sluice.port, chat(14, 0, 0, 8));
      for (let round = 1; round <= ROUNDS; round += 1) {
        const alone = await newcomer(sluice.port, round * 2);
        const running = Array.from({ length: RUNNING }, (_, index) =>
          ask(sluice.port, { ...chat(14, index, round * 10 + index, RUNNING_TOKENS) }),
        );
        await new Promise((resolve) => setTimeout(resolve, 2_500));
        const beside = await newcomer(sluice.port, round * 2 + 1);
        const seen = await Promise.all(running);
        samples.push({
          gap: Math.max(...seen.map((one) => one.longestGapMs)),
          beside: beside.firstMs,
          alone: alone.firstMs,
          promptTokens: beside.promptTokens,
        });
      }
    } finally {
      await sluice.stop();
    }
    points.push({
      longestStepMs: stepMs,
      promptTokens: samples[0]!.promptTokens,
      longestGapMs: Math.round(median(samples.map(({ gap }) => gap))),
      firstTokenMs: Math.round(median(samples.map(({ beside }) => beside))),
      firstTokenAloneMs: Math.round(median(samples.map(({ alone }) => alone))),
      timesAlone: rounded(median(samples.map(({ beside, alone }) => beside / alone))),
      gaps: samples.map(({ gap }) => Math.round(gap)),
    });
  }
  return { unit: `${RUNNING} running answers, medians of ${ROUNDS}`, points };
}

function newcomer(port: number, variant: number): Promise<Seen> {
  return ask(port, chat(PROMPT_TOKENS, 1_000 + variant, variant, 2));
}

interface Point {
  readonly longestStepMs: number;
  readonly longestGapMs: number;
  readonly firstTokenMs: number;
  readonly firstTokenAloneMs: number;
}

export function draw({ points }: { points: readonly Point[] }): string {
  const x = points.map(({ longestStepMs }) => longestStepMs);
  const xLabel = 'engine.longest_step_ms';
  return plot('A prompt of 1,400 tokens beside four running answers', [
    {
      title: 'Longest silence of the running ones, ms',
      xLabel,
      x,
      series: [{ name: 'longest gap', values: points.map(({ longestGapMs }) => longestGapMs) }],
      limit: { name: 'a stutter', value: 500 },
    },
    {
      title: "The newcomer's first token, ms",
      xLabel,
      x,
      series: [
        { name: 'beside four', values: points.map(({ firstTokenMs }) => firstTokenMs) },
        { name: 'alone', values: points.map(({ firstTokenAloneMs }) => firstTokenAloneMs) },
      ],
    },
  ]);
}
