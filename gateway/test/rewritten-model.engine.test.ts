// The smallest model of the catalogue in the form that the store gives it: its bytes, and that it speaks.
// It never pulls: what it re-writes is the fetched form, where that is what the tests were given.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { chat } from '../src/backends/llama/engine-testing.ts';
import { LlamaBackend } from '../src/backends/llama/llama-backend.ts';
import { CATALOGUE } from '../src/models/catalogue.ts';
import { rewriteGguf } from '../src/models/gguf-rewrite.ts';
import { hashFile } from '../src/models/hash-file.ts';
import { createProgressMeter } from '../src/models/progress.ts';
import { missingModel } from './parts.ts';

const entry = CATALOGUE.find(({ name }) => name === 'smollm2-135m-instruct');
const given = process.env.SLUICE_TEST_MODEL ?? '';

test('the re-written model has the pinned bytes, loads and answers in sentences', {
  skip: missingModel(),
}, async (context) => {
  const { signal } = new AbortController();
  assert.ok(entry?.rewrite);
  let file = given;
  if ((await stat(given)).size === entry.bytes) {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-rewritten-'));
    context.after(() => rmSync(folder, { recursive: true, force: true }));
    file = join(folder, entry.rewrite.file);
    const meter = createProgressMeter(entry, () => {});
    await rewriteGguf({ from: given, to: file, title: entry.title, signal, meter });
    context.diagnostic('re-written by this test');
  }
  assert.equal((await stat(file)).size, entry.rewrite.bytes, `${file} is no form of ${entry.name}`);
  assert.equal(await hashFile(file, { signal, onBytes: () => {} }), entry.rewrite.sha256);

  const backend = new LlamaBackend({ id: 'm', modelFile: file, speaker: 'the-model', log: () => {} });
  await backend.start();
  try {
    const sky = await chat(backend, { user: 'Why is the sky blue?', maxTokens: 32 });
    assert.match(sky.text, /\blight\b/, sky.text);
    const { text } = await chat(backend, { user: 'Tell me about the sea.', maxTokens: 48, tenant: 'b' });
    context.diagnostic(JSON.stringify(text));
    assert.match(text, /\bsea\b|\bocean\b/i);
    const words = text.toLowerCase().match(/[a-z]+/g) ?? [];
    assert.ok(words.length >= 20, text);
    // What is broken repeats itself.
    assert.ok(new Set(words).size >= words.length / 2, text);
  } finally {
    await backend.close();
  }
});
