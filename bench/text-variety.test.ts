// Checks what texts are measured by.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { distinctShare, isJsonObject, repeatedShare } from './text-variety.ts';

test('distinct runs are counted over all texts, words as they sound', () => {
  assert.equal(distinctShare(['a b a b'], 1), 0.5);
  assert.equal(distinctShare(['a b', 'A, b!'], 2), 0.5);
  assert.equal(distinctShare(["it's one", 'it is one'], 1), 4 / 5);
  assert.equal(distinctShare(['short'], 2), 0);
});

test('a text that says a thing again is told by its runs', () => {
  assert.equal(repeatedShare('one two three four five', 2), 0);
  assert.equal(repeatedShare('one two one two one two', 2), 3 / 5);
  assert.equal(repeatedShare('', 4), 0);
});

test('one JSON object is one, fenced or not, and nothing else is', () => {
  for (const text of ['{"a": 1}', ' {}\n', '```json\n{"a": [1]}\n```', '```\n{}\n```'])
    assert.ok(isJsonObject(text), text);
  for (const text of ['[1]', '"a"', 'null', '{"a": 1} and more', '{"a": 1', 'Here it is: {}', '']) {
    assert.ok(!isJsonObject(text), text);
  }
});
