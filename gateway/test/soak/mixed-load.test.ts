// Minutes of mixed load on the real engine: long and short prompts, shared system messages, clients that leave, an engine
// that is killed. Meanwhile memory and the memory file system are looked at: they must not grow, and all slots be free
// at the end.
//   SLUICE_SOAK_MINUTES=60 makes an hour of it, which is the run whose figures count.
import assert from 'node:assert/strict';
import { readdirSync, statSync } from 'node:fs';
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

const MINUTES = Number(process.env.SLUICE_SOAK_MINUTES ?? 1);
const CLIENTS = 12;
const SLOTS = 8;
/** Looks at the memory, over the whole run: as many as no number of kills falls together with. */
const LOOKS = 29;
/** The engine is killed so often; less often where the run is long. */
const KILL_EVERY_MS = Math.max(20_000, (MINUTES * 60_000) / 20);
/** What the second half's largest may be above the first half's: the engine's own buffers come and go by some. */
const MOST_GROWTH = 1.2;
const PREFIX_CACHE_MB = 64;

const WORDS = ['river', 'lock', 'gate', 'water', 'boat', 'level', '运河', '水位', 'why', 'when', 'how'];

test(`${MINUTES} min of mixed load leave nothing behind`, { skip: missingModel() }, async () => {
  const sluice = await startSluice({
    args: ['--model', process.env.SLUICE_TEST_MODEL!],
    config: {
      log_level: 'warn',
      engine: { batch_size: SLOTS, context: 2048, prefix_cache_mb: PREFIX_CACHE_MB },
      // A machine that has other things to do must not look like a server that forgets its clients.
      queue: { max_wait_ms: 600_000 },
    },
  });
  const until = performance.now() + MINUTES * 60_000;
  const tally = new Map<string, number>();
  const looks: Look[] = [];
  try {
    const client = async () => {
      while (performance.now() < until) {
        const outcome = await ask(sluice);
        tally.set(outcome, (tally.get(outcome) ?? 0) + 1);
      }
    };
    const killer = async () => {
      for (;;) {
        await sleep(Math.min(KILL_EVERY_MS, Math.max(0, until - performance.now())));
        if (performance.now() >= until) return;
        for (const pid of descendants(sluice.process.pid!)) process.kill(pid, 'SIGKILL');
        tally.set('killed', (tally.get('killed') ?? 0) + 1);
      }
    };
    const watcher = async () => {
      while (performance.now() < until) {
        await sleep((MINUTES * 60_000) / LOOKS);
        looks.push(look(sluice));
      }
    };
    await Promise.all([...Array.from({ length: CLIENTS }, client), killer(), watcher()]);
    await waitUntil(
      async () =>
        (await metric(sluice.url, 'sluice_requests_running')) === 0 &&
        (await metric(sluice.url, 'sluice_requests_waiting')) === 0 &&
        (await statusOf(`${sluice.url}/readyz`)) === 200,
      30_000,
      () => `something still waits or runs:\n${sluice.output()}`,
    );
    const last = await Promise.all(
      Array.from({ length: SLOTS }, () =>
        post(`${sluice.url}/v1/models/deepseek-r1/generate`, { prompt: 'Say hi.', max_tokens: 2 }),
      ),
    );
    for (const response of last) {
      await response.arrayBuffer();
      assert.equal(response.status, 200);
    }
    console.log(`outcomes: ${JSON.stringify(Object.fromEntries(tally))}`);
    console.log(`MiB, gateway engine shm: ${looks.map(shown).join(' | ')}`);
    assert.equal(tally.get('failed'), undefined, sluice.output());
    assert.equal(
      tally.get('broken'),
      undefined,
      `an answer whose engine was killed goes on\n${sluice.output()}`,
    );
    const half = Math.floor(looks.length / 2);
    for (const part of ['gateway', 'engine'] as const) {
      const most = (some: readonly Look[]) => Math.max(...some.map((one) => one[part]));
      const [first, second] = [most(looks.slice(0, half)), most(looks.slice(half))];
      assert.ok(second <= first * MOST_GROWTH, `${part}: ${first} bytes, then ${second}`);
    }
    for (const { shm } of looks) {
      assert.ok(shm <= (PREFIX_CACHE_MB + 16) * 2 ** 20, `${shm} bytes of shared memory`);
    }
  } finally {
    await sluice.stop();
  }
  assert.equal(sharedMemoryBytes(sluice), 0, 'the memory file system is as it was');
});

interface Look {
  /** Bytes. */
  readonly gateway: number;
  readonly engine: number;
  readonly shm: number;
}

function look(sluice: Sluice): Look {
  const pid = sluice.process.pid!;
  const engine = descendants(pid).reduce((sum, child) => sum + (rssIfThere(child) ?? 0), 0);
  return { gateway: rssOf(pid), engine, shm: sharedMemoryBytes(sluice) };
}

/** A process that was just killed has none. */
function rssIfThere(pid: number): number | undefined {
  try {
    return rssOf(pid);
  } catch {
    return undefined;
  }
}

/** Of the states that this server keeps there. */
function sharedMemoryBytes({ process: { pid } }: Sluice): number {
  const own = readdirSync('/dev/shm').filter((name) => name.startsWith(`sluice-states-${pid}.`));
  const files = own.flatMap((folder) =>
    readdirSync(`/dev/shm/${folder}`).map((name) => `/dev/shm/${folder}/${name}`),
  );
  return files.reduce((sum, file) => sum + (statSync(file, { throwIfNoEntry: false })?.size ?? 0), 0);
}

function shown({ gateway, engine, shm }: Look): string {
  return [gateway, engine, shm].map((bytes) => Math.round(bytes / 2 ** 20)).join(' ');
}

async function ask(sluice: Sluice): Promise<string> {
  const isLong = Math.random() < 0.15;
  const user = words(isLong ? 300 : 5 + Math.floor(Math.random() * 40));
  const system =
    Math.random() < 0.6
      ? `You are helper ${Math.floor(Math.random() * 4)}. ${'Be brief and kind. '.repeat(20)}`
      : undefined;
  const stream = Math.random() < 0.7;
  const messages = [
    ...(system ? [{ role: 'system', content: system }] : []),
    { role: 'user', content: user },
  ];
  const body = { model: 'deepseek-r1', stream, max_tokens: 4 + Math.floor(Math.random() * 40), messages };
  const leaving = new AbortController();
  const timer = Math.random() < 0.25 ? setTimeout(() => leaving.abort(), Math.random() * 4_000) : undefined;
  try {
    const response = await post(`${sluice.url}/v1/chat/completions`, body, { signal: leaving.signal });
    const text = await response.text();
    if (response.status !== 200) return `status ${response.status}`;
    return text.includes('"error"') ? 'broken' : 'answered';
  } catch {
    return leaving.signal.aborted ? 'left' : 'failed';
  } finally {
    clearTimeout(timer);
  }
}

function words(count: number): string {
  return Array.from({ length: count }, () => WORDS[Math.floor(Math.random() * WORDS.length)]).join(' ');
}
