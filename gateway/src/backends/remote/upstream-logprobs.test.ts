// Probabilities as servers tell them: both dialects, numbers that are none, tokens that are parts of characters, and the
// places of tokens in what is shown.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ShownLogprobs } from './shown-logprobs.ts';
import { type ReadToken, readLogprobs } from './upstream-logprobs.ts';

test('of chat: candidates as many as asked for, bytes where the text does not tell them', () => {
  const told = {
    content: [
      {
        token: 'yes',
        logprob: -0.1,
        bytes: [121, 101, 115],
        top_logprobs: [
          { token: 'yes', logprob: -0.1, bytes: null },
          { token: '-Infinity', logprob: null, bytes: null },
          { token: 'no', logprob: -3 },
        ],
      },
      { token: '\ufffd', logprob: Number.NEGATIVE_INFINITY, bytes: [0xe9, 0x87] },
      { token: 'x', logprob: 'often', bytes: ['x'] },
      'nonsense',
    ],
  };
  assert.deepEqual(readLogprobs(told, 2), [
    {
      token: 'yes',
      logprob: -0.1,
      top: [
        { token: 'yes', logprob: -0.1 },
        { token: '-Infinity', logprob: -9999 },
      ],
    },
    { token: '\ufffd', logprob: -9999, bytes: [0xe9, 0x87], top: [] },
    { token: 'x', logprob: -9999, top: [] },
    { token: '', logprob: -9999, top: [] },
  ]);
});

test('of text completions: lists side by side, likeliest first, tokens named by their bytes', () => {
  const told = {
    tokens: ['a', 'bytes:\\xe9\\x87', 'bytes:x'],
    token_logprobs: [null, -2, -3],
    top_logprobs: [null, { b: -4, 'bytes:\\xE9\\x87': -2, c: null }],
    text_offset: [0, 1, 2],
  };
  assert.deepEqual(readLogprobs(told, 2), [
    { token: 'a', logprob: -9999, top: [] },
    {
      token: '\ufffd',
      logprob: -2,
      bytes: [0xe9, 0x87],
      top: [
        { token: '\ufffd', logprob: -2, bytes: [0xe9, 0x87] },
        { token: 'b', logprob: -4 },
      ],
    },
    { token: 'bytes:x', logprob: -3, top: [] },
  ]);
});

test('none', () => {
  for (const told of [undefined, null, {}, 'x', { content: null, tokens: null }]) {
    assert.deepEqual(readLogprobs(told, 2), []);
  }
});

const token = (text: string, bytes?: number[]): ReadToken => ({
  token: text,
  logprob: -1,
  top: [],
  ...(bytes && { bytes }),
});
const places = (logprobs: ShownLogprobs, text: string) =>
  logprobs.showed(text)?.map((one) => [one.token, one.offset]);

test('a token is told with the text that first shows any of it', () => {
  const logprobs = new ShownLogprobs('');
  logprobs.took([token('Se'), token('e\n')], 'See\n');
  logprobs.answered('See\n');
  assert.deepEqual(places(logprobs, 'See'), [
    ['Se', 0],
    ['e\n', 2],
  ]);
  logprobs.took([token('😀'), token('Us')], '😀Us');
  assert.deepEqual(places(logprobs, '\n'), undefined);
  assert.deepEqual(places(logprobs, '😀'), [['😀', 4]]);
  logprobs.took([token('<end>')], '');
  assert.deepEqual(places(logprobs, 'Us'), [['Us', 5]]);
});

test('the tokens of one character stand at its place, also when they come before its text', () => {
  const logprobs = new ShownLogprobs('');
  const [first, second] = [token('\ufffd', [0xe9, 0x87]), token('\ufffd', [0x8f])];
  logprobs.took([first, second, token('a')], '量a');
  logprobs.answered('量a');
  assert.deepEqual(
    places(logprobs, '量a')?.map(([, offset]) => offset),
    [0, 0, 1],
  );
  logprobs.took([first], '');
  logprobs.took([second, token('b')], '量b');
  assert.deepEqual(
    places(logprobs, '量b')?.map(([, offset]) => offset),
    [2, 2, 3],
  );
});

test('thinking is not told, and the answer is counted from its beginning', () => {
  const logprobs = new ShownLogprobs('');
  logprobs.took([token('hm')], 'hm');
  logprobs.thought();
  logprobs.took([token('</think>'), token('\n\nY'), token('es')], '</think>\n\nYes');
  logprobs.answered('Yes');
  assert.deepEqual(places(logprobs, 'Yes'), [
    ['\n\nY', 0],
    ['es', 1],
  ]);
});

test('an answer that goes on is counted from where it began', () => {
  const logprobs = new ShownLogprobs('a😀');
  logprobs.took([token('b')], 'b');
  logprobs.answered('b');
  assert.deepEqual(places(logprobs, 'b'), [['b', 2]]);
});
