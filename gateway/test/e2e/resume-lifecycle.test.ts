// Streams that can be resumed over what happens to their server: a new configuration, and the end.
import assert from 'node:assert/strict';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fakeConfig, startSluice, statusOf, waitUntil } from './harness.ts';
import { attempt, eventsIn, RESUMABLE_ROUTES } from './resuming-client.ts';

const LIMIT_MS = 20_000;
const PIECES = Array.from({ length: 100 }, (_, index) => `piece ${index} `);
const [LINES] = RESUMABLE_ROUTES.filter(({ name }) => name === 'generate_stream') as [
  (typeof RESUMABLE_ROUTES)[number],
];
const folder = mkdtempSync(join(tmpdir(), 'sluice-resume-'));
after(() => rmSync(folder, { recursive: true }));
const FILE = join(folder, 'sluice.json');

function replace(config: object): void {
  writeFileSync(`${FILE}.tmp`, JSON.stringify(config));
  renameSync(`${FILE}.tmp`, FILE);
}

const textIn = (body: Buffer) =>
  eventsIn(body, LINES.end)
    .map(({ data }) => LINES.textOf(JSON.parse(data) as never))
    .join('');

/** Begins a stream and is cut off in its first events. */
async function begin(port: number, key: string) {
  const headers = {
    authorization: `Bearer ${key}`,
    'content-type': 'application/json',
    'x-sluice-resumable': '1',
  };
  const cut = await attempt(port, 'POST', LINES.path, headers, JSON.stringify(LINES.body), 1_500);
  const stream = cut.headers['x-sluice-stream']!;
  const last = eventsIn(cut.body, LINES.end).at(-1)!.id;
  const resume = (by = key, lastId = last) =>
    attempt(port, 'GET', `/v1/streams/${stream}`, { authorization: `Bearer ${by}`, 'last-event-id': lastId });
  return { before: textIn(cut.body), resume };
}

test('a stream outlives a configuration that has its back end and its model no more; only its key must still be there', {
  timeout: 60_000,
}, async () => {
  const keys = (...names: string[]) => names.map((name) => ({ key: name, name }));
  const backend = { kind: 'fake', pieces: PIECES, first_token_ms: 5, token_ms: 30 };
  replace({
    backends: [{ ...backend, id: 'old' }],
    models: [{ id: 'story' }],
    keys: keys('one', 'two'),
  });
  const sluice = await startSluice({ args: ['--config', FILE], env: { SLUICE_API_KEYS: '' } });
  try {
    const one = await begin(sluice.port, 'one');
    const two = await begin(sluice.port, 'two');
    replace({ backends: [{ ...backend, id: 'new' }], models: [{ id: 'tale' }], keys: keys('one', 'three') });
    await waitUntil(
      async () => (await two.resume()).status === 401,
      LIMIT_MS,
      () => `the key is still there:\n${sluice.output()}`,
    );
    assert.equal((await one.resume('three')).status, 404);
    const rest = await one.resume();
    assert.equal(rest.status, 200);
    assert.equal(one.before + textIn(rest.body), PIECES.join(''));
  } finally {
    await sluice.stop();
  }
});

test('a server that is told to end waits for a stream that nobody reads, and lets its client have the rest', {
  timeout: 60_000,
}, async () => {
  const config = fakeConfig({ pieces: PIECES, token_ms: 20 }, { model_id: 'story' });
  const sluice = await startSluice({ config, env: { SLUICE_API_KEYS: 'one' } });
  const { before, resume } = await begin(sluice.port, 'one');
  sluice.process.kill('SIGTERM');
  await waitUntil(
    async () => (await statusOf(`${sluice.url}/readyz`)) === 503,
    LIMIT_MS,
    () => sluice.output(),
  );
  const rest = await resume();
  assert.equal(before + textIn(rest.body), PIECES.join(''));
  assert.equal(await sluice.exited, 0);
});
