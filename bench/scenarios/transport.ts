// What the gateway costs in front of another server: CPU a streamed chunk and a JSON request, the delay of a chunk,
// memory, and how fast a client's leaving is passed on. Beside it, in turns: vllm-router, nginx, and a bare proxy on Node.
// The upstream is a fake one. Keys, ids, metrics and logs are on. SLUICE_BENCH_LITELLM=1 adds LiteLLM, for scale.

import { type Panel, plot } from '../../gateway/src/figures/plot.ts';
import { median, rounded, type Spread, spreadOf } from '../../gateway/src/figures/statistics.ts';
import { Clients } from '../clients.ts';
import { LITELLM, startLiteLlm } from '../peers/litellm.ts';
import { findNginx, startNginx } from '../peers/nginx.ts';
import { type Program, startBenchProgram } from '../peers/program.ts';
import { startVllmRouter, VLLM_ROUTER } from '../peers/vllm-router.ts';
import {
  ARTICLE,
  CALM_STREAMS,
  CHAT,
  FEW_STREAMS,
  JSON_CONNECTIONS,
  type LoadSize,
  type Sample,
  STREAMS,
  takeLeavings,
  takeSample,
  type Way,
} from '../relay-load.ts';
import { startSluice } from '../servers.ts';
import { EVENTS, HOLD_MS, PHASES, type Phase, STEP_MS } from '../upstream-words.ts';

/** Many and short, since what else the machine does comes and goes within seconds: a ratio of one round is off by a fifth. */
const ROUNDS = 40;
/** Large enough that the kernel's tick of 10 ms is some hundredths of what is measured; chance evens it out over the rounds. */
const SIZE: LoadSize = { streamLoads: 1, jsonRequests: 2_000 };
const LEAVINGS = 20;
const WARMING = 8;
const LITELLM_ROUNDS = 3;
const LITELLM_SIZE: LoadSize = { streamLoads: 1, jsonRequests: 640 };
/** Each that is never noticed takes seconds. */
const LITELLM_LEAVINGS = 5;
/** What Sluice is compared with, within each round. */
const PEERS = ['vllm-router', 'nginx', 'bare'];
const OURS = ['sluice', 'article'];
const WANTED_RATIO = 1;

interface Figures {
  readonly chunkMicros: Spread;
  readonly calmChunkMicros: Spread;
  readonly requestMicros: Spread;
  readonly rssMiB: Spread;
  readonly addedToChunkMs: Tails;
  readonly ageOfChunkUnderLoadMs: Tails;
  readonly textsPerRead: Spread;
  readonly calmTextsPerRead: Spread;
  readonly jsonMs: Tails;
  readonly leavingMs: Readonly<Record<Phase, Leaving>>;
}

interface Tails {
  readonly p50: Spread;
  readonly p99: Spread;
}

/** One that was not noticed before the answer's end counts as the time for which the answer was held. */
interface Leaving {
  readonly median: number;
  readonly worst: number;
  readonly notNoticed: number;
}

interface Ratio {
  readonly of: string;
  readonly to: string;
  readonly chunk: object;
  readonly calmChunk: object;
  readonly request: object;
}

export async function run(rounds = ROUNDS): Promise<object> {
  const nginxVersion = findNginx().version;
  const started: { stop(): void | Promise<void> }[] = [];
  const up = <T extends { stop(): void | Promise<void> }>(server: T): T => {
    started.push(server);
    return server;
  };
  try {
    const clients = up(new Clients());
    const upstream = up(await startBenchProgram('fake-upstream'));
    const url = `http://127.0.0.1:${upstream.port}`;
    const sluice = up(
      await startSluice({
        log_level: 'info',
        backends: [{ id: 'up', url: `${url}/v1`, kind: 'generic', slots: 10_000 }],
      }),
    );
    const ways: Way[] = [
      { name: 'sluice', server: sluice, wording: CHAT },
      { name: 'article', server: sluice, wording: ARTICLE },
      { name: 'vllm-router', server: up(await startVllmRouter(url)), wording: CHAT },
      { name: 'nginx', server: up(await startNginx(`127.0.0.1:${upstream.port}`)), wording: CHAT },
      { name: 'bare', server: up(await startBenchProgram('bare-proxy', upstream.port)), wording: CHAT },
    ];
    const direct: Way = { name: 'direct', server: upstream, wording: CHAT };
    const samples = await takeRounds(clients, [...ways, direct], rounds, SIZE);
    const figures: Record<string, Figures> = {};
    for (const way of ways)
      figures[way.name] = {
        ...figuresOf(samples.of(way.name), samples.of('direct')),
        leavingMs: await leavingsOf(clients, way, upstream, LEAVINGS),
      };
    const litellm =
      process.env.SLUICE_BENCH_LITELLM === '1' ? await forScale(clients, upstream, direct, up) : undefined;
    return {
      unit: `CPU (user and system) of all processes of a server; ${rounds} rounds`,
      stream: `${STREAMS} streams of ${EVENTS} events, one each ${STEP_MS} ms; calm: ${CALM_STREAMS}`,
      json: `${SIZE.jsonRequests} requests over ${JSON_CONNECTIONS} connections`,
      added: `to a text on its way, over the same without a gateway; ${FEW_STREAMS} streams`,
      wantedRatio: WANTED_RATIO,
      peers: { vllmRouter: VLLM_ROUTER, nginx: nginxVersion, ...(litellm && { litellm: LITELLM }) },
      ratios: OURS.flatMap((ours) => PEERS.map((peer) => ratioOf(samples, ours, peer))),
      ways: { ...figures, ...(litellm && { litellm }) },
    };
  } finally {
    for (const server of started) await server.stop();
  }
}

class Samples {
  readonly #byName = new Map<string, Sample[]>();

  add(name: string, sample: Sample): void {
    this.#byName.set(name, [...(this.#byName.get(name) ?? []), sample]);
  }

  /** One for each round, in order. */
  of(name: string): readonly Sample[] {
    return this.#byName.get(name) ?? [];
  }
}

/** Each way once in every round; another begins each time, so that none always follows the same one. */
async function takeRounds(
  clients: Clients,
  ways: readonly Way[],
  rounds: number,
  size: LoadSize,
): Promise<Samples> {
  for (let time = 0; time < WARMING; time += 1)
    for (const way of ways) await takeSample(clients, way, { ...size, streamLoads: 1 });
  const samples = new Samples();
  for (let round = 0; round < rounds; round += 1)
    for (let turn = 0; turn < ways.length; turn += 1) {
      const way = ways[(round + turn) % ways.length]!;
      samples.add(way.name, await takeSample(clients, way, size));
    }
  return samples;
}

async function forScale(
  clients: Clients,
  upstream: Program,
  direct: Way,
  up: (server: Program) => Program,
): Promise<Figures> {
  const server = up(await startLiteLlm(`http://127.0.0.1:${upstream.port}`));
  const way: Way = { name: 'litellm', server, wording: CHAT };
  const samples = await takeRounds(clients, [way, direct], LITELLM_ROUNDS, LITELLM_SIZE);
  return {
    ...figuresOf(samples.of(way.name), samples.of(direct.name)),
    leavingMs: await leavingsOf(clients, way, upstream, LITELLM_LEAVINGS),
  };
}

function figuresOf(samples: readonly Sample[], direct: readonly Sample[]): Omit<Figures, 'leavingMs'> {
  const spread = (pick: (one: Sample) => number, digits: number) => spreadOf(samples.map(pick), digits);
  const added = (pick: (one: Sample) => number) =>
    spreadOf(
      samples.map((one, round) => pick(one) - pick(direct[round]!)),
      2,
    );
  return {
    chunkMicros: spread((one) => one.chunkMicros, 1),
    calmChunkMicros: spread((one) => one.calmChunkMicros, 1),
    requestMicros: spread((one) => one.requestMicros, 1),
    rssMiB: spread((one) => one.rssMiB, 0),
    addedToChunkMs: { p50: added((one) => one.fewAgeMs.p50), p99: added((one) => one.fewAgeMs.p99) },
    ageOfChunkUnderLoadMs: {
      p50: spread((one) => one.manyAgeMs.p50, 1),
      p99: spread((one) => one.manyAgeMs.p99, 1),
    },
    textsPerRead: spread((one) => one.textsPerRead, 2),
    calmTextsPerRead: spread((one) => one.calmTextsPerRead, 2),
    jsonMs: { p50: spread((one) => one.jsonMs.p50, 1), p99: spread((one) => one.jsonMs.p99, 1) },
  };
}

async function leavingsOf(
  clients: Clients,
  way: Way,
  upstream: Program,
  times: number,
): Promise<Record<Phase, Leaving>> {
  const leavings: [Phase, Leaving][] = [];
  for (const phase of PHASES) {
    const taken = await takeLeavings(clients, way, phase, times, upstream.port);
    const all = taken.map((ms) => ms ?? HOLD_MS);
    const notNoticed = taken.filter((ms) => ms === null).length;
    leavings.push([
      phase,
      { median: rounded(median(all), 1), worst: rounded(Math.max(...all), 1), notNoticed },
    ]);
  }
  return Object.fromEntries(leavings) as Record<Phase, Leaving>;
}

function ratioOf(samples: Samples, ours: string, peer: string): Ratio {
  const peers = samples.of(peer);
  const ratio = (pick: (one: Sample) => number) => {
    const all = samples.of(ours).map((one, round) => rounded(pick(one) / pick(peers[round]!)));
    return { median: rounded(median(all)), all };
  };
  return {
    of: ours,
    to: peer,
    chunk: ratio((one) => one.chunkMicros),
    calmChunk: ratio((one) => one.calmChunkMicros),
    request: ratio((one) => one.requestMicros),
  };
}

export function draw({ ways }: { ways: Readonly<Record<string, Figures>> }): string {
  const shown = [...OURS, ...PEERS].map((name) => ({ name, ...ways[name]! }));
  const columns = (title: string, yLabel: string, pick: (figures: Figures) => Spread): Panel => ({
    title,
    xLabel: 'sluice and article: its chat route and its article route',
    yLabel,
    x: shown.map(({ name }) => name),
    series: [{ name: 'median, least to most of the rounds', values: shown.map(pick) }],
    isColumns: true,
  });
  const leaving: Panel = {
    title: "A client's leaving reaches the upstream",
    xLabel: 'before a token, between two, a plain answer; line: the worst',
    yLabel: 'ms',
    x: PHASES,
    series: shown
      .filter(({ name }) => name !== 'article')
      .map(({ name, leavingMs }) => ({
        name,
        values: PHASES.map((phase) => {
          const { median, worst } = leavingMs[phase];
          return { median, least: median, most: worst };
        }),
      })),
    isColumns: true,
  };
  return plot('In front of another server', [
    columns('CPU of a streamed chunk', 'µs', ({ chunkMicros }) => chunkMicros),
    columns(
      `The same with ${CALM_STREAMS} streams instead of ${STREAMS}`,
      'µs',
      ({ calmChunkMicros }) => calmChunkMicros,
    ),
    columns('CPU of a JSON request', 'µs', ({ requestMicros }) => requestMicros),
    columns('Delay added to a chunk, P50', 'ms', ({ addedToChunkMs }) => addedToChunkMs.p50),
    columns('Memory under load', 'MiB', ({ rssMiB }) => rssMiB),
    leaving,
  ]);
}
