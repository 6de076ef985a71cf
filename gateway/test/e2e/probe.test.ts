// `check-config --probe` against servers that are there, that are not, and that want another key.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fakeConfig, freePort, ROOT, startSluice } from './harness.ts';

const folder = mkdtempSync(join(tmpdir(), 'sluice-probe-'));
after(() => rmSync(folder, { recursive: true }));

function check(config: object): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const file = join(folder, 'config.json');
  writeFileSync(file, JSON.stringify(config));
  const child = spawn(process.execPath, [`${ROOT}gateway/bin/sluice.js`, 'check-config', file, '--probe']);
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk) => (stdout += chunk));
  child.stderr.on('data', (chunk) => (stderr += chunk));
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, stdout, stderr })));
}

test('each back end has a line: what it serves, or what is wrong and what to do', async () => {
  const server = await startSluice({ config: fakeConfig({}, { keys: [{ key: 'correct-secret' }] }) });
  try {
    const good = { id: 'good', url: server.url, kind: 'sluice', api_key: 'correct-secret' };
    const fine = await check({ backends: [good] });
    assert.equal(fine.code, 0, fine.stderr);
    assert.match(fine.stdout, /^good {2}sluice {2}http:\S+\/v1 {2}ok +\d+ ms, 1 model$/m);
    const { code, stdout, stderr } = await check({
      backends: [
        good,
        { id: 'locked', url: server.url, kind: 'sluice', api_key: 'wrong-secret' },
        { id: 'gone', url: `http://127.0.0.1:${await freePort()}` },
      ],
      models: [{ id: 'm', backends: ['good'], name: 'no-such' }],
    });
    assert.equal(code, 1);
    assert.match(stdout, /^good .*WRONG.*does not list no-such/m);
    assert.match(stdout, /^locked .*WRONG.*api_key \(401\)/m);
    assert.match(stdout, /^gone .*WRONG.*Is it up/m);
    assert.doesNotMatch(stdout + stderr, /wrong-secret|correct-secret/);
  } finally {
    await server.stop();
  }
});
