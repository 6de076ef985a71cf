// What it costs to pass answers on: one way through one server, loaded in a fixed manner, its processes watched by the
// kernel's figures. It must never count a load of which a single text was lost.
import { setTimeout as sleep } from 'node:timers/promises';
import { quantile } from '../gateway/src/figures/statistics.ts';
import type { Tally } from './client-process.ts';
import type { Clients } from './clients.ts';
import { rssOfTree, runSecondsOfTree } from './process-cost.ts';
import { KEY } from './servers.ts';
import {
  type Ending,
  EVENTS,
  HOLD_MS,
  holdMark,
  MODEL,
  monotonicMs,
  PHASES,
  type Phase,
  TEXTS,
} from './upstream-words.ts';

/** How requests are worded, and where they go. */
export interface Wording {
  readonly streamPath: string;
  readonly jsonPath: string;
  readonly body: (prompt: string, stream: boolean) => string;
}

/** One way from a client to the upstream. */
export interface Way {
  readonly name: string;
  readonly server: { readonly port: number; readonly pid: number };
  readonly wording: Wording;
}

export interface LoadSize {
  /** Loads of 200 streams in one sample. */
  readonly streamLoads: number;
  /** JSON requests in one sample. */
  readonly jsonRequests: number;
}

interface Tail {
  readonly p50: number;
  readonly p99: number;
}

export interface Sample {
  /** User and system time for one event of a stream; the requests themselves are in it. */
  readonly chunkMicros: number;
  /** The same where no server falls behind, on a slow machine either: with fewer streams. */
  readonly calmChunkMicros: number;
  readonly requestMicros: number;
  /** The most that was seen while streams ran. */
  readonly rssMiB: number;
  /** Of a text, from the upstream's writing to the client's reading, with few streams. */
  readonly fewAgeMs: Tail;
  /** The same with all of them. */
  readonly manyAgeMs: Tail;
  /** Near 1 unless a server falls behind, which makes its chunks cheaper. */
  readonly textsPerRead: number;
  readonly calmTextsPerRead: number;
  readonly jsonMs: Tail;
}

export const STREAMS = 200;
export const CALM_STREAMS = 80;
export const FEW_STREAMS = 8;
export const JSON_CONNECTIONS = 32;
/** To look at memory goes through all processes, on cores that the load needs: once, as a load is well under way. */
const WATCH_EVERY_MS = 250;
/** What is left to do after the last byte was read, such as closing sockets, belongs to the load. */
const SETTLE_MS = 30;
const ASK_EVERY_MS = 10;
const TEXTS_BEFORE_LEAVING = 5;
const PROMPT = '请用三句话介绍量子计算。 '.repeat(20);

export const CHAT: Wording = {
  streamPath: '/v1/chat/completions',
  jsonPath: '/v1/chat/completions',
  body: (prompt, stream) =>
    JSON.stringify({
      model: MODEL,
      messages: [{ role: 'user', content: prompt }],
      max_tokens: 2048,
      temperature: 0.6,
      stream,
    }),
};

export const ARTICLE: Wording = {
  streamPath: `/v1/models/${MODEL}/generate_stream`,
  jsonPath: `/v1/models/${MODEL}/generate`,
  body: (prompt) => JSON.stringify({ prompt, max_tokens: 2048, temperature: 0.6 }),
};

/** Throws if a text or an answer was lost. */
export async function takeSample(clients: Clients, way: Way, size: LoadSize): Promise<Sample> {
  const { pid } = way.server;
  // Its connections to the upstream, closed while the others had their turn, are opened by a load that does not count.
  await streams(clients, way, STREAMS);
  const manyAges: number[] = [];
  let reads = 0;
  let mostBytes = 0;
  const watch = setInterval(() => {
    mostBytes = Math.max(mostBytes, rssOfTree(pid));
  }, WATCH_EVERY_MS);
  const streamSeconds = await secondsOf(pid, async () => {
    for (let load = 0; load < size.streamLoads; load += 1) {
      const { agesMs, gapsMs } = await streams(clients, way, STREAMS);
      for (const age of agesMs) manyAges.push(age);
      // The first read of each stream has no gap before it.
      reads += gapsMs.length + STREAMS;
    }
  }).finally(() => clearInterval(watch));
  let calmReads = CALM_STREAMS;
  const calmSeconds = await secondsOf(pid, async () => {
    calmReads += (await streams(clients, way, CALM_STREAMS)).gapsMs.length;
  });
  const few = await streams(clients, way, FEW_STREAMS);
  let totalsMs: readonly number[] = [];
  const jsonSeconds = await secondsOf(pid, async () => {
    totalsMs = await jsonTimes(clients, way, size.jsonRequests);
  });
  return {
    chunkMicros: (streamSeconds * 1e6) / (size.streamLoads * STREAMS * EVENTS),
    calmChunkMicros: (calmSeconds * 1e6) / (CALM_STREAMS * EVENTS),
    requestMicros: (jsonSeconds * 1e6) / totalsMs.length,
    rssMiB: mostBytes / 2 ** 20,
    fewAgeMs: tailOf(few.agesMs),
    manyAgeMs: tailOf(manyAges),
    textsPerRead: (size.streamLoads * STREAMS * TEXTS) / reads,
    calmTextsPerRead: (CALM_STREAMS * TEXTS) / calmReads,
    jsonMs: tailOf(totalsMs),
  };
}

/**
 * From a client's leaving to the upstream's seeing its socket close, in ms, `times` times, one after the other; null where
 * it did not see it before the answer's end.
 */
export async function takeLeavings(
  clients: Clients,
  way: Way,
  phase: Phase,
  times: number,
  upstreamPort: number,
): Promise<(number | null)[]> {
  const taken: (number | null)[] = [];
  const isStream = phase !== 'JSON';
  for (let time = 0; time < times; time += 1) {
    const { leftAtMs } = await clients.send({
      kind: 'leave',
      port: way.server.port,
      count: 1,
      key: KEY,
      path: isStream ? way.wording.streamPath : way.wording.jsonPath,
      body: way.wording.body(`${PROMPT} ${holdMark(phase)}`, isStream),
      afterTexts: phase === 'streaming' ? TEXTS_BEFORE_LEAVING : 0,
    });
    const { atMs } = await nextEnding(upstreamPort, phase);
    taken.push(atMs === null ? null : atMs - leftAtMs);
  }
  return taken;
}

/** The time that the work took of the processes, in seconds. */
async function secondsOf(pid: number, work: () => Promise<void>): Promise<number> {
  const before = runSecondsOfTree(pid);
  await work();
  await sleep(SETTLE_MS);
  return runSecondsOfTree(pid) - before;
}

async function streams(clients: Clients, { name, server, wording }: Way, count: number): Promise<Tally> {
  const tally = await clients.send({
    kind: 'stream',
    port: server.port,
    count,
    key: KEY,
    path: wording.streamPath,
    body: wording.body(PROMPT, true),
  });
  if (tally.requests !== count || tally.texts !== count * TEXTS)
    throw new Error(`${name}: of ${count} streams ${tally.requests} came, with ${tally.texts} texts.`);
  return tally;
}

async function jsonTimes(
  clients: Clients,
  { server, wording }: Way,
  total: number,
): Promise<readonly number[]> {
  const { totalsMs } = await clients.send({
    kind: 'json',
    port: server.port,
    count: JSON_CONNECTIONS,
    total,
    key: KEY,
    path: wording.jsonPath,
    body: wording.body(PROMPT, false),
  });
  return totalsMs;
}

async function nextEnding(upstreamPort: number, phase: Phase): Promise<Ending> {
  const until = monotonicMs() + 3 * HOLD_MS;
  while (monotonicMs() < until) {
    const response = await fetch(`http://127.0.0.1:${upstreamPort}/closed`);
    const endings = (await response.json()) as readonly Ending[];
    const ending = endings.find((one) => one.phase === phase);
    if (ending) return ending;
    await sleep(ASK_EVERY_MS);
  }
  throw new Error(`The upstream has seen no end of a request (${PHASES.join(', ')}: ${phase}).`);
}

function tailOf(values: readonly number[]): Tail {
  return { p50: quantile(values, 0.5), p99: quantile(values, 0.99) };
}
