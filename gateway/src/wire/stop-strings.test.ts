// Checks stop-strings.ts against a naive implementation, at every way of cutting the text.
// It must never use the clock or a model.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { StopStrings } from './stop-strings.ts';

/** Character by character: the first end at which any stop string is complete; the longest of those. */
function naive(text: string, stops: readonly string[]): { text: string; stopped: boolean } {
  for (let end = 1; end <= text.length; end++) {
    const matches = stops.filter((stop) => stop !== '' && text.slice(0, end).endsWith(stop));
    if (matches.length > 0) {
      return { text: text.slice(0, end - Math.max(...matches.map((stop) => stop.length))), stopped: true };
    }
  }
  return { text, stopped: false };
}

function run(pieces: readonly string[], stops: readonly string[]): { text: string; stopped: boolean } {
  const stopper = new StopStrings(stops);
  let text = '';
  let stopped = false;
  for (const piece of pieces) {
    const result = stopper.push(piece);
    text += result.text;
    stopped ||= result.stopped;
  }
  if (!stopped) text += stopper.flush();
  return { text, stopped };
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
        if (result.stopped) return;
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
      stopped: true,
    });
  }
});

test('after the stop everything is swallowed, and without stops nothing is held', () => {
  const stopper = new StopStrings(['x']);
  assert.deepEqual(stopper.push('axb'), { text: 'a', stopped: true });
  assert.deepEqual(stopper.push('more'), { text: '', stopped: true });
  assert.deepEqual(new StopStrings(['']).push('abc'), { text: 'abc', stopped: false });
});
