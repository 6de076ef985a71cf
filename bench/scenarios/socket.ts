// What sockets cost: memory of idle ones beside idle streams over HTTP, and CPU of a chunk: on one socket for all calls, on one for
// each, and over HTTP. Scripted words, no model.
import { median, rounded } from '../../gateway/src/figures/statistics.ts';
import { Clients } from '../clients.ts';
import { REQUEST } from '../recording.ts';
import {
  PIECES,
  RESUMABLE,
  STREAM_PATH,
  scriptedPieces,
  scriptedServer,
  streamOrder,
} from '../scripted-streams.ts';
import { KEY, startSluice, type Target } from '../servers.ts';

const ROUNDS = 5;
const MEMORY_ROUNDS = 3;
const IDLE = 500;
/** Before memory is looked at: what is resident once stays so. */
const WARM = 50;
const CALLS = 200;
const pieces = scriptedPieces(PIECES);

export async function run(rounds?: number): Promise<object> {
  const clients = new Clients();
  try {
    return { memory: await idleMemory(clients, rounds), chunk: await chunkCost(clients, rounds) };
  } finally {
    clients.stop();
  }
}

/** Of the server's process, beyond what it had before. A stream has said one word. */
async function idleMemory(clients: Clients, rounds = MEMORY_ROUNDS): Promise<object> {
  const settings = scriptedServer({ pieces: pieces.slice(0, 2), stall_after: 1, token_ms: 1 });
  const sockets: number[] = [];
  const streams: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    sockets.push(await grown(settings, openSockets));
    streams.push(
      await grown(settings, async (target, count) => {
        await clients.send(streamOrder(target, 'open', count, RESUMABLE));
        return () => clients.send(streamOrder(target, 'close', 0, {}));
      }),
    );
  }
  return {
    unit: `MiB RSS that ${IDLE} idle ones add`,
    sockets: rounded(median(sockets), 1),
    resumableStreams: rounded(median(streams), 1),
  };
}

/** `open` resolves with what closes them. */
async function grown(
  settings: object,
  open: (target: Target, count: number) => Promise<() => unknown>,
): Promise<number> {
  const target = await startSluice(settings);
  try {
    const closeWarm = await open(target, WARM);
    const before = await target.settledRss();
    const close = await open(target, IDLE);
    const during = (await target.settledRss()) - before;
    await closeWarm();
    await close();
    return during / 2 ** 20;
  } finally {
    await target.stop();
  }
}

/** On one server, in turns. */
async function chunkCost(clients: Clients, rounds = ROUNDS): Promise<object> {
  const target = await startSluice(scriptedServer({ pieces }));
  try {
    const cost = async (stream: () => Promise<unknown>) => {
      const before = target.cpuSeconds();
      await stream();
      return ((target.cpuSeconds() - before) * 1e6) / (CALLS * PIECES);
    };
    const overHttp = (headers: Readonly<Record<string, string>>) => () =>
      clients.send(streamOrder(target, 'stream', CALLS, headers));
    const ways = {
      oneSocket: () => callOn(target, 1),
      aSocketEach: () => callOn(target, CALLS),
      http: overHttp({}),
      httpResumable: overHttp(RESUMABLE),
    };
    const names = Object.keys(ways) as (keyof typeof ways)[];
    for (const name of names) await cost(ways[name]);
    const samples: Record<keyof typeof ways, number>[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const sample = { oneSocket: 0, aSocketEach: 0, http: 0, httpResumable: 0 };
      for (const name of names) sample[name] = await cost(ways[name]);
      samples.push(sample);
    }
    const middles = names.map((name) => [name, rounded(median(samples.map((one) => one[name])))]);
    return {
      unit: `µs CPU a chunk, ${CALLS} streams of ${PIECES} pieces`,
      ...Object.fromEntries(middles),
      oneSocketToHttp: samples.map(({ oneSocket, http }) => rounded(oneSocket / http)),
      aSocketEachToHttp: samples.map(({ aSocketEach, http }) => rounded(aSocketEach / http)),
    };
  } finally {
    await target.stop();
  }
}

async function openSockets(target: Target, count: number): Promise<() => void> {
  const sockets = await Promise.all(Array.from({ length: count }, () => openSocket(target)));
  return () => {
    for (const socket of sockets) socket.close();
  };
}

function openSocket({ port }: Target): Promise<WebSocket> {
  const key = `key.${Buffer.from(KEY).toString('base64url')}`;
  const socket = new WebSocket(`ws://127.0.0.1:${port}/v1/socket`, ['sluice.v1', key]);
  return new Promise((resolve, reject) => {
    socket.onopen = () => resolve(socket);
    socket.onclose = () => reject(new Error('A socket was closed.'));
  });
}

/** All calls, shared among as many sockets; resolves when all have ended, and rejects where one failed or is not whole. */
async function callOn(target: Target, count: number): Promise<void> {
  const sockets = await Promise.all(Array.from({ length: count }, () => openSocket(target)));
  const body: unknown = JSON.parse(REQUEST);
  let events = 0;
  await Promise.all(
    sockets.map(
      (socket) =>
        new Promise<void>((resolve, reject) => {
          let left = CALLS / count;
          socket.onclose = () => reject(new Error('A socket was closed.'));
          socket.onmessage = ({ data }) => {
            // Their kind is all that is looked at: to read each would take the core that the server needs.
            const text = String(data);
            if (text.startsWith('{"type":"event"')) events += 1;
            else if (text.startsWith('{"type":"error"')) reject(new Error(text));
            else if (text.startsWith('{"type":"end"') && --left === 0) resolve();
          };
          for (let call = 0; call < CALLS / count; call += 1) {
            socket.send(JSON.stringify({ type: 'call', id: `${call}`, route: STREAM_PATH, body }));
          }
        }),
    ),
  );
  for (const socket of sockets) {
    socket.onclose = null;
    socket.close();
  }
  if (events < CALLS * PIECES) throw new Error(`Of ${CALLS * PIECES} chunks ${events} came.`);
}
