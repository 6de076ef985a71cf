// What more slots give and cost: 16 clients that ask again as soon as they are answered, on 1 to 16 slots. The slots are
// what the article calls batch_size.

import { type Panel, plot } from '../../gateway/src/figures/plot.ts';
import { type Spread, spreadOf } from '../../gateway/src/figures/statistics.ts';
import { closedLoop, figuresOf, type LoadFigures } from '../chat-load.ts';
import { modelFile, modelIn, startSluice } from '../servers.ts';
import { chat } from '../workload.ts';

const ROUNDS = 3;
const SLOTS = [1, 2, 4, 8, 12, 16];
const CLIENTS = 16;
const CHATS_EACH = 2;
const SHARED_TOKENS = 300;

export async function run(rounds = ROUNDS): Promise<object> {
  const file = await modelFile();
  const samples = SLOTS.map(() => [] as LoadFigures[]);
  for (let round = 1; round <= rounds; round += 1) {
    // All counts in each round, so that what the machine does meanwhile meets them alike.
    for (const [index, slots] of SLOTS.entries()) {
      const engine = { slots, threads: 1, context: 1024 };
      const sluice = await startSluice({ model: file, log_level: 'silent', engine });
      try {
        await closedLoop(sluice.port, [[chat(SHARED_TOKENS, round, 1, 8)]]);
        const chats = Array.from({ length: CLIENTS }, (_, client) =>
          Array.from({ length: CHATS_EACH }, (_, turn) =>
            chat(SHARED_TOKENS, round, 2 + client * CHATS_EACH + turn),
          ),
        );
        const taken = figuresOf(await closedLoop(sluice.port, chats));
        console.error(round, slots, JSON.stringify(taken));
        samples[index]!.push(taken);
      } finally {
        await sluice.stop();
      }
    }
  }
  return {
    unit: `${CLIENTS} clients, ${CHATS_EACH} requests each, greedy, one thread, ${rounds} rounds; the wait for a slot counts`,
    model: modelIn(file),
    points: samples.map((taken, index) => ({
      slots: SLOTS[index],
      promptTokens: taken[0]!.promptTokens,
      fewestNewTokens: Math.min(...taken.map((one) => one.fewestNewTokens)),
      tokensPerSecond: spreadOf(
        taken.map((one) => one.tokensPerSecond),
        1,
      ),
      firstP50Ms: spreadOf(taken.map((one) => one.firstP50Ms)),
      firstP99Ms: spreadOf(taken.map((one) => one.firstP99Ms)),
      longestGapMs: spreadOf(taken.map((one) => one.longestGapMs)),
      totalP99Ms: spreadOf(taken.map((one) => one.totalP99Ms)),
    })),
  };
}

interface Point {
  readonly slots: number;
  readonly tokensPerSecond: Spread;
  readonly firstP50Ms: Spread;
  readonly firstP99Ms: Spread;
  readonly longestGapMs: Spread;
}

export function draw({ points }: { points: readonly Point[] }): string {
  const panel = (title: string, yLabel: string, series: Panel['series']): Panel => {
    return { title, yLabel, xLabel: 'engine.slots', x: points.map(({ slots }) => slots), series };
  };
  return plot('16 clients on 1 to 16 slots, one thread', [
    panel('Speed', 'tokens/s', [
      { name: 'all answers together', values: points.map(({ tokensPerSecond }) => tokensPerSecond) },
    ]),
    panel('First token, the wait for a slot included', 'ms', [
      { name: 'P50', values: points.map(({ firstP50Ms }) => firstP50Ms) },
      { name: 'P99', values: points.map(({ firstP99Ms }) => firstP99Ms) },
    ]),
    panel('Longest silence within an answer', 'ms', [
      { name: 'of all answers', values: points.map(({ longestGapMs }) => longestGapMs) },
    ]),
  ]);
}
