// Guards the configuration: which source wins, that nothing misspelled passes in silence, and that keys come out as
// hashes only.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { settingNames } from './config/schema-names.ts';
import {
  type Config,
  ConfigError,
  clientKey,
  type Environment,
  isUnderNpm,
  loadConfig,
  wantsColour,
} from './config.ts';

const folder = mkdtempSync(join(tmpdir(), 'sluice-config-'));
after(() => rmSync(folder, { recursive: true }));
let files = 0;

function fileOf(text: string): string {
  files += 1;
  const path = join(folder, `${files}.yaml`);
  writeFileSync(path, text);
  return path;
}

const fromFile = (text: string, env: Environment = {}): Config => loadConfig({ config: fileOf(text) }, env);
const sha256 = (secret: string) => createHash('sha256').update(secret).digest();

/** The message of the ConfigError that the file gives. */
function complaint(text: string, env: Environment = {}): string {
  try {
    fromFile(text, env);
  } catch (thrown) {
    assert.ok(thrown instanceof ConfigError, `${thrown}`);
    return thrown.message;
  }
  assert.fail(`taken without complaint: ${text}`);
}

test('without any source there are the documented defaults', () => {
  const { env, warnings, ...config } = loadConfig({}, {});
  assert.deepEqual(env, {});
  assert.deepEqual(warnings, []);
  assert.deepEqual(config, {
    host: '127.0.0.1',
    port: 8080,
    model_id: 'deepseek-r1',
    engine: { batch_size: 8, context: 4096, longest_step_ms: 330, prefix_cache_mb: 256, gpu: false },
    keys: [],
    cors_origins: [],
    keep_alive_ms: 10_000,
    slow_reader_limit_ms: 30_000,
    first_token_timeout_ms: 30_000,
    silence_limit_ms: 30_000,
    answer_timeout_ms: 600_000,
    probe_interval_ms: 15_000,
    continuation: true,
    replay_buffer_bytes: 1024 * 1024,
    resume_grace_ms: 30_000,
    resume_keep_ms: 300_000,
    resume_memory_bytes: 256 * 1024 * 1024,
    queue: { max_wait_ms: 60_000, max_tokens: 500_000, shares: { standard: 0.2, batch: 0.05 } },
    routing: { prefix: 3, load: 2, kv_cache: 1, session: 1, price: 1 },
    body_limit_bytes: 32 * 1024 * 1024,
    body_timeout_ms: 15_000,
    header_timeout_ms: 15_000,
    drain_limit_ms: 30_000,
    log_level: 'info',
    homedir: homedir(),
  });
});

test('an empty file changes nothing, and a section that is half filled keeps its other defaults', () => {
  assert.equal(fromFile('').port, 8080);
  assert.deepEqual(fromFile('queue: {max_tokens: 7, shares: {batch: 0.1}}').queue, {
    max_wait_ms: 60_000,
    max_tokens: 7,
    shares: { standard: 0.2, batch: 0.1 },
  });
});

test('flags win over the environment, and the environment over the file', () => {
  const config = fileOf('host: file\nport: 1\nmodel: file');
  const env = { SLUICE_HOST: 'environment', SLUICE_PORT: '2', SLUICE_MODEL: 'environment' };
  const flags = { host: 'flag', port: '3', model: 'flag' };
  const places = (one: Config) => [one.host, one.port, one.model];
  assert.deepEqual(places(loadConfig({ config, ...flags }, env)), ['flag', 3, 'flag']);
  assert.deepEqual(places(loadConfig({ config }, env)), ['environment', 2, 'environment']);
  assert.deepEqual(places(loadConfig({ config }, {})), ['file', 1, 'file']);
});

test('an empty variable is as good as none', () => {
  const env = { SLUICE_HOST: '', SLUICE_PORT: '', SLUICE_MODEL: '', SLUICE_API_KEYS: '' };
  const { host, port, model, keys } = loadConfig({}, env);
  assert.deepEqual(
    { host, port, model, keys },
    { host: '127.0.0.1', port: 8080, model: undefined, keys: [] },
  );
});

test('JSON is taken as YAML is', () => {
  assert.equal(fromFile('{"port": 4321, "queue": {"max_wait_ms": 5}}').port, 4321);
});

test('a port is a whole number that a port can have, wherever it comes from', () => {
  for (const text of ['0', '1', '080', '65535'])
    assert.equal(loadConfig({ port: text }, {}).port, Number(text));
  for (const text of ['-1', '65536', '99999', '8080a', '1e3', '80.5', ' 80', '0x50', '']) {
    assert.throws(() => loadConfig({ port: text }, {}), { name: 'ConfigError', message: /--port/ }, text);
  }
  assert.throws(() => loadConfig({}, { SLUICE_PORT: 'http' }), /SLUICE_PORT.*"http"/);
  assert.match(complaint('port: 65536'), /"port"/);
  assert.match(complaint('port: "8080"'), /"port"/);
});

test('a misspelled setting is refused with the name that was meant', () => {
  for (const [text, unknown, meant] of [
    ['prot: 80', 'prot', 'port'],
    ['keepAliveMs: 5', 'keepAliveMs', 'keep_alive_ms'],
    ['keep-alive-ms: 5', 'keep-alive-ms', 'keep_alive_ms'],
    ['model-id: x', 'model-id', 'model_id'],
    ['modelId: x', 'modelId', 'model_id'],
    ['queue: {max_token: 5}', 'queue.max_token', 'max_tokens'],
    ['engine: {batchsize: 5}', 'engine.batchsize', 'batch_size'],
    ['keys: [{key: a}, {kye: b, key: b}]', 'keys[1].kye', 'key'],
    ['backends: [{kind: fake, first_tokn_ms: 5}]', 'backends[0].first_tokn_ms', 'first_token_ms'],
  ] as const) {
    const message = complaint(text);
    assert.ok(message.includes(`"${unknown}"`), `${message} should name ${unknown}`);
    assert.ok(message.includes(`Did you mean "${meant}"?`), `${message} should mean ${meant}`);
  }
});

test('a setting like no other is refused with the names that there are at its place', () => {
  const top = complaint('temperature_default: 1');
  assert.match(top, /"temperature_default" in .*\.yaml:1:1 is no setting/);
  for (const name of ['host', 'port', 'engine', 'queue', 'keys']) assert.ok(top.includes(name), top);
  assert.match(
    complaint('queue: {colour: red}'),
    /"queue\.colour".* Known are: max_wait_ms, max_tokens, shares\./,
  );
  const inArray = complaint('backends: [{kind: fake}, {kind: fake, temperature: 1}]');
  assert.match(inArray, /"backends\[1\]\.temperature".* Known are: kind, id, slots/);
});

test('a wrong value is named by its place', () => {
  assert.match(complaint('engine: {batch_size: 0}'), /^"engine\.batch_size" in .* is wrong: /);
  assert.match(complaint('keys: [{key: ""}]'), /^"keys\[0\]\.key" /);
  assert.match(complaint('backends: [{kind: magic}]'), /^"backends\[0\]\.kind" /);
  assert.match(
    complaint('backends: [{kind: magic}]'),
    /expected one of fake, embedded, vllm, sglang, llama\.cpp, ollama, .*generic\.$/,
  );
  assert.match(complaint('keep_alive_ms: 0'), /^"keep_alive_ms" /);
  assert.match(complaint('log_level: loud'), /^"log_level" /);
});

test('a hedge is after a time, or by itself, or not at all', () => {
  const load = (hedge: unknown) => loadConfig({ config: 'f' }, {}, JSON.stringify({ hedge_after_ms: hedge }));
  assert.deepEqual([load(300).hedge_after_ms, load('auto').hedge_after_ms], [300, 'auto']);
  assert.equal(loadConfig({}, {}).hedge_after_ms, undefined);
  assert.throws(() => load('soon'), {
    message: /"hedge_after_ms".*expected a number of milliseconds, or auto/,
  });
});

test('what is wrong is found by line and column', () => {
  const file = (text: string) => /\.yaml(:\d+:\d+)? /.exec(complaint(text))?.[1];
  assert.equal(file('host: a\nengine:\n  context: 4096\n  batch_size: 0\n'), ':4:15');
  assert.equal(file('host: a\nengine:\n  context: 4096\n  slot: 3\n'), ':4:3', 'a name: where it stands');
  assert.equal(
    file('keys:\n  - name: a\n    key: x\n  - name: b\n'),
    ':4:5',
    'what is absent: where it belongs',
  );
  assert.equal(file('{"port": 80,\n "queue": {"max_wait_ms": 0}}'), ':2:27', 'JSON too');
  assert.equal(file('queue: &q {max_tokens: 0}\n'), ':1:24');
});

test('what a flag or a variable says wrong is not looked for in the file', () => {
  const config = fileOf('model: x\nhost: y\n');
  assert.throws(() => loadConfig({ config, model: '' }, {}), { message: /^"model" is wrong: / });
});

test('a file that is missing, no YAML or no mapping is said to be so, with its name', () => {
  assert.throws(() => loadConfig({ config: join(folder, 'none.yaml') }, {}), {
    name: 'ConfigError',
    message: /none\.yaml cannot be read: ENOENT/,
  });
  assert.match(complaint('port: [1'), /\.yaml is not YAML: /);
  assert.match(complaint('port: 1\nport: 2'), /\.yaml is not YAML: /);
  for (const text of ['- 1', 'just words', '42']) assert.match(complaint(text), /must be a mapping/);
});

test('a file that would unfold to billions of values is refused', () => {
  const rows = ['a: &a [x,x,x,x,x,x,x,x,x]'];
  for (const [name, above] of ['ba', 'cb', 'dc', 'ed', 'fe', 'gf', 'hg', 'ih'] as const) {
    rows.push(`${name}: &${name} [${Array(9).fill(`*${above}`).join(',')}]`);
  }
  assert.match(complaint(rows.join('\n')), /is not YAML/);
});

test('SLUICE_API_KEYS holds any number of keys, and only their hashes are kept', () => {
  const { keys, warnings } = loadConfig({}, { SLUICE_API_KEYS: ' one, two ,,three,' });
  assert.deepEqual(keys, [
    { tenant: 'env-1', digest: sha256('one'), models: undefined },
    { tenant: 'env-2', digest: sha256('two'), models: undefined },
    { tenant: 'env-3', digest: sha256('three'), models: undefined },
  ]);
  assert.deepEqual(warnings, []);
});

test('keys of the file come before those of the environment, each tenant apart', () => {
  const { keys } = fromFile(`keys: [{key: "\${A}"}, {key: "\${A}", name: bob, models: [m]}]`, {
    A: 'secret',
    SLUICE_API_KEYS: 'other',
  });
  assert.deepEqual(
    keys.map(({ tenant, models }) => [tenant, models]),
    [
      ['key-1', undefined],
      ['bob', ['m']],
      ['env-1', undefined],
    ],
  );
});

test('a key may stand as a variable, as a hash, or as plain text with a warning', () => {
  const hash = sha256('hashed').toString('hex');
  const config = fromFile(
    `keys: [{key: "\${MY_KEY}"}, {key: "sha256:${hash}"}, {key: "sha256:${hash.toUpperCase()}"}, {key: "in the open"}]`,
    { MY_KEY: 'from outside' },
  );
  assert.deepEqual(
    config.keys.map(({ digest }) => digest),
    [sha256('from outside'), sha256('hashed'), sha256('hashed'), sha256('in the open')],
  );
  assert.equal(config.warnings.length, 1);
  assert.match(config.warnings[0]!, /keys\[3\]\.key.*plain text/);
  assert.doesNotMatch(config.warnings[0]!, /in the open/, 'a warning must not show the secret');
});

test('a key may stand in a file beside the configuration', () => {
  const secret = join(folder, 'secret.txt');
  writeFileSync(secret, 'from a file\n');
  assert.deepEqual(fromFile('keys: [{key: {file: secret.txt}}]').keys[0]?.digest, sha256('from a file'));
  assert.deepEqual(fromFile(`keys: [{key: {file: "${secret}"}}]`).keys[0]?.digest, sha256('from a file'));
  assert.match(complaint('keys: [{key: {file: none.txt}}]'), /"keys\[0\]\.key" in .*none\.txt.*ENOENT/);
  writeFileSync(secret, ' \n');
  assert.match(complaint('keys: [{key: {file: secret.txt}}]'), /which is empty/);
  assert.match(
    complaint('keys: [{key: {flie: secret.txt}}]'),
    /"keys\[0\]\.key" in .* is wrong: expected the secret/,
  );
});

test('limits of a key come out by their names', () => {
  const { keys } = fromFile('keys: [{key: a, max_parallel: 2, rpm: 10, tpm: 1000, priority: batch}]');
  const { maxParallel, rpm, tpm, priority } = keys[0]!;
  assert.deepEqual([maxParallel, rpm, tpm, priority], [2, 10, 1000, 'batch']);
  const long = fromFile('keys: [{key: a, rph: 1, rpd: 2, tpd: 3, daily_budget: 0.5, weight: 4}]').keys[0]!;
  assert.deepEqual([long.rph, long.rpd, long.tpd, long.dailyBudget, long.weight], [1, 2, 3, 0.5, 4]);
  assert.equal(keys[0]!.weight, 1, 'one share, where nothing is said');
  assert.match(complaint('keys: [{key: a, rpm: 0}]'), /"keys\[0\]\.rpm"/);
  assert.match(complaint('keys: [{key: a, daily_budget: 0}]'), /"keys\[0\]\.daily_budget"/);
  assert.match(complaint('keys: [{key: a, weight: 0}]'), /"keys\[0\]\.weight"/);
  assert.match(complaint('keys: [{key: a, priority: urgent}]'), /"keys\[0\]\.priority"/);
});

test('limits stand for a key, for single models of it by any name, and for a model', () => {
  const models =
    'backends: [{url: "http://h"}]\nmodels: [{id: m, aliases: [em], limits: {rpm: 7, max_parallel: 3}}, {id: n}]';
  const config = fromFile(
    `${models}\nkeys: [{key: a, rpm: 9, model_limits: {em: {tpm: 5, daily_budget: 0.5}, n: {}}}]`,
  );
  assert.equal(config.keys[0]!.rpm, 9);
  assert.deepEqual(
    [...config.keys[0]!.modelLimits!].map(([id, { tpm, dailyBudget, rpm }]) => [id, tpm, dailyBudget, rpm]),
    [
      ['m', 5, 0.5, undefined],
      ['n', undefined, undefined, undefined],
    ],
  );
  const [m, n] = config.models!;
  assert.deepEqual([m!.limits!.rpm, m!.limits!.maxParallel, n!.limits], [7, 3, undefined]);
  const wrong = (limits: string) => complaint(`${models}\nkeys: [{key: a, model_limits: ${limits}}]`);
  assert.match(
    wrong('{mm: {rpm: 1}}'),
    /"keys\[0\]\.model_limits\.mm" in .*no such model. Did you mean "m"\?/,
  );
  assert.match(wrong('{m: {rpm: 1}, em: {rpm: 1}}'), /"keys\[0\]\.model_limits\.em" in .* "m" a second time/);
  assert.match(wrong('{m: {rpn: 1}}'), /"keys\[0\]\.model_limits\.m\.rpn" in .*Did you mean "rpm"\?/);
  assert.match(wrong('{m: {rpm: 0}}'), /"keys\[0\]\.model_limits\.m\.rpm"/);
});

test('a limit of a model that is not served here, where only one is, is warned of', () => {
  const { warnings } = fromFile(
    `keys: [{key: "\${A}", model_limits: {other: {rpm: 1}, deepseek-r1: {rpm: 1}}}]`,
    { A: 'a' },
  );
  assert.deepEqual(warnings, []);
  const file = `keys: [{key: "\${A}", model_limits: {other: {rpm: 1}}}]`;
  assert.match(fromFile(file, { A: 'a' }).warnings.join(), /keys\[0\]\.model_limits has not "deepseek-r1"/);
});

test('a back end of any kind may have a price, whole and never negative', () => {
  const price = '{input: 0.5, output: 2, cached: 0.1}';
  for (const kind of ['kind: fake', 'kind: embedded', 'url: "http://h"']) {
    const { backends } = fromFile(`backends: [{${kind}, price: ${price}}]`);
    assert.deepEqual(backends![0]!.price, { input: 0.5, output: 2, cached: 0.1 });
  }
  assert.match(complaint('backends: [{url: "http://h", price: {input: 1}}]'), /price\.output/);
  assert.match(complaint('backends: [{kind: fake, price: {input: -1, output: 1}}]'), /price\.input/);
});

test('the admin key is kept as its hash, and an empty one is none', () => {
  assert.deepEqual(loadConfig({}, { SLUICE_ADMIN_KEY: 'operator' }).adminKeyDigest, sha256('operator'));
  assert.equal(loadConfig({}, { SLUICE_ADMIN_KEY: '' }).adminKeyDigest, undefined);
});

test('a key for a model that is not the only one is warned of, and not refused', () => {
  const { warnings } = fromFile(`keys: [{key: "sha256:${'0'.repeat(64)}", models: [m]}]`);
  assert.deepEqual(warnings.length, 1);
  assert.match(warnings[0]!, /keys\[0\]\.models.*deepseek-r1/);
});

test('a key that names a variable which is not set, or empty, is refused', () => {
  for (const env of [{}, { MY_KEY: '' }]) {
    assert.match(
      complaint(`keys: [{key: "\${MY_KEY}"}]`, env),
      /"keys\[0\]\.key" in .* names MY_KEY, which is not set/,
    );
  }
});

test('the configuration cannot be changed by anyone who holds it, nor can its sections', () => {
  const config = fromFile('keys: [{key: a}]\nbackends: [{kind: fake}]');
  assert.ok(Object.isFrozen(config));
  for (const part of [config.engine, config.queue, config.keys, config.cors_origins, config.backends]) {
    assert.ok(Object.isFrozen(part));
  }
});

test('the names for the reference are those of the schema, sections with their own before them', () => {
  const names = settingNames();
  for (const name of ['host', 'queue.max_tokens', 'engine.batch_size', 'keys', 'backends', 'log_level']) {
    assert.ok(names.includes(name), name);
  }
  assert.ok(!names.includes('queue') && !names.includes('engine'));
  for (const name of ['keys.rpm', 'backends.url', 'backends.pieces', 'models.aliases']) {
    assert.ok(names.includes(name), name);
  }
});

test('colours are for terminals, unless NO_COLOR or a dumb one', () => {
  assert.equal(wantsColour(true, {}), true);
  assert.equal(wantsColour(true, { NO_COLOR: '' }), true, 'as no-color.org has it: only when not empty');
  assert.equal(wantsColour(true, { NO_COLOR: '1' }), false);
  assert.equal(wantsColour(true, { TERM: 'dumb' }), false);
  assert.equal(wantsColour(false, {}), false);
});

test('npm shows in its own variable', () => {
  assert.equal(isUnderNpm({ npm_lifecycle_event: 'start' }), true);
  assert.equal(isUnderNpm({}), false);
});

test("the client's key is the first that the server would take", () => {
  assert.equal(clientKey({}), undefined);
  assert.equal(clientKey({ SLUICE_API_KEYS: '' }), undefined);
  for (const SLUICE_API_KEYS of ['one,two', ' one , two', ',one', ' , one']) {
    assert.equal(clientKey({ SLUICE_API_KEYS }), 'one', `"${SLUICE_API_KEYS}"`);
    assert.deepEqual(loadConfig({}, { SLUICE_API_KEYS }).keys[0]?.digest, sha256('one'));
  }
  assert.equal(clientKey({ SLUICE_API_KEYS: ' , ' }), undefined);
});
