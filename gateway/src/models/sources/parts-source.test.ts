// A model in several parts, from sources of several kinds: joined in order, each part checked, taken up after a break where the
// last whole part ended, and nothing left beside the model.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import type { CatalogueEntry, PartOfModel, Source } from '../catalogue.ts';
import { ModelStore, type StoreCallOptions } from '../model-store.ts';
import type { PullProgress } from '../progress.ts';
import { sampleGguf } from '../sample-gguf.ts';
import { breakOnceKept, hubEntry, hubFor, refused, temporary } from '../stand-in-hub.test.ts';

const CONTENT = sampleGguf({ values: 400_000 });
const CUTS = [0, 500_000, 1_200_000, CONTENT.length];
const PIECES = [0, 1, 2].map((index) => CONTENT.subarray(CUTS[index], CUTS[index + 1]));
const HASH = sha256(CONTENT);

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** The parts as files: by default with their sizes and hashes. */
function setUp(
  context: TestContext,
  changes: {
    readonly entry?: Partial<CatalogueEntry>;
    readonly part?: (part: PartOfModel, index: number) => PartOfModel;
    readonly more?: readonly Source[];
    readonly env?: Record<string, string>;
  } = {},
) {
  const folder = temporary(context);
  const home = join(folder, 'home');
  const parts = PIECES.map((piece, index): PartOfModel => {
    const path = join(folder, `piece-${index + 1}`);
    writeFileSync(path, piece);
    const part: PartOfModel = { source: { kind: 'file', path }, bytes: piece.length, sha256: sha256(piece) };
    return changes.part?.(part, index) ?? part;
  });
  const said: string[] = [];
  const open = () =>
    new ModelStore({
      home,
      env: changes.env ?? {},
      say: (line) => said.push(line),
      freeMemoryBytes: 1e9,
      catalogue: [
        hubEntry({
          aboutBytes: CONTENT.length,
          bytes: CONTENT.length,
          sha256: HASH,
          sources: [{ kind: 'parts', parts }, ...(changes.more ?? [])],
          ...changes.entry,
        }),
      ],
      timings: { retryDelaysMs: [] },
    });
  const pull = (options?: StoreCallOptions) => open().pull('sample', options);
  const modelFolder = join(home, 'models', 'sample');
  return { folder, said, pull, modelFolder, piece: (index: number) => join(folder, `piece-${index}`) };
}

suite('a model in parts', { concurrency: true }, () => {
  test('is joined in order, with one progress and one announcement for the whole', async (context) => {
    const { pull, modelFolder, folder } = setUp(context);
    const events: PullProgress[] = [];
    const { file, sha256: found } = await pull({ onProgress: (event) => events.push(event) });
    assert.deepEqual(readFileSync(file), CONTENT);
    assert.equal(found, HASH);
    assert.deepEqual(readdirSync(modelFolder).sort(), ['model.json', 'sample.gguf']);
    const down = events.filter(({ phase }) => phase === 'downloading');
    assert.ok(down.every(({ totalBytes }) => totalBytes === CONTENT.length));
    assert.deepEqual(
      down.map(({ bytes }) => bytes).toSorted((a, b) => a - b),
      down.map(({ bytes }) => bytes),
    );
    assert.equal(down.at(-1)?.bytes, CONTENT.length);
    const { source } = JSON.parse(readFileSync(join(modelFolder, 'model.json'), 'utf8'));
    assert.equal(source, `${join(folder, 'piece-1')} and 2 more`);
  });

  test('parts without sizes or hashes are checked by the whole’s', async (context) => {
    const good = setUp(context, { part: ({ source }) => ({ source }) });
    assert.deepEqual(readFileSync((await good.pull()).file), CONTENT);
    const swapped = setUp(context, { part: ({ source }) => ({ source }) });
    writeFileSync(swapped.piece(2), Buffer.alloc(PIECES[1]!.length, 1));
    await refused(swapped.pull(), 'checksum', /SHA-256 differs. It was removed/);
    assert.deepEqual(readdirSync(swapped.modelFolder), []);
  });

  test('a wrong part is refused before it is joined, and by its number', async (context) => {
    const { pull, piece, modelFolder } = setUp(context);
    writeFileSync(piece(2), Buffer.alloc(PIECES[1]!.length, 1));
    await refused(pull(), 'checksum', /^Part 2 of Sample from .* is not what it should be. It was removed/);
    assert.ok(!existsSync(join(modelFolder, 'sample.gguf')));
    // The first part is kept, and is not read again.
    writeFileSync(piece(2), PIECES[1]!);
    rmSync(piece(1));
    assert.deepEqual(readFileSync((await pull()).file), CONTENT);
  });

  test('a part that cannot be had: nothing yet is unreachable, something is broken and kept', async (context) => {
    const first = setUp(context);
    rmSync(first.piece(1));
    await refused(first.pull(), 'unreachable', /cannot be read/);
    const last = setUp(context);
    rmSync(last.piece(3));
    await refused(last.pull(), 'broken', /parts of Sample that arrived are kept: start again/);
    writeFileSync(last.piece(3), PIECES[2]!);
    rmSync(last.piece(1));
    rmSync(last.piece(2));
    assert.deepEqual(readFileSync((await last.pull()).file), CONTENT);
    assert.deepEqual(readdirSync(last.modelFolder).sort(), ['model.json', 'sample.gguf']);
  });

  test('bytes behind the last whole part, of a process that was killed, are written over', async (context) => {
    const { pull, piece, modelFolder } = setUp(context);
    rmSync(piece(3));
    await refused(pull(), 'broken', /kept/);
    const part = join(modelFolder, 'sample.gguf.part');
    assert.equal(readFileSync(part).length, CUTS[2]);
    writeFileSync(part, Buffer.concat([readFileSync(part), Buffer.alloc(9_999, 7)]));
    writeFileSync(piece(3), PIECES[2]!);
    assert.deepEqual(readFileSync((await pull()).file), CONTENT);
    // And one that lost its end.
    const cut = setUp(context);
    rmSync(cut.piece(3));
    await refused(cut.pull(), 'broken', /kept/);
    const kept = join(cut.modelFolder, 'sample.gguf.part');
    writeFileSync(kept, readFileSync(kept).subarray(0, CUTS[2]! - 1));
    writeFileSync(cut.piece(3), PIECES[2]!);
    rmSync(cut.piece(1));
    assert.deepEqual(readFileSync((await cut.pull()).file), CONTENT);
  });

  test('other parts than those that were begun with: from the start', async (context) => {
    const { pull, piece, modelFolder, folder } = setUp(context);
    rmSync(piece(3));
    await refused(pull(), 'broken', /kept/);
    const note = join(modelFolder, 'sample.gguf.part.json');
    writeFileSync(note, readFileSync(note, 'utf8').replace(/parts [0-9a-f]{8}/, 'parts 00000000'));
    writeFileSync(piece(3), PIECES[2]!);
    rmSync(join(folder, 'piece-1'));
    await refused(pull(), 'unreachable', /piece-1 cannot be read/);
  });

  test('a part of a hub that breaks in its middle is taken up there', async (context) => {
    const hub = await hubFor(context, PIECES[1]!);
    const { pull, modelFolder } = setUp(context, {
      env: { HF_ENDPOINT: hub.endpoint },
      part: (part, index) =>
        index === 1
          ? { ...part, source: { kind: 'huggingface', repo: 'a/b', file: 'c', revision: 'main' } }
          : part,
    });
    hub.onStore = (request, response) => {
      hub.onStore = undefined;
      const kept = join(modelFolder, 'sample.gguf.part-2');
      return breakOnceKept(300_000, hub, kept)(request, response);
    };
    await refused(pull(), 'broken', /broke off/);
    assert.deepEqual(readFileSync((await pull()).file), CONTENT);
    assert.match(hub.last('store GET').range ?? '', /^bytes=[1-9]/);
  });

  test('where the parts cannot be had, the next source is tried', async (context) => {
    const folder = temporary(context);
    const whole = join(folder, 'whole.gguf');
    writeFileSync(whole, CONTENT);
    const { pull, piece, said } = setUp(context, { more: [{ kind: 'file', path: whole }] });
    rmSync(piece(1));
    await pull();
    assert.equal(said.length, 1);
    assert.match(said[0] ?? '', /Passed over; the next source is tried\.$/);
  });
});
