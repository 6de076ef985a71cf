// What every entry of the catalogue must be, whoever adds one: a name that can be a folder, hashes that can be compared, and an
// order in which the first choice is the best that fits.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CATALOGUE, type SingleSource } from './catalogue.ts';
import { isModelName } from './home.ts';

const SHA256 = /^[0-9a-f]{64}$/;

test('names, files and hashes', () => {
  assert.equal(new Set(CATALOGUE.map(({ name }) => name)).size, CATALOGUE.length);
  for (const { name, file, sha256, bytes, aboutBytes, licence } of CATALOGUE) {
    assert.ok(isModelName(name), name);
    assert.match(file, /^[A-Za-z0-9][A-Za-z0-9._-]*\.gguf$/, name);
    if (sha256 !== undefined) assert.match(sha256, SHA256, name);
    if (bytes !== undefined) assert.equal(bytes, aboutBytes, name);
    assert.notEqual(licence, '', name);
  }
});

test('the more memory a model wants, the earlier it is looked at, and the last fits anywhere', () => {
  const wants = CATALOGUE.map(({ wantsMemoryBytes }) => wantsMemoryBytes);
  assert.deepEqual(
    wants,
    wants.toSorted((a, b) => b - a),
  );
  assert.equal(wants.at(-1), 0);
  for (const { name, aboutBytes, wantsMemoryBytes } of CATALOGUE.slice(0, -1)) {
    assert.ok(wantsMemoryBytes > 1.5 * aboutBytes, name);
  }
});

test('every model has a source, and every model of a hub has a second hub', () => {
  for (const { name, sources } of CATALOGUE) {
    const kinds = sources
      .flatMap((source): readonly SingleSource[] =>
        source.kind === 'parts' ? source.parts.map((part) => part.source) : [source],
      )
      .map(({ kind }) => kind);
    assert.ok(kinds.length > 0, name);
    assert.equal(kinds.includes('huggingface'), kinds.includes('modelscope'), name);
  }
});
