// Sluice beside llama.cpp's own server: the same weights, one thread each, 8 slots, the same prompts in turns. Clients
// that ask again as soon as they are answered, and clients that come when they come (Poisson).
import { closedLoop, figuresOf, type Load, type LoadFigures, openLoop, randomFrom } from '../chat-load.ts';
import { startLlamaServer, XLLAMACPP } from '../peers/llama-server.ts';
import { modelFile, startSluice } from '../servers.ts';
import { median, rounded } from '../statistics.ts';
import { chat } from '../workload.ts';

const ROUNDS = 3;
const CLIENTS = [1, 4, 8, 16];
const CHATS_A_CLIENT = 3;
const SLOTS = 8;
const CONTEXT_TOKENS = 1024;
const SHARED_TOKENS = 300;
/** Requests a second: about 70 % of what either side does at 8 clients. */
const POISSON_RATE = 0.75;
const POISSON_REQUESTS = 40;

type Side = 'sluice' | 'llamaServer';

export async function run(): Promise<object> {
  const file = await modelFile();
  const sluice = await startSluice({
    model: file,
    log_level: 'silent',
    engine: { slots: SLOTS, threads: 1, context: CONTEXT_TOKENS },
  });
  const peer = await startLlamaServer({
    modelFile: file,
    slots: SLOTS,
    contextTokens: CONTEXT_TOKENS,
    threads: 1,
  });
  const ports: Record<Side, number> = { sluice: sluice.port, llamaServer: peer.port };
  const samples = new Map<string, Record<Side, LoadFigures>[]>();
  try {
    for (let round = 0; round <= ROUNDS; round += 1) {
      // The first round warms both up and is not counted; who begins changes, for what the other leaves in caches.
      const order: Side[] = round % 2 === 0 ? ['sluice', 'llamaServer'] : ['llamaServer', 'sluice'];
      const work: [string, (port: number) => Promise<Load>][] = CLIENTS.map((clients) => [
        `clients${clients}`,
        (port) => closed(port, clients, round),
      ]);
      work.push(['poisson', (port) => poisson(port, round)]);
      for (const [name, measure] of round === 0 ? work.slice(0, 2) : work) {
        const pair: Partial<Record<Side, LoadFigures>> = {};
        for (const side of order) pair[side] = figuresOf(await measure(ports[side]));
        if (round === 0) continue;
        samples.set(name, [...(samples.get(name) ?? []), pair as Record<Side, LoadFigures>]);
        console.error(name, JSON.stringify(pair));
      }
    }
  } finally {
    await peer.stop();
    await sluice.stop();
  }
  return {
    unit: `greedy, one thread, ${SLOTS} slots, ${CHATS_A_CLIENT} requests a client, medians of ${ROUNDS} rounds`,
    peer: `llama.cpp's own server, xllamacpp ${XLLAMACPP}`,
    poisson: `${POISSON_REQUESTS} requests at ${POISSON_RATE} a second`,
    ...Object.fromEntries([...samples].map(([name, pairs]) => [name, summary(pairs)])),
  };
}

function closed(port: number, clients: number, round: number): Promise<Load> {
  const variant = round * 100 + clients;
  const chats = Array.from({ length: clients }, (_, client) =>
    Array.from({ length: CHATS_A_CLIENT }, (_, index) =>
      chat(SHARED_TOKENS, variant, round * 1_000 + clients * 50 + client * CHATS_A_CLIENT + index),
    ),
  );
  return closedLoop(port, chats);
}

function poisson(port: number, round: number): Promise<Load> {
  const random = randomFrom(round);
  let atMs = 0;
  const arrivals = Array.from({ length: POISSON_REQUESTS }, (_, index) => {
    atMs += (-Math.log(1 - random()) / POISSON_RATE) * 1000;
    return { atMs, chat: chat(SHARED_TOKENS, round * 100 + 99, round * 1_000 + 900 + index) };
  });
  return openLoop(port, arrivals);
}

function summary(pairs: readonly Record<Side, LoadFigures>[]): object {
  const of = (side: Side) => {
    const keys = Object.keys(pairs[0]![side]) as (keyof LoadFigures)[];
    return Object.fromEntries(keys.map((key) => [key, median(pairs.map((pair) => pair[side][key]))]));
  };
  const ratios = (key: keyof LoadFigures) =>
    pairs.map((pair) => rounded(pair.sluice[key] / pair.llamaServer[key]));
  return {
    sluice: of('sluice'),
    llamaServer: of('llamaServer'),
    ratios: {
      tokensPerSecond: ratios('tokensPerSecond'),
      firstP50Ms: ratios('firstP50Ms'),
      firstP99Ms: ratios('firstP99Ms'),
      longestGapMs: ratios('longestGapMs'),
    },
  };
}
