// Guards the page of results: a table that Markdown reads, and prose that stays.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { tableOf, withSection } from './results-page.ts';

test('a table has a row a check and a column an engine', () => {
  const table = tableOf(
    ['chat', '`a|b`'],
    [
      { name: 'one', version: '1', cells: ['yes', 'no'] },
      { name: 'two', version: '2', cells: ['yes'] },
    ],
  );
  assert.equal(
    table,
    ['|  | one (1) | two (2) |', '|---|---|---|', '| chat | yes | yes |', '| `a\\|b` | no |  |'].join('\n'),
  );
});

test('what stands between the marks is new, all else stays', () => {
  const page = 'a\n<!-- x: written by npm run test:engines -->\nold\n<!-- x: end -->\nb\n';
  const written = withSection(page, 'x', 'new');
  assert.equal(written, page.replace('old', 'new'));
  assert.equal(withSection(written, 'x', 'new'), written);
  assert.throws(() => withSection(page, 'y', 'new'), /"y"/);
});

test('the page has a place for everything that is written', () => {
  const page = readFileSync(new URL('../../../docs/reference/engines.md', import.meta.url), 'utf8');
  for (const name of ['table', 'death']) assert.notEqual(withSection(page, name, 'new'), page);
});
