// Guards the reading of when a busy server wants to be asked again: every form, the right one of several, and the bounds.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { retryAfterLimit, retryAfterOf } from './retry-after.ts';

const NOW = Date.parse('2025-10-21T07:28:15.500Z');

test('each form of each header', () => {
  const cases: readonly (readonly [headers: Record<string, string | string[]>, ms: number | undefined])[] = [
    [{ 'retry-after-ms': '1500' }, 1_500],
    [{ 'retry-after-ms': '0.4' }, 1],
    [{ 'retry-after': '17' }, 17_000],
    [{ 'retry-after': ' 1.5 ' }, 1_500],
    [{ 'retry-after': '0' }, 0],
    [{ 'retry-after': ['3', '9'] }, 3_000],
    [{ 'retry-after': 'Tue, 21 Oct 2025 07:28:30 GMT' }, 14_500],
    [{ 'retry-after': 'Tuesday, 21-Oct-25 07:28:30 GMT' }, 14_500],
    [{ 'retry-after': 'Tue, 21 Oct 2025 07:28:00 GMT' }, 0],
    [{ 'x-ratelimit-reset-requests': '1s' }, 1_000],
    [{ 'x-ratelimit-reset-tokens': '6m0s' }, 360_000],
    [{ 'x-ratelimit-reset-tokens': '20ms' }, 20],
    [{ 'x-ratelimit-reset-tokens': '1m2.5s' }, 62_500],
    [{ 'x-ratelimit-reset': '30' }, 30_000],
    [{ 'x-ratelimit-reset': `${NOW / 1_000 + 9}` }, 9_000],
    [{ 'x-ratelimit-reset': `${NOW + 9_000}` }, 9_000],
    [{ 'x-ratelimit-reset': '2025-10-21T07:28:20Z' }, 4_500],
    [{ 'ratelimit-reset': '5' }, 5_000],
    [{}, undefined],
  ];
  for (const [headers, ms] of cases) assert.equal(retryAfterOf(headers, NOW), ms, JSON.stringify(headers));
});

test('the plainest header counts, and one that cannot be read counts for nothing', () => {
  assert.equal(retryAfterOf({ 'retry-after-ms': '2', 'retry-after': '9', 'x-ratelimit-reset': '7' }, NOW), 2);
  assert.equal(retryAfterOf({ 'retry-after': '9', 'x-ratelimit-reset': '7' }, NOW), 9_000);
  for (const odd of ['soon', '-1', '1e3', '', 'banana 1', '1, 2', 'NaN', 'Infinity', '0x10', '5 minutes'])
    assert.equal(retryAfterOf({ 'retry-after': odd, 'x-ratelimit-reset': '7' }, NOW), 7_000, odd);
});

test('of several limits the one that is used up counts, else the one that is over first', () => {
  const resets = { 'x-ratelimit-reset-requests': '8s', 'x-ratelimit-reset-tokens': '2m0s' };
  assert.equal(retryAfterOf(resets, NOW), 8_000);
  assert.equal(retryAfterOf({ ...resets, 'x-ratelimit-remaining-tokens': '0' }, NOW), 120_000);
  assert.equal(
    retryAfterOf(
      { ...resets, 'x-ratelimit-remaining-requests': '0', 'x-ratelimit-remaining-tokens': '5' },
      NOW,
    ),
    8_000,
  );
});

test('no header makes us wait for more than an hour, or for less than nothing', () => {
  const name = fc.constantFrom(
    'retry-after-ms',
    'retry-after',
    'x-ratelimit-reset',
    'x-ratelimit-reset-tokens',
  );
  const value = fc.oneof(
    fc.string(),
    fc.double().map(String),
    fc.date({ noInvalidDate: true }).map((at) => at.toUTCString()),
  );
  const property = fc.property(fc.dictionary(name, value), (headers) => {
    const ms = retryAfterOf(headers, NOW);
    assert.ok(ms === undefined || (Number.isInteger(ms) && ms >= 0 && ms <= 3_600_000), `${ms}`);
  });
  fc.assert(property);
  assert.equal(retryAfterOf({ 'retry-after': '99999999999999999999' }, NOW), 3_600_000);
});

test('a limit that a text names begins anew with the next minute, hour or day', () => {
  const cases: readonly (readonly [text: string, ms: number])[] = [
    ['TPM limit reached', 44_500],
    ['Request was rejected due to rate limiting. Details: RPM limit reached.', 44_500],
    ['rpm limit', 44_500],
    ['RPH limit reached', 31 * 60_000 + 44_500],
    ['TPH limit', 31 * 60_000 + 44_500],
    ['RPD limit reached', 3_600_000],
    ['TPD', 3_600_000],
    ['slow down', 1_000],
    ['XTPMX', 1_000],
    ['', 1_000],
  ];
  for (const [text, ms] of cases) assert.equal(retryAfterLimit(text, NOW), ms, text);
  assert.equal(retryAfterLimit('RPD', Date.parse('2025-10-21T23:50:00Z')), 600_000);
  assert.equal(retryAfterLimit('RPM', Date.parse('2025-10-21T07:28:59.900Z')), 1_000);
});
