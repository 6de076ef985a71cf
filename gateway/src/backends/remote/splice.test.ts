// Guards the seam of an answer that another server goes on with: whatever the text, the cut and the server's ways, what the
// client reads is the whole, no character lost or doubled; and what does not join is an error.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { planPrefix, Splicer, type SpliceTraits } from './splice.ts';

const PLAIN: SpliceTraits = { repeats: false, trims: false };
const TRIMS: SpliceTraits = { repeats: false, trims: true };
const REPEATS: SpliceTraits = { repeats: true, trims: false };

const SPACE = String.raw`[\s\u001c-\u001f\u0085]`;
const LEADING_SPACE = new RegExp(`^${SPACE}+`);

/** What the client reads behind `text` when the server says `pieces`. */
function spliced(text: string, traits: SpliceTraits, ...pieces: readonly string[]): string {
  const splicer = new Splicer(planPrefix(text, traits));
  return pieces.map((piece) => splicer.push(piece)).join('') + splicer.end();
}

test('white space at the end stays behind, and is dropped as far as it comes again', () => {
  const { prefix, overlap } = planPrefix('One two \n', PLAIN);
  assert.deepEqual({ prefix, overlap }, { prefix: 'One two', overlap: ' \n' });
  assert.equal(spliced('One two \n', PLAIN, ' ', '\n', 'three'), 'three');
  assert.equal(spliced('One two \n', PLAIN, ' \n\n three'), '\n three');
  assert.equal(spliced('One two \n', PLAIN, ' three'), 'three', 'a part of it came again');
  assert.equal(spliced('One two \n', PLAIN, 'three'), 'three', 'nothing of it came again');
  assert.equal(spliced('One two', PLAIN, ' three'), ' three');
});

test('for a server that trims, the last whole character stays behind with the space around it', () => {
  const planned = (text: string) => {
    const { prefix, overlap } = planPrefix(text, TRIMS);
    return [prefix, overlap];
  };
  assert.deepEqual(planned('Hello wor'), ['Hello wo', 'r']);
  assert.deepEqual(planned('Hello \n'), ['Hell', 'o \n']);
  assert.deepEqual(planned('Hello w'), ['Hello', ' w']);
  assert.deepEqual(planned('flags 🇩🇪👩‍🚀'), ['flags 🇩🇪', '👩‍🚀']);
  assert.deepEqual(planned('x'), ['', 'x']);
  assert.deepEqual(planned(' \n'), ['', ' \n']);
  assert.deepEqual(planned(''), ['', '']);
  assert.equal(spliced('Hello w', TRIMS, 'world'), 'orld');
  assert.equal(spliced('Hello w', TRIMS, ' ', 'world'), 'orld', 'this time it did not trim');
  assert.equal(spliced('Hello ', TRIMS, 'o', ' ', 'world'), 'world');
});

test('where what must come first does not come, the answer cannot be gone on with', () => {
  for (const said of ['Orld', '  ?', ' W', 'x']) {
    assert.throws(
      () => spliced('Hello w', TRIMS, said),
      {
        code: 'backend_failed',
        message: 'The back end could not go on exactly where the answer stood.',
      },
      said,
    );
  }
  assert.equal(spliced('Hello w', TRIMS), '', 'nothing more was to be said');
});

test('a repetition is dropped, and what only looked like one is let through', () => {
  assert.equal(spliced('One two ', REPEATS, 'On', 'e two', ' three'), 'three');
  assert.equal(spliced('One two ', REPEATS, 'One two'), '');
  assert.equal(spliced('One two', REPEATS, 'One', ' three'), 'One three');
  assert.equal(spliced('One two', REPEATS, 'One'), 'One', 'it ended with what could have become one');
  assert.equal(spliced('One two', REPEATS, ' three'), ' three');
  assert.equal(spliced('', REPEATS, 'One'), 'One');
});

test('nothing is held back once the seam is settled', () => {
  const splicer = new Splicer(planPrefix('One ', REPEATS));
  assert.deepEqual(
    ['O', 'ne', ' ', 't', 'One', ' '].map((piece) => splicer.push(piece)),
    ['', '', '', 't', 'One', ' '],
  );
});

const piece = fc.constantFrom(
  ' ',
  '  ',
  '\n',
  '\r\n',
  '\t',
  '\u00a0',
  '\u0085',
  '\u001f',
  '\u3000',
  '\ufeff',
  'a',
  'ab',
  'word',
  '量',
  '子',
  '😀',
  '👩‍🚀',
  '\u200d',
  '🇩🇪',
  'e\u0301',
  '\u0308',
  '{"a":',
);
const texts = fc.oneof(
  fc.array(piece, { maxLength: 14 }).map((pieces) => pieces.join('')),
  fc.string({ unit: 'grapheme', maxLength: 20 }),
  fc.string({ unit: 'binary', maxLength: 20 }),
);
const servers = fc.record({
  repeats: fc.boolean(),
  trims: fc.boolean(),
  /** Its template trims the end of what it is given, so that it says the white space anew. */
  trimsPrefix: fc.boolean(),
  /** This time it does not do what it usually does. */
  isOdd: fc.boolean(),
});

test('any text, cut at any code point, gone on with by any server, is the whole', () => {
  fc.assert(
    fc.property(
      texts,
      fc.nat(40),
      servers,
      fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 6 }),
      (whole, place, server, lengths) => {
        const codePoints = [...whole];
        const text = codePoints.slice(0, place % (codePoints.length + 1)).join('');
        // A server that trims has lost the white space at an answer's beginning before anybody could go on with it.
        fc.pre(!server.trims || bare(text) !== '');
        const splicer = new Splicer(planPrefix(text, server));
        const { prefix } = planPrefix(text, server);
        assert.ok(whole.startsWith(prefix));
        const said = answerOf(server, prefix, whole);
        let read = text;
        for (let at = 0, turn = 0; at < said.length; turn += 1) {
          const length = lengths[turn % lengths.length]!;
          read += splicer.push(said.slice(at, at + length));
          at += length;
        }
        assert.equal(read + splicer.end(), whole);
      },
    ),
    { numRuns: 5_000 },
  );
});

/** What a server says that was given the prefix and would have said the whole. */
function answerOf(
  { repeats, trims, trimsPrefix, isOdd }: SpliceTraits & { trimsPrefix: boolean; isOdd: boolean },
  prefix: string,
  whole: string,
): string {
  const seen = trimsPrefix ? prefix.trimEnd() : prefix;
  const rest = whole.slice(seen.length);
  // An answer that goes on with its own beginning cannot be told from a repetition.
  const repeatsNot = isOdd && !bare(rest).startsWith(bare(prefix));
  const said = repeats && !repeatsNot ? seen + rest : rest;
  return trims && !isOdd ? said.trimStart() : said;
}

function bare(text: string): string {
  return text.replace(LEADING_SPACE, '');
}
