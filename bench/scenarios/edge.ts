// What the gateway itself costs, on scripted words: CPU a streamed chunk, CPU a JSON request, memory an open stream,
// each beside a bare node:http server that writes the same bytes. Keys, ids, metrics and logs are on.

import { median, rounded } from '../../gateway/src/figures/statistics.ts';
import { Clients } from '../clients.ts';
import { REQUEST, record } from '../recording.ts';
import { KEY, startBare, startSluice, type Target } from '../servers.ts';

const ROUNDS = 5;
const MEMORY_ROUNDS = 3;
const STREAMS = 200;
const PIECES = 150;
const STEP_MS = 20;
const JSON_REQUESTS = 4_000;
const JSON_CONNECTIONS = 16;
const FEW = 500;
const MANY = 4_000;

const streamPath = '/v1/models/deepseek-r1/generate_stream';
const jsonPath = '/v1/models/deepseek-r1/generate';

export async function run(rounds?: number): Promise<object> {
  const clients = new Clients();
  try {
    const chunk = await compareChunks(clients, rounds);
    const json = await compareJson(clients, rounds);
    const memory = await compareMemory(clients, rounds);
    return { chunk, json, memory };
  } finally {
    clients.stop();
  }
}

function fake(overrides: object): object {
  return {
    log_level: 'info',
    backends: [{ kind: 'fake', slots: 10_000, first_token_ms: 0, token_ms: STEP_MS, ...overrides }],
  };
}

async function withBoth<T>(
  config: object,
  stepMs: number,
  stallAfter: number | undefined,
  work: (sluice: Target, bare: Target) => Promise<T>,
): Promise<T> {
  const sluice = await startSluice(config);
  try {
    const bare = await startBare(await record(sluice, stepMs, stallAfter));
    try {
      return await work(sluice, bare);
    } finally {
      await bare.stop();
    }
  } finally {
    await sluice.stop();
  }
}

async function compareChunks(clients: Clients, rounds = ROUNDS): Promise<object> {
  const pieces = Array.from(
    { length: PIECES },
    (_, index) => ['量子', ' computing', '，', ' bits'][index % 4]!,
  );
  const cost = async (target: Target) => {
    const before = target.cpuSeconds();
    const { lines } = await clients.send(order(target, 'stream', STREAMS, streamPath));
    return ((target.cpuSeconds() - before) * 1e6) / lines;
  };
  return withBoth(fake({ pieces }), STEP_MS, undefined, (sluice, bare) =>
    paired(sluice, bare, cost, rounds, `µs CPU a chunk, ${STREAMS} streams of ${PIECES} pieces`),
  );
}

async function compareJson(clients: Clients, rounds = ROUNDS): Promise<object> {
  const cost = async (target: Target) => {
    const before = target.cpuSeconds();
    const { requests } = await clients.send({
      ...order(target, 'json', JSON_CONNECTIONS, jsonPath),
      total: JSON_REQUESTS,
    });
    return ((target.cpuSeconds() - before) * 1e6) / requests;
  };
  const config = fake({ pieces: ['A short answer in one piece.'], token_ms: 1 });
  return withBoth(config, 1, undefined, (sluice, bare) =>
    paired(
      sluice,
      bare,
      cost,
      rounds,
      `µs CPU a JSON request, ${JSON_REQUESTS} over ${JSON_CONNECTIONS} connections`,
    ),
  );
}

async function compareMemory(clients: Clients, rounds = MEMORY_ROUNDS): Promise<object> {
  const config = fake({ pieces: ['one ', 'two ', 'three '], stall_after: 1 });
  const slope = async (target: Target) => {
    await clients.send(order(target, 'open', FEW, streamPath));
    const few = await target.settledRss();
    await clients.send(order(target, 'open', MANY - FEW, streamPath));
    const many = await target.settledRss();
    await clients.send(order(target, 'close', 0, streamPath));
    return (many - few) / (MANY - FEW) / 1024;
  };
  const samples: { sluice: number; bare: number }[] = [];
  // A new pair each time: what was once resident stays so, and a second slope would start on the first one's hill.
  for (let round = 0; round < rounds; round += 1) {
    samples.push(
      await withBoth(config, STEP_MS, 1, async (sluice, bare) => ({
        sluice: await slope(sluice),
        bare: await slope(bare),
      })),
    );
  }
  return summary(samples, `KiB RSS an open stream, from ${FEW} to ${MANY}`);
}

async function paired(
  sluice: Target,
  bare: Target,
  cost: (target: Target) => Promise<number>,
  rounds: number,
  unit: string,
): Promise<object> {
  await cost(sluice);
  await cost(bare);
  const samples: { sluice: number; bare: number }[] = [];
  for (let round = 0; round < rounds; round += 1) {
    samples.push({ sluice: await cost(sluice), bare: await cost(bare) });
  }
  return summary(samples, unit);
}

function summary(samples: readonly { sluice: number; bare: number }[], unit: string): object {
  return {
    unit,
    sluice: rounded(median(samples.map((sample) => sample.sluice))),
    bare: rounded(median(samples.map((sample) => sample.bare))),
    ratio: rounded(median(samples.map((sample) => sample.sluice / sample.bare))),
    ratios: samples.map((sample) => rounded(sample.sluice / sample.bare)),
  };
}

function order(target: Target, kind: 'stream' | 'open' | 'json' | 'close', count: number, path: string) {
  return { kind, port: target.port, count, path, body: REQUEST, key: KEY };
}
