// One file out of a tar archive, as its bytes go by: for packages, whose archives are too large to hold or to unpack.
// Nothing is ever written where the archive says: names are only compared. Counts and lengths are foreign input, and bounded.

const BLOCK = 512;
/** An extended header holds a name and a size; more is no honest one. */
const MAX_EXTENDED_BYTES = 64 * 1024;

/** `missing`: there is no such file in it. `damaged`: it is no tar archive, or cut. `too_large`: more than the limit. */
export class TarError extends Error {
  override readonly name = 'TarError';
  readonly reason: 'missing' | 'damaged' | 'too_large';

  constructor(reason: TarError['reason']) {
    super(`The archive is of no use: ${reason}.`);
    this.reason = reason;
  }
}

/**
 * The bytes of the first regular file of exactly this name. Reads no further than that file; throws TarError, and what
 * the archive's pieces throw. `limitBytes` bounds the unpacked archive up to the end of the file.
 */
export async function* readTarMember(
  archive: AsyncIterable<Uint8Array>,
  name: string,
  limitBytes: number,
): AsyncGenerator<Uint8Array> {
  const reader = new PieceReader(archive, limitBytes);
  try {
    let extended: { path?: string; size?: number } = {};
    for (;;) {
      const block = await reader.take(BLOCK);
      if (block === undefined || block.every((byte) => byte === 0)) throw new TarError('missing');
      const header = readHeader(block);
      const size = extended.size ?? header.size;
      if (header.type === 'x' || header.type === 'L') {
        // Its own size is in its own header, whatever another says of the file that follows.
        if (header.size > MAX_EXTENDED_BYTES) throw new TarError('damaged');
        const body = await reader.take(padded(header.size));
        if (body === undefined) throw new TarError('damaged');
        const text = body.subarray(0, header.size);
        extended =
          header.type === 'L'
            ? { ...extended, path: untilZero(text) }
            : { ...extended, ...readExtended(text) };
        continue;
      }
      const isFile = header.type === '0' || header.type === '\0' || header.type === '7';
      if (isFile && (extended.path ?? header.path) === name) {
        yield* reader.pass(size);
        return;
      }
      await reader.skip(padded(size));
      // A global header speaks of all that follow, but of nothing that is asked here.
      if (header.type !== 'g') extended = {};
    }
  } finally {
    await reader.close();
  }
}

interface TarHeader {
  readonly path: string;
  readonly size: number;
  readonly type: string;
}

function readHeader(block: Buffer): TarHeader {
  let sum = 0;
  // Its own sum is counted as spaces.
  for (let index = 0; index < BLOCK; index += 1) sum += index >= 148 && index < 156 ? 32 : block[index]!;
  if (sum !== octal(block.subarray(148, 156))) throw new TarError('damaged');
  const isUstar = block.toString('latin1', 257, 262) === 'ustar';
  const prefix = isUstar ? untilZero(block.subarray(345, 500)) : '';
  const short = untilZero(block.subarray(0, 100));
  return {
    path: prefix === '' ? short : `${prefix}/${short}`,
    size: sizeOf(block.subarray(124, 136)),
    type: String.fromCharCode(block[156]!),
  };
}

function sizeOf(field: Buffer): number {
  // From 8 GiB on: the number itself, behind a byte whose first bit is set.
  if (field[0] === 0x80) {
    const size = field.readUIntBE(6, 6);
    if (field.subarray(1, 6).some((byte) => byte !== 0)) throw new TarError('damaged');
    return size;
  }
  return octal(field);
}

function octal(field: Buffer): number {
  const text = /^ *([0-7]{1,12})[ \0]*$/.exec(field.toString('latin1'))?.[1];
  if (text === undefined) throw new TarError('damaged');
  return Number.parseInt(text, 8);
}

/** Records of the form `length key=value\n`, each with its own length in front. */
function readExtended(text: Buffer): { path?: string; size?: number } {
  const found: { path?: string; size?: number } = {};
  for (let at = 0; at < text.length; ) {
    const space = text.indexOf(32, at);
    const length = space === -1 ? Number.NaN : Number(text.toString('latin1', at, space));
    const end = at + length;
    if (!Number.isSafeInteger(length) || end > text.length || end <= space || text[end - 1] !== 10) {
      throw new TarError('damaged');
    }
    const [key, value] = splitOnce(text.toString('utf8', space + 1, end - 1));
    if (key === 'path') found.path = value;
    if (key === 'size') {
      if (!/^\d{1,15}$/.test(value)) throw new TarError('damaged');
      found.size = Number(value);
    }
    at = end;
  }
  return found;
}

function splitOnce(text: string): [key: string, value: string] {
  const at = text.indexOf('=');
  return at === -1 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

function untilZero(field: Buffer): string {
  const end = field.indexOf(0);
  return field.toString('utf8', 0, end === -1 ? field.length : end);
}

function padded(size: number): number {
  return Math.ceil(size / BLOCK) * BLOCK;
}

/** Takes bytes from pieces of any length, and counts them against a limit. */
class PieceReader {
  readonly #pieces: AsyncIterator<Uint8Array>;
  readonly #limit: number;
  #piece: Buffer = Buffer.alloc(0);
  #taken = 0;

  constructor(pieces: AsyncIterable<Uint8Array>, limitBytes: number) {
    this.#pieces = pieces[Symbol.asyncIterator]();
    this.#limit = limitBytes;
  }

  /** Exactly so many bytes; undefined if there are none left at all. Only for few. */
  async take(bytes: number): Promise<Buffer | undefined> {
    const taken: Uint8Array[] = [];
    let missing = bytes;
    while (missing > 0) {
      const piece = await this.#next(missing);
      if (piece === undefined && missing === bytes) return undefined;
      if (piece === undefined) throw new TarError('damaged');
      taken.push(piece);
      missing -= piece.length;
    }
    return Buffer.concat(taken);
  }

  async *pass(bytes: number): AsyncGenerator<Uint8Array> {
    for (let missing = bytes; missing > 0; ) {
      const piece = await this.#next(missing);
      if (piece === undefined) throw new TarError('damaged');
      missing -= piece.length;
      yield piece;
    }
  }

  async skip(bytes: number): Promise<void> {
    for await (const _ of this.pass(bytes));
  }

  async close(): Promise<void> {
    await this.#pieces.return?.();
  }

  /** At least one byte and at most so many. */
  async #next(most: number): Promise<Buffer | undefined> {
    while (this.#piece.length === 0) {
      const { done, value } = await this.#pieces.next();
      if (done === true) return undefined;
      this.#piece = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    }
    const piece = this.#piece.subarray(0, most);
    this.#piece = this.#piece.subarray(piece.length);
    this.#taken += piece.length;
    if (this.#taken > this.#limit) throw new TarError('too_large');
    return piece;
  }
}
