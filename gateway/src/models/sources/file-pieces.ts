// A file on this disk piece by piece, as it lies or unpacked. Nothing is opened before the first piece is asked for: a stream
// that fails while nobody reads it yet would end the process instead of the pull.
import { createReadStream } from 'node:fs';
import { createGunzip } from 'node:zlib';

const PIECE_BYTES = 1024 * 1024;
const UNPACKED_PIECE_BYTES = 256 * 1024;

/** Throws the system's error, and an AbortError once the signal is aborted. */
export async function* filePieces(path: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  yield* createReadStream(path, { highWaterMark: PIECE_BYTES, signal });
}

/** Of a gzip file. Throws zlib's error (`Z_…`) too. */
export async function* unpackedPieces(path: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const packed = createReadStream(path, { highWaterMark: UNPACKED_PIECE_BYTES, signal });
  const unpacked = createGunzip({ chunkSize: UNPACKED_PIECE_BYTES });
  packed.on('error', (thrown) => unpacked.destroy(thrown)).pipe(unpacked);
  try {
    yield* unpacked;
  } finally {
    packed.destroy();
    unpacked.destroy();
  }
}
