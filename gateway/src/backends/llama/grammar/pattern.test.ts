// Guards patterns: a grammar made of one lets through what JavaScript's own matcher finds, and nothing else; what is not
// regular, cannot be read or costs too much is refused.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Allowance, automatonOf, newAllowance, type State, withLengths } from './automaton.ts';
import { PatternFault, parsePattern } from './pattern.ts';

/** Room enough for what random patterns need. */
const ROOM = 4_000_000;

function statesOf(source: string, allowance: Allowance = { left: ROOM }): readonly State[] {
  return automatonOf(parsePattern(source), allowance);
}

function statesUnlessTooComplex(source: string): readonly State[] | undefined {
  try {
    return statesOf(source);
  } catch (error) {
    assert.ok(error instanceof PatternFault && /too complex/.test(error.message), String(error));
    return undefined;
  }
}

function accepts(states: readonly State[], text: string): boolean {
  let at = 0;
  for (const character of text) {
    const code = character.codePointAt(0)!;
    const move = states[at]!.moves.find(({ ranges }) =>
      ranges.some(([low, high]) => low <= code && code <= high),
    );
    if (move === undefined) return false;
    at = move.to;
  }
  return states[at]!.accepts;
}

const atom = fc.constantFrom(
  'a',
  'b',
  '中',
  '.',
  '\\d',
  '\\W',
  '[ab]',
  '[^a]',
  '[a-c-]',
  '\\.',
  '🦄',
  '\\u0061',
  '\\x62',
);
const counted = fc
  .tuple(atom, fc.constantFrom('', '', '*', '+', '?', '{2}', '{1,2}', '{0,}', '*?'))
  .map((parts) => parts.join(''));
const sequence = fc.array(counted, { maxLength: 4 }).map((parts) => parts.join(''));
const group = fc
  .tuple(
    fc.array(sequence, { minLength: 1, maxLength: 3 }),
    fc.constantFrom('', '*', '?', '{1,2}'),
    fc.constantFrom('', '?:', '?<n>'),
  )
  .map(([parts, count, kind]) => `(${kind}${parts.join('|')})${count}`);
const pattern = fc
  .tuple(fc.boolean(), fc.array(fc.oneof(sequence, group), { maxLength: 3 }), fc.boolean())
  .map(([opens, parts, closes]) => `${opens ? '^' : ''}${parts.join('')}${closes ? '$' : ''}`)
  // A name may come once only.
  .filter((source) => source.split('?<n>').length <= 2);
const text = fc.string({
  unit: fc.constantFrom('a', 'b', 'c', '0', '-', '.', '中', '🦄', '\n'),
  maxLength: 6,
});

test('what the matcher finds gets through, and nothing else', () => {
  fc.assert(
    fc.property(pattern, fc.array(text, { minLength: 1, maxLength: 10 }), (source, texts) => {
      const expected = new RegExp(source, 'u');
      const states = statesUnlessTooComplex(source);
      // Rarely one needs more than the room: that is refused, as it should be.
      fc.pre(states !== undefined);
      for (const one of texts)
        assert.equal(accepts(states, one), expected.test(one), `${source} on ${JSON.stringify(one)}`);
    }),
    { numRuns: 1_000 },
  );
});

test('lengths are kept beside a pattern', () => {
  fc.assert(
    fc.property(pattern, text, fc.nat(3), fc.nat(4), (source, one, low, more) => {
      const { length } = [...one];
      let states: readonly State[] | undefined;
      try {
        states = withLengths(statesOf(source), { low, high: low + more }, { left: ROOM });
      } catch (error) {
        assert.ok(error instanceof PatternFault);
      }
      const fits = new RegExp(source, 'u').test(one) && length >= low && length <= low + more;
      assert.equal(states !== undefined && accepts(states, one), fits);
    }),
    { numRuns: 500 },
  );
});

test('no state leads nowhere', () => {
  fc.assert(
    fc.property(pattern, (source) => {
      for (const { moves, accepts: isEnd } of reachable(statesOf(source)))
        assert.ok(isEnd || moves.length > 0);
    }),
  );
});

function reachable(states: readonly State[]): State[] {
  const seen = new Set([0]);
  for (const at of seen) for (const { to } of states[at]!.moves) seen.add(to);
  return [...seen].map((at) => states[at]!);
}

for (const source of [
  '(?=a)',
  '(?!a)',
  '(?<=a)b',
  '(a)\\1',
  '\\bword',
  '\\p{L}',
  'a**',
  '*a',
  '(a',
  'a)',
  '[a',
  'a{2,1}',
  'a{',
  'x^',
  '(^a)',
  'a$b',
  '\\',
  '\\u12',
  '[b-a]',
  '\\ud83e',
]) {
  test(`${source} is refused`, () => {
    assert.throws(() => statesOf(source), PatternFault);
  });
}

test('any text at all is either read or refused, within its allowance', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom(...'ab(){}[]^$|*+?.\\,-109dwsu'), maxLength: 24 }),
      (source) => {
        try {
          statesOf(source, newAllowance());
        } catch (error) {
          assert.ok(error instanceof PatternFault, String(error));
        }
      },
    ),
    { numRuns: 3_000 },
  );
});

test('an allowance is one for all patterns of a schema', () => {
  const allowance = newAllowance();
  assert.throws(() => {
    for (let count = 0; count < 1_000; count++) statesOf(`^[ab]{1,${100 + count}}$`, allowance);
  }, PatternFault);
});
