// Checks, with a real model, that a prompt's tokens are counted as they will be, and how a gap is filled: refused where the
// model has no marks for it, put between them where it has.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { missingModel } from '../../../test/parts.ts';
import { copyWithMetadata } from '../../../test/tiny-models.ts';
import type { ChatRequest, Prompt } from '../../core/chat.ts';
import { aborted, chat, until } from './engine-testing.ts';
import { LlamaBackend } from './llama-backend.ts';

const skip = missingModel();
const modelFile = process.env.SLUICE_TEST_MODEL ?? '';
const folder = mkdtempSync(join(tmpdir(), 'sluice-prompt-tokens-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const WINDOW = 512;

function open(file = modelFile): LlamaBackend {
  return new LlamaBackend({
    id: 'engine',
    modelFile: file,
    speaker: 'the model',
    batchSize: 1,
    contextTokens: WINDOW,
    threads: 1,
    log: () => {},
  });
}

const messages = (content: string): Prompt => ({ kind: 'messages', messages: [{ role: 'user', content }] });

function count(
  backend: LlamaBackend,
  prompt: Prompt,
  signal = new AbortController().signal,
): Promise<number | undefined> {
  const request: ChatRequest = { model: 'm', prompt, sampling: {}, stop: [], choices: 1, extra: {} };
  return backend.countTokens(request, { callId: 'c', tenant: 'a', signal });
}

describe('counting', { skip }, () => {
  let backend: LlamaBackend;
  before(async () => {
    backend = open();
    await backend.start();
  });
  after(() => backend.close());

  test('a count is what the same prompt then costs', async () => {
    const prompts = [
      messages('Tell me about the sea.'),
      messages('<|im_end|> 量子 😀 \n\n  x'),
      messages('word '.repeat(300)),
      { kind: 'text', text: 'Once upon a time' } as const,
    ];
    for (const prompt of prompts) {
      const { usage } = await chat(backend, { prompt, maxTokens: 1 });
      assert.equal(await count(backend, prompt), usage.promptTokens);
    }
  });

  test('it takes no slot: the only one may be busy', async () => {
    const leaving = new AbortController();
    let counts: Promise<(number | undefined)[]> | undefined;
    const ask = chat(backend, {
      maxTokens: 400,
      signal: leaving.signal,
      onDelta: () => {
        counts ??= Promise.all(Array.from({ length: 20 }, () => count(backend, messages('Hi.'))));
      },
    });
    ask.catch(() => {});
    await until(() => counts !== undefined, 30_000, 'no word came');
    assert.equal(new Set(await counts).size, 1);
    leaving.abort(aborted());
    await assert.rejects(ask);
  });

  test('what is longer than the window is counted, and what is hopeless is not', async () => {
    const over = await count(backend, messages('word '.repeat(WINDOW + 10)));
    assert.ok(over! > WINDOW, `${over}`);
    assert.equal(await count(backend, messages('word '.repeat(100_000))), undefined);
  });

  test('what a chat would refuse a count refuses, and who leaves gets the reason', async () => {
    await assert.rejects(count(backend, { kind: 'messages', messages: [] }), { param: 'messages' });
    const part = { type: 'other', kind: 'image_url', value: {} } as const;
    await assert.rejects(
      count(backend, { kind: 'messages', messages: [{ role: 'user', content: [part] }] }),
      { param: 'messages[0].content[0]' },
    );
    const leaving = new AbortController();
    const reason = aborted();
    leaving.abort(reason);
    await assert.rejects(count(backend, messages('Hi.'), leaving.signal), (thrown) => thrown === reason);
  });

  test('while the engine restarts there is no count, and then there is', async () => {
    const before = await count(backend, messages('Hi.'));
    process.kill(backend.childPid!, 'SIGKILL');
    await until(() => backend.load().state !== 'ready', 10_000, 'its death was not seen');
    assert.equal(await count(backend, messages('Hi.')), undefined);
    await until(() => backend.load().state === 'ready', 30_000, 'it did not come back');
    assert.equal(await count(backend, messages('Hi.')), before);
  });

  test('a model without marks for gaps refuses a suffix before any token', async () => {
    const prompt = { kind: 'text', text: 'def f(', suffix: '): pass' } as const;
    await assert.rejects(chat(backend, { prompt }), { code: 'invalid_request', param: 'suffix' });
    await assert.rejects(count(backend, prompt), { code: 'invalid_request', param: 'suffix' });
  });
});

test('a model with marks for gaps gets both texts between them', { skip }, async () => {
  // Three of its marks for files and programs, which it was not taught this by: only the prompt's form is looked at.
  const file = join(folder, 'marks.gguf');
  await copyWithMetadata(modelFile, file, [
    ['tokenizer.ggml.fim_pre_token_id', 3],
    ['tokenizer.ggml.fim_suf_token_id', 4],
    ['tokenizer.ggml.fim_mid_token_id', 5],
  ]);
  const backend = open(file);
  try {
    await backend.start();
    const [before, behind] = ['def f(', '): pass'];
    const prompt = { kind: 'text', text: before, suffix: behind } as const;
    const { usage } = await chat(backend, { prompt, maxTokens: 1 });
    const alone = async (text: string) => (await count(backend, { kind: 'text', text }))!;
    assert.equal(usage.promptTokens, (await alone(before)) + (await alone(behind)) + 3);
    const long = 'word '.repeat(WINDOW);
    await assert.rejects(chat(backend, { prompt: { kind: 'text', text: 'a', suffix: long } }), {
      code: 'context_length_exceeded',
      param: 'prompt',
    });
  } finally {
    await backend.close();
  }
});
