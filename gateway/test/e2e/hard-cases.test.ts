// Requests that broke other servers, from public reports (shared/data/hard-cases.jsonl beside the project). Here are
// those that need no back end but the embedded one; each is sent byte for byte as it stands there.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { missingModel } from '../parts.ts';
import { fakeConfig, ROOT, type Sluice, startSluice, statusOf } from './harness.ts';

interface HardCase {
  readonly id: string;
  readonly request: {
    readonly method: string;
    readonly path: string;
    readonly headers?: Readonly<Record<string, string>>;
    readonly body?: unknown;
    readonly bodyText?: string;
  };
  readonly assert: {
    readonly status?: number;
    readonly statusIn?: readonly number[];
    readonly errorMentions?: string;
    readonly mustNotContain?: readonly string[];
    readonly bodyLength?: number;
    readonly content?: string;
    readonly responseHeadersAreAscii?: boolean;
    readonly responseHeaderIncludes?: Readonly<Record<string, readonly string[]>>;
    readonly processAlive?: boolean;
  };
}

const file = `${ROOT}../shared/data/hard-cases.jsonl`;
const missingFile = existsSync(file) ? undefined : 'the file of hard cases is not beside the project';
const cases = new Map<string, HardCase>();
if (!missingFile) {
  for (const line of readFileSync(file, 'utf8').split('\n').filter(Boolean)) {
    const one = JSON.parse(line) as HardCase;
    cases.set(one.id, one);
  }
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

/** By node:http, which sends what it is given: fetch keeps some headers for itself. */
function send(
  sluice: Sluice,
  { method, path, headers, body, bodyText }: HardCase['request'],
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest(
      { host: '127.0.0.1', port: sluice.port, method, path, headers },
      (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (piece) => (text += piece));
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text }),
        );
        response.on('error', reject);
      },
    );
    outgoing.on('error', reject);
    outgoing.end(bodyText ?? (body === undefined ? undefined : JSON.stringify(body)));
  });
}

async function play(sluice: Sluice, id: string): Promise<void> {
  const one = cases.get(id);
  assert.ok(one, `${id} is no longer in the file`);
  const { assert: expected } = one;
  const answer = await send(sluice, one.request);
  if (expected.status !== undefined) assert.equal(answer.status, expected.status, answer.text);
  if (expected.statusIn) assert.ok(expected.statusIn.includes(answer.status), answer.text);
  if (expected.errorMentions) assert.ok(answer.text.includes(expected.errorMentions), answer.text);
  for (const part of expected.mustNotContain ?? []) assert.ok(!answer.text.includes(part), part);
  if (expected.bodyLength !== undefined) assert.equal(answer.text.length, expected.bodyLength);
  if (expected.content !== undefined) {
    const chunks = [...answer.text.matchAll(/^data: (\{.*\})$/gm)].map((match) => JSON.parse(match[1]!));
    assert.equal(chunks.map((chunk) => chunk.choices[0].delta.content ?? '').join(''), expected.content);
  }
  if (expected.responseHeadersAreAscii) assert.match(JSON.stringify(answer.headers), /^[\x20-\x7e]*$/);
  for (const [name, parts] of Object.entries(expected.responseHeaderIncludes ?? {})) {
    for (const part of parts) assert.ok(String(answer.headers[name]).includes(part), `${name}: ${part}`);
  }
  if (expected.processAlive) assert.equal(await statusOf(`${sluice.url}/readyz`), 200);
}

describe('on the embedded engine', { skip: missingFile ?? missingModel() }, () => {
  let sluice: Sluice;
  before(async () => {
    sluice = await startSluice({ args: ['--model', process.env.SLUICE_TEST_MODEL!] });
  });
  after(() => sluice.stop());

  for (const id of [
    'schema-unusable',
    'lone-surrogate',
    'max-tokens-extremes',
    'null-is-absent',
    'head-probe',
  ]) {
    test(id, () => play(sluice, id));
  }
});

describe('on scripted words', { skip: missingFile }, () => {
  test('model-id-not-ascii', async () => {
    const id = '深度求索/deepseek-chat';
    const sluice = await startSluice({ config: fakeConfig({ pieces: ['o', 'k'] }, { model_id: id }) });
    try {
      await play(sluice, 'model-id-not-ascii');
      for (const path of [encodeURIComponent(id), encodeURI(id)]) {
        const response = await fetch(`${sluice.url}/v1/models/${path}`);
        assert.equal(((await response.json()) as { id: string }).id, id);
      }
    } finally {
      await sluice.stop();
    }
  });

  test('cors-preflight, auth-scheme-case', async () => {
    const sluice = await startSluice({
      config: fakeConfig({}, { cors_origins: ['https://app.example'] }),
      env: { SLUICE_API_KEYS: 'k1' },
    });
    try {
      await play(sluice, 'cors-preflight');
      await play(sluice, 'auth-scheme-case');
      const foreign = await send(sluice, {
        ...cases.get('cors-preflight')!.request,
        headers: { ...cases.get('cors-preflight')!.request.headers, origin: 'https://evil.example' },
      });
      assert.equal(foreign.headers['access-control-allow-origin'], undefined);
      const bad = await send(sluice, {
        method: 'GET',
        path: '/v1/models',
        headers: { authorization: 'Bearer k9' },
      });
      assert.equal(bad.status, 401);
      assert.equal(bad.headers['www-authenticate'], 'Bearer');
    } finally {
      await sluice.stop();
    }
  });
});
