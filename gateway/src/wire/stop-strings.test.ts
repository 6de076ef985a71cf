// Checks stop-strings.ts against a naive implementation, at every way of cutting the text.
// It must never use the clock or a model.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { StopStrings } from './stop-strings.ts';

/** Of a text: what is shown of it, and which stop string ended it. */
interface Shown {
  readonly text: string;
  readonly stop: string | undefined;
}

/** Character by character: the first end at which any stop string is complete; the longest of those. */
function naive(text: string, stops: readonly string[]): Shown {
  for (let end = 1; end <= text.length; end++) {
    const matches = stops.filter((stop) => stop !== '' && text.slice(0, end).endsWith(stop));
    const [longest] = matches.toSorted((a, b) => b.length - a.length);
    if (longest !== undefined) return { text: text.slice(0, end - longest.length), stop: longest };
  }
  return { text, stop: undefined };
}

function run(pieces: readonly string[], stops: readonly string[]): Shown {
  const stopper = new StopStrings(stops);
  let text = '';
  let stop: string | undefined;
  for (const piece of pieces) {
    const result = stopper.push(piece);
    text += result.text;
    stop ??= result.stop;
  }
  if (stop === undefined) text += stopper.flush();
  return { text, stop };
}

const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'c', '中', '😀'), maxLength: 30 });
const stopLists = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'c', '中', '😀'), maxLength: 4 }), {
  maxLength: 4,
});

test('any chunking gives what the naive implementation gives', () => {
  fc.assert(
    fc.property(letters, stopLists, fc.array(fc.nat(8), { maxLength: 40 }), (text, stops, cuts) => {
      const pieces: string[] = [];
      let at = 0;
      for (const cut of cuts) {
        pieces.push(text.slice(at, at + cut));
        at += cut;
      }
      pieces.push(text.slice(at));
      assert.deepEqual(run(pieces, stops), naive(text, stops));
    }),
    { numRuns: 2000 },
  );
});

test('no part of a stop string is ever shown, and nothing else is held back', () => {
  fc.assert(
    fc.property(letters, stopLists, (text, stops) => {
      const stopper = new StopStrings(stops);
      const expected = naive(text, stops).text;
      let shown = '';
      for (let i = 0; i < text.length; i++) {
        const result = stopper.push(text.slice(i, i + 1));
        shown += result.text;
        assert.ok(expected.startsWith(shown), 'showed what the answer does not have');
        if (result.stop !== undefined) return;
        const behind = text.slice(shown.length, i + 1);
        assert.ok(behind === '' || stops.some((stop) => stop.startsWith(behind)), 'held back too much');
      }
    }),
    { numRuns: 2000 },
  );
});

test('two-piece cuts of a known text', () => {
  const text = 'one END two STOP three';
  for (let cut = 0; cut <= text.length; cut++) {
    assert.deepEqual(run([text.slice(0, cut), text.slice(cut)], ['STOP', 'END']), {
      text: 'one ',
      stop: 'END',
    });
  }
});

test('after the stop everything is swallowed, and without stops nothing is held', () => {
  const stopper = new StopStrings(['x']);
  assert.deepEqual(stopper.push('axb'), { text: 'a', stop: 'x' });
  assert.deepEqual(stopper.push('more'), { text: '', stop: 'x' });
  assert.deepEqual(new StopStrings(['']).push('abc'), { text: 'abc', stop: undefined });
});

test('a stop string that began in the text before ends what goes on from it, at every cut', () => {
  const text = 'See\nUsage.\nUser: secret';
  const end = text.indexOf('\nUser:');
  for (let cut = 0; cut <= end + 5; cut++) {
    const stopper = new StopStrings(['\nUser:'], text.slice(0, cut));
    let shown = text.slice(0, cut);
    for (const character of text.slice(cut)) shown += stopper.push(character).text;
    assert.equal(shown, text.slice(0, Math.max(cut, end)));
    assert.equal(stopper.push('').stop, '\nUser:');
  }
});

test('going on from a text is the same as having read it, but that it is not given out again', () => {
  fc.assert(
    fc.property(letters, letters, stopLists, fc.nat(5), (before, after, stops, length) => {
      // A text that was cut at a stop string would not be gone on from.
      fc.pre(naive(before, stops).stop === undefined);
      const stopper = new StopStrings(stops, before);
      let shown = before;
      let stop: string | undefined;
      for (let at = 0; at <= after.length; at += length + 1) {
        const result = stopper.push(after.slice(at, at + length + 1));
        shown += result.text;
        stop ??= result.stop;
      }
      if (stop === undefined) shown += stopper.flush();
      const whole = naive(before + after, stops);
      assert.equal(stop, whole.stop);
      // What was given out before cannot be taken back.
      assert.equal(shown, whole.text.length < before.length ? before : whole.text);
    }),
    { numRuns: 2000 },
  );
});

test('a stop string within the text before ends nothing', () => {
  const stopper = new StopStrings(['ab', 'xabc'], 'xab');
  assert.deepEqual(stopper.push('d'), { text: 'd', stop: undefined });
});
