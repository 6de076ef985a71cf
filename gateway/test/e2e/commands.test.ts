// The command line as people and scripts use it: what it prints, where, and how it ends.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fakeConfig, freePort, ROOT, type Sluice, startSluice } from './harness.ts';

const FOLDER = mkdtempSync(join(tmpdir(), 'sluice-commands-'));
const HOME = join(FOLDER, 'home');
after(() => rmSync(FOLDER, { recursive: true, force: true }));

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function sluice(
  args: readonly string[],
  options: { input?: string; interruptAfter?: string } = {},
): Promise<Ended> {
  const env = {
    ...process.env,
    SLUICE_HOME: HOME,
    SLUICE_API_KEYS: '',
  };
  const child = spawn(process.execPath, [`${ROOT}gateway/bin/sluice.js`, ...args], { env });
  let stdout = '';
  let stderr = '';
  let interrupted = false;
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
    if (options.interruptAfter && !interrupted && stdout.includes(options.interruptAfter)) {
      interrupted = true;
      child.kill('SIGINT');
    }
  });
  child.stderr.on('data', (chunk) => (stderr += chunk));
  child.stdin.end(options.input ?? '');
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, stdout, stderr })));
}

let server: Sluice;
before(async () => {
  const pieces = ['Rivers ', 'flow', '。'];
  server = await startSluice({ config: fakeConfig({ pieces, reasoning: ['Well, '] }) });
});
after(() => server.stop());

test('chat gives the answer on standard output and its speed on standard error', async () => {
  const { code, stdout, stderr } = await sluice(['chat', '--url', server.url, 'What', 'do', 'rivers', 'do?']);
  assert.equal(code, 0);
  assert.equal(stdout, 'Rivers flow。\n');
  assert.match(stderr, /first token \d+ ms, [\d.]+ tokens\/s/);
});

test('chat goes on as a conversation until an empty line', async () => {
  const { code, stdout } = await sluice(['chat', '--url', `${server.url}/v1`], {
    input: 'one\ntwo\n\nthree\n',
  });
  assert.equal(code, 0);
  assert.equal(stdout, 'Rivers flow。\nRivers flow。\n');
});

test('Ctrl-C stops an answer, and what came is kept', async () => {
  const slow = await startSluice({ config: fakeConfig({ pieces: Array(500).fill('word '), token_ms: 20 }) });
  try {
    const ended = await sluice(['chat', '--url', slow.url, 'hi'], { interruptAfter: 'word word ' });
    assert.equal(ended.code, 0);
    assert.ok(ended.stdout.length < 500 * 'word '.length);
  } finally {
    await slow.stop();
  }
});

test('chat says in a sentence when nobody answers, and when the server refuses', async () => {
  const nobody = await sluice(['chat', '--url', `http://127.0.0.1:${await freePort()}`, 'hi']);
  assert.equal(nobody.code, 2);
  assert.match(nobody.stderr, /^sluice: No server answers at http:\/\/127\.0\.0\.1:\d+\/v1 \(ECONNREFUSED\)/);
  const refused = await sluice(['chat', '--url', server.url, '--model', 'no-such', 'hi']);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /no such model.*deepseek-r1/);
});

test('models lists the catalogue with licences, for people and as JSON', async () => {
  const { stdout } = await sluice(['models', 'list']);
  assert.match(stdout, /smollm2-135m-instruct +98 MB +Apache-2\.0 +\(can be pulled\)/);
  const { stdout: json } = await sluice(['models', 'list', '--json']);
  assert.ok(
    (JSON.parse(json) as { name: string }[]).some(({ name }) => name === 'deepseek-r1-distill-qwen-1.5b'),
  );
  const unknown = await sluice(['models', 'pull', 'no-such']);
  assert.equal(unknown.code, 2);
  assert.match(unknown.stderr, /no-such/);
});

test('models verify states the hash, and of a re-written model also what it was made from', async (context) => {
  const folder = join(HOME, 'models', 'tiny');
  mkdirSync(folder, { recursive: true });
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, 'new.gguf'), 'weights');
  const sha256 = createHash('sha256').update('weights').digest('hex');
  const record = { name: 'tiny', title: 'Tiny', licence: 'MIT', file: 'new.gguf', bytes: 7, sha256 };
  const rewrittenFrom = { file: 'old.gguf', bytes: 5, sha256: 'a'.repeat(64) };
  const write = (changes: object) =>
    writeFileSync(
      join(folder, 'model.json'),
      JSON.stringify({ ...record, source: 'a test', pulledAt: '2026-01-01', ...changes }),
    );
  write({ rewrittenFrom });
  const { code, stdout } = await sluice(['models', 'verify', 'tiny']);
  assert.equal(code, 0);
  assert.equal(stdout, `tiny  ok\n  SHA-256 ${sha256}\n  re-written here from ${'a'.repeat(64)}\n`);
  write({ sha256: 'b'.repeat(64) });
  const wrong = await sluice(['models', 'verify']);
  assert.equal(wrong.code, 1);
  assert.match(wrong.stdout, /^tiny {2}wrong: "sluice models remove tiny".*\n {2}SHA-256 b{64}\n$/);
});

test('check-config finds what is wrong and praises what is not', async () => {
  const file = join(FOLDER, 'check.yaml');
  writeFileSync(file, 'engine:\n  slots: 4\n');
  const bad = await sluice(['check-config', file]);
  assert.equal(bad.code, 2);
  assert.match(bad.stderr, /"engine\.slots".*It is called "batch_size" now\./);
  writeFileSync(file, 'engine:\n  batch_size: 4\nkeys:\n  - key: open-secret\n');
  const good = await sluice(['check-config', file]);
  assert.equal(good.code, 0);
  assert.match(good.stderr, /warning: .*plain text/);
  assert.doesNotMatch(good.stdout + good.stderr, /open-secret/);
});

test('check-config names the line', async () => {
  const file = join(FOLDER, 'line.yaml');
  writeFileSync(file, 'backends:\n  - url: http://127.0.0.1:1\n    slots: none\n');
  const { code, stderr } = await sluice(['check-config', file]);
  assert.equal(code, 2);
  assert.match(stderr, /"backends\[0\]\.slots" in .*\.yaml:3:12 is wrong/);
});

test('config-schema prints what the documentation holds', async () => {
  const { stdout } = await sluice(['config-schema']);
  const file = join(ROOT, 'docs/reference/sluice.schema.json');
  assert.deepEqual(JSON.parse(stdout), JSON.parse(readFileSync(file, 'utf8')));
});

test('a key is made, shown once, put into a file by its hash, and taken out again', async () => {
  const file = join(FOLDER, 'keys.yaml');
  writeFileSync(file, '# ours\nport: 8080\n', { mode: 0o640 });
  const made = await sluice([
    'keys',
    'create',
    '--name',
    'bob',
    '--model',
    'a',
    '--model',
    'b',
    '--config',
    file,
  ]);
  assert.equal(made.code, 0);
  assert.match(made.stdout, /^sk-sluice-[\w-]{43}\n$/);
  assert.doesNotMatch(made.stderr, /sk-sluice-/);
  const secret = made.stdout.trim();
  const hashed = await sluice(['keys', 'hash'], { input: `${secret}\n` });
  assert.match(hashed.stdout, /^sha256:[0-9a-f]{64}\n$/);
  const text = readFileSync(file, 'utf8');
  assert.ok(text.includes(hashed.stdout.trim()) && text.includes('# ours') && !text.includes(secret), text);
  assert.equal(statSync(file).mode & 0o777, 0o640);
  assert.equal((await sluice(['check-config', file])).code, 0);
  const again = await sluice(['keys', 'create', '--name', 'bob', '--config', file]);
  assert.equal(again.code, 2);
  assert.match(again.stderr, /"bob" already/);
  assert.equal(again.stdout, '');
  const typo = await sluice(['keys', 'revoke', 'bub', '--config', file]);
  assert.equal(typo.code, 2);
  assert.match(typo.stderr, /Did you mean "bob"\?/);
  const revoked = await sluice(['keys', 'revoke', 'bob', '--config', file]);
  assert.equal(revoked.code, 0);
  assert.match(revoked.stderr, /No key is left/);
  assert.ok(!readFileSync(file, 'utf8').includes('bob'));
});

test('without a file a key comes with the entry to paste', async () => {
  const { stdout } = await sluice(['keys', 'create']);
  const [secret = '', ...rest] = stdout.split('\n');
  const digest = createHash('sha256').update(secret).digest('hex');
  assert.equal(rest.join('\n'), `\nkeys:\n  - name: key-${digest.slice(0, 8)}\n    key: sha256:${digest}\n`);
  const nothing = await sluice(['keys', 'hash'], { input: ' \n' });
  assert.equal(nothing.code, 2);
  const missing = await sluice(['keys', 'create', '--config', join(HOME, 'none.yaml')]);
  assert.equal(missing.code, 2);
  assert.match(missing.stderr, /none\.yaml could not be changed: ENOENT/);
  assert.equal(missing.stdout, '');
});

test('help and version', async () => {
  assert.match((await sluice(['--help'])).stdout, /serve.*chat.*models.*check-config.*config-schema.*keys/s);
  assert.match((await sluice(['--version'])).stdout, /^\d+\.\d+\.\d+\n$/);
  const unknown = await sluice(['serv']);
  assert.notEqual(unknown.code, 0);
});
