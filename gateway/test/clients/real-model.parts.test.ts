// The same clients on the real model, as people first meet the program: nothing is scripted, so only the shape of the answer
// is looked at.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { ROOT, type Sluice, startSluice } from '../e2e/harness.ts';
import { missingModel, missingPython, TEST_PYTHON } from '../parts.ts';
import { CLIENTS } from './clients.ts';

const run = promisify(execFile);
const noRequests = missingPython('requests');

/** The routes beside chat, and an error, by the client that names most of them. */
const OPENAI_PYTHON = `
import json, sys
from openai import OpenAI, NotFoundError
client = OpenAI(base_url=sys.argv[1] + "/v1", api_key="none")
whole = client.completions.create(model="deepseek-r1", prompt="A river is", max_tokens=4)
try:
    client.chat.completions.create(model="no-such", messages=[{"role": "user", "content": "hi"}])
    problem = None
except NotFoundError as error:
    problem = error.body["message"]
models = [model.id for model in client.models.list()]
print(json.dumps({"text": whole.choices[0].text, "problem": problem, "models": models}))
`;

describe('on the real model', { skip: missingModel() }, () => {
  let sluice: Sluice;
  before(async () => {
    sluice = await startSluice({ args: ['--model', process.env.SLUICE_TEST_MODEL!] });
  });
  after(() => sluice.stop());

  for (const client of CLIENTS) {
    test(`${client.name}: an answer in many pieces`, { skip: client.missing }, async () => {
      const prompt = 'Tell me about rivers.';
      const asked = { url: sluice.url, model: 'deepseek-r1', prompt, stream: true, maxTokens: 24 };
      const seen = await client.ask(asked);
      assert.equal(seen.error, undefined);
      assert.ok(seen.pieces.length >= 8, `${seen.pieces.length} pieces`);
      assert.match(seen.pieces.join(''), /[a-z]{3,} [a-z]{2,}/i);
      if (client.shows.usage) assert.match(String(seen.finish), /^(stop|length)$/);
    });
  }

  test('the example prints an answer', { skip: noRequests }, async () => {
    const { stdout } = await run(TEST_PYTHON, [`${ROOT}examples/article/client.py`, 'Say hello.'], {
      env: { ...process.env, SLUICE_URL: sluice.url },
      timeout: 120_000,
    });
    assert.ok(stdout.trim().length > 0);
  });

  test('OpenAI’s client for Python completes text, lists models and reads errors', {
    skip: missingPython('openai'),
  }, async () => {
    const { stdout } = await run(TEST_PYTHON, ['-c', OPENAI_PYTHON, sluice.url], { timeout: 120_000 });
    const seen = JSON.parse(stdout);
    assert.ok(seen.text.length > 0);
    assert.match(seen.problem, /deepseek-r1/);
    assert.deepEqual(seen.models, ['deepseek-r1']);
  });
});
