// A GGUF file written anew with its Q4_1 weights as Q8_0, and all else as it is: see docs/adr/0005-rewritten-weights.md.
// The source is foreign input and is only ever read. What is held of it is its header and one piece at a time, and
// between two pieces the event loop runs. Nothing is left of a try that fails, and what comes out is not checked here.
import { createHash } from 'node:crypto';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { type GgufHeader, type GgufTensor, Q4_1, Q8_0, readGgufHeader } from './gguf.ts';
import { BLOCK_VALUES, Q4_1_BLOCK_BYTES, Q8_0_BLOCK_BYTES, rewriteBlocks } from './gguf-rewrite-blocks.ts';
import { ModelStoreError, reasonOf } from './model-store-error.ts';
import { isDiskFull } from './part-file.ts';
import type { ProgressMeter } from './progress.ts';

export interface GgufRewrite {
  /** Path of the file to read. */
  readonly from: string;
  /** Path of the file to write; one that is there is written over. */
  readonly to: string;
  /** The model, for sentences. */
  readonly title: string;
  readonly signal: AbortSignal;
  readonly meter: ProgressMeter;
}

/** What llama.cpp writes as `general.file_type` of a file that is mostly Q8_0. */
const MOSTLY_Q8_0 = 7;
/** Some milliseconds of arithmetic: nobody else in the process waits longer than that. */
const BLOCKS_AT_ONCE = 8_192;
const COPY_BYTES = 256 * 1024;

/**
 * Resolves to the size and the SHA-256 (hex) of the new file; the same source gives the same bytes everywhere. Throws
 * ModelStoreError `not_gguf` (also for what cannot be re-written), `cut`, `no_space` and `store`, and the signal's
 * reason when aborted; then there is no new file.
 */
export async function rewriteGguf(rewrite: GgufRewrite): Promise<{ bytes: number; sha256: string }> {
  rewrite.signal.throwIfAborted();
  const source = await guardRead(rewrite, () => open(rewrite.from, 'r'));
  try {
    const file = basename(rewrite.from);
    const header = await guardRead(rewrite, async () => {
      return await readGgufHeader(source, file, (await source.stat()).size);
    });
    return await writeNew(rewrite, source, header, planPieces(header, file));
  } finally {
    await source.close();
  }
}

interface Piece {
  readonly tensor: GgufTensor;
  readonly bytes: number;
  readonly isRewritten: boolean;
  /** In the new file, from the start of its data. */
  readonly newOffset: number;
  readonly newBytes: number;
}

/** The tensors in the order of their bytes. Throws `not_gguf`. */
function planPieces(header: GgufHeader, file: string): Piece[] {
  const refuse = (why: string) => new ModelStoreError('not_gguf', `${file} cannot be re-written: ${why}.`);
  const pieces: Piece[] = [];
  let end = 0;
  let newOffset = 0;
  for (const tensor of header.tensors.toSorted((a, b) => a.offset - b.offset)) {
    const { name, bytes, dimensions, offset, type } = tensor;
    if (bytes === undefined) throw refuse(`${name} has a type ${type}, which is newer than this program`);
    // Each byte is read at most once: a small file must not become a large one by naming the same bytes twice.
    if (offset < end) throw refuse(`${name} begins inside another tensor`);
    if (offset % header.alignment !== 0) throw refuse(`${name} is not aligned to ${header.alignment} bytes`);
    end = offset + bytes;
    const isRewritten = type === Q4_1;
    if (isRewritten && (dimensions[0] ?? 1) % BLOCK_VALUES !== 0) {
      throw refuse(`a row of ${name} has ${dimensions[0] ?? 1} values, which are no whole blocks`);
    }
    const newBytes = isRewritten ? (bytes / Q4_1_BLOCK_BYTES) * Q8_0_BLOCK_BYTES : bytes;
    pieces.push({ tensor, bytes, isRewritten, newOffset, newBytes });
    newOffset = aligned(newOffset + newBytes, header.alignment);
  }
  if (!pieces.some(({ isRewritten }) => isRewritten)) throw refuse('it holds no Q4_1 weights');
  return pieces;
}

/** No entry becomes longer or shorter, so what is new is written over what was. */
function newHeader(header: GgufHeader, pieces: readonly Piece[]): Buffer {
  const bytes = Buffer.alloc(header.dataStart);
  header.bytes.copy(bytes);
  if (header.fileTypeAt !== undefined) bytes.writeUInt32LE(MOSTLY_Q8_0, header.fileTypeAt);
  for (const { tensor, isRewritten, newOffset } of pieces) {
    if (isRewritten) bytes.writeUInt32LE(Q8_0, tensor.typeAt);
    bytes.writeBigUInt64LE(BigInt(newOffset), tensor.typeAt + 4);
  }
  return bytes;
}

async function writeNew(
  rewrite: GgufRewrite,
  source: FileHandle,
  header: GgufHeader,
  pieces: readonly Piece[],
): Promise<{ bytes: number; sha256: string }> {
  const { signal, meter } = rewrite;
  const target = await guardWrite(rewrite, () => open(rewrite.to, 'w', 0o644));
  try {
    const hash = createHash('sha256');
    let at = 0;
    const write = async (bytes: Uint8Array): Promise<void> => {
      signal.throwIfAborted();
      hash.update(bytes);
      await guardWrite(rewrite, () => target.writeFile(bytes));
      at += bytes.length;
      meter.at(at);
    };
    const fill = () => write(Buffer.alloc(aligned(at, header.alignment) - at));
    const last = pieces.at(-1);
    meter.begin('rewriting', 0, header.dataStart + (last ? last.newOffset + last.newBytes : 0));
    await write(newHeader(header, pieces));
    for (const piece of pieces) {
      await writePiece(rewrite, source, header.dataStart + piece.tensor.offset, piece, write);
      await fill();
    }
    await guardWrite(rewrite, () => target.sync());
    meter.end();
    await target.close();
    return { bytes: at, sha256: hash.digest('hex') };
  } catch (thrown) {
    await target.close().catch(() => {});
    await rm(rewrite.to, { force: true });
    throw thrown;
  }
}

async function writePiece(
  rewrite: GgufRewrite,
  source: FileHandle,
  start: number,
  { tensor, bytes, isRewritten }: Piece,
  write: (bytes: Uint8Array) => Promise<void>,
): Promise<void> {
  const room = Buffer.allocUnsafe(
    Math.min(bytes, isRewritten ? BLOCKS_AT_ONCE * Q4_1_BLOCK_BYTES : COPY_BYTES),
  );
  const blocks = Buffer.allocUnsafe(isRewritten ? (room.length / Q4_1_BLOCK_BYTES) * Q8_0_BLOCK_BYTES : 0);
  for (let done = 0; done < bytes; ) {
    const piece = room.subarray(0, Math.min(room.length, bytes - done));
    await readWhole(rewrite, source, piece, start + done);
    done += piece.length;
    if (!isRewritten) {
      await write(piece);
      continue;
    }
    const converted = blocks.subarray(0, (piece.length / Q4_1_BLOCK_BYTES) * Q8_0_BLOCK_BYTES);
    if (!rewriteBlocks(piece, converted)) {
      throw new ModelStoreError(
        'not_gguf',
        `${basename(rewrite.from)} cannot be re-written: ${tensor.name} holds what is no number.`,
      );
    }
    await write(converted);
  }
}

async function readWhole(
  rewrite: GgufRewrite,
  source: FileHandle,
  piece: Buffer,
  start: number,
): Promise<void> {
  for (let filled = 0; filled < piece.length; ) {
    const { bytesRead } = await guardRead(rewrite, () => {
      return source.read(piece, filled, piece.length - filled, start + filled);
    });
    if (bytesRead === 0) {
      throw new ModelStoreError('cut', `${basename(rewrite.from)} became shorter while it was read.`);
    }
    filled += bytesRead;
  }
}

function aligned(at: number, alignment: number): number {
  return Math.ceil(at / alignment) * alignment;
}

async function guardRead<T>(rewrite: GgufRewrite, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    if (thrown instanceof ModelStoreError) throw thrown;
    throw new ModelStoreError('store', `${rewrite.from} cannot be read: ${reasonOf(thrown)}.`, thrown);
  }
}

async function guardWrite<T>({ to, title }: GgufRewrite, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    if (isDiskFull(thrown)) {
      throw new ModelStoreError(
        'no_space',
        `The disk became full while ${title} was re-written, and what was written is removed. Make room at ${dirname(to)}.`,
        thrown,
      );
    }
    throw new ModelStoreError('store', `${to} cannot be written: ${reasonOf(thrown)}.`, thrown);
  }
}
