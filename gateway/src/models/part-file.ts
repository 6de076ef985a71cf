// What has arrived of a model so far: a file beside its place and a note of what it is a part of, so that a later run
// can go on. Nothing that lies here was checked: it must never be used, only checked and then moved.
import { constants } from 'node:fs';
import { type FileHandle, open, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { readJson, writeJson } from './json-file.ts';
import { ModelStoreError, reasonOf, systemCode } from './model-store-error.ts';

const noteSchema = z.object({
  /** What it is a part of: bytes of two identities are never put together. */
  identity: z.string(),
  /** The validator that the server gave with these bytes. */
  etag: z.string().optional(),
  /** Where each of the files that it is joined from ends, as far as they were joined whole. */
  ends: z.array(z.int().min(1)).optional(),
});
export type PartNote = z.output<typeof noteSchema>;

export interface AppendOptions {
  /** Bytes to keep of what is there; the rest is cut off first. */
  readonly from: number;
  /** More than this is a lie of the source, in bytes of the whole file. */
  readonly limitBytes: number;
  /** Told the whole file's size after each piece. */
  readonly onBytes: (bytes: number) => void;
}

export class PartFile {
  readonly path: string;
  readonly #title: string;
  readonly #notePath: string;

  /** `title` names the model in sentences for people. */
  constructor(path: string, title: string) {
    this.path = path;
    this.#title = title;
    this.#notePath = `${path}.json`;
  }

  /** What is there of exactly this thing; undefined (and nothing is left) if it is a part of something else. */
  async resume(identity: string): Promise<(Omit<PartNote, 'identity'> & { bytes: number }) | undefined> {
    const bytes = await this.bytes();
    if (bytes === 0) return undefined;
    const note = noteSchema.safeParse(await readJson(this.#notePath).catch(() => undefined));
    if (note.success && note.data.identity === identity) {
      return { bytes, etag: note.data.etag, ends: note.data.ends?.filter((end) => end <= bytes) };
    }
    await this.discard();
    return undefined;
  }

  async bytes(): Promise<number> {
    try {
      return (await stat(this.path)).size;
    } catch {
      return 0;
    }
  }

  async remember(note: PartNote): Promise<void> {
    await this.#guard(() => writeJson(this.#notePath, note));
  }

  /**
   * Writes the pieces behind the first `from` bytes and syncs; resolves to the file's size. What the pieces throw
   * passes through, and what came before it stays. A full disk removes the part and throws `no_space`.
   */
  async append(pieces: AsyncIterable<Uint8Array>, options: AppendOptions): Promise<number> {
    let at = options.from;
    const handle = await this.#guard(() => open(this.path, constants.O_CREAT | constants.O_RDWR, 0o644));
    try {
      await this.#guard(() => handle.truncate(at));
      for await (const piece of pieces) {
        if (at + piece.length > options.limitBytes) {
          throw new ModelStoreError(
            'checksum',
            `The source sent more of ${this.#title} than there should be.`,
          );
        }
        await this.#guard(() => writeAll(handle, piece, at));
        at += piece.length;
        options.onBytes(at);
      }
      await this.#guard(() => handle.sync());
      return at;
    } catch (thrown) {
      if (thrown instanceof ModelStoreError && thrown.code === 'no_space') await this.discard();
      throw thrown;
    } finally {
      await handle.close();
    }
  }

  async discard(): Promise<void> {
    await rm(this.path, { force: true });
    await this.forget();
  }

  /** Takes the note away: the part has become something else. */
  async forget(): Promise<void> {
    await rm(this.#notePath, { force: true });
  }

  /** Errors of the disk as sentences; anything else passes. */
  async #guard<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (thrown) {
      if (isDiskFull(thrown)) throw diskFull(this.#title, dirname(this.path), thrown);
      throw new ModelStoreError('store', `${this.path} cannot be written: ${reasonOf(thrown)}.`, thrown);
    }
  }
}

export function isDiskFull(thrown: unknown): boolean {
  const code = systemCode(thrown);
  return code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG';
}

export function diskFull(title: string, folder: string, cause?: unknown): ModelStoreError {
  return new ModelStoreError(
    'no_space',
    `The disk became full while ${title} was fetched, and what had arrived was removed. Make room at ${folder}, or set SLUICE_HOME to another disk.`,
    cause,
  );
}

async function writeAll(handle: FileHandle, piece: Uint8Array, position: number): Promise<void> {
  let written = 0;
  while (written < piece.length) {
    written += (await handle.write(piece, written, piece.length - written, position + written)).bytesWritten;
  }
}
