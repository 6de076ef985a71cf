// Whether a file is a whole GGUF model, and what it says of itself. The header alone is read, and it is foreign input:
// every count is checked against what is there before anything is made of it.
// It never loads weights, and never trusts a length that the file states.
import { type FileHandle, open } from 'node:fs/promises';
import { basename } from 'node:path';
import { ModelStoreError, reasonOf, systemCode } from './model-store-error.ts';

export interface GgufSummary {
  readonly version: number;
  readonly architecture?: string | undefined;
  /** The model's name in the file (`general.name`). */
  readonly name?: string | undefined;
  readonly licence?: string | undefined;
  /** Tokens that the model was trained for (`<architecture>.context_length`). */
  readonly contextLength?: number | undefined;
  readonly hasChatTemplate: boolean;
  readonly tensorCount: number;
  /** Bytes up to the end of the last tensor: a file that is shorter is cut. */
  readonly dataEnd: number;
}

export interface GgufTensor {
  readonly name: string;
  /** Values along each dimension; the first is the length of a row. */
  readonly dimensions: readonly number[];
  /** ggml's number of its type. */
  readonly type: number;
  /** Of its first byte, from the start of the data. */
  readonly offset: number;
  /** Undefined where its type is newer than our table. */
  readonly bytes: number | undefined;
  /** Where its type stands in the header, in 4 bytes; the 8 of its offset follow. */
  readonly typeAt: number;
}

export interface GgufHeader {
  readonly summary: GgufSummary;
  /** Everything in front of the padding and the data. */
  readonly bytes: Buffer;
  /** Of the data's start and of each tensor, in bytes. */
  readonly alignment: number;
  /** Where the data begins in the file. */
  readonly dataStart: number;
  /** Where the 4 bytes of `general.file_type` stand, if it is there. */
  readonly fileTypeAt: number | undefined;
  /** In the header's order. */
  readonly tensors: readonly GgufTensor[];
}

/** ggml's numbers of the types that this program converts. */
export const Q4_1 = 3;
export const Q8_0 = 8;

/** More than any real header (a vocabulary of 256k words takes some 15 MB), and little enough to hold. */
const MAX_HEADER_BYTES = 64 * 1024 * 1024;
const FIRST_READ_BYTES = 1024 * 1024;
const MAX_ENTRIES = 100_000;
const MAX_DIMENSIONS = 8;
const MAX_ARRAY_DEPTH = 4;
const MAX_KEPT_TEXT_BYTES = 1024;

/** Values in a block and bytes of a block, by ggml's number of the type. A type that is not here is newer than this table. */
const TENSOR_TYPES: ReadonlyMap<number, readonly [values: number, bytes: number]> = new Map([
  [0, [1, 4]], // F32
  [1, [1, 2]], // F16
  [2, [32, 18]], // Q4_0
  [Q4_1, [32, 20]],
  [6, [32, 22]], // Q5_0
  [7, [32, 24]], // Q5_1
  [Q8_0, [32, 34]],
  [9, [32, 36]], // Q8_1
  [10, [256, 84]], // Q2_K
  [11, [256, 110]], // Q3_K
  [12, [256, 144]], // Q4_K
  [13, [256, 176]], // Q5_K
  [14, [256, 210]], // Q6_K
  [15, [256, 292]], // Q8_K
  [16, [256, 66]], // IQ2_XXS
  [17, [256, 74]], // IQ2_XS
  [18, [256, 98]], // IQ3_XXS
  [19, [256, 50]], // IQ1_S
  [20, [32, 18]], // IQ4_NL
  [21, [256, 110]], // IQ3_S
  [22, [256, 82]], // IQ2_S
  [23, [256, 136]], // IQ4_XS
  [24, [1, 1]], // I8
  [25, [1, 2]], // I16
  [26, [1, 4]], // I32
  [27, [1, 8]], // I64
  [28, [1, 8]], // F64
  [29, [256, 56]], // IQ1_M
  [30, [1, 2]], // BF16
  [34, [256, 54]], // TQ1_0
  [35, [256, 66]], // TQ2_0
  [39, [32, 17]], // MXFP4
]);

const STRING = 8;
const ARRAY = 9;
/** Bytes of a metadata value by the number of its type; text and arrays have their length in front. */
const VALUE_BYTES: readonly (number | undefined)[] = [1, 1, 2, 2, 4, 4, 4, 1, undefined, undefined, 8, 8, 8];

/** The buffer ends before the header does. */
class HeaderGoesOn extends Error {}
/** It cannot be a header, however much more of it there is. The message is the middle of a sentence. */
class NoHeader extends Error {}

/**
 * Looks at the header, and at the file's size against it.
 * Throws ModelStoreError: `not_found`, `not_gguf`, `cut`, or `store` where it cannot be read.
 */
export async function checkGguf(path: string): Promise<GgufSummary> {
  const file = basename(path);
  let handle: FileHandle;
  try {
    handle = await open(path, 'r');
  } catch (thrown) {
    const missing = systemCode(thrown) === 'ENOENT' || systemCode(thrown) === 'ENOTDIR';
    if (missing) throw new ModelStoreError('not_found', `There is no file ${path}.`, thrown);
    throw new ModelStoreError('store', `${path} cannot be read: ${reasonOf(thrown)}.`, thrown);
  }
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw new ModelStoreError('not_gguf', `${path} is not a file; name a GGUF file.`);
    return (await readGgufHeader(handle, file, stat.size)).summary;
  } catch (thrown) {
    if (thrown instanceof ModelStoreError) throw thrown;
    throw new ModelStoreError('store', `${path} cannot be read: ${reasonOf(thrown)}.`, thrown);
  } finally {
    await handle.close();
  }
}

/**
 * The header of an open file of `size` bytes; `file` names it in sentences.
 * Throws ModelStoreError `not_gguf` or `cut`, and the system's error where it cannot be read.
 */
export async function readGgufHeader(handle: FileHandle, file: string, size: number): Promise<GgufHeader> {
  for (let want = FIRST_READ_BYTES; ; want *= 4) {
    const head = await readHead(handle, Math.min(want, MAX_HEADER_BYTES, size));
    try {
      const header = parseGgufHeader(head);
      const { dataEnd } = header.summary;
      if (dataEnd > size) {
        throw new ModelStoreError(
          'cut',
          `${file} is cut: it has ${size} bytes and its header speaks of ${dataEnd}; fetch it again.`,
        );
      }
      return header;
    } catch (thrown) {
      if (thrown instanceof NoHeader) {
        throw new ModelStoreError(
          'not_gguf',
          `${file} is not a GGUF model that can be used: ${thrown.message}.`,
        );
      }
      if (!(thrown instanceof HeaderGoesOn)) throw thrown;
      if (head.length >= MAX_HEADER_BYTES) {
        throw new ModelStoreError(
          'not_gguf',
          `${file} is not a GGUF model that can be used: its header has no end.`,
        );
      }
      if (head.length >= size || head.length < Math.min(want, size)) {
        throw new ModelStoreError('cut', `${file} is cut: it ends inside its header; fetch it again.`);
      }
    }
  }
}

/** At most `length` bytes: fewer where the file has become shorter meanwhile. */
async function readHead(handle: FileHandle, length: number): Promise<Buffer> {
  const head = Buffer.allocUnsafe(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await handle.read(head, filled, length - filled, filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return head.subarray(0, filled);
}

interface Cursor {
  readonly bytes: Buffer;
  at: number;
}

interface Metadata {
  readonly texts: Map<string, string>;
  readonly numbers: Map<string, number>;
  hasChatTemplate: boolean;
  fileTypeAt: number | undefined;
}

/** Throws HeaderGoesOn or NoHeader; whatever the bytes are, nothing else, and in time linear in them. */
function parseGgufHeader(bytes: Buffer): GgufHeader {
  if (bytes.length === 0) throw new NoHeader('it is empty');
  if (!'GGUF'.startsWith(bytes.toString('latin1', 0, 4))) throw new NoHeader('it does not begin with "GGUF"');
  const cursor: Cursor = { bytes, at: 4 };
  const version = u32(cursor);
  if (version !== 2 && version !== 3) {
    const swapped = version !== 0 && version % 0x1_00_00_00 === 0;
    throw new NoHeader(
      swapped ? 'it is written for big-endian machines' : `its version is ${version}, not 2 or 3`,
    );
  }
  const tensorCount = count(cursor, 'tensors');
  const entryCount = count(cursor, 'metadata entries');
  if (tensorCount === 0) throw new NoHeader('it holds no weights');
  const metadata: Metadata = {
    texts: new Map(),
    numbers: new Map(),
    hasChatTemplate: false,
    fileTypeAt: undefined,
  };
  for (let index = 0; index < entryCount; index += 1) readEntry(cursor, metadata);

  const alignment = metadata.numbers.get('general.alignment') ?? 32;
  if (alignment < 1 || alignment > 65_536 || (alignment & (alignment - 1)) !== 0) {
    throw new NoHeader(`its alignment is ${alignment}`);
  }
  const tensors: GgufTensor[] = [];
  let dataBytes = 0;
  for (let index = 0; index < tensorCount; index += 1) {
    const tensor = readTensor(cursor);
    tensors.push(tensor);
    // Of a type that is newer than the table the size is not known: then only its start must be there.
    dataBytes = Math.max(dataBytes, tensor.offset + (tensor.bytes ?? 1));
  }
  const dataStart = Math.ceil(cursor.at / alignment) * alignment;
  const architecture = metadata.texts.get('general.architecture');
  const summary: GgufSummary = {
    version,
    architecture,
    name: metadata.texts.get('general.name'),
    licence: metadata.texts.get('general.license'),
    contextLength:
      architecture === undefined ? undefined : metadata.numbers.get(`${architecture}.context_length`),
    hasChatTemplate: metadata.hasChatTemplate,
    tensorCount,
    dataEnd: dataStart + dataBytes,
  };
  return {
    summary,
    bytes: bytes.subarray(0, cursor.at),
    alignment,
    dataStart,
    fileTypeAt: metadata.fileTypeAt,
    tensors,
  };
}

function readEntry(cursor: Cursor, metadata: Metadata): void {
  const key = text(cursor);
  if (key === undefined) throw new NoHeader('a name in its metadata is too long');
  const type = u32(cursor);
  if (type === STRING) {
    const start = cursor.at;
    const value = text(cursor);
    if (key === 'tokenizer.chat_template') metadata.hasChatTemplate = cursor.at - start > 8;
    if (value !== undefined && key.startsWith('general.')) metadata.texts.set(key, value);
    return;
  }
  if (type === 4 || type === 10) {
    if (type === 4 && key === 'general.file_type') metadata.fileTypeAt = cursor.at;
    const value = type === 4 ? u32(cursor) : u64(cursor);
    if (key === 'general.alignment' || key.endsWith('.context_length')) metadata.numbers.set(key, value);
    return;
  }
  skipValue(cursor, type, 0);
}

function skipValue(cursor: Cursor, type: number, depth: number): void {
  if (type === STRING) {
    skip(cursor, u64(cursor));
    return;
  }
  if (type === ARRAY) {
    if (depth >= MAX_ARRAY_DEPTH) throw new NoHeader('its metadata is nested too deep');
    const itemType = u32(cursor);
    const items = u64(cursor);
    const itemBytes = itemType === ARRAY ? 12 : itemType === STRING ? 8 : VALUE_BYTES[itemType];
    if (itemBytes === undefined) throw new NoHeader(`its metadata has a type ${itemType}`);
    // Said before the walk: a count that cannot be true must cost nothing.
    if (items * itemBytes > MAX_HEADER_BYTES) throw new NoHeader('a list in its metadata is too long');
    if (itemType !== ARRAY && itemType !== STRING) skip(cursor, items * itemBytes);
    else for (let index = 0; index < items; index += 1) skipValue(cursor, itemType, depth + 1);
    return;
  }
  const bytes = VALUE_BYTES[type];
  if (bytes === undefined) throw new NoHeader(`its metadata has a type ${type}`);
  skip(cursor, bytes);
}

function readTensor(cursor: Cursor): GgufTensor {
  const name = text(cursor);
  if (name === undefined) throw new NoHeader('the name of a tensor is too long');
  const rank = u32(cursor);
  if (rank > MAX_DIMENSIONS) throw new NoHeader(`a tensor has ${rank} dimensions`);
  const dimensions: number[] = [];
  for (let index = 0; index < rank; index += 1) dimensions.push(u64(cursor));
  const typeAt = cursor.at;
  const type = u32(cursor);
  const offset = u64(cursor);
  const form = TENSOR_TYPES.get(type);
  const values = dimensions.reduce((product, length) => product * length, 1);
  const bytes = form && Math.ceil(values / form[0]) * form[1];
  if (!Number.isSafeInteger(offset + (bytes ?? 1))) throw new NoHeader('the size of a tensor is impossible');
  return { name, dimensions, type, offset, bytes, typeAt };
}

function count(cursor: Cursor, what: string): number {
  const value = u64(cursor);
  if (value > MAX_ENTRIES) throw new NoHeader(`it speaks of ${value} ${what}`);
  return value;
}

/** Undefined where it is longer than what is kept; the cursor is past it in any case. */
function text(cursor: Cursor): string | undefined {
  const length = u64(cursor);
  const start = cursor.at;
  skip(cursor, length);
  return length > MAX_KEPT_TEXT_BYTES ? undefined : cursor.bytes.toString('utf8', start, start + length);
}

function u32(cursor: Cursor): number {
  const start = cursor.at;
  skip(cursor, 4);
  return cursor.bytes.readUInt32LE(start);
}

function u64(cursor: Cursor): number {
  const start = cursor.at;
  skip(cursor, 8);
  const value = cursor.bytes.readUInt32LE(start + 4) * 0x1_0000_0000 + cursor.bytes.readUInt32LE(start);
  if (!Number.isSafeInteger(value)) throw new NoHeader('a number in its header is impossible');
  return value;
}

function skip(cursor: Cursor, bytes: number): void {
  if (bytes > MAX_HEADER_BYTES) throw new NoHeader('an entry of its header is too long');
  if (cursor.at + bytes > cursor.bytes.length) throw new HeaderGoesOn();
  cursor.at += bytes;
}
