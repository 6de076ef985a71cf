// Recorded arrivals: what is read of them, and what is said of a file that has none.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseTrace } from './trace.ts';

const HEAD = 'TIMESTAMP,ContextTokens,GeneratedTokens';

test('rows are told from the first one on, with or without fractions of a second', () => {
  const text = `${HEAD}\r\n2023-11-16 18:15:46.6805900,374,44\r\n2023-11-16 18:15:50.9951690,396,109\r\n2023-11-16 18:16:46,1,0\r\n\r\n`;
  assert.deepEqual(parseTrace(text), [
    { atMs: 0, promptTokens: 374, outputTokens: 44 },
    { atMs: 4_315, promptTokens: 396, outputTokens: 109 },
    { atMs: 59_320, promptTokens: 1, outputTokens: 0 },
  ]);
});

test('rows that are out of order are put into it', () => {
  const rows = parseTrace(`${HEAD}\n2023-11-16 18:00:01.0,1,1\n2023-11-16 18:00:00.5,2,2\n`);
  assert.deepEqual(
    rows.map(({ atMs, promptTokens }) => [atMs, promptTokens]),
    [
      [0, 2],
      [500, 1],
    ],
  );
});

test('a text that is no trace is refused by its line', () => {
  assert.throws(() => parseTrace('a,b,c\n1,2,3\n'), /line 1 must be/);
  assert.throws(() => parseTrace(`${HEAD}\n2023-11-16 18:00:00,1,1\nyesterday,1,1\n`), /line 3 .*yesterday/);
  assert.throws(() => parseTrace(`${HEAD}\n2023-11-16 18:00:00,1\n`), /line 2/);
});
