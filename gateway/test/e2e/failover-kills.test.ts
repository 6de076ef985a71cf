// Two back ends, each a whole Sluice of its own on scripted words, and a gateway before them. One of the two is killed without
// a word at a random moment of every two seconds and started again, never both at once. Every stream must come to its end, to
// the byte, as if nothing had happened.
//   SLUICE_TEST_KILLS=1000 node --test gateway/test/e2e/failover-kills.test.ts     more of them
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { storyOf } from '../upstream/story.ts';
import { flawOf, readChat, type StreamedChat } from './chat-stream.ts';
import { fakeConfig, metric, type Sluice, startSluice } from './harness.ts';

const STREAMS = Number(process.env.SLUICE_TEST_KILLS ?? 60);
/** Few enough that the streams last for several kills, also where there are only 60. */
const AT_ONCE = Math.min(40, Math.ceil(STREAMS / 5));
const KILL_EVERY_MS = 2_000;
const TOKEN_MS = 20;

const PIECES = storyOf(60);
const TEXT = PIECES.join('');

/** A back end that can be killed, and comes again on its port. */
class Mortal {
  #sluice: Sluice;
  kills = 0;

  private constructor(sluice: Sluice) {
    this.#sluice = sluice;
  }

  static async start(): Promise<Mortal> {
    return new Mortal(await startSluice({ config: Mortal.#config }));
  }

  static readonly #config = fakeConfig(
    { slots: 1_000, pieces: PIECES, token_ms: TOKEN_MS },
    { log_level: 'silent', model_id: 'story' },
  );

  get url(): string {
    return `${this.#sluice.url}/v1`;
  }

  /** Resolves when it is up again. */
  async killAndRevive(): Promise<void> {
    this.#sluice.process.kill('SIGKILL');
    this.kills += 1;
    await this.#sluice.exited;
    this.#sluice = await startSluice({ config: Mortal.#config, port: this.#sluice.port });
  }

  stop(): Promise<void> {
    return this.#sluice.stop();
  }
}

test(`${STREAMS} streams while back ends are killed: all whole, none with a seam`, {
  timeout: 590_000,
}, async () => {
  const mortals = await Promise.all([Mortal.start(), Mortal.start()]);
  const gateway = await startSluice({
    config: {
      log_level: 'warn',
      backends: mortals.map(({ url }, index) => ({ id: `mortal-${index}`, url, kind: 'sluice' })),
      models: [{ id: 'story', backends: [mortals.map((_, index) => `mortal-${index}`)] }],
    },
  });
  const done = new AbortController();
  const killing = killInTurns(mortals, done.signal);
  try {
    const startedAt = performance.now();
    const chats = await Promise.race([
      readAll(gateway.url),
      killing.then(() => assert.fail('no more kills')),
    ]);
    const seconds = (performance.now() - startedAt) / 1_000;
    done.abort();
    await killing;
    const flaws = chats.map((chat) => flawOf(chat, TEXT)).filter((flaw) => flaw !== undefined);
    const kills = mortals.reduce((sum, mortal) => sum + mortal.kills, 0);
    const times = (count: number) => chats.filter(({ continued }) => continued === count).length;
    console.log(
      `${STREAMS} streams, ${kills} kills in ${seconds.toFixed(0)} s: ${flaws.length} flawed; went on once ${times(1)}, twice or more ${
        STREAMS - times(0) - times(1)
      }`,
    );
    assert.deepEqual(flaws.slice(0, 5), [], `${flaws.length} flawed\n${gateway.output().slice(-2_000)}`);
    assert.ok(kills >= 2, `only ${kills} kills`);
    assert.ok(times(0) < STREAMS, 'no kill met a stream');
    assert.equal(await metric(gateway.url, 'sluice_requests_running'), 0);
    assert.equal(await metric(gateway.url, 'sluice_requests_waiting'), 0);
  } finally {
    done.abort();
    await killing.catch(() => {});
    await gateway.stop();
    await Promise.all(mortals.map((mortal) => mortal.stop()));
  }
});

/** All streams, some at a time. */
async function readAll(url: string): Promise<StreamedChat[]> {
  const chats: StreamedChat[] = [];
  let left = STREAMS;
  const reader = async () => {
    while (left > 0) {
      left -= 1;
      chats.push(await readChat(url, { model: 'story', messages: [{ role: 'user', content: 'Go on.' }] }));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, reader));
  return chats;
}

/**
 * One kill at a random moment of each period's first half, of the one and the other in turn. Who was killed is up again
 * before the next: a start takes a second here.
 */
async function killInTurns(mortals: readonly Mortal[], signal: AbortSignal): Promise<void> {
  for (let turn = 0; !signal.aborted; turn += 1) {
    const periodEnd = performance.now() + KILL_EVERY_MS;
    await sleep((Math.random() * KILL_EVERY_MS) / 2, undefined, { signal }).catch(() => {});
    if (signal.aborted) return;
    await mortals[turn % mortals.length]!.killAndRevive();
    const restMs = Math.max(0, periodEnd - performance.now());
    await sleep(restMs, undefined, { signal }).catch(() => {});
  }
}
