// What the engine's threads give on a machine that it has to itself, and cost on one that it has to share: one thread, as
// many as there are cores, and the default, which takes one more than usual while nothing else runs. Through the whole
// server, so gateway and clients are part of what runs beside it.
import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { type Panel, plot } from '../../gateway/src/figures/plot.ts';
import { type Spread, spreadOf } from '../../gateway/src/figures/statistics.ts';
import { closedLoop, figuresOf, type LoadFigures } from '../chat-load.ts';
import { endWithThisProcess, modelFile, modelIn, startSluice, type Target } from '../servers.ts';
import { chat } from '../workload.ts';

const ROUNDS = 3;
const CORES = availableParallelism();
const WAYS = { one: 1, adaptive: undefined, all: CORES } as const;
type Way = keyof typeof WAYS;
const WAY_NAMES = Object.keys(WAYS) as Way[];

interface Shape {
  readonly name: string;
  readonly clients: number;
  readonly chatsEach: number;
  /** A process that computes without a pause on one core, all the time. */
  readonly besideOther: boolean;
}

const SHAPES: readonly Shape[] = [
  { name: 'clients1', clients: 1, chatsEach: 5, besideOther: false },
  { name: 'clients4', clients: 4, chatsEach: 3, besideOther: false },
  { name: 'clients8', clients: 8, chatsEach: 3, besideOther: false },
  // One answer each: where threads wait for each other it takes minutes.
  { name: 'clients4BesideOther', clients: 4, chatsEach: 1, besideOther: true },
];
const MEASURES = ['tokensPerSecond', 'firstP50Ms', 'longestGapMs'] as const;

const SLOTS = 8;
const CONTEXT_TOKENS = 1024;
const SHARED_TOKENS = 300;
const NEW_TOKENS = 64;

type Taken = Readonly<Record<Way, LoadFigures>>;

export async function run(rounds = ROUNDS): Promise<object> {
  const file = await modelFile();
  const servers: Partial<Record<Way, Target>> = {};
  const taken = new Map<string, Taken[]>(SHAPES.map(({ name }) => [name, []]));
  try {
    for (const way of WAY_NAMES) {
      const engine = { batch_size: SLOTS, context: CONTEXT_TOKENS, threads: WAYS[way] };
      servers[way] = await startSluice({ model: file, log_level: 'silent', engine });
      await measure(servers[way].port, { ...SHAPES[0]!, chatsEach: 1 }, 0);
    }
    for (let round = 1; round <= rounds; round += 1) {
      for (const shape of SHAPES) {
        const sides: Partial<Record<Way, LoadFigures>> = {};
        for (const way of round % 2 === 0 ? WAY_NAMES : WAY_NAMES.toReversed()) {
          sides[way] = await measure(servers[way]!.port, shape, round);
        }
        console.error(round, shape.name, JSON.stringify(sides));
        taken.get(shape.name)!.push(sides as Taken);
      }
    }
  } finally {
    for (const server of Object.values(servers)) await server.stop();
  }
  return {
    unit: `greedy, ${NEW_TOKENS} new tokens, ${SLOTS} slots of ${CONTEXT_TOKENS} tokens, ${CORES} cores, ${rounds} rounds; ratios are to one thread, round by round`,
    model: modelIn(file),
    ...Object.fromEntries([...taken].map(([name, rows]) => [name, summary(rows)])),
  };
}

async function measure(
  port: number,
  { clients, chatsEach, besideOther }: Shape,
  round: number,
): Promise<LoadFigures> {
  const other = besideOther ? spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' }) : undefined;
  if (other) endWithThisProcess(other);
  try {
    const first = round * 1_000 + clients * 50;
    const chats = Array.from({ length: clients }, (_, client) =>
      Array.from({ length: chatsEach }, (_, index) =>
        chat(SHARED_TOKENS, round * 100 + clients, first + client * chatsEach + index, NEW_TOKENS),
      ),
    );
    return figuresOf(await closedLoop(port, chats));
  } finally {
    other?.kill('SIGKILL');
  }
}

function summary(rows: readonly Taken[]): object {
  return Object.fromEntries(
    WAY_NAMES.map((way) => [
      way,
      {
        ...Object.fromEntries(
          MEASURES.map((key) => [
            key,
            spreadOf(
              rows.map((row) => row[way][key]),
              1,
            ),
          ]),
        ),
        fewestNewTokens: Math.min(...rows.map((row) => row[way].fewestNewTokens)),
        speedToOne: spreadOf(
          rows.map((row) => row[way].tokensPerSecond / row.one.tokensPerSecond),
          2,
        ),
      },
    ]),
  );
}

type Drawn = Readonly<
  Record<string, Readonly<Record<Way, Readonly<Record<(typeof MEASURES)[number], Spread>>>>>
>;

export function draw(figures: Drawn): string {
  const panel = (title: string, yLabel: string, measure: (typeof MEASURES)[number]): Panel => ({
    title,
    yLabel,
    xLabel: 'clients (closed loop)',
    x: ['1', '4', '8', '4, beside other work'],
    series: WAY_NAMES.map((way) => ({
      name: { one: 'one thread', adaptive: 'default', all: `${CORES} threads` }[way],
      values: SHAPES.map(({ name }) => figures[name]![way][measure]),
    })),
  });
  return plot("The engine's threads", [
    panel('Speed', 'tokens/s', 'tokensPerSecond'),
    panel('First token, P50', 'ms', 'firstP50Ms'),
    panel('Longest silence within an answer', 'ms', 'longestGapMs'),
  ]);
}
