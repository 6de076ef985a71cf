// Clients that must work unchanged: OpenAI's for Node and Python, and a reader of lines written with requests alone.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import OpenAI from 'openai';
import { missingModel, missingPython, TEST_PYTHON } from '../parts.ts';
import { fakeConfig, ROOT, type Sluice, startSluice } from './harness.ts';

const run = promisify(execFile);
const CHINESE = [
  '量子',
  '计算是',
  '利用量子力学',
  '原理的',
  '计算方式。',
  '它与',
  '经典计算',
  '不同',
  '。😀',
];
const noPython = missingPython();

/** As the field's samples are written: no status is looked at, every line is JSON, the first choice has the text. */
const LINE_READER = `
import json, sys, requests
base, prompt, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
response = requests.post(
    f"{base}/v1/models/deepseek-r1/generate_stream",
    headers={"Authorization": "Bearer some-key", "Content-Type": "application/json"},
    json={"prompt": prompt, "max_tokens": count, "temperature": 0.6, "stream": True},
    stream=True,
)
for line in response.iter_lines():
    if line:
        print(json.dumps(json.loads(line)["choices"][0]["text"]), flush=True)
`;

const OPENAI_PYTHON = `
import json, sys
from openai import OpenAI, NotFoundError
client = OpenAI(base_url=sys.argv[1] + "/v1", api_key="none")
stream = client.chat.completions.create(
    model="deepseek-r1", stream=True, max_tokens=24, stream_options={"include_usage": True},
    messages=[{"role": "user", "content": "Tell me about rivers."}],
)
pieces, reason, usage = [], None, None
for chunk in stream:
    if chunk.usage: usage = chunk.usage.completion_tokens
    if chunk.choices:
        pieces.append(chunk.choices[0].delta.content or "")
        reason = chunk.choices[0].finish_reason or reason
whole = client.completions.create(model="deepseek-r1", prompt="A river is", max_tokens=4)
try:
    client.chat.completions.create(model="no-such", messages=[{"role": "user", "content": "hi"}])
    problem = None
except NotFoundError as error:
    problem = error.body["message"]
models = [model.id for model in client.models.list()]
print(json.dumps({"pieces": pieces, "reason": reason, "usage": usage, "text": whole.choices[0].text, "problem": problem, "models": models}))
`;

async function readLines(url: string, prompt: string, count = 64): Promise<string[]> {
  const { stdout } = await run(TEST_PYTHON, ['-c', LINE_READER, url, prompt, String(count)], {
    timeout: 120_000,
  });
  return stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
}

describe('on scripted words', () => {
  let sluice: Sluice;
  before(async () => {
    sluice = await startSluice({
      config: fakeConfig(
        { pieces: CHINESE, reasoning: ['想一想'], first_token_ms: 300 },
        { keep_alive_ms: 100 },
      ),
    });
  });
  after(() => sluice.stop());

  test('a reader of lines gets Chinese byte for byte, through keep-alives', { skip: noPython }, async () => {
    const pieces = await readLines(sluice.url, '什么是量子计算？');
    assert.equal(pieces.join(''), CHINESE.join(''));
  });

  test('OpenAI’s client for Node streams, and reads reasoning and usage', async () => {
    const client = new OpenAI({ baseURL: `${sluice.url}/v1`, apiKey: 'none' });
    const stream = await client.chat.completions.create({
      model: 'deepseek-r1',
      stream: true,
      stream_options: { include_usage: true },
      messages: [{ role: 'user', content: 'hi' }],
    });
    let text = '';
    let reasoning = '';
    let tokens: number | undefined;
    for await (const chunk of stream) {
      const delta = chunk.choices[0]?.delta as { content?: string; reasoning_content?: string } | undefined;
      text += delta?.content ?? '';
      reasoning += delta?.reasoning_content ?? '';
      tokens = chunk.usage?.completion_tokens ?? tokens;
    }
    assert.equal(text, CHINESE.join(''));
    assert.equal(reasoning, '想一想');
    assert.equal(tokens, CHINESE.length + 1);
  });

  test('OpenAI’s client for Node shows an error’s words', async () => {
    const client = new OpenAI({ baseURL: `${sluice.url}/v1`, apiKey: 'none', maxRetries: 0 });
    await assert.rejects(
      client.chat.completions.create({ model: 'none', messages: [{ role: 'user', content: 'hi' }] }),
      (error: InstanceType<typeof OpenAI.APIError>) =>
        error.status === 404 && /deepseek-r1/.test(error.message),
    );
  });
});

describe('on the real model', { skip: missingModel() }, () => {
  let sluice: Sluice;
  before(async () => {
    sluice = await startSluice({ args: ['--model', process.env.SLUICE_TEST_MODEL!] });
  });
  after(() => sluice.stop());

  test('a reader of lines gets an answer in many pieces', { skip: noPython }, async () => {
    const pieces = (await readLines(sluice.url, 'Tell me about rivers.')).filter((piece) => piece !== '');
    assert.ok(pieces.length >= 8, `${pieces.length} pieces`);
    assert.match(pieces.join(''), /[a-z]{3,} [a-z]{2,}/i);
  });

  test('the example prints an answer', { skip: noPython }, async () => {
    const { stdout } = await run(TEST_PYTHON, [`${ROOT}examples/article/client.py`, 'Say hello.'], {
      env: { ...process.env, SLUICE_URL: sluice.url },
      timeout: 120_000,
    });
    assert.ok(stdout.trim().length > 0);
  });

  test('OpenAI’s client for Python streams, finishes, and reads errors', { skip: noPython }, async () => {
    const { stdout } = await run(TEST_PYTHON, ['-c', OPENAI_PYTHON, sluice.url], { timeout: 120_000 });
    const seen = JSON.parse(stdout);
    assert.ok(seen.pieces.filter(Boolean).length >= 8, stdout);
    assert.match(seen.reason, /^(stop|length)$/);
    assert.equal(typeof seen.usage, 'number');
    assert.ok(seen.text.length > 0);
    assert.match(seen.problem, /deepseek-r1/);
    assert.deepEqual(seen.models, ['deepseek-r1']);
  });

  test('OpenAI’s client for Node streams and finishes', async () => {
    const client = new OpenAI({ baseURL: `${sluice.url}/v1`, apiKey: 'none' });
    const stream = await client.chat.completions.create({
      model: 'deepseek-r1',
      stream: true,
      max_tokens: 24,
      messages: [{ role: 'user', content: 'Tell me about rivers.' }],
    });
    const pieces: string[] = [];
    let reason: string | null = null;
    for await (const chunk of stream) {
      const [choice] = chunk.choices;
      if (choice?.delta.content) pieces.push(choice.delta.content);
      reason = choice?.finish_reason ?? reason;
    }
    assert.ok(pieces.length >= 8);
    assert.ok(reason === 'length' || reason === 'stop');
  });
});
