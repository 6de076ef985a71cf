// The configuration changes under running streams: by SIGHUP, by the file alone, and by a file that is wrong. What runs goes on
// where it began; what comes later goes by the new configuration.
import assert from 'node:assert/strict';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { flawOf, readChat, type StreamedChat } from './chat-stream.ts';
import { fakeConfig, type Sluice, startSluice, waitUntil } from './harness.ts';

const STREAMS = 100;
const LIMIT_MS = 20_000;
/** Long enough that a change comes and is taken in their middle. */
const PIECES = Array.from({ length: 250 }, (_, index) => ` ${index}。`);
const TEXT = PIECES.join('');
const KEY = 'sk-reload';

let folder: string;
let file: string;
let back: Sluice;
let gateway: Sluice;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-reload-'));
  file = join(folder, 'sluice.yaml');
  const script = { slots: 1_000, pieces: PIECES, token_ms: 20 };
  back = await startSluice({ config: fakeConfig(script, { model_id: 'story' }) });
  write(configOf('first'));
  gateway = await startSluice({ args: ['--config', file] });
});
after(async () => {
  await gateway?.stop();
  await back?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** JSON, which is YAML too. A new id and another kind make another back end of the same server. */
function configOf(id: string, rest: object = {}): string {
  return JSON.stringify({
    log_level: 'info',
    backends: [{ id, url: `${back.url}/v1`, kind: id === 'first' ? 'generic' : 'sluice' }],
    models: [{ id: 'story', backends: [id] }],
    ...rest,
  });
}

/** At once, as careful editors do. */
function write(text: string): void {
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}

const ask = (init: RequestInit = {}, onText?: (text: string) => void) =>
  readChat(gateway.url, { model: 'story', messages: [{ role: 'user', content: 'Go.' }] }, onText, init);

/** The back end that a new request would get. */
async function backendNow(headers: Record<string, string> = {}): Promise<string | null> {
  const leaving = new AbortController();
  const response = await fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ model: 'story', stream: true, messages: [{ role: 'user', content: 'Go.' }] }),
    signal: leaving.signal,
  });
  leaving.abort();
  return response.headers.get('x-sluice-backend');
}

interface Begun {
  readonly chats: Promise<StreamedChat[]>;
  /** Those that have ended. */
  readonly ended: () => number;
}

/** Resolves once all streams have begun; what they come to is looked at later. */
async function begin(init: RequestInit = {}): Promise<Begun> {
  let begun = 0;
  let ended = 0;
  const all = Promise.withResolvers<void>();
  const streams = Array.from({ length: STREAMS }, () => {
    let isBegun = false;
    return ask(init, () => {
      if (isBegun) return;
      isBegun = true;
      begun += 1;
      if (begun === STREAMS) all.resolve();
    }).finally(() => (ended += 1));
  });
  const chats = Promise.all(streams);
  await Promise.race([all.promise, chats]);
  return { chats, ended: () => ended };
}

/** Once the new configuration is in use. */
async function expectWhole({ chats, ended }: Begun, backend: string): Promise<void> {
  assert.ok(ended() < STREAMS, 'they had ended before the change');
  const seen = await chats;
  const flaws = seen.map((chat) => flawOf(chat, TEXT)).filter((flaw) => flaw !== undefined);
  assert.deepEqual(flaws.slice(0, 5), [], `${flaws.length} of ${STREAMS}\n${gateway.output().slice(-2_000)}`);
  // None was moved: each ended where it had begun.
  assert.deepEqual([...new Set(seen.map((chat) => `${chat.backend} ${chat.continued}`))], [`${backend} 0`]);
}

const untilBackendIs = (id: string, headers?: Record<string, string>) =>
  waitUntil(
    async () => (await backendNow(headers)) === id,
    LIMIT_MS,
    () => `the new configuration was not taken:\n${gateway.output().slice(-2_000)}`,
  );

test(`SIGHUP under ${STREAMS} streams: none broken, and what comes later goes the new way`, async () => {
  const begun = await begin();
  write(configOf('second'));
  gateway.process.kill('SIGHUP');
  await untilBackendIs('second');
  await expectWhole(begun, 'first');
});

test('a change of the file alone, with keys: none broken, and keys are asked for from then on', async () => {
  const begun = await begin();
  write(configOf('third', { keys: [{ key: KEY, name: 'reader' }] }));
  await untilBackendIs('third', { authorization: `Bearer ${KEY}` });
  assert.equal((await fetch(`${gateway.url}/v1/models`)).status, 401);
  await expectWhole(begun, 'second');
});

test('a file that is wrong changes nothing, and says where it is wrong', async () => {
  const headers = { authorization: `Bearer ${KEY}` };
  const begun = await begin({ headers });
  write(`${configOf('fourth').slice(0, -1)}, "slots": 3}`);
  gateway.process.kill('SIGHUP');
  await waitUntil(
    () => /slots.{0,200} is no setting/.test(gateway.output()),
    LIMIT_MS,
    () => `nothing was said:\n${gateway.output().slice(-2_000)}`,
  );
  assert.equal(await backendNow(headers), 'third');
  await expectWhole(begun, 'third');
});
