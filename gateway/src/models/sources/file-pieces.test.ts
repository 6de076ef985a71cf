// That a file which cannot be read, is not what it should be, or must not be read any more is an error of whoever asks for its
// pieces, and never one of the process.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { temporary } from '../stand-in-hub.test.ts';
import { filePieces, unpackedPieces } from './file-pieces.ts';

const CONTENT = Buffer.alloc(3_000_000, 'weights');

async function all(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const found: Uint8Array[] = [];
  for await (const piece of pieces) found.push(piece);
  return Buffer.concat(found);
}

test('what lies there, and what is packed there', async (context) => {
  const folder = temporary(context);
  const { signal } = new AbortController();
  writeFileSync(join(folder, 'plain'), CONTENT);
  writeFileSync(join(folder, 'packed'), gzipSync(CONTENT));
  assert.deepEqual(await all(filePieces(join(folder, 'plain'), signal)), CONTENT);
  assert.deepEqual(await all(unpackedPieces(join(folder, 'packed'), signal)), CONTENT);
});

test('an error waits for who asks, however late that is', async (context) => {
  const folder = temporary(context);
  const page = join(folder, 'page');
  writeFileSync(page, '<html>');
  const { signal } = new AbortController();
  const missing = [filePieces(join(folder, 'none'), signal), unpackedPieces(join(folder, 'none'), signal)];
  const odd = unpackedPieces(page, signal);
  const stopped = [filePieces(page, AbortSignal.abort()), unpackedPieces(page, AbortSignal.abort())];
  await sleep(50);
  for (const pieces of missing) await assert.rejects(all(pieces), { code: 'ENOENT' });
  await assert.rejects(all(odd), { code: 'Z_DATA_ERROR' });
  for (const pieces of stopped) await assert.rejects(all(pieces), { name: 'AbortError' });
});
