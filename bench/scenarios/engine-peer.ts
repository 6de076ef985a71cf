// Sluice beside llama.cpp's own server: the same weights, one thread each, 8 slots, the same prompts in turns. Clients
// that ask again as soon as they are answered, and clients that come when they come (Poisson).

import { type Panel, plot } from '../../gateway/src/figures/plot.ts';
import { rounded, type Spread, spreadOf } from '../../gateway/src/figures/statistics.ts';
import {
  closedLoop,
  figuresOf,
  type Load,
  type LoadFigures,
  openLoop,
  poissonArrivals,
} from '../chat-load.ts';
import { startLlamaServer, XLLAMACPP } from '../peers/llama-server.ts';
import { modelFile, modelIn, startSluice } from '../servers.ts';
import { chat } from '../workload.ts';

const ROUNDS = 3;
/** Few clients ask more often, so that a percentile of theirs says something. */
const CLOSED = [
  { clients: 1, chatsEach: 8 },
  { clients: 4, chatsEach: 5 },
  { clients: 8, chatsEach: 3 },
  { clients: 16, chatsEach: 3 },
];
/** Its requests a second are taken for what a side can do. */
const CAPACITY_AT = { clients: 8, chatsEach: 3 };
/** Of the capacity of the side that can do less, so that neither is asked for more than it can do. */
const POISSON_SHARE = 0.7;
const POISSON_REQUESTS = 40;
const SLOTS = 8;
const CONTEXT_TOKENS = 1024;
const SHARED_TOKENS = 300;
const NEW_TOKENS = 64;

const SIDES = ['sluice', 'llamaServer'] as const;
type Side = (typeof SIDES)[number];
type Pair = Readonly<Record<Side, LoadFigures>>;

const COUNTS = ['requests', 'promptTokens', 'newTokens'] as const;
const MEASURES = ['tokensPerSecond', 'firstP50Ms', 'firstP99Ms', 'longestGapMs', 'totalP99Ms'] as const;

export async function run(rounds = ROUNDS): Promise<object> {
  const file = await modelFile();
  const engine = { batch_size: SLOTS, threads: 1, context: CONTEXT_TOKENS };
  const sluice = await startSluice({ model: file, log_level: 'silent', engine });
  const peer = await startLlamaServer({
    modelFile: file,
    slots: SLOTS,
    contextTokens: CONTEXT_TOKENS,
    threads: 1,
  });
  const ports: Record<Side, number> = { sluice: sluice.port, llamaServer: peer.port };
  /** Who begins changes, for what the other leaves in the processor's caches. */
  const onBoth = async (round: number, work: (port: number) => Promise<Load>): Promise<Pair> => {
    const pair: Partial<Record<Side, LoadFigures>> = {};
    for (const side of round % 2 === 0 ? SIDES : SIDES.toReversed()) {
      pair[side] = figuresOf(await work(ports[side]));
    }
    return pair as Pair;
  };
  const pairs = new Map<string, Pair[]>();
  try {
    await onBoth(0, (port) => closed(port, { clients: 1, chatsEach: 1 }, 0));
    const capacity = await onBoth(0, (port) => closed(port, CAPACITY_AT, 0));
    const perSecond = (side: Side) => capacity[side].tokensPerSecond / NEW_TOKENS;
    const rate = rounded(POISSON_SHARE * Math.min(...SIDES.map(perSecond)));
    const taken = async (name: string, round: number, work: (port: number) => Promise<Load>) => {
      const pair = await onBoth(round, work);
      pairs.set(name, [...(pairs.get(name) ?? []), pair]);
      console.error(round, name, JSON.stringify(pair));
    };
    for (let round = 1; round <= rounds; round += 1) {
      for (const load of CLOSED) {
        await taken(`clients${load.clients}`, round, (port) => closed(port, load, round));
      }
      await taken('poisson', round, (port) => poisson(port, rate, round));
    }
    return {
      unit: `greedy, ${NEW_TOKENS} new tokens, one thread, ${SLOTS} slots of ${CONTEXT_TOKENS} tokens, ${rounds} rounds; ratios are Sluice / peer, round by round`,
      model: modelIn(file),
      peer: `llama.cpp's own server, xllamacpp ${XLLAMACPP}`,
      poissonLoad: {
        requests: POISSON_REQUESTS,
        requestsPerSecond: rate,
        capacityPerSecond: {
          sluice: rounded(perSecond('sluice')),
          llamaServer: rounded(perSecond('llamaServer')),
        },
      },
      ...Object.fromEntries([...pairs].map(([name, taken]) => [name, summary(taken)])),
    };
  } finally {
    await peer.stop();
    await sluice.stop();
  }
}

/** One system message for all of a load, and a question of its own for each request. */
function closed(port: number, { clients, chatsEach }: (typeof CLOSED)[number], round: number): Promise<Load> {
  const first = round * 1_000 + clients * 50;
  const chats = Array.from({ length: clients }, (_, client) =>
    Array.from({ length: chatsEach }, (_, index) =>
      chat(SHARED_TOKENS, round * 100 + clients, first + client * chatsEach + index, NEW_TOKENS),
    ),
  );
  return closedLoop(port, chats);
}

function poisson(port: number, rate: number, round: number): Promise<Load> {
  const chats = Array.from({ length: POISSON_REQUESTS }, (_, index) =>
    chat(SHARED_TOKENS, round * 100 + 99, round * 1_000 + 900 + index, NEW_TOKENS),
  );
  return openLoop(port, poissonArrivals(round, rate, chats));
}

function summary(pairs: readonly Pair[]): object {
  const of = (side: Side) => ({
    ...Object.fromEntries(COUNTS.map((key) => [key, spreadOf(pairs.map((pair) => pair[side][key])).median])),
    fewestNewTokens: Math.min(...pairs.map((pair) => pair[side].fewestNewTokens)),
    ...Object.fromEntries(
      MEASURES.map((key) => [
        key,
        spreadOf(
          pairs.map((pair) => pair[side][key]),
          1,
        ),
      ]),
    ),
  });
  const ratios = MEASURES.map((key) => [
    key,
    spreadOf(
      pairs.map(({ sluice, llamaServer }) => sluice[key] / llamaServer[key]),
      2,
    ),
  ]);
  return { sluice: of('sluice'), llamaServer: of('llamaServer'), ratios: Object.fromEntries(ratios) };
}

type Drawn = Readonly<
  Record<string, Readonly<Record<Side, Readonly<Record<(typeof MEASURES)[number], Spread>>>>>
>;

export function draw(figures: Drawn): string {
  const panel = (title: string, yLabel: string, measure: (typeof MEASURES)[number]): Panel => ({
    title,
    yLabel,
    xLabel: 'clients (closed loop)',
    x: CLOSED.map(({ clients }) => clients),
    series: (['sluice', 'llamaServer'] as const).map((side) => ({
      name: side === 'sluice' ? 'Sluice' : "llama.cpp's server",
      values: CLOSED.map(({ clients }) => figures[`clients${clients}`]![side][measure]),
    })),
  });
  return plot("Sluice beside llama.cpp's own server, one thread, 8 slots", [
    panel('Speed', 'tokens/s', 'tokensPerSecond'),
    panel('First token, P50', 'ms', 'firstP50Ms'),
    panel('First token, P99', 'ms', 'firstP99Ms'),
    panel('Longest silence within an answer', 'ms', 'longestGapMs'),
    panel('Whole answer, P99', 'ms', 'totalP99Ms'),
  ]);
}
