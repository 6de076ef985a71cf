// SHA-256 of a file, read in pieces, so that a large model neither fills the memory nor holds the event loop.
// It never caches: who asks for a hash wants to know what lies on the disk now.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';

/** Hex. Rejects with the signal's reason when aborted, and with the system's error when the file cannot be read. */
export async function hashFile(
  path: string,
  options: { readonly signal: AbortSignal; readonly onBytes: (bytes: number) => void },
): Promise<string> {
  options.signal.throwIfAborted();
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const piece of createReadStream(path, { highWaterMark: 1024 * 1024 })) {
    options.signal.throwIfAborted();
    hash.update(piece as Buffer);
    bytes += (piece as Buffer).length;
    options.onBytes(bytes);
  }
  return hash.digest('hex');
}
