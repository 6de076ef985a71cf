// Guards the grammar of numbers against counting: every whole number near every bound, and fractions beside them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { GbnfReader } from './gbnf-testing.ts';
import { GrammarRules } from './grammar-rules.ts';
import { type Bound, numberRule } from './number-grammar.ts';

interface Bounds {
  readonly low?: Bound | undefined;
  readonly high?: Bound | undefined;
}

function readerOf(isInteger: boolean, { low, high }: Bounds): GbnfReader {
  const rules = new GrammarRules();
  const entry = numberRule(rules, { isInteger, low, high, path: 'x' });
  return new GbnfReader(`root ::= ${entry}\n${rules.text('x')}`);
}

const bound = (value: number, isExclusive = false): Bound => ({ value, isExclusive, path: 'x' });
const fits = (value: number, { low, high }: Bounds): boolean =>
  !(low && (low.isExclusive ? value <= low.value : value < low.value)) &&
  !(high && (high.isExclusive ? value >= high.value : value > high.value));

test('whole numbers between two bounds, and no other text', () => {
  const value = fc.oneof(fc.integer({ min: -1_200, max: 1_200 }), fc.constantFrom(-1e9, 1e9, 2_147_483_647));
  fc.assert(
    fc.property(value, fc.nat(1_500), fc.boolean(), fc.boolean(), (least, span, opens, closes) => {
      const bounds = { low: bound(least, opens), high: bound(least + span + 2, closes) };
      const reader = readerOf(true, bounds);
      for (const edge of [least, least + span + 2, 0, 10, 100, 1_000, -10]) {
        for (let near = edge - 3; near <= edge + 3; near++) {
          assert.equal(reader.accepts(String(near)), fits(near, bounds), `${near}`);
        }
      }
      for (const text of ['', '-', '-0', '00', '01', `${least}.0`, '1e2', '+1'])
        assert.ok(!reader.accepts(text), text);
    }),
    { numRuns: 200 },
  );
});

test('a bound on one side only', () => {
  for (const bounds of [
    { low: bound(7) },
    { high: bound(7) },
    { low: bound(-7, true) },
    { high: bound(-7) },
    {},
  ]) {
    const reader = readerOf(true, bounds);
    for (let value = -30; value <= 30; value++)
      assert.equal(reader.accepts(String(value)), fits(value, bounds), `${value}`);
    assert.equal(reader.accepts('999999999999999'), fits(1e14, bounds));
    assert.equal(reader.accepts('1'.repeat(16)), false);
  }
});

test('numbers with fractions between two bounds', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: -30, max: 30 }),
      fc.nat(40),
      fc.boolean(),
      fc.boolean(),
      (least, span, opens, closes) => {
        const bounds = { low: bound(least, opens), high: bound(least + span + 1, closes) };
        const reader = readerOf(false, bounds);
        for (const edge of [least, least + span + 1, 0]) {
          for (let near = edge * 4 - 9; near <= edge * 4 + 9; near++) {
            const value = near / 4 + 0;
            assert.equal(reader.accepts(String(value)), fits(value, bounds), `${value}`);
            assert.equal(reader.accepts(`${value.toFixed(2)}`), fits(value, bounds), value.toFixed(2));
          }
        }
      },
    ),
    { numRuns: 300 },
  );
});

test('any number, with fraction and exponent, and bounded digits', () => {
  const reader = readerOf(false, {});
  for (const text of ['0', '-1', '12.5', '1e5', '-0.25E-3', '1E+10']) assert.ok(reader.accepts(text), text);
  for (const text of ['01', '.5', '1.', '1e', '1e400', '--1', `0.${'3'.repeat(16)}`, 'NaN'])
    assert.ok(!reader.accepts(text), text);
});
