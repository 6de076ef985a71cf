// A configuration that changes under a running server: keys come and go, a wrong file changes nothing, streams go on.
import assert from 'node:assert/strict';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { post, type Sluice, startSluice, waitUntil } from './harness.ts';

const folder = mkdtempSync(join(tmpdir(), 'sluice-reload-'));
after(() => rmSync(folder, { recursive: true }));
const FILE = join(folder, 'sluice.yaml');
const LIMIT_MS = 20_000;

const BACKENDS = 'backends: [{kind: fake, first_token_ms: 5, token_ms: 400}]';
const text = (...keys: string[]) =>
  `${BACKENDS}\nkeys:\n${keys.map((key) => `  - {key: ${key}, name: ${key}}\n`).join('')}`;

function replace(content: string): void {
  writeFileSync(`${FILE}.tmp`, content);
  renameSync(`${FILE}.tmp`, FILE);
}

async function statusWith(sluice: Sluice, key: string): Promise<number> {
  const response = await fetch(`${sluice.url}/v1/models`, { headers: { authorization: `Bearer ${key}` } });
  await response.text();
  return response.status;
}

const becomes = (sluice: Sluice, key: string, status: number) =>
  waitUntil(
    async () => (await statusWith(sluice, key)) === status,
    LIMIT_MS,
    () => `${key} does not get ${status}:\n${sluice.output()}`,
  );

test('keys come and go while the server runs, and a stream goes on through it', async () => {
  replace(text('one'));
  const sluice = await startSluice({ args: ['--config', FILE], env: { SLUICE_API_KEYS: '' } });
  try {
    const stream = await post(
      `${sluice.url}/v1/models/deepseek-r1/generate_stream`,
      { prompt: 'hi' },
      { headers: { authorization: 'Bearer one' } },
    );
    replace(text('two'));
    await becomes(sluice, 'two', 200);
    assert.equal(await statusWith(sluice, 'one'), 401);
    const lines = (await stream.text()).trim().split('\n');
    assert.equal(JSON.parse(lines.at(-1)!).choices[0].finish_reason, 'stop');

    replace('keys: {no: list}\n');
    await waitUntil(
      () => /keys\\?" in .*sluice\.yaml:1:7 is wrong/.test(sluice.output()),
      LIMIT_MS,
      () => sluice.output(),
    );
    assert.equal(await statusWith(sluice, 'two'), 200);

    replace(text('two', 'three'));
    sluice.process.kill('SIGHUP');
    await becomes(sluice, 'three', 200);
    assert.equal(sluice.process.exitCode, null);
  } finally {
    await sluice.stop();
  }
});
