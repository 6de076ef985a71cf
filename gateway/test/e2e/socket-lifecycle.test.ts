// Sockets over what happens to their server: a new configuration, its keys, and its end.
import assert from 'node:assert/strict';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fakeConfig, startSluice, statusOf, waitUntil } from './harness.ts';
import { chatCall, chatText, openRaw, openSocket } from './socket-client.ts';

const LIMIT_MS = 20_000;
const PIECES = Array.from({ length: 50 }, (_, index) => `piece ${index} `);
const folder = mkdtempSync(join(tmpdir(), 'sluice-socket-'));
after(() => rmSync(folder, { recursive: true }));
const FILE = join(folder, 'sluice.json');

function replace(config: object): void {
  writeFileSync(`${FILE}.tmp`, JSON.stringify(config));
  renameSync(`${FILE}.tmp`, FILE);
}

test('a call keeps the world that it began in, the next one has the new one, and a key that is gone is refused', {
  timeout: 60_000,
}, async () => {
  const keys = (...names: string[]) => names.map((name) => ({ key: name, name }));
  const backend = { kind: 'fake', pieces: PIECES, first_token_ms: 5, token_ms: 40 };
  replace({ backends: [{ ...backend, id: 'old' }], models: [{ id: 'story' }], keys: keys('one', 'two') });
  const sluice = await startSluice({ args: ['--config', FILE], env: { SLUICE_API_KEYS: '' } });
  try {
    const one = await openSocket(sluice.port, 'one');
    const two = await openSocket(sluice.port, 'two');
    for (const socket of [one, two]) {
      socket.send(chatCall('before', 'story'));
      await socket.frame(({ type }) => type === 'event');
    }
    replace({
      backends: [{ ...backend, id: 'new', token_ms: 5 }],
      models: [{ id: 'tale' }],
      keys: keys('one'),
    });
    let asked = 0;
    await waitUntil(
      async () => {
        asked += 1;
        two.send(chatCall(`after-${asked}`, 'nobody'));
        return (await two.ended(`after-${asked}`))[0]!.status === 401;
      },
      LIMIT_MS,
      () => `the key is still there:\n${sluice.output()}`,
    );
    one.send(chatCall('old-model', 'story'));
    one.send(chatCall('after', 'tale'));
    assert.equal((await one.ended('old-model'))[0]!.status, 404);
    assert.equal(chatText(await one.ended('after')), PIECES.join(''));
    assert.equal(one.of('after').at(-1)!.headers!['x-sluice-backend'], 'new');
    for (const socket of [one, two]) {
      assert.equal(chatText(await socket.ended('before')), PIECES.join(''));
      assert.equal(socket.of('before').at(-1)!.headers!['x-sluice-backend'], 'old');
    }
    two.send({ type: 'resume', id: 'again', stream: two.of('before')[0]!.stream, after: 0 });
    assert.equal((await two.ended('again'))[0]!.status, 401);
    await one.close();
    await two.close();
  } finally {
    await sluice.stop();
  }
});

test('a server that is told to end says so, takes no new calls, and lets open ones end', {
  timeout: 60_000,
}, async () => {
  const config = fakeConfig({ pieces: PIECES, token_ms: 30 }, { model_id: 'story' });
  const sluice = await startSluice({ config });
  const [busy, idle] = [await openSocket(sluice.port), await openSocket(sluice.port)];
  busy.send(chatCall('1', 'story'));
  await busy.frame(({ type }) => type === 'event');
  sluice.process.kill('SIGTERM');
  const { drain_ms } = await busy.frame(({ type }) => type === 'going_away');
  assert.equal(drain_ms, 30_000);
  assert.equal((await idle.closed).code, 1001);
  busy.send(chatCall('2', 'story'));
  assert.deepEqual((await busy.ended('2'))[0]!.status, 503);
  assert.equal(await statusOf(`${sluice.url}/readyz`), 503);
  await assert.rejects(openRaw(sluice.port), /HTTP\/1\.1 503 /);
  assert.equal(chatText(await busy.ended('1')), PIECES.join(''));
  assert.equal((await busy.closed).code, 1001);
  assert.equal(await sluice.exited, 0);
});

test('a server whose time to drain is over waits for no socket, with open calls or without', async () => {
  const sluice = await startSluice({ config: fakeConfig({ stall_after: 1 }, { drain_limit_ms: 300 }) });
  const [busy, silent] = [await openSocket(sluice.port), await openRaw(sluice.port)];
  busy.send(chatCall('1', 'deepseek-r1'));
  await busy.frame(({ type }) => type === 'event');
  sluice.process.kill('SIGTERM');
  assert.equal(await sluice.exited, 0);
  await Promise.all([busy.closed, silent.ended]);
});
