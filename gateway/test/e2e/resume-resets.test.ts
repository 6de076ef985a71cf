// Streams whose clients are reset again and again, at random bytes, in every dialect: each client has the whole text in the end. So
// it is also while the answer loses its back end: one that fails, and processes that are killed.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { seededRandom } from '../../src/load/seeded-random.ts';
import { startInProcess } from '../in-process.ts';
import { storyOf } from '../upstream/story.ts';
import { freePort, metric, startSluice, waitUntil } from './harness.ts';
import { flawOfIds, RESUMABLE_ROUTES, type ResumableRoute, readResuming } from './resuming-client.ts';

const CLIENTS = 20;
/** Between two of a client's resets: no stream has less than twenty times as many. */
const MOST_BYTES = 1_500;
/** Of one client; what comes then it reads at once, also an event that repeats the whole text and is longer than that. */
const MOST_RESETS = 40;
const LEAST_RESETS = 200;
/** One answer gets four attempts: so many losses each can bear. */
const KILLS = 3;
const BETWEEN_KILLS_MS = 1_500;
const LIMIT_MS = 30_000;
const STORY = storyOf(150);
const TEXT = STORY.join('');
const KEY = { authorization: 'Bearer one' };
const STORY_SERVER = new URL('../upstream/story-server.ts', import.meta.url).pathname;

/** The route, asked for another model. */
function of(model: string, route: ResumableRoute): ResumableRoute {
  const body = { ...route.body, ...('model' in route.body && { model }) };
  return { ...route, path: route.path.replace('/story/', `/${model}/`), body };
}

/** Reads as many streams at once as there are clients, each of which is reset again and again. */
async function readAll(route: ResumableRoute, port: number, random: () => number) {
  const headers = { ...KEY, 'x-sluice-report': '1' };
  const name = (client: number) => `${route.path} ${client}`;
  const options = { port, headers, random, resets: MOST_RESETS, mostBytes: MOST_BYTES };
  return await Promise.all(
    Array.from({ length: CLIENTS }, (_, client) => readResuming(route, { ...options, name: name(client) })),
  );
}

function checkAll(route: ResumableRoute, read: Awaited<ReturnType<typeof readAll>>): void {
  for (const { events, text } of read) {
    assert.equal(text, TEXT);
    assert.equal(flawOfIds(events), undefined);
    assert.deepEqual(
      events.filter(({ data }) => route.isLast(data)),
      events.slice(-1),
    );
  }
  const resets = read.reduce((sum, one) => sum + one.resets, 0);
  assert.ok(resets >= LEAST_RESETS, `only ${resets} resets`);
  assert.equal(
    new Set(read.map(({ events }) => events[0]!.id)).size,
    CLIENTS,
    'each has a stream of its own',
  );
}

/** How often the answer went on, by the report in one of its last events. */
function continuedOf({ events }: Awaited<ReturnType<typeof readAll>>[number]): number {
  const report = events.slice(-3).map(({ data }) => /"continued":(\d+)/.exec(data)?.[1]);
  return Number(report.find((count) => count !== undefined));
}

describe('resets at random bytes', () => {
  const fake = { kind: 'fake', slots: 1_000, pieces: STORY, first_token_ms: 5, token_ms: 5 };
  const config = {
    log_level: 'silent',
    keep_alive_ms: 100,
    keys: [{ key: 'one', name: 'one' }],
    backends: [
      { ...fake, id: 'whole' },
      { ...fake, id: 'breaks', fail_after: 50 },
    ],
    models: [
      { id: 'story', backends: ['whole'] },
      { id: 'broken-story', backends: ['breaks', 'whole'] },
    ],
  };

  for (const [seed, route] of RESUMABLE_ROUTES.entries()) {
    for (const model of ['story', 'broken-story']) {
      const meanwhile = model === 'story' ? '' : ', while the answer loses its back end';
      test(`${LEAST_RESETS} and more of ${route.name}${meanwhile}: every text is whole`, {
        timeout: 60_000,
      }, async () => {
        const server = await startInProcess(config);
        try {
          const read = await readAll(of(model, route), server.port, seededRandom(seed + 1));
          checkAll(route, read);
          const continued = model === 'story' ? 0 : 1;
          assert.deepEqual(new Set(read.map(continuedOf)), new Set([continued]));
        } finally {
          await server.close();
        }
      });
    }
  }
});

/** A back end that can be killed, and comes again on its port. */
class Mortal {
  readonly port: number;
  kills = 0;
  #process: ChildProcess;

  private constructor(port: number, process: ChildProcess) {
    this.port = port;
    this.#process = process;
  }

  static async start(): Promise<Mortal> {
    const port = await freePort();
    return new Mortal(port, await startStory(port));
  }

  async killAndRevive(): Promise<void> {
    await this.stop();
    this.kills += 1;
    this.#process = await startStory(this.port);
  }

  async stop(): Promise<void> {
    const closed = once(this.#process, 'close');
    this.#process.kill('SIGKILL');
    await closed;
  }
}

/** Resolves when it listens. Rejects where it ends before. */
async function startStory(port: number): Promise<ChildProcess> {
  const args = [STORY_SERVER, `${port}`, `${STORY.length}`, '50'];
  const story = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  await Promise.race([
    once(story.stdout, 'data'),
    once(story, 'exit').then(([code]) => assert.fail(`The story's server ended: ${code}.`)),
  ]);
  return story;
}

test(`${LEAST_RESETS} and more in each dialect, while the processes behind are killed: every text is whole`, {
  timeout: 120_000,
}, async () => {
  const mortals = await Promise.all([Mortal.start(), Mortal.start()]);
  const ids = mortals.map((_, index) => `mortal-${index}`);
  const gateway = await startSluice({
    config: {
      log_level: 'warn',
      keep_alive_ms: 100,
      backends: mortals.map(({ port }, index) => ({
        id: ids[index],
        url: `http://127.0.0.1:${port}/v1`,
        kind: 'vllm',
        slots: 1_000,
        limit: 'fixed',
      })),
      models: [{ id: 'story', backends: [ids] }],
    },
  });
  try {
    let isRead = false;
    const reading = Promise.all(
      RESUMABLE_ROUTES.map((route, seed) => readAll(route, gateway.port, seededRandom(seed + 1))),
    ).finally(() => {
      isRead = true;
    });
    reading.catch(() => {});
    await waitUntil(
      async () =>
        isRead ||
        (await metric(gateway.url, 'sluice_requests_running')) === CLIENTS * RESUMABLE_ROUTES.length,
      LIMIT_MS,
      () => `not all have begun\n${gateway.output()}`,
    );
    // Never both at once: then nobody could go on.
    for (let turn = 0; turn < KILLS && !isRead; turn += 1) {
      await mortals[turn % mortals.length]!.killAndRevive();
      await sleep(BETWEEN_KILLS_MS);
    }
    for (const [index, read] of (await reading).entries()) {
      const route = RESUMABLE_ROUTES[index]!;
      checkAll(route, read);
      assert.ok(
        read.some((one) => continuedOf(one) > 0),
        `no kill met a stream of ${route.name}`,
      );
    }
    assert.ok(
      mortals.every(({ kills }) => kills > 0),
      'both were killed',
    );
  } finally {
    await gateway.stop();
    await Promise.all(mortals.map((mortal) => mortal.stop()));
  }
});
