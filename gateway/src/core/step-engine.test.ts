// Guards the order in which an engine that computes nothing gives tokens: every call all of its own, each step one for
// each answer, prompts as its curve has them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { StepCurve } from './step-curve.ts';
import { type StepCall, StepEngine } from './step-engine.ts';

const CURVE: StepCurve = {
  name: 'small',
  origin: 'made up',
  slots: 4,
  decodeMs: [[1, 10]],
  prefillMs: [[1, 10]],
  prompts: 'one',
  sliceTokens: 100,
  cacheTokens: 1000,
};

interface Named extends StepCall {
  readonly name: string;
}

const named = (name: string, promptTokens: number, outputTokens: number): Named => ({
  name,
  promptTokens,
  outputTokens,
});
const names = (calls: readonly Named[]) => calls.map(({ name }) => name).join('');

/** Computes to the end; a line a piece: steps, who gets tokens, slices, who spoke, who ended. */
function run(engine: StepEngine<Named>): string[] {
  const lines: string[] = [];
  for (let piece = engine.next(); piece; piece = engine.next()) {
    const { spoke, ended } = engine.computed(piece, piece.steps);
    const slices = piece.slices.map(([{ name }, tokens]) => `${name}${tokens}`).join('');
    lines.push(`${piece.steps}x ${names(piece.answers)}+${slices} ${names(spoke)}!${names(ended)}.`);
  }
  return lines;
}

test('nothing to do is no step', () => {
  assert.equal(new StepEngine(CURVE).next(), undefined);
});

test('prompts one at a time: a slice a step, beside the tokens of those that run', () => {
  const engine = new StepEngine<Named>(CURVE);
  engine.add(named('a', 150, 3));
  engine.add(named('b', 100, 2));
  assert.deepEqual(run(engine), ['1x +a100 !.', '1x +a50 a!.', '1x a+b100 b!.', '1x ab+ !ab.']);
});

test('prompts together: a step takes of all of them what fits', () => {
  const engine = new StepEngine<Named>({ ...CURVE, prompts: 'together' });
  engine.add(named('a', 60, 4));
  engine.add(named('b', 60, 1));
  engine.add(named('c', 10, 1));
  assert.deepEqual(run(engine), ['1x +a60b40 a!.', '1x a+b20c10 bc!bc.', '2x a+ !a.']);
});

test('equal steps come as one piece, up to the next end; who comes meanwhile joins the next', () => {
  const engine = new StepEngine<Named>(CURVE);
  const long = named('l', 1, 100);
  engine.add(long);
  engine.computed(engine.next()!, 1);
  const piece = engine.next()!;
  assert.equal(piece.steps, 99);
  engine.add(named('n', 1, 1));
  engine.computed(piece, 40);
  assert.equal(engine.tokensLeft(long), 59);
  assert.deepEqual(run(engine), ['1x l+n1 n!n.', '58x l+ !l.']);
});

test('what is taken out gets nothing more, wherever it is', () => {
  const engine = new StepEngine<Named>(CURVE);
  const [gone, late, stays] = [named('g', 1, 9), named('n', 1, 9), named('s', 1, 2)];
  engine.add(gone);
  engine.add(stays);
  const piece = engine.next()!;
  engine.remove(gone);
  assert.deepEqual(engine.computed(piece, 1), { spoke: [], ended: [] });
  engine.add(late);
  engine.remove(late);
  assert.deepEqual(run(engine), ['1x +s1 s!.', '1x s+ !s.']);
});

test('every call speaks once, ends once, and gets as many tokens as it wanted', () => {
  const call = fc.record({
    promptTokens: fc.integer({ min: 1, max: 300 }),
    outputTokens: fc.integer({ min: 1, max: 40 }),
    afterPieces: fc.integer({ min: 0, max: 20 }),
  });
  const prompts = fc.constantFrom('one' as const, 'together' as const);
  fc.assert(
    fc.property(fc.array(call, { maxLength: 12 }), prompts, (calls, how) => {
      const engine = new StepEngine<StepCall>({ ...CURVE, prompts: how });
      const tokens = new Map<StepCall, number>();
      const ends: StepCall[] = [];
      let left = [...calls];
      for (let pieces = 0; pieces < 10_000; pieces += 1) {
        for (const one of left.filter(({ afterPieces }) => afterPieces <= pieces)) engine.add(one);
        left = left.filter(({ afterPieces }) => afterPieces > pieces);
        const piece = engine.next();
        if (!piece && left.length === 0) break;
        if (!piece) continue;
        const { spoke, ended } = engine.computed(piece, piece.steps);
        for (const one of piece.answers) tokens.set(one, tokens.get(one)! + piece.steps);
        for (const one of spoke) {
          assert.ok(!tokens.has(one), 'it spoke before');
          tokens.set(one, 1);
        }
        ends.push(...ended);
      }
      assert.equal(ends.length, calls.length);
      assert.equal(new Set(ends).size, calls.length);
      for (const one of calls) assert.equal(tokens.get(one), one.outputTokens);
    }),
  );
});
