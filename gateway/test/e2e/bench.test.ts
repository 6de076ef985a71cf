// `sluice bench` as people use it, against the whole server with a scripted back end: what it counts, writes and says.
// Counts only: how long anything takes is another machine's business.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fakeConfig, freePort, ROOT, type Sluice, startSluice } from './harness.ts';

const FOLDER = mkdtempSync(join(tmpdir(), 'sluice-bench-test-'));
const SECRET = 'sk-of-nobody-else';
const SHORT = ['--random-input-len', '20', '--random-output-len', '3'];

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

let server: Sluice;
before(async () => {
  server = await startSluice({
    config: fakeConfig({ pieces: ['Rivers ', 'flow ', 'on.'], slots: 100 }, { log_level: 'silent' }),
    env: { SLUICE_API_KEYS: `${SECRET},other-key` },
  });
});
after(async () => {
  await server.stop();
  rmSync(FOLDER, { recursive: true, force: true });
});

function bench(
  args: readonly string[],
  options: { url?: string; env?: Record<string, string>; interruptAfter?: RegExp } = {},
): Promise<Ended> {
  const { url = server.url, env = {}, interruptAfter } = options;
  const child = spawn(
    process.execPath,
    [`${ROOT}gateway/bin/sluice.js`, 'bench', '--base-url', url, ...args],
    {
      env: { ...process.env, LC_ALL: 'C', SLUICE_BENCH_API_KEY: SECRET, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  let stdout = '';
  let stderr = '';
  let isInterrupted = false;
  child.stdout.on('data', (chunk) => (stdout += chunk));
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
    if (isInterrupted || !interruptAfter?.test(stderr)) return;
    isInterrupted = true;
    child.kill('SIGINT');
  });
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, stdout, stderr })));
}

test('a load is counted, told, kept as JSON and drawn, and no key stands anywhere', async () => {
  const folder = join(FOLDER, 'first');
  const picture = join(FOLDER, 'first.svg');
  const args =
    '--num-prompts 40 --request-rate 200 --num-warmups 1 --save-detailed --result-filename one.json';
  const { code, stdout, stderr } = await bench([
    ...SHORT,
    ...args.split(' '),
    '--result-dir',
    folder,
    '--plot',
    picture,
  ]);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^requests +40 /m);
  assert.match(stdout, /^ {2}complete +40 +100\.0 %$/m);
  const text = readFileSync(join(folder, 'one.json'), 'utf8');
  const result = JSON.parse(text);
  assert.equal(result.completed, 40);
  assert.equal(result.failed, 0);
  assert.equal(result.total_output_tokens, 120);
  assert.equal(result.model_id, 'deepseek-r1');
  assert.equal(result.sluice.attempts.length, 40);
  assert.ok(
    result.sluice.attempts.every(
      (one: { backend: string; pieces: number }) => one.backend === 'fake' && one.pieces === 3,
    ),
  );
  assert.match(readFileSync(picture, 'utf8'), /^<svg/);
  assert.doesNotMatch(stdout + stderr + text, new RegExp(SECRET));
  assert.equal(stderr.includes('one.json') && stderr.includes('first.svg'), true);
});

test('what warms a server up has prompts of its own, and is over when the load begins', async () => {
  const seen: { readonly prompt: string; readonly at: number }[] = [];
  const upstream = createServer(async (request, response) => {
    let body = '';
    for await (const part of request) body += part;
    seen.push({ prompt: JSON.stringify(JSON.parse(body).messages), at: Date.now() });
    response.end('data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n');
  });
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve));
  try {
    const url = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`;
    const args = '--model m --num-prompts 3 --num-warmups 3 --save-result --result-filename warm.json';
    const { code, stderr } = await bench([...SHORT, ...args.split(' '), '--result-dir', FOLDER], { url });
    assert.equal(code, 0, stderr);
    assert.equal(new Set(seen.map(({ prompt }) => prompt)).size, 6);
    const { started_at } = JSON.parse(readFileSync(join(FOLDER, 'warm.json'), 'utf8')).sluice;
    assert.ok(Date.parse(started_at) >= seen[2]!.at, `${started_at} is before the last of what came before`);
  } finally {
    upstream.close();
  }
});

test('a key may come from a file, and tenants have their own share and figures', async () => {
  const keyFile = join(FOLDER, 'key');
  writeFileSync(keyFile, `${SECRET}\n`);
  const none = { SLUICE_BENCH_API_KEY: '', OPENAI_API_KEY: '' };
  const few = [...SHORT, '--num-prompts', '5'];
  assert.equal((await bench([...few, '--api-key-file', keyFile], { env: none })).code, 0);
  const refused = await bench(few, { env: none });
  assert.equal(refused.code, 2);
  assert.match(refused.stderr, /answers 401: .*--model.*key/);

  const tenants = join(FOLDER, 'tenants');
  writeFileSync(tenants, `# two\nloud ${SECRET} 9\nquiet other-key\n`);
  const args = ['--tenants', tenants, '--num-prompts', '200', '--save-result', '--result-dir', FOLDER];
  const { code, stdout, stderr } = await bench([...SHORT, ...args, '--result-filename', 'tenants.json']);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^loud +\d+/m);
  const { loud, quiet } = JSON.parse(readFileSync(join(FOLDER, 'tenants.json'), 'utf8')).sluice.tenants;
  assert.equal(loud.complete + quiet.complete, 200);
  assert.ok(quiet.complete >= 5 && quiet.complete <= 45, `${quiet.complete} of 200 for a tenth`);
  writeFileSync(tenants, `loud ${SECRET} much\n`);
  const wrong = await bench(['--tenants', tenants]);
  assert.equal(wrong.code, 2);
  assert.match(wrong.stderr, /entry 1 is not NAME KEY/);
  assert.doesNotMatch(wrong.stderr, new RegExp(SECRET));
});

test('who is refused comes back at the time that was named, and is counted', async () => {
  const busy = await startSluice({
    config: fakeConfig(
      { pieces: ['a', 'b', 'c'], slots: 1, first_token_ms: 40 },
      { log_level: 'silent', queue: { max_wait_ms: 100 } },
    ),
  });
  try {
    const args = ['--num-prompts', '12', '--come-back', '9', '--save-result', '--result-dir', FOLDER];
    const { stderr } = await bench([...SHORT, ...args, '--result-filename', 'back.json'], { url: busy.url });
    const { all } = JSON.parse(readFileSync(join(FOLDER, 'back.json'), 'utf8')).sluice;
    assert.ok(all.refused.withRetryAfter > 0, stderr);
    assert.equal(all.refused.without, 0);
    assert.ok(all.cameBack.visitors > 0);
    assert.equal(all.cameBack.complete + all.cameBack.refusedAgain, all.cameBack.visitors);
    assert.equal(all.complete + all.cameBack.refusedAgain, 12);
    assert.equal(all.requests, all.complete + all.refused.withRetryAfter);
  } finally {
    await busy.stop();
  }
});

test('who waits too long for a word leaves, and the server has its slots again', async () => {
  const silent = await startSluice({
    config: fakeConfig({ slots: 2, stall_after: 1 }, { log_level: 'silent' }),
  });
  try {
    const args = ['--num-prompts', '4', '--give-up-ms', '300'];
    const { code, stdout } = await bench([...SHORT, ...args], { url: silent.url });
    assert.equal(code, 1);
    assert.match(stdout, /^ {2}gave up +4$/m);
    assert.match(stdout, /^ {2}why +.*a silence [1-4]/m);
    const metrics = await (await fetch(`${silent.url}/metrics`)).text();
    assert.match(metrics, /^sluice_requests_running 0$/m);
  } finally {
    await silent.stop();
  }
});

test('a trace is replayed, at a multiple of its rate', async () => {
  const trace = join(FOLDER, 'trace.csv');
  const rows = Array.from(
    { length: 20 },
    (_, index) => `2023-11-16 18:15:${10 + index}.5000000,${5 + index},3`,
  );
  writeFileSync(trace, `TIMESTAMP,ContextTokens,GeneratedTokens\n${rows.join('\n')}\n`);
  const args = ['--trace', trace, '--rate', '100', '--save-detailed', '--result-dir', FOLDER];
  const { code, stderr } = await bench([...args, '--result-filename', 'trace.json']);
  assert.equal(code, 0, stderr);
  const { attempts } = JSON.parse(readFileSync(join(FOLDER, 'trace.json'), 'utf8')).sluice;
  assert.deepEqual(
    attempts.map(({ dueMs }: { dueMs: number }) => Math.round(dueMs)).sort((a: number, b: number) => a - b),
    Array.from({ length: 20 }, (_, index) => index * 10),
  );
});

test('Ctrl-C ends the load and tells what there was', async () => {
  const args = [...SHORT, '--request-rate', '20', '--num-prompts', '100000'];
  const { code, stdout } = await bench(args, { interruptAfter: /complete [1-9]/ });
  assert.equal(code, 0);
  assert.match(stdout, /^ {2}failed +0$/m);
});

const mistakes: readonly (readonly [RegExp, ...string[]])[] = [
  [/--surge and --closed-loop exclude each other/, '--surge', 'steady=1', '--closed-loop', '3'],
  [/--ramp-up-strategy needs/, '--ramp-up-strategy', 'linear'],
  [/needs --dataset-path/, '--dataset-name', 'custom'],
  [/nowhere cannot be read/, '--dataset-name', 'custom', '--dataset-path', '/nowhere'],
  [/No request would be sent/, '--surge', 'steady=0.001,seconds=0.001'],
];
for (const [said, ...args] of mistakes) {
  test(`${args.join(' ')} is a mistake that is told in a sentence`, async () => {
    const { code, stdout, stderr } = await bench(args);
    assert.equal(code, 2);
    assert.match(stderr, said);
    assert.equal(stdout, '');
  });
}

test('nobody answers: a sentence, and no file', async () => {
  const url = `http://127.0.0.1:${await freePort()}`;
  const { code, stderr } = await bench(['--save-result', '--result-dir', join(FOLDER, 'none')], { url });
  assert.equal(code, 2);
  assert.match(stderr, /No server answers at http:\/\/127\.0\.0\.1:\d+ \(ECONNREFUSED\)/);
  assert.ok(!readdirSync(FOLDER).includes('none'));
});
