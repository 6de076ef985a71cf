// What the world does to a running engine: kept files changed, removed or without room, the model's file replaced, more
// clients than slots. The right text or a clear error, never a crash of this process, never another call's words.
import assert from 'node:assert/strict';
import {
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { missingModel } from '../../../test/parts.ts';
import { chat, until } from './engine-testing.ts';
import { LlamaBackend } from './llama-backend.ts';

const skip = missingModel();
const modelFile = process.env.SLUICE_TEST_MODEL ?? '';
const folder = mkdtempSync(join(tmpdir(), 'sluice-hardship-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const SHARED = `Here is what you must know. ${'The north gate is closed in winter and open in spring. '.repeat(12)}`;

function start(options: { file?: string; batchSize?: number } = {}): {
  backend: LlamaBackend;
  logs: string[];
} {
  const logs: string[] = [];
  const backend = new LlamaBackend({
    id: 'engine',
    modelFile: options.file ?? modelFile,
    speaker: 'the model',
    batchSize: options.batchSize ?? 2,
    contextTokens: 512,
    threads: 1,
    log: (_level, message) => void logs.push(message),
  });
  return { backend, logs };
}

/**
 * Has the shared beginning kept, and then puts others into both sequences, so that only the file can help. The first must
 * still run when the second comes, which would else take over its sequence and have nothing to keep.
 */
async function keepShared(backend: LlamaBackend): Promise<void> {
  await Promise.all(['one', 'two'].map((end) => chat(backend, { user: SHARED + end, maxTokens: 24 })));
  await Promise.all(['x', 'y'].map((tenant) => chat(backend, { user: 'Hi.', tenant, maxTokens: 2 })));
}

describe('kept files', { skip }, () => {
  let backend: LlamaBackend;
  let logs: string[];
  let states: string;
  let computed: string;
  before(async () => {
    ({ backend, logs } = start());
    await backend.start();
    states = backend.stateFolder;
    computed = (await chat(backend, { user: `${SHARED}three`, tenant: 'alone' })).text;
    await keepShared(backend);
  });
  after(() => backend.close());

  test('one that was tampered with is not used: the text is the computed one', async () => {
    const files = readdirSync(states).map((name) => join(states, name));
    assert.ok(files.length > 0, 'something was kept');
    for (const file of files) {
      const bytes = readFileSync(file);
      for (let at = 100; at < bytes.length; at += 1_000) bytes[at] = 255 - bytes[at]!;
      writeFileSync(file, bytes);
    }
    const { text, usage } = await chat(backend, { user: `${SHARED}three` });
    assert.equal(usage.cachedTokens, 0);
    assert.equal(text, computed);
    assert.ok(logs.some((line) => /kept prefix could not be used/.test(line)));
  });

  test('where none can be written any more, all is computed', async () => {
    rmSync(states, { recursive: true, force: true });
    await keepShared(backend);
    const { text, usage } = await chat(backend, { user: `${SHARED}three` });
    assert.equal(usage.cachedTokens, 0);
    assert.equal(text, computed);
    process.kill(backend.childPid!, 'SIGKILL');
    await until(() => backend.load().state !== 'ready', 5_000, 'down');
    await until(() => backend.load().state === 'ready', 20_000, 'ready again');
    await keepShared(backend);
    assert.ok(
      ((await chat(backend, { user: `${SHARED}three` })).usage.cachedTokens ?? 0) > 100,
      'kept again',
    );
  });
});

test('an orderly end leaves no kept file', { skip }, async () => {
  const { backend } = start();
  await backend.start();
  await keepShared(backend);
  const states = backend.stateFolder;
  assert.ok(readdirSync(states).length > 0);
  await backend.close();
  assert.throws(() => readdirSync(states), { code: 'ENOENT' });
});

test('a window filled to its last token, and a prompt of one token', { skip }, async () => {
  const { backend } = start();
  await backend.start();
  try {
    const prompt = (text: string) => ({ prompt: { kind: 'text', text }, maxTokens: undefined }) as const;
    const one = await chat(backend, { ...prompt('sea'), maxTokens: 3 });
    assert.equal(one.usage.promptTokens, 1);
    assert.ok(one.text.length > 0);
    const room =
      512 - (await chat(backend, { ...prompt('sea '.repeat(400)), maxTokens: 1 })).usage.promptTokens!;
    const almost = 'sea '.repeat(400) + 'sea '.repeat(room - 1);
    const full = await chat(backend, prompt(almost));
    assert.equal(full.usage.promptTokens, 511);
    assert.equal(full.usage.completionTokens, 1);
    assert.equal(full.reason === 'length' || full.reason === 'stop', true);
    await assert.rejects(chat(backend, prompt(`${almost}sea `)), { code: 'context_length_exceeded' });
  } finally {
    await backend.close();
  }
});

test('a model’s file that is replaced under the running engine', { skip }, async () => {
  const file = join(folder, 'model.gguf');
  copyFileSync(modelFile, file);
  const { backend } = start({ file });
  await backend.start();
  try {
    const undisturbed = (await chat(backend, {})).text;
    const other = join(folder, 'other.gguf');
    writeFileSync(other, 'no model at all');
    renameSync(other, file);
    assert.equal((await chat(backend, {})).text, undisturbed, 'what is loaded stays');
    process.kill(backend.childPid!, 'SIGKILL');
    await until(() => backend.load().state === 'failed', 30_000, 'it gives up');
    await assert.rejects(chat(backend, {}), { code: 'backend_failed' });
  } finally {
    await backend.close();
  }
});
