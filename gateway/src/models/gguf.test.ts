// The header check, on whole files, cut ones, and whatever a fuzzer thinks of: it says a sentence, in bounded time.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { checkGguf } from './gguf.ts';
import { ModelStoreError, type ModelStoreErrorCode } from './model-store-error.ts';
import { SAMPLE_METADATA, sampleGguf } from './sample-gguf.ts';

const folder = mkdtempSync(join(tmpdir(), 'sluice-gguf-'));
after(() => rmSync(folder, { recursive: true, force: true }));

function write(bytes: Uint8Array, name = 'model.gguf'): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

async function refusal(path: string): Promise<{ code: ModelStoreErrorCode; message: string }> {
  try {
    await checkGguf(path);
  } catch (thrown) {
    assert.ok(thrown instanceof ModelStoreError, String(thrown));
    return thrown;
  }
  assert.fail('it was taken for whole');
}

test('a whole file says what it is', async () => {
  const bytes = sampleGguf();
  assert.deepEqual(await checkGguf(write(bytes)), {
    version: 3,
    architecture: 'llama',
    name: 'Sample',
    licence: 'mit',
    contextLength: 2048,
    hasChatTemplate: true,
    tensorCount: 1,
    dataEnd: bytes.length,
  });
});

test('what is not there is undefined', async () => {
  const summary = await checkGguf(write(sampleGguf({ metadata: [['tokenizer.chat_template', '']] })));
  assert.equal(summary.architecture, undefined);
  assert.equal(summary.contextLength, undefined);
  assert.equal(summary.hasChatTemplate, false);
});

test('a header that is larger than the first read is read on', async () => {
  const words = Array.from({ length: 300_000 }, (_, index) => `word-${index}`);
  const metadata = [...SAMPLE_METADATA, ['tokenizer.ggml.merges', words] as const];
  const bytes = sampleGguf({ metadata });
  assert.ok(bytes.length > 4_000_000);
  assert.equal((await checkGguf(write(bytes))).contextLength, 2048);
});

test('a file without its end is cut, wherever it was cut', async () => {
  const bytes = sampleGguf();
  const path = write(bytes);
  for (let length = bytes.length - 1; length >= 1; length -= 7) {
    truncateSync(path, length);
    const { code, message } = await refusal(path);
    assert.equal(code, 'cut', `${length} of ${bytes.length}: ${message}`);
    assert.match(message, /^model\.gguf is cut/);
  }
});

test('what is no GGUF model is told apart', async () => {
  const cases: [string, Buffer, RegExp][] = [
    ['empty', Buffer.alloc(0), /it is empty/],
    ['text', Buffer.from('<!doctype html><html>'), /does not begin with "GGUF"/],
    ['version 1', sampleGguf({ version: 1 }), /version is 1/],
    ['big-endian', sampleGguf({ version: 0x03_00_00_00 }), /big-endian/],
    ['alignment', sampleGguf({ metadata: [['general.alignment', 7]] }), /alignment is 7/],
    [
      'no tensors',
      Buffer.concat([Buffer.from('GGUF'), Buffer.from([3, 0, 0, 0]), Buffer.alloc(16)]),
      /no weights/,
    ],
    [
      'absurd counts',
      Buffer.concat([Buffer.from('GGUF'), Buffer.from([3, 0, 0, 0]), Buffer.alloc(16, 0xff)]),
      /impossible/,
    ],
  ];
  for (const [name, bytes, expected] of cases) {
    const { code, message } = await refusal(write(bytes));
    assert.equal(code, 'not_gguf', name);
    assert.match(message, expected);
    assert.doesNotMatch(message, /\. ./, `one sentence: ${message}`);
  }
  assert.equal((await refusal(join(folder, 'none.gguf'))).code, 'not_found');
  assert.equal((await refusal(folder)).code, 'not_gguf');
});

test('a tensor of a type that is newer than the table is no reason to refuse', async () => {
  await checkGguf(write(sampleGguf({ tensorType: 999 })));
});

test('random headers and damaged ones never crash and never hang', async () => {
  const whole = sampleGguf();
  const damaged = fc
    .tuple(
      fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 }),
      fc.integer({ min: 4, max: whole.length }),
    )
    .map(([changes, length]) => {
      const bytes = Buffer.from(whole.subarray(0, length));
      for (const [at, value] of changes) if (at < length) bytes[at] = value;
      return bytes;
    });
  const random = fc
    .uint8Array({ maxLength: 400 })
    .map((tail) => Buffer.concat([Buffer.from('GGUF'), Buffer.from([3, 0, 0, 0]), tail]));
  // Counts that are small enough to be believed, so that the parser gets to what is behind them.
  const plausible = fc
    .tuple(fc.nat(3), fc.nat(100_000), fc.uint8Array({ maxLength: 300 }))
    .map(([tensors, entries, tail]) => {
      const counts = Buffer.alloc(16);
      counts.writeUInt32LE(tensors, 0);
      counts.writeUInt32LE(entries, 8);
      return Buffer.concat([Buffer.from('GGUF'), Buffer.from([3, 0, 0, 0]), counts, tail]);
    });
  await fc.assert(
    fc.asyncProperty(fc.oneof(damaged, random, plausible, fc.uint8Array()), async (bytes) => {
      const start = performance.now();
      try {
        await checkGguf(write(bytes, 'fuzz.gguf'));
      } catch (thrown) {
        assert.ok(thrown instanceof ModelStoreError, String(thrown));
        assert.ok(['not_gguf', 'cut'].includes(thrown.code), thrown.message);
      }
      assert.ok(performance.now() - start < 1_000);
    }),
    { numRuns: 1_000 },
  );
});
