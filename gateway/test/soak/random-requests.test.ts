// A thousand random requests against the real engine, with clients that leave, readers that stop and an engine that is
// killed: afterwards nothing waits, nothing runs, every slot is free, and the memory is where it was.
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  descendants,
  metric,
  post,
  rssOf,
  type Sluice,
  startSluice,
  statusOf,
  waitUntil,
} from '../e2e/harness.ts';
import { missingModel } from '../parts.ts';

const REQUESTS = 1_000;
const AT_ONCE = 24;
const KILL_EVERY = 200;
const SEED = 20_261_125;
/** What the gateway's own process may have grown by from a quarter of the way to the end. */
const MOST_GROWTH_BYTES = 48 * 2 ** 20;

test(`${REQUESTS} random requests leave nothing behind`, { skip: missingModel() }, async () => {
  const sluice = await startSluice({
    args: ['--model', process.env.SLUICE_TEST_MODEL!],
    config: { slow_reader_limit_ms: 500, log_level: 'error', engine: { batch_size: 8 } },
  });
  try {
    const random = randomNumbers(SEED);
    const tally = new Map<string, number>();
    let started = 0;
    let quarterBytes = 0;
    const lane = async () => {
      while (started < REQUESTS) {
        started += 1;
        if (started % KILL_EVERY === 0)
          for (const pid of descendants(sluice.process.pid!)) process.kill(pid, 'SIGKILL');
        if (started === REQUESTS / 4) quarterBytes = rssOf(sluice.process.pid!);
        const outcome = await one(sluice, random);
        tally.set(outcome, (tally.get(outcome) ?? 0) + 1);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, lane));
    await waitUntil(
      async () =>
        (await metric(sluice.url, 'sluice_requests_running')) === 0 &&
        (await metric(sluice.url, 'sluice_requests_waiting')) === 0,
      30_000,
      () => 'something still waits or runs',
    );
    await waitUntil(
      async () => (await statusOf(`${sluice.url}/readyz`)) === 200,
      10_000,
      () => sluice.output(),
    );
    assert.equal(await metric(sluice.url, 'sluice_slots{backend="engine"}'), 8);
    // Every slot is free in the engine too: as many answers as there are slots, at once.
    const last = await Promise.all(
      Array.from({ length: 8 }, () =>
        post(`${sluice.url}/v1/models/deepseek-r1/generate`, { prompt: 'Say hi.', max_tokens: 2 }),
      ),
    );
    for (const response of last) {
      assert.equal(response.status, 200);
      await response.arrayBuffer();
    }
    const growth = rssOf(sluice.process.pid!) - quarterBytes;
    console.log(
      `outcomes: ${JSON.stringify(Object.fromEntries(tally))}; growth ${Math.round(growth / 2 ** 20)} MiB`,
    );
    assert.ok((tally.get('answered') ?? 0) > REQUESTS / 4, 'most of those who stayed were answered');
    assert.ok(growth < MOST_GROWTH_BYTES, `the gateway grew by ${growth} bytes`);
    assert.doesNotMatch(sluice.output(), /unhandled|UnhandledPromise|"level":50/i);
  } finally {
    await sluice.stop();
  }
});

async function one(sluice: Sluice, random: () => number): Promise<string> {
  const kind = random();
  const prompt = `Question ${Math.floor(random() * 50)}: ${'why is that so? '.repeat(Math.floor(random() * 6))}`;
  const maxTokens = 1 + Math.floor(random() * 8);
  const isChat = random() < 0.5;
  const stream = random() < 0.7;
  const path = isChat ? '/v1/chat/completions' : '/v1/models/deepseek-r1/generate_stream';
  const body = isChat
    ? { model: 'deepseek-r1', stream, max_tokens: maxTokens, messages: [{ role: 'user', content: prompt }] }
    : { prompt: random() < 0.1 ? [prompt, prompt, 'and?'] : prompt, stream, max_tokens: maxTokens };
  if (kind < 0.15) return stopReading(sluice, path, body, random);
  const leaving = new AbortController();
  const timer = kind < 0.45 ? setTimeout(() => leaving.abort(), random() * 1_500) : undefined;
  try {
    const response = await post(sluice.url + path, body, { signal: leaving.signal });
    const text = await response.text();
    if (response.status !== 200) return `status ${response.status}`;
    return text.includes('"error"') ? 'broken' : 'answered';
  } catch {
    return leaving.signal.aborted ? 'left' : 'failed';
  } finally {
    clearTimeout(timer);
  }
}

/** Asks, reads nothing for a while, and goes. */
async function stopReading(
  sluice: Sluice,
  path: string,
  body: object,
  random: () => number,
): Promise<string> {
  const text = JSON.stringify(body);
  const socket = connect(sluice.port, '127.0.0.1');
  socket.on('error', () => {});
  socket.pause();
  socket.write(
    `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  );
  await sleep(random() * 1_500);
  socket.destroy();
  return 'stopped reading';
}

/** Mulberry32: the same numbers in every run, so that a failure can be seen again. */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
