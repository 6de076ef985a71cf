// The whole command as a person runs it, with the real engine: its exit code, its JSON, and that no secret of the environment is
// in what it says.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { sampleGguf } from '../models/sample-gguf.ts';
import type { Check } from './doctor-finding.ts';

const CLI = fileURLToPath(new URL('../cli.ts', import.meta.url));
const SECRETS = {
  SLUICE_API_KEYS: 'sk-secret',
  HF_TOKEN: 'hf-secret',
  MODELSCOPE_API_TOKEN: 'ms-secret',
  HF_ENDPOINT: 'http://me:hub-secret@127.0.0.1:9',
  MODELSCOPE_ENDPOINT: 'http://me:scope-secret@127.0.0.1:9',
  PIP_INDEX_URL: 'http://me:pip-secret@127.0.0.1:9/simple',
  npm_config_registry: 'http://me:npm-secret@127.0.0.1:9/',
};

async function run(
  context: TestContext,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
) {
  const home = mkdtempSync(join(tmpdir(), 'sluice-doctor-'));
  context.after(() => rmSync(home, { recursive: true, force: true }));
  writeFileSync(join(home, 'own.gguf'), sampleGguf());
  const child = spawn(process.execPath, [CLI, 'doctor', ...args.map((arg) => arg.replace('HOME', home))], {
    env: {
      ...process.env,
      PIP_FIND_LINKS: '',
      ...SECRETS,
      SLUICE_HOME: join(home, 'store'),
      SLUICE_PORT: '0',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  const [code] = await once(child, 'close');
  assert.doesNotMatch(output, /secret/);
  assert.ok(!output.includes('\u001b'), 'colours where there is no terminal');
  return { code, output };
}

test('a machine on which serving would work', async (context) => {
  const { code, output } = await run(context, ['--json', '--model', 'HOME/own.gguf']);
  assert.equal(code, 0, output);
  const { ok, checks } = JSON.parse(output) as { ok: boolean; checks: Check[] };
  assert.equal(ok, true);
  const states = Object.fromEntries(checks.map(({ id, state }) => [id, state]));
  for (const id of ['sluice', 'machine', 'config', 'engine', 'model', 'store', 'port']) {
    assert.equal(states[id], 'ok', `${id}: ${output}`);
  }
  assert.equal(states['source huggingface'], 'note');
  assert.equal(states['source modelscope'], 'note');
});

test('a port that is held, and no model to be had: what to do, and 1', async (context) => {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  context.after(() => server.close());
  const { port } = server.address() as { port: number };
  const { code, output } = await run(context, [], { SLUICE_PORT: String(port) });
  assert.equal(code, 1, output);
  assert.match(output, /^PROBLEM {2}port .*choose another port with SLUICE_PORT/m);
  assert.match(output, /^PROBLEM {2}model .*--model FILE/m);
  assert.match(output, /Serving would not work: 2 problems above\.\n$/);
});

test('a configuration that is wrong ends it there', async (context) => {
  const { code, output } = await run(context, ['--port', '99999']);
  assert.equal(code, 1);
  assert.match(output, /^PROBLEM {2}config .*--port must be a port number/m);
  assert.doesNotMatch(output, /engine/);
});
