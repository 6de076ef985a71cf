// A newcomer with a long prompt beside four running answers: how long these stand still, and how much later its own
// first token comes than alone. As a curve over the time that a step may take (engine.longest_step_ms).

import { STUTTER_MS } from '../../gateway/src/core/observer.ts';
import { plot } from '../../gateway/src/figures/plot.ts';
import { type Spread, spreadOf } from '../../gateway/src/figures/statistics.ts';
import { longestGap } from '../../gateway/src/load/answer-reader.ts';
import { ask, type Seen } from '../chat-load.ts';
import { modelFile, modelIn, startSluice } from '../servers.ts';
import { chat } from '../workload.ts';

const ROUNDS = 3;
const STEP_MS = [150, 250, 330, 500, 1_000, 5_000];
/** With the question and the template: about 1,400. */
const SYSTEM_TOKENS = 1_310;
const RUNNING = 4;
/**
 * A step gives each running answer one token and the newcomer at least 16 of its prompt: enough to outlast the whole
 * prompt. The figures say whether they did.
 */
const RUNNING_TOKENS = 200;
const CONTEXT_TOKENS = 2048;

interface Sample {
  readonly gapMs: number;
  readonly besideMs: number;
  readonly aloneMs: number;
  readonly promptTokens: number;
  /** How many of the running answers still ran when the newcomer's first token came. */
  readonly outlasted: number;
}

export async function run(rounds = ROUNDS): Promise<object> {
  const file = await modelFile();
  const samples = STEP_MS.map(() => [] as Sample[]);
  for (let round = 1; round <= rounds; round += 1) {
    for (const [index, stepMs] of STEP_MS.entries()) {
      const engine = { threads: 1, batch_size: 8, context: CONTEXT_TOKENS, longest_step_ms: stepMs };
      const sluice = await startSluice({ model: file, log_level: 'silent', engine });
      try {
        const taken = await measure(sluice.port, round);
        console.error(round, stepMs, JSON.stringify(taken));
        samples[index]!.push(taken);
      } finally {
        await sluice.stop();
      }
    }
  }
  return {
    unit: `${RUNNING} running answers, greedy, one thread, ${rounds} rounds`,
    model: modelIn(file),
    points: samples.map((taken, index) => ({
      longestStepMs: STEP_MS[index],
      promptTokens: taken[0]!.promptTokens,
      stillRunning: Math.min(...taken.map(({ outlasted }) => outlasted)),
      longestGapMs: spreadOf(taken.map(({ gapMs }) => gapMs)),
      firstTokenMs: spreadOf(taken.map(({ besideMs }) => besideMs)),
      firstTokenAloneMs: spreadOf(taken.map(({ aloneMs }) => aloneMs)),
      timesAlone: spreadOf(
        taken.map(({ besideMs, aloneMs }) => besideMs / aloneMs),
        2,
      ),
    })),
  };
}

async function measure(port: number, round: number): Promise<Sample> {
  // So that the engine has seen a prompt, and its pacer knows what a token costs.
  await newcomer(port, 100 + round * 2);
  const alone = await newcomer(port, 200 + round * 2);
  const running: Promise<Seen>[] = [];
  const started = Array.from(
    { length: RUNNING },
    (_, index) =>
      new Promise<void>((resolve, reject) => {
        const answer = ask(port, chat(14, index, round * 10 + index, RUNNING_TOKENS), resolve);
        answer.catch(reject);
        running.push(answer);
      }),
  );
  await Promise.all(started);
  const from = performance.now();
  const beside = await newcomer(port, 300 + round * 2);
  const to = beside.wordsAt[0]!;
  const seen = await Promise.all(running);
  return {
    gapMs: Math.max(...seen.map(({ wordsAt }) => longestGap(wordsAt, from, to))),
    besideMs: beside.firstMs,
    aloneMs: alone.firstMs,
    promptTokens: beside.promptTokens,
    outlasted: seen.filter(({ wordsAt }) => wordsAt.at(-1)! > to).length,
  };
}

/** Nothing of its prompt was computed before. */
function newcomer(port: number, variant: number): Promise<Seen> {
  return ask(port, chat(SYSTEM_TOKENS, variant, variant, 2));
}

interface Point {
  readonly longestStepMs: number;
  readonly promptTokens: number;
  readonly longestGapMs: Spread;
  readonly firstTokenMs: Spread;
  readonly firstTokenAloneMs: Spread;
}

export function draw({ points }: { points: readonly Point[] }): string {
  const x = points.map(({ longestStepMs }) => longestStepMs);
  const xLabel = 'engine.longest_step_ms';
  const yLabel = 'ms';
  return plot(`A prompt of ${points[0]?.promptTokens} tokens beside four running answers, one thread`, [
    {
      title: 'Longest silence of the running answers',
      xLabel,
      yLabel,
      x,
      series: [{ name: 'the worst of four', values: points.map(({ longestGapMs }) => longestGapMs) }],
      limit: { name: 'a stutter', value: STUTTER_MS },
    },
    {
      title: "The newcomer's first token",
      xLabel,
      yLabel,
      x,
      series: [
        { name: 'beside four answers', values: points.map(({ firstTokenMs }) => firstTokenMs) },
        { name: 'alone', values: points.map(({ firstTokenAloneMs }) => firstTokenAloneMs) },
      ],
    },
  ]);
}
