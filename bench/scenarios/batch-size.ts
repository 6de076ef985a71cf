// What more slots give and cost: 16 clients that ask again as soon as they are answered, on 1 to 16 slots.
import { closedLoop, figuresOf, type LoadFigures } from '../chat-load.ts';
import { plot } from '../plot.ts';
import { modelFile, startSluice } from '../servers.ts';
import { median } from '../statistics.ts';
import { chat } from '../workload.ts';

const ROUNDS = 3;
const SLOTS = [1, 2, 4, 8, 12, 16];
const CLIENTS = 16;
const CHATS_A_CLIENT = 2;

export async function run(): Promise<object> {
  const file = await modelFile();
  const samples = SLOTS.map(() => [] as LoadFigures[]);
  for (let round = 1; round <= ROUNDS; round += 1) {
    for (const [index, slots] of SLOTS.entries()) {
      const engine = { slots, threads: 1, context: 1024 };
      const sluice = await startSluice({ model: file, log_level: 'silent', engine });
      try {
        await closedLoop(sluice.port, [[chat(300, round, 1, 8)]]);
        const chats = Array.from({ length: CLIENTS }, (_, client) =>
          Array.from({ length: CHATS_A_CLIENT }, (_, turn) =>
            chat(300, round, 2 + client * CHATS_A_CLIENT + turn),
          ),
        );
        samples[index]!.push(figuresOf(await closedLoop(sluice.port, chats)));
      } finally {
        await sluice.stop();
      }
    }
  }
  const points = samples.map((taken, index) => ({
    slots: SLOTS[index],
    tokensPerSecond: median(taken.map((one) => one.tokensPerSecond)),
    firstP50Ms: median(taken.map((one) => one.firstP50Ms)),
    firstP99Ms: median(taken.map((one) => one.firstP99Ms)),
    longestGapMs: median(taken.map((one) => one.longestGapMs)),
  }));
  return { unit: `${CLIENTS} clients, ${CHATS_A_CLIENT} requests each, medians of ${ROUNDS}`, points };
}

interface Point {
  readonly slots: number;
  readonly tokensPerSecond: number;
  readonly firstP50Ms: number;
  readonly firstP99Ms: number;
  readonly longestGapMs: number;
}

export function draw({ points }: { points: readonly Point[] }): string {
  const x = points.map(({ slots }) => slots);
  const xLabel = 'engine.slots';
  return plot('16 clients on 1 to 16 slots', [
    {
      title: 'Tokens a second',
      xLabel,
      x,
      series: [{ name: 'tokens/s', values: points.map(({ tokensPerSecond }) => tokensPerSecond) }],
    },
    {
      title: 'First token, ms (the queue included)',
      xLabel,
      x,
      series: [
        { name: 'P50', values: points.map(({ firstP50Ms }) => firstP50Ms) },
        { name: 'P99', values: points.map(({ firstP99Ms }) => firstP99Ms) },
      ],
    },
    {
      title: 'Longest silence, ms',
      xLabel,
      x,
      series: [{ name: 'longest gap', values: points.map(({ longestGapMs }) => longestGapMs) }],
    },
  ]);
}
