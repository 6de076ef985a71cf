// Checks that an answer's tokens are told with the text that shows them: whole characters, stop strings and thinking
// cut the text elsewhere than the model cuts its tokens.
// It must never load a model.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { TokenLogprob } from '../../core/chat.ts';
import { type AnswerPart, AnswerText } from './text.ts';

/** Tokens are numbers of pieces of the answer's bytes. */
class Bench {
  readonly pieces: readonly Buffer[];
  readonly told: TokenLogprob[] = [];
  text = '';
  readonly #answer: AnswerText;

  constructor(pieces: readonly (string | Buffer)[], options: { stop?: string[]; thinks?: boolean } = {}) {
    this.pieces = pieces.map((piece) => Buffer.from(piece));
    this.#answer = new AnswerText({
      detokenize: (tokens) => this.#bytes(tokens).toString(),
      before: [],
      stop: options.stop ?? [],
      thinking: options.thinks ? { beginsInReasoning: false } : undefined,
      describe: (token) => ({ token: `${token}` }),
    });
  }

  /** Pushes all tokens, then the end. */
  run(): this {
    for (const [token] of this.pieces.entries()) {
      const part = this.#answer.push(token, { logprob: -token, top: [{ token: token + 100, logprob: 0 }] });
      this.#take(part);
      if (part.stopped) return this;
    }
    this.#take(this.#answer.flush());
    return this;
  }

  #take({ pieces, logprobs }: AnswerPart): void {
    const texts = pieces.filter(({ kind }) => kind === 'text');
    assert.ok(texts.length <= 1);
    assert.ok(logprobs === undefined || (logprobs.length > 0 && texts.length === 1), 'never without text');
    this.text += texts[0]?.text ?? '';
    this.told.push(...(logprobs ?? []));
    // A token is told no later than its first character is shown.
    for (const { offset } of logprobs ?? []) assert.ok(offset < [...this.text].length);
  }

  #bytes(tokens: readonly number[]): Buffer {
    return Buffer.concat(tokens.map((token) => this.pieces[token]!));
  }

  get offsets(): (readonly [string, number])[] {
    return this.told.map(({ token, offset }) => [token, offset]);
  }
}

test('each token is told once, with its own figures and those beside it', () => {
  const { told, text } = new Bench(['The', ' sea', '!']).run();
  assert.equal(text, 'The sea!');
  assert.deepEqual(
    told,
    [0, 3, 7].map((offset, token) => ({
      token: `${token}`,
      logprob: -token,
      offset,
      top: [{ token: `${token + 100}`, logprob: 0 }],
    })),
  );
});

test('nobody asked: nothing is told', () => {
  const answer = new AnswerText({ detokenize: () => 'x', before: [], stop: [] });
  assert.equal(answer.push(1).logprobs, undefined);
});

test('the parts of a character are told together, where it begins', () => {
  const smile = Buffer.from('😀');
  const pieces = ['a', smile.subarray(0, 2), smile.subarray(2, 3), smile.subarray(3), 'b'];
  assert.deepEqual(new Bench(pieces).run().offsets, [
    ['0', 0],
    ['1', 1],
    ['2', 1],
    ['3', 1],
    ['4', 2],
  ]);
  // The character that never became whole is shown as U+FFFD, and so its parts are told.
  const broken = new Bench(pieces.slice(0, 3)).run();
  assert.equal(broken.text, 'a\uFFFD');
  assert.equal(broken.told.length, 3);
});

test('a token that a stop string swallows is not told; one of which a part is shown is', () => {
  assert.deepEqual(new Bench(['ab', 'ST', 'OP', 'x'], { stop: ['STOP'] }).run().offsets, [['0', 0]]);
  const cut = new Bench(['ab', 'cST', 'OPd'], { stop: ['STOP'] }).run();
  assert.equal(cut.text, 'abc');
  assert.deepEqual(cut.offsets, [
    ['0', 0],
    ['1', 2],
  ]);
  const held = new Bench(['ab', 'ST', 'O', '!'], { stop: ['STOP'] }).run();
  assert.equal(held.text, 'abSTO!');
  assert.equal(held.told.length, 4);
  assert.equal(new Bench(['ab', 'STO'], { stop: ['STOP'] }).run().told.length, 2, 'held to the end');
});

test('thinking and its tags are not told, nor the white space after them', () => {
  const pieces = ['<th', 'ink>', 'hm', ' </', 'think', '>', '\n\n', 'Yes', '!'];
  assert.deepEqual(new Bench(pieces, { thinks: true }).run().offsets, [
    ['7', 0],
    ['8', 3],
  ]);
  // One token ends the thinking and begins the answer.
  assert.deepEqual(new Bench(['<think>hm', '</think>\n\nYes', '!'], { thinks: true }).run().offsets, [
    ['1', 0],
    ['2', 3],
  ]);
});

test('without thinking, what looked like its tag is told all the same', () => {
  assert.deepEqual(new Bench([' ', '<th', 'e'], { thinks: true }).run().offsets, [
    ['0', 0],
    ['1', 1],
    ['2', 4],
  ]);
  assert.equal(new Bench([' ', '<th'], { thinks: true }).run().told.length, 2, 'held to the end');
});

test('tokens without text are not told', () => {
  assert.deepEqual(new Bench(['a', '', 'b', '']).run().offsets, [
    ['0', 0],
    ['2', 1],
  ]);
});

test('however text is cut: the told tokens are those that begin in the shown text, in order', () => {
  const letters = fc.array(fc.constantFrom('a', 'b', 'S', 'T', 'é', '中', '😀'), { maxLength: 12 });
  const cuts = fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 40, maxLength: 40 });
  const stops = fc.subarray(['ST', 'Sb', '中T']);
  fc.assert(
    fc.property(
      letters,
      cuts,
      stops,
      fc.constantFrom(undefined, '', '<think>x</think>\n'),
      (chars, sizes, stop, thinking) => {
        const bytes = Buffer.from((thinking ?? '') + chars.join(''));
        const pieces: Buffer[] = [];
        for (let at = 0; at < bytes.length; ) {
          const size = sizes[pieces.length] ?? 1;
          pieces.push(bytes.subarray(at, at + size));
          at += size;
        }
        const bench = new Bench(pieces, { stop, thinks: thinking !== undefined }).run();
        const start = Buffer.byteLength(thinking ?? '');
        const shownEnd = start + Buffer.byteLength(bench.text);
        const expected: [string, number][] = [];
        let at = 0;
        for (const [token, piece] of pieces.entries()) {
          const begin = Math.max(at, start);
          at += piece.length;
          if (at <= start || begin >= shownEnd) continue;
          // The characters that are whole before its first byte.
          const before = bytes
            .subarray(start, begin)
            .toString()
            .replace(/\uFFFD+$/u, '');
          expected.push([`${token}`, [...before].length]);
        }
        assert.deepEqual(bench.offsets, expected);
      },
    ),
    { numRuns: 500 },
  );
});
