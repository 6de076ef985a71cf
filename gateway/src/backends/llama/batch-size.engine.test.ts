// Checks `batchSize: 'auto'` on a real model: places within memory, and none taken back from who has one.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { missingModel } from '../../../test/parts.ts';
import { chat } from './engine-testing.ts';
import { LlamaBackend } from './llama-backend.ts';

const modelFile = process.env.SLUICE_TEST_MODEL ?? '';
const skip = missingModel();

describe('a batch size that is found', { skip, concurrency: false }, () => {
  let backend: LlamaBackend;

  before(async () => {
    // A window of 8,192 tokens takes 180 MiB with this model: 64 of them would not fit the 2 GiB that they may take.
    backend = new LlamaBackend({
      id: 'm',
      modelFile,
      speaker: 'the-model',
      batchSize: 'auto',
      contextTokens: 8192,
      log: () => {},
    });
    await backend.start();
  });
  after(async () => {
    await backend.close();
  });

  test('it begins with eight, or what there is memory for', () => {
    const { state, slots } = backend.load();
    assert.equal(state, 'ready');
    assert.ok(slots >= 1 && slots <= 8, `${slots} places`);
  });

  test('a call that was given its place before there were fewer is answered', async () => {
    const { slots } = backend.load();
    const calls = Array.from({ length: slots + 1 }, (_, index) =>
      chat(backend, { tenant: `auto-${index}`, maxTokens: 4 }),
    );
    for (const { reason } of await Promise.all(calls)) assert.equal(reason, 'length');
  });

  test('but not more calls than there are windows', async () => {
    const calls = Array.from({ length: 64 }, (_, index) =>
      chat(backend, { tenant: `many-${index}`, maxTokens: 1 }),
    );
    const ends = await Promise.allSettled(calls);
    const refused = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason.code] : []));
    assert.ok(refused.length > 0 && refused.length < 64 - backend.load().slots, `${refused.length} refused`);
    assert.ok(refused.every((code) => code === 'backend_busy'));
  });
});
