// Small JSON files that are either whole or not there: written beside their place, synced, then renamed.
// Never used for anything large, and never edited in place.
import { open, readFile, rename, rm } from 'node:fs/promises';
import { systemCode } from './model-store-error.ts';

/** What the file holds; undefined if there is none. Throws SyntaxError on broken JSON. */
export async function readJson(path: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (thrown) {
    if (systemCode(thrown) === 'ENOENT' || systemCode(thrown) === 'ENOTDIR') return undefined;
    throw thrown;
  }
  return JSON.parse(text);
}

/** Replaces the file in one step: a reader sees the old text or the new one, also after a power cut. */
export async function writeJson(path: string, value: unknown): Promise<void> {
  const draft = `${path}.${process.pid}.tmp`;
  try {
    const handle = await open(draft, 'w');
    try {
      await handle.writeFile(`${JSON.stringify(value, undefined, 2)}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(draft, path);
  } catch (thrown) {
    await rm(draft, { force: true });
    throw thrown;
  }
}
