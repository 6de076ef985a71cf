// Guards what `check-config --probe` says of each back end: what came back, or what is wrong and what to do, never a key.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RemoteBackendConfig } from '../config/backends.ts';
import { loadConfig } from '../config.ts';
import { GatewayError } from '../core/errors.ts';
import { type AskBackend, type Listing, probeBackends, renderProbes } from './backend-probes.ts';

const config = loadConfig(
  { config: 'a.yaml' },
  {},
  `backends: [{id: a, url: "http://a", api_key: sk-hidden}, {id: long-name, url: "http://b:8000", kind: llama.cpp}]
models: [{id: m, backends: [a], name: up}, {id: n, backends: [long-name]}]`,
);
const backends = config.backends as readonly RemoteBackendConfig[];

async function text(answer: Listing | Error): Promise<{ isGood: boolean; text: string }> {
  const ask: AskBackend = async () => {
    if (answer instanceof Error) throw answer;
    return answer;
  };
  const [first] = await probeBackends(backends.slice(0, 1), config.models!, ask);
  return first!;
}

test('one that lists what is asked of it is good', async () => {
  const { isGood, text: said } = await text({ status: 200, models: ['up', 'other'] });
  assert.equal(isGood, true);
  assert.match(said, /^\d+ ms, 2 models$/);
});

test('what is wrong is said with what to do', async () => {
  for (const [answer, said] of [
    [{ status: 401, models: [] }, /does not take the api_key \(401\)/],
    [{ status: 403, models: [] }, /does not take the api_key \(403\)/],
    [{ status: 404, models: [] }, /path of the url/],
    [{ status: 500, models: [] }, /says 500/],
    [{ status: 200, models: [] }, /lists no models/],
    [{ status: 200, models: ['m'] }, /does not list up\. It has m: set "name"/],
    [{ status: 200, models: Array.from({ length: 12 }, (_, index) => `x${index}`) }, /x7 and 4 more/],
    [
      new GatewayError('backend_failed', 'The back end refused the connection.'),
      /refused the connection\. Is it up/,
    ],
    [new Error('secret bug'), /^The gateway failed in a way it did not expect\./],
  ] as const) {
    const { isGood, text: line } = await text(answer);
    assert.equal(isGood, false);
    assert.match(line, said);
  }
});

test('the table has a line for each, in columns, and no key', async () => {
  const table = renderProbes(
    await probeBackends(backends, config.models!, async ({ id }) => ({
      status: 200,
      models: id === 'a' ? ['up'] : ['x'],
    })),
  );
  const lines = table.trimEnd().split('\n');
  assert.match(lines[0]!, /^a {10}generic {4}http:\/\/a\/v1 {7}ok {5}\d+ ms, 1 model$/);
  assert.match(
    lines[1]!,
    /^long-name {2}llama\.cpp {2}http:\/\/b:8000\/v1 {2}WRONG {2}It answers in \d+ ms, but/,
  );
  assert.doesNotMatch(table, /sk-hidden/);
});
