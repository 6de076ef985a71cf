// Guards back ends and models as they come out of a configuration: addresses whole and without credentials, ids unique, keys
// read and never shown, and every name that leads nowhere refused.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { VendorKind } from '../backends/remote/vendors.ts';
import { type Config, ConfigError, type Environment, loadConfig, usesEngine } from '../config.ts';
import { isRemote, type RemoteBackendConfig } from './backends.ts';
import { REMOTE_KINDS } from './schema.ts';

const folder = mkdtempSync(join(tmpdir(), 'sluice-backends-'));
after(() => rmSync(folder, { recursive: true }));
let files = 0;

function load(value: object, env: Environment = {}, backend?: string[]): Config {
  files += 1;
  const config = join(folder, `${files}.json`);
  writeFileSync(config, JSON.stringify(value));
  return loadConfig({ config, backend }, env);
}

function remotes(value: object, env: Environment = {}, flags?: string[]): RemoteBackendConfig[] {
  return (load(value, env, flags).backends ?? []).filter(isRemote);
}

function complaint(value: object, env: Environment = {}, flags?: string[]): string {
  try {
    load(value, env, flags);
  } catch (thrown) {
    assert.ok(thrown instanceof ConfigError, `${thrown}`);
    return thrown.message;
  }
  assert.fail(`taken without complaint: ${JSON.stringify(value)}`);
}

const only = (url: string, more: object = {}) => remotes({ backends: [{ url, ...more }] })[0]!;

test('the kinds of the configuration are those that the back ends know', () => {
  const kinds: readonly VendorKind[] = REMOTE_KINDS;
  const all: Record<VendorKind, true> = {
    vllm: true,
    sglang: true,
    'llama.cpp': true,
    ollama: true,
    siliconflow: true,
    deepseek: true,
    moonshot: true,
    openai: true,
    sluice: true,
    generic: true,
  };
  assert.deepEqual([...kinds].sort(), Object.keys(all).sort());
});

test('an address comes out whole: /v1 where there is no path, no slash at the end', () => {
  for (const [given, whole] of [
    ['http://127.0.0.1:8000', 'http://127.0.0.1:8000/v1'],
    ['http://127.0.0.1:8000/', 'http://127.0.0.1:8000/v1'],
    ['https://API.example.com/v1/', 'https://api.example.com/v1'],
    ['https://api.example.com:443/openai/v2', 'https://api.example.com/openai/v2'],
    ['http://[::1]:9/x//', 'http://[::1]:9/x'],
  ] as const) {
    assert.equal(only(given).url, whole, given);
  }
});

test('what is no address of an API is refused, and nothing of it is repeated', () => {
  for (const [url, reason] of [
    ['127.0.0.1:8000', /an address like http:/],
    ['localhost:8000/v1', /an address like http:/],
    ['ftp://example.com', /an address like http:/],
    ['http://', /an address like http:/],
    ['http://user:hunter2@example.com/v1', /"api_key"/],
    ['http://hunter2@example.com/v1', /"api_key"/],
    ['http://example.com/v1?key=hunter2', /no "\?"/],
    ['http://example.com/v1#hunter2', /no "\?"/],
    ['http://example.com/v1?', /no "\?"/],
  ] as const) {
    const message = complaint({ backends: [{ url }] });
    assert.match(message, /^"backends\[0\]\.url" in .*\.json:1:\d+ is wrong/);
    assert.match(message, reason);
    assert.doesNotMatch(message, /hunter2/);
  }
  assert.match(complaint({ backends: [{ kind: 'vllm' }] }), /"backends\[0\]\.url".*needs one/);
});

test('the kind is known from a cloud’s own host, said by the user, or generic', () => {
  assert.equal(only('https://api.deepseek.com').kind, 'deepseek');
  assert.equal(only('https://api.moonshot.cn/v1').kind, 'moonshot');
  assert.equal(only('https://api.moonshot.ai/v1').kind, 'moonshot');
  assert.equal(only('https://api.siliconflow.cn/v1').kind, 'siliconflow');
  assert.equal(only('https://api.openai.com/v1').kind, 'openai');
  assert.equal(only('https://api.openai.com.example/v1').kind, 'generic');
  assert.equal(only('https://api.openai.com/v1', { kind: 'vllm' }).kind, 'vllm');
  assert.equal(only('http://127.0.0.1:8000').kind, 'generic');
});

test('ids are made of host and port, chosen ones come first, and no two are one', () => {
  const value = {
    backends: [
      { url: 'http://h:1/a' },
      { url: 'http://h:1/b' },
      { url: 'http://other', id: 'h:1' },
      { kind: 'fake' },
      { kind: 'fake' },
      { kind: 'embedded' },
    ],
  };
  const { backends } = load(value);
  assert.deepEqual(
    backends!.map(({ id }) => id),
    ['h:1-2', 'h:1-3', 'h:1', 'fake', 'fake-2', 'engine'],
  );
  assert.match(
    complaint({
      backends: [
        { url: 'http://a', id: 'x' },
        { kind: 'fake', id: 'x' },
      ],
    }),
    /"backends\[1\]\.id".*"x" is taken/,
  );
  assert.match(complaint({ backends: [{ kind: 'embedded' }, { kind: 'embedded' }] }), /one embedded engine/);
});

test('what a user says of a back end comes out, and so does the patience it is met with', () => {
  const { overrides, contextWindow, limits } = remotes({
    silence_limit_ms: 7,
    backends: [
      {
        url: 'http://h',
        context_window: 4096,
        slots: 3,
        limit: 'gradient',
        think_tags: true,
        template: 'qwen',
        tool_markup: 'qwen',
        ignores_stop: true,
      },
    ],
  })[0]!;
  assert.deepEqual(overrides, {
    slots: 3,
    limit: 'gradient',
    thinkTags: true,
    template: 'qwen',
    toolMarkup: 'qwen',
    ignoresStop: true,
  });
  assert.equal(contextWindow, 4096);
  assert.deepEqual(limits, {
    firstTokenTimeoutMs: 30_000,
    silenceLimitMs: 7,
    answerTimeoutMs: 600_000,
    probeIntervalMs: 15_000,
  });
  const wrong = complaint({ backends: [{ url: 'http://h', slot: 3 }] });
  assert.match(wrong, /"backends\[0\]\.slot".*Did you mean "slots"\?/);
  assert.match(complaint({ backends: [{ url: 'http://h', pieces: ['x'] }] }), /Known are: kind, id, url/);
  assert.match(complaint({ hedge_sooner_ms: 5 }), /is no setting/);
});

test('a key of a back end is a variable, a file, or a literal with a warning; none is ever shown', () => {
  writeFileSync(join(folder, 'key'), 'sk-file\n');
  const config = load(
    {
      backends: [
        { url: 'http://a', api_key: `\${KEY}` },
        { url: 'http://b', api_key: { file: 'key' } },
        { url: 'http://c', api_key: 'sk-literal' },
        { url: 'http://d' },
      ],
    },
    { KEY: 'sk-variable' },
  );
  assert.deepEqual(
    config.backends!.filter(isRemote).map(({ apiKey }) => apiKey),
    ['sk-variable', 'sk-file', 'sk-literal', undefined],
  );
  assert.equal(config.warnings.length, 1);
  assert.match(config.warnings[0]!, /backends\[2\]\.api_key/);
  assert.doesNotMatch(config.warnings[0]!, /sk-/);
  const unset = complaint({ backends: [{ url: 'http://a', api_key: `\${KEY}` }] });
  assert.match(unset, /"backends\[0\]\.api_key" in .* names KEY/);
  const inside = complaint({ backends: [{ url: 'http://a', api_key: `sk-\${KEY}` }] }, { KEY: 'x' });
  assert.match(inside, /stands alone/);
  const unfit = complaint({ backends: [{ url: 'http://a', api_key: 'sk-1\nHost: evil' }] });
  assert.match(unfit, /no header can carry/);
  assert.doesNotMatch(inside + unfit, /sk-/);
});

test('--backend stands for back ends and models of the file, whose rest holds', () => {
  const file = {
    port: 7,
    backends: [{ url: 'http://a', api_key: `\${NOT_SET}` }],
    models: [{ id: 'm' }],
    keys: [{ key: 'k', models: ['anything'] }],
  };
  const config = load(file, { SLUICE_BACKEND_API_KEY: 'sk-1' }, ['http://x:1', 'https://api.deepseek.com']);
  assert.deepEqual(
    config.backends!.filter(isRemote).map(({ id, kind, url, apiKey }) => [id, kind, url, apiKey]),
    [
      ['x:1', 'generic', 'http://x:1/v1', 'sk-1'],
      ['api.deepseek.com', 'deepseek', 'https://api.deepseek.com/v1', 'sk-1'],
    ],
  );
  assert.equal(config.models, undefined);
  assert.equal(config.port, 7);
  assert.deepEqual(config.keys[0]!.models, ['anything']);
  assert.match(
    complaint({}, {}, ['http://u:hunter2@x']),
    /^--backend is wrong: it holds a user or a password/,
  );
  assert.match(complaint({ backends: [{}] }, {}, ['http://x']), /"backends\[0\]\.url"/);
});

test('the variable is the key of --backend only', () => {
  assert.equal(
    remotes({ backends: [{ url: 'http://a' }] }, { SLUICE_BACKEND_API_KEY: 'x' })[0]!.apiKey,
    undefined,
  );
});

test('the engine is used where nothing else is named, or where it is named', () => {
  assert.equal(usesEngine(load({})), true);
  assert.equal(usesEngine(load({ backends: [{ url: 'http://a' }] })), false);
  assert.equal(usesEngine(load({ backends: [{ url: 'http://a' }, { kind: 'embedded' }] })), true);
});

const TWO = [
  { url: 'http://a', id: 'a' },
  { url: 'http://b', id: 'b' },
];
const models = (...entries: object[]) => load({ backends: TWO, models: entries }).models!;

test('tiers: names alone are tiers of their own, names in a list are equals, and the default is all in order', () => {
  const [plain, equal, all] = models(
    { id: '1', backends: ['b', 'a'] },
    { id: '2', backends: [['a', 'b']] },
    { id: '3' },
  );
  assert.deepEqual(plain!.tiers, [['b'], ['a']]);
  assert.deepEqual(equal!.tiers, [['a', 'b']]);
  assert.deepEqual(all!.tiers, [['a'], ['b']]);
});

test('what back ends call a model is one name for all or one for each', () => {
  const [same, each, none] = models(
    { id: '1', name: 'up' },
    { id: '2', name: { b: 'up-b' } },
    { id: '3', context_window: 9, first_token_objective_ms: 5, aliases: ['three'] },
  );
  assert.deepEqual(same!.names, { a: 'up', b: 'up' });
  assert.deepEqual(each!.names, { b: 'up-b' });
  assert.deepEqual(none!.names, {});
  assert.deepEqual([none!.contextWindow, none!.firstTokenObjectiveMs, none!.aliases], [9, 5, ['three']]);
});

test('models without back ends in the file are the embedded engine’s', () => {
  assert.deepEqual(load({ models: [{ id: 'm' }] }).models![0]!.tiers, [['engine']]);
});

test('names that lead nowhere, or two ways, are refused with the one that was meant', () => {
  const wrong = (...entries: object[]) => complaint({ backends: TWO, models: entries });
  assert.match(wrong({ id: '1', backends: ['a', 'bb'] }), /"models\[0\]\.backends\[1\]".*Did you mean "b"\?/);
  assert.match(wrong({ id: '1', backends: [['zebra']] }), /backends\[0\]\[0\]" in .*Known are: a, b\./);
  assert.match(wrong({ id: '1', backends: ['a', ['a']] }), /"a" a second time/);
  assert.match(wrong({ id: '1', name: { c: 'x' } }), /"models\[0\]\.name\.c"/);
  assert.match(wrong({ id: '1', backends: ['a'], name: { b: 'x' } }), /no back end of this model/);
  assert.match(wrong({ id: '1' }, { id: '1' }), /"models\[1\]\.id".*"1" is the name of a model already/);
  assert.match(wrong({ id: '1' }, { id: '2', aliases: ['x', '1'] }), /"models\[1\]\.aliases\[1\]"/);
  assert.match(wrong({ id: '1', backends: [] }), /"models\[0\]\.backends"/);
});

const PRICED = [...TWO, { url: 'http://c', id: 'cloud', price: { input: 1, output: 2 } }];
const spill = { backends: ['cloud'], budget_per_day: 5 };

test('what may be given up is said for each model, and nothing is by itself', () => {
  const { models: [large, small] = [] } = load({
    backends: PRICED,
    models: [
      {
        id: 'large',
        trim: { max_tokens: 2000 },
        degrade: { smaller_model: 'small', shorter: 100, spill },
        name: { cloud: 'theirs' },
        pacing: true,
      },
      { id: 'small' },
    ],
  });
  assert.deepEqual(large!.trim, { maxTokens: 2000, always: false });
  assert.deepEqual(large!.degrade, {
    smallerModel: 'small',
    shorterTokens: 100,
    spill: { backends: ['cloud'], budgetPerDay: 5 },
  });
  assert.deepEqual([large!.names, large!.isPaced], [{ cloud: 'theirs' }, true]);
  assert.deepEqual([small!.trim, small!.degrade, small!.isPaced], [undefined, undefined, false]);
});

test('who is only there to spill to serves no model by default', () => {
  const [large, small] = load({
    backends: PRICED,
    models: [{ id: 'large', degrade: { spill } }, { id: 'small' }],
  }).models!;
  for (const { tiers } of [large!, small!]) assert.deepEqual(tiers, [['a'], ['b']]);
});

test('stand-ins that are not there, and money without a price, are refused', () => {
  const wrong = (degrade: object, rest: object = {}) =>
    complaint({ backends: PRICED, models: [{ id: 'large', degrade, ...rest }, { id: 'small' }] });
  const to = (...backends: string[]) => ({ spill: { ...spill, backends } });
  assert.match(
    wrong({ smaller_model: 'smal' }),
    /models\[0\]\.degrade\.smaller_model".*Did you mean "small"\?/,
  );
  assert.match(wrong({ smaller_model: 'large' }), /no other model/);
  assert.match(wrong(to('clod')), /degrade\.spill\.backends\[0\]".*Did you mean "cloud"\?/);
  assert.match(wrong(to('cloud', 'cloud')), /backends\[1\]".*a second time/);
  assert.match(wrong(to('cloud'), { backends: ['a', 'cloud'] }), /serves this model anyway/);
  assert.match(wrong(to('a'), { backends: ['b'] }), /has no "price"/);
  const alone = { backends: [PRICED[2]], models: [{ id: 'm', degrade: { spill } }] };
  assert.match(complaint(alone), /no back end of its own/);
});

test('a key’s models must exist; an alias opens what it stands for; open models are not looked up', () => {
  const entries = { models: [{ id: 'real', aliases: ['nick'] }], backends: TWO };
  const keys = [{ key: 'k', models: ['nick'] }];
  assert.deepEqual(load({ ...entries, keys }).keys[0]!.models, ['real']);
  const typo = complaint({ ...entries, keys: [{ key: 'k', models: ['reel'] }] });
  assert.match(typo, /"keys\[0\]\.models\[0\]" in .*Did you mean "real"\?/);
  const open = load({ backends: TWO, keys: [{ key: 'k', models: ['whatever'] }] });
  assert.deepEqual(open.keys[0]!.models, ['whatever']);
});

test('the example is good, without a warning', () => {
  const config = loadConfig(
    { config: new URL('../../../examples/gateway.yaml', import.meta.url).pathname },
    { DEEPSEEK_API_KEY: 'a', WEBSITE_KEY: 'b', REPORTS_KEY: 'c' },
  );
  assert.deepEqual(config.warnings, []);
  assert.deepEqual(config.models![0]!.tiers, [['gpu-1', 'gpu-2'], ['cloud']]);
  assert.deepEqual(
    config.backends!.map(({ kind }) => kind),
    ['vllm', 'vllm', 'deepseek'],
  );
});
