// What streams cost that can be resumed: memory of idle ones, read or not; the first byte for who comes again; CPU of a chunk beside
// a stream that is tied to its connection. Scripted words, no model.
import { connect } from 'node:net';
import { median, quantile, rounded } from '../../gateway/src/figures/statistics.ts';
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
import { KEY, startSluice } from '../servers.ts';

const ROUNDS = 5;
const MEMORY_ROUNDS = 3;
const IDLE = 500;
/** Before memory is looked at: what is resident once stays so. */
const WARM = 50;
/** Words that an idle stream has said. */
const SAID = [1, 200];
const RESUMES = 300;
const STREAMS = 200;
const SILENCE_LIMIT_MS = 10_000;
const KEEPS = { resume_grace_ms: 3_600_000 };
const pieces = scriptedPieces(PIECES);

export async function run(rounds?: number): Promise<object> {
  const clients = new Clients();
  try {
    const memory: object[] = [];
    for (const said of SAID) memory.push(await idleMemory(clients, said, rounds));
    return { memory, firstByte: await firstByte(rounds), chunk: await chunkCost(clients, rounds) };
  } finally {
    clients.stop();
  }
}

/** Of the server's process, beyond what it had before, with all clients there and when all have gone. */
async function idleMemory(clients: Clients, said: number, rounds = MEMORY_ROUNDS): Promise<object> {
  const samples: { open: number; left: number; tied: number }[] = [];
  const words = Array.from({ length: said + 1 }, (_, index) => pieces[index % PIECES]!);
  for (let round = 0; round < rounds; round += 1) {
    const settings = scriptedServer({ pieces: words, stall_after: said, token_ms: 1 }, KEEPS);
    const grown = async (headers: Readonly<Record<string, string>>, andLeave: boolean) => {
      const target = await startSluice(settings);
      try {
        const open = (count: number) =>
          clients.send({ ...streamOrder(target, 'open', count, headers), afterLines: said });
        const close = () => clients.send(streamOrder(target, 'close', 0, headers));
        await open(WARM);
        const before = await target.settledRss();
        await open(IDLE);
        const during = (await target.settledRss()) - before;
        await close();
        const after = andLeave ? (await target.settledRss()) - before : 0;
        return { during: during / 2 ** 20, after: after / 2 ** 20 };
      } finally {
        await target.stop();
      }
    };
    const kept = await grown(RESUMABLE, true);
    const tied = await grown({}, false);
    samples.push({ open: kept.during, left: kept.after, tied: tied.during });
  }
  const middle = (pick: (sample: (typeof samples)[number]) => number) =>
    rounded(median(samples.map(pick)), 1);
  return {
    unit: `MiB RSS that ${IDLE} idle streams add, each of ${said} events`,
    resumable: middle(({ open }) => open),
    resumableWithoutReaders: middle(({ left }) => left),
    notResumable: middle(({ tied }) => tied),
  };
}

/** From the client's connecting to the first byte of the body: of an answer that has ended, from its middle on. */
async function firstByte(rounds = 1): Promise<object> {
  const target = await startSluice(scriptedServer({ pieces, token_ms: 1 }, KEEPS));
  try {
    const asked = await fetch(`http://127.0.0.1:${target.port}${STREAM_PATH}`, {
      method: 'POST',
      body: REQUEST,
      headers: { 'content-type': 'application/json', authorization: `Bearer ${KEY}`, ...RESUMABLE },
    });
    await asked.text();
    const stream = asked.headers.get('x-sluice-stream')!;
    const times: number[] = [];
    for (let one = 0; one < RESUMES * rounds; one += 1) times.push(await resumeMs(target.port, stream));
    return {
      unit: `ms, ${times.length} resumes one after the other, each on a new connection`,
      p50: rounded(quantile(times, 0.5), 2),
      p99: rounded(quantile(times, 0.99), 2),
      worst: rounded(Math.max(...times), 2),
    };
  } finally {
    await target.stop();
  }
}

function resumeMs(port: number, stream: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const startedAt = performance.now();
    let received = '';
    const socket = connect(port, '127.0.0.1', () =>
      socket.write(
        `GET /v1/streams/${stream} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${KEY}\r\n` +
          `Last-Event-ID: ${stream}:${PIECES / 2}\r\n\r\n`,
      ),
    );
    socket.setTimeout(SILENCE_LIMIT_MS, () => socket.destroy(new Error('A silence too long.')));
    socket.on('error', reject);
    socket.on('data', (bytes) => {
      received += bytes.toString('latin1');
      if (!received.includes(`{"event_id":"${stream}:${PIECES / 2 + 1}"`)) return;
      resolve(performance.now() - startedAt);
      socket.destroy();
    });
    socket.on('close', () => reject(new Error(`Not resumed: ${received.slice(0, 300)}`)));
  });
}

/** Both kinds of streams on one server, in turns. */
async function chunkCost(clients: Clients, rounds = ROUNDS): Promise<object> {
  const target = await startSluice(scriptedServer({ pieces }, KEEPS));
  try {
    const cost = async (headers: Readonly<Record<string, string>>) => {
      const before = target.cpuSeconds();
      const { lines } = await clients.send(streamOrder(target, 'stream', STREAMS, headers));
      return ((target.cpuSeconds() - before) * 1e6) / lines;
    };
    await cost(RESUMABLE);
    await cost({});
    const samples: { resumable: number; tied: number }[] = [];
    for (let round = 0; round < rounds; round += 1) {
      samples.push({ resumable: await cost(RESUMABLE), tied: await cost({}) });
    }
    return {
      unit: `µs CPU a chunk, ${STREAMS} streams of ${PIECES} pieces`,
      resumable: rounded(median(samples.map(({ resumable }) => resumable))),
      notResumable: rounded(median(samples.map(({ tied }) => tied))),
      ratio: rounded(median(samples.map(({ resumable, tied }) => resumable / tied))),
      ratios: samples.map(({ resumable, tied }) => rounded(resumable / tied)),
    };
  } finally {
    await target.stop();
  }
}
