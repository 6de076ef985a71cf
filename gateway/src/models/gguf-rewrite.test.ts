// A file written anew: what changes, what does not, what is refused, and that nothing is left of a try that failed.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { checkGguf, type GgufHeader, readGgufHeader } from './gguf.ts';
import { type GgufRewrite, rewriteGguf } from './gguf-rewrite.ts';
import { rewriteBlocks } from './gguf-rewrite-blocks.ts';
import { ModelStoreError } from './model-store-error.ts';
import { createProgressMeter, type PullProgress } from './progress.ts';
import {
  SAMPLE_METADATA,
  type SampleTensor,
  sampleBytes,
  sampleGguf,
  sampleQ4Blocks,
} from './sample-gguf.ts';
import { refused, temporary } from './stand-in-hub.test.ts';

/** Of each kind of entry: converted ones beside others, of sizes that are no multiple of any alignment. */
const TENSORS: readonly SampleTensor[] = [
  { name: 'token_embd.weight', dimensions: [32, 3], type: 8, data: sampleBytes(3 * 34, 2) },
  { name: 'blk.0.attn_norm.weight', dimensions: [5], type: 0, data: sampleBytes(20, 3) },
  { name: 'blk.0.attn_q.weight', dimensions: [64, 5], type: 3, data: sampleQ4Blocks(10, 4) },
  { name: 'blk.0.ffn_norm.weight', dimensions: [7], type: 1, data: sampleBytes(14, 5) },
  { name: 'blk.0.ffn_up.weight', dimensions: [32], type: 3, data: sampleQ4Blocks(1, 6) },
];

async function rewritten(context: TestContext, source: Buffer, options: Partial<GgufRewrite> = {}) {
  const folder = temporary(context);
  const from = join(folder, 'source.gguf');
  const to = join(folder, 'new.gguf');
  writeFileSync(from, source);
  const events: PullProgress[] = [];
  const meter = createProgressMeter({ name: 's', title: 'S' }, (event) => events.push(event));
  const work = rewriteGguf({ from, to, title: 'S', signal: new AbortController().signal, meter, ...options });
  return { work, from, to, folder, events };
}

async function headerOf(path: string): Promise<GgufHeader> {
  const handle = await open(path);
  try {
    return await readGgufHeader(handle, path, (await handle.stat()).size);
  } finally {
    await handle.close();
  }
}

const dataOf = (bytes: Buffer, header: GgufHeader, index: number): Buffer => {
  const { offset, bytes: length } = header.tensors[index]!;
  return bytes.subarray(header.dataStart + offset, header.dataStart + offset + length!);
};

suite('a file written anew', { concurrency: true }, () => {
  for (const alignment of [1, 8, 32, 4096]) {
    test(`Q4_1 becomes Q8_0 and all else stays, aligned to ${alignment}`, async (context) => {
      const metadata = [
        ...SAMPLE_METADATA,
        ['general.file_type', 3] as const,
        ['general.alignment', alignment] as const,
        ['general.quantization_version', 2] as const,
      ];
      const source = sampleGguf({ metadata, tensors: TENSORS });
      const { work, from, to, events } = await rewritten(context, source);
      const { bytes, sha256 } = await work;
      const result = readFileSync(to);
      assert.equal(bytes, result.length);
      assert.equal(sha256, createHash('sha256').update(result).digest('hex'));
      assert.equal(bytes % alignment, 0);
      const [before, after] = [await headerOf(from), await headerOf(to)];
      assert.deepEqual(await checkGguf(to), { ...(await checkGguf(from)), dataEnd: after.summary.dataEnd });
      // The names, shapes and order, and the metadata but for the one entry, byte by byte.
      const expected = Buffer.from(before.bytes);
      expected.writeUInt32LE(7, before.fileTypeAt!);
      for (const [index, { typeAt }] of before.tensors.entries()) {
        if (TENSORS[index]!.type === 3) expected.writeUInt32LE(8, typeAt);
        expected.writeBigUInt64LE(BigInt(after.tensors[index]!.offset), typeAt + 4);
      }
      assert.deepEqual(after.bytes, expected);
      for (const [index, { type, data }] of TENSORS.entries()) {
        assert.equal(after.tensors[index]!.offset % alignment, 0);
        const blocks = Buffer.alloc((data.length / 20) * 34);
        if (type === 3) rewriteBlocks(data, blocks);
        assert.deepEqual(
          dataOf(result, after, index),
          type === 3 ? blocks : Buffer.from(data),
          `tensor ${index}`,
        );
      }
      assert.deepEqual([events[0]?.phase, events.at(-1)?.phase], ['rewriting', 'rewriting']);
      assert.equal(events.at(-1)?.bytes, bytes);
    });
  }

  test('the same source gives the same bytes; the source is not touched', async (context) => {
    const source = sampleGguf({ tensors: TENSORS });
    const [one, two] = [await rewritten(context, source), await rewritten(context, source)];
    assert.deepEqual(await one.work, await two.work);
    assert.deepEqual(readFileSync(one.from), source);
  });

  test('tensors that lie in another order than the header names them', async (context) => {
    const [first, second] = [sampleQ4Blocks(32, 1), sampleQ4Blocks(64, 2)];
    const source = sampleGguf({
      tensors: [
        { name: 'late', dimensions: [1024], type: 3, data: first, offset: 1280 },
        { name: 'early', dimensions: [2048], type: 3, data: second, offset: 0 },
      ],
    });
    // The sample writes them as they are named: 640 bytes of the first, then 1,280 of the second.
    const { work, to } = await rewritten(context, source);
    await work;
    const [late, early] = (await headerOf(to)).tensors;
    assert.deepEqual([late?.offset, early?.offset], [64 * 34, 0]);
  });

  test('pieces of a large tensor are joined without a seam, and the event loop turns between them', async (context) => {
    const data = sampleQ4Blocks(40_000);
    const copied = sampleBytes(1_000_000, 9);
    const source = sampleGguf({
      tensors: [
        { name: 'large', dimensions: [32, 40_000], type: 3, data },
        { name: 'copied', dimensions: [250_000], type: 0, data: copied },
      ],
    });
    const { work, to } = await rewritten(context, source);
    let turns = 0;
    let isOver = false;
    const turn = () => {
      turns += 1;
      if (!isOver) setImmediate(turn);
    };
    setImmediate(turn);
    await work;
    isOver = true;
    // 5 pieces of the one and 4 of the other, and several waits for the disk in each.
    assert.ok(turns >= 9, `${turns}`);
    const blocks = Buffer.alloc(40_000 * 34);
    rewriteBlocks(data, blocks);
    const [result, header] = [readFileSync(to), await headerOf(to)];
    assert.ok(dataOf(result, header, 0).equals(blocks));
    assert.ok(dataOf(result, header, 1).equals(copied));
  });

  test('what cannot be re-written is refused in one sentence, and nothing is left', async (context) => {
    const q4 = TENSORS[2]!;
    const infinite = sampleQ4Blocks(10);
    infinite.writeUInt16LE(0x7c00, 20);
    const cases: [readonly SampleTensor[], RegExp][] = [
      [[{ ...q4, dimensions: [40, 8] }], /a row of blk\.0\.attn_q\.weight has 40 values/],
      [[{ ...q4, dimensions: [] }], /has 1 values/],
      [[TENSORS[1]!], /no Q4_1 weights/],
      [[q4, { ...q4, name: 'twin', offset: 0 }], /(twin|attn_q\.weight) begins inside another tensor/],
      [[{ ...q4, offset: 8 }, TENSORS[3]!], /attn_q\.weight is not aligned to 32 bytes/],
      [[q4, { ...q4, name: 'new', type: 999 }], /new has a type 999/],
      [[{ ...q4, data: infinite }], /attn_q\.weight holds what is no number/],
    ];
    for (const [tensors, words] of cases) {
      const { work, folder } = await rewritten(context, sampleGguf({ tensors }));
      const { message } = await refused(work, 'not_gguf', words);
      assert.match(message, /^source\.gguf cannot be re-written: /);
      assert.deepEqual(readdirSync(folder), ['source.gguf']);
    }
    const cut = await rewritten(context, sampleGguf({ tensors: TENSORS }).subarray(0, -40));
    await refused(cut.work, 'cut', /source\.gguf is cut/);
    const gone = await rewritten(context, sampleGguf({ tensors: TENSORS }), {
      from: join(tmpdir(), 'no', 'such'),
    });
    await refused(gone.work, 'store', /cannot be read/);
    const noPlace = await rewritten(context, sampleGguf({ tensors: TENSORS }), {
      to: join(tmpdir(), 'no', 'such'),
    });
    await refused(noPlace.work, 'store', /cannot be written/);
  });

  test('an abort in the middle ends it with its reason and leaves nothing', async (context) => {
    const controller = new AbortController();
    const data = sampleQ4Blocks(40_000);
    const source = sampleGguf({ tensors: [{ name: 'large', dimensions: [32, 40_000], type: 3, data }] });
    let isBegun = false;
    const { work, folder } = await rewritten(context, source, {
      signal: controller.signal,
      meter: {
        begin: () => {},
        at: (bytes) => {
          isBegun = existsSync(join(folder, 'new.gguf'));
          if (bytes > 400_000) controller.abort(new Error('enough'));
        },
        end: () => assert.fail('it went on to its end'),
      },
    });
    await assert.rejects(work, /enough/);
    assert.ok(isBegun);
    assert.deepEqual(readdirSync(folder), ['source.gguf']);
  });

  test('a disk that becomes full is said, and what was written is removed', async (context) => {
    const small = mkdtempSync(join(tmpdir(), 'sluice-disk-'));
    context.after(() => {
      spawnSync('umount', ['-l', small]);
      rmSync(small, { recursive: true, force: true });
    });
    if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', small]).status !== 0) {
      context.skip('no small file system could be mounted here');
      return;
    }
    const data = sampleQ4Blocks(40_000);
    const source = sampleGguf({ tensors: [{ name: 'large', dimensions: [32, 40_000], type: 3, data }] });
    const { work } = await rewritten(context, source, { to: join(small, 'new.gguf') });
    await refused(work, 'no_space', /disk became full while S was re-written.*Make room/);
    assert.deepEqual(readdirSync(small), []);
  });

  test('damaged headers never crash it, never make much of little, and leave nothing', async (context) => {
    const whole = sampleGguf({ tensors: TENSORS });
    const folder = temporary(context);
    const [from, to] = [join(folder, 'source.gguf'), join(folder, 'new.gguf')];
    const meter = createProgressMeter({ name: 's', title: 'S' }, () => {});
    const { signal } = new AbortController();
    // Behind the metadata and before the data: names, shapes, types and offsets.
    writeFileSync(from, whole);
    const { tensors, bytes: header } = await headerOf(from);
    const start = tensors[0]!.typeAt - 60;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.integer({ min: start, max: header.length - 1 }), fc.nat(255)), {
          minLength: 1,
          maxLength: 5,
        }),
        async (changes) => {
          const bytes = Buffer.from(whole);
          for (const [at, value] of changes) bytes[at] = value;
          writeFileSync(from, bytes);
          try {
            const made = await rewriteGguf({ from, to, title: 'S', signal, meter });
            assert.ok(made.bytes <= 2 * whole.length, `${made.bytes}`);
            await checkGguf(to);
            rmSync(to);
          } catch (thrown) {
            assert.ok(thrown instanceof ModelStoreError, String(thrown));
            assert.ok(['not_gguf', 'cut'].includes(thrown.code), thrown.message);
          }
          assert.deepEqual(readdirSync(folder), ['source.gguf']);
        },
      ),
      { numRuns: 300 },
    );
  });
});
