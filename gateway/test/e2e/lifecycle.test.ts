// Beginning and end: what the operator meets when it starts, what clients meet when it ends, and that nothing stays.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { missingModel } from '../parts.ts';
import {
  descendants,
  fakeConfig,
  freePort,
  isAlive,
  post,
  ROOT,
  startSluice,
  statusOf,
  waitUntil,
} from './harness.ts';

const folder = mkdtempSync(join(tmpdir(), 'sluice-lifecycle-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const SLOW_WORDS = { pieces: Array.from({ length: 30 }, (_, index) => `${index} `), token_ms: 50 };
const FULL_TEXT = SLOW_WORDS.pieces.join('');

test('SIGTERM lets streams end, refuses new ones, and exits 0', async () => {
  const sluice = await startSluice({ config: fakeConfig(SLOW_WORDS) });
  const url = `${sluice.url}/v1/models/deepseek-r1/generate_stream`;
  const response = await post(url, { prompt: 'hi' });
  sluice.process.kill('SIGTERM');
  await waitUntil(
    async () => (await statusOf(`${sluice.url}/readyz`)) === 503,
    2_000,
    () => 'still ready',
  );
  const refused = await post(url, { prompt: 'hi' });
  assert.equal(refused.status, 503);
  assert.equal(((await refused.json()) as { code: string }).code, 'not_ready');
  const lines = (await response.text())
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
  assert.equal(lines.map((line) => line.choices[0].text).join(''), FULL_TEXT);
  assert.equal(await sluice.exited, 0);
});

test('a second signal ends at once', async () => {
  const sluice = await startSluice({ config: fakeConfig({ ...SLOW_WORDS, token_ms: 5_000 }) });
  const response = await post(`${sluice.url}/v1/models/deepseek-r1/generate_stream`, { prompt: 'hi' });
  sluice.process.kill('SIGINT');
  await sleep(500);
  assert.equal(sluice.process.exitCode, null);
  sluice.process.kill('SIGINT');
  assert.equal(await sluice.exited, 130);
  await assert.rejects(response.text());
});

test('a stream that does not end in time is cut', async () => {
  const sluice = await startSluice({
    config: fakeConfig({ ...SLOW_WORDS, token_ms: 5_000 }, { drain_limit_ms: 300 }),
  });
  const response = await post(`${sluice.url}/v1/models/deepseek-r1/generate_stream`, { prompt: 'hi' });
  sluice.process.kill('SIGTERM');
  assert.equal(await sluice.exited, 0);
  await assert.rejects(response.text());
});

test('npm start ends with the npm that was told to end', async () => {
  const port = await freePort();
  const config = join(folder, 'npm.json');
  writeFileSync(config, JSON.stringify(fakeConfig()));
  const env = { ...process.env, SLUICE_PORT: String(port) };
  const npm = spawn('npm', ['start', '--', '--config', config], { cwd: ROOT, env, stdio: 'ignore' });
  const url = `http://127.0.0.1:${port}/healthz`;
  await waitUntil(
    async () => (await statusOf(url)) === 200,
    20_000,
    () => 'npm start did not serve',
  );
  npm.kill('SIGTERM');
  await waitUntil(
    async () => (await statusOf(url)) === 0,
    10_000,
    () => 'the server outlived npm',
  );
});

test('a port in use is one sentence that names SLUICE_PORT', async () => {
  const blocker = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => blocker.once('listening', resolve));
  const { port } = blocker.address() as { port: number };
  const sluice = await startSluice({
    config: fakeConfig(),
    args: ['--port', String(port)],
    untilReady: false,
  });
  assert.equal(await sluice.exited, 2);
  assert.match(sluice.output(), /^sluice: Port \d+ .*SLUICE_PORT.*\n$/);
  blocker.close();
});

test('an address that others reach needs keys', async () => {
  const sluice = await startSluice({ config: fakeConfig(), args: ['--host', '0.0.0.0'], untilReady: false });
  assert.equal(await sluice.exited, 2);
  assert.match(sluice.output(), /SLUICE_API_KEYS/);
});

test('a setting that does not exist is refused with a hint', async () => {
  const sluice = await startSluice({ config: { keepAliveMs: 5 }, untilReady: false });
  assert.equal(await sluice.exited, 2);
  assert.match(sluice.output(), /"keepAliveMs".*Did you mean "keep_alive_ms"\?/);
});

test('a model file that is none is one sentence and exit code 2', async () => {
  const file = join(folder, 'not-a-model.gguf');
  writeFileSync(file, 'GGUF is not what this is');
  const sluice = await startSluice({ args: ['--model', file], untilReady: false });
  assert.equal(await sluice.exited, 2);
  assert.equal(sluice.output().trim().split('\n').length, 1, sluice.output());
});

test('a model file that is cut is one sentence and exit code 2', { skip: missingModel() }, async () => {
  const whole = readFileSync(process.env.SLUICE_TEST_MODEL!);
  const file = join(folder, 'cut-model.gguf');
  writeFileSync(file, whole.subarray(0, Math.floor(whole.length / 2)));
  const sluice = await startSluice({ args: ['--model', file], untilReady: false });
  assert.equal(await sluice.exited, 2);
  assert.equal(sluice.output().trim().split('\n').length, 1, sluice.output());
});

test('kill -9 of the gateway leaves no process', { skip: missingModel() }, async () => {
  const sluice = await startSluice({ args: ['--model', process.env.SLUICE_TEST_MODEL!] });
  const children = descendants(sluice.process.pid!);
  assert.ok(children.length > 0, 'the engine is a process of its own');
  const url = `${sluice.url}/v1/models/deepseek-r1/generate_stream`;
  const stream = await post(url, { prompt: 'Tell me a long story.', max_tokens: 500 });
  sluice.process.kill('SIGKILL');
  await sluice.exited;
  await assert.rejects(stream.text());
  await waitUntil(
    () => children.every((pid) => !isAlive(pid)),
    5_000,
    () => `left: ${children.filter(isAlive)}`,
  );
});
