// Guards the probabilities of tokens in OpenAI's two shapes, streamed and whole, and what a request for them is.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PartialAnswer, TokenEvent, TokenLogprob } from '../core/chat.ts';
import { GatewayError } from '../core/errors.ts';
import type { Dialect } from './dialect.ts';
import { chatCompletions } from './dialects/chat-completions.ts';
import { completions } from './dialects/completions.ts';
import { generate } from './dialects/generate.ts';

/** 'é', and the second of the two tokens that make '中'. */
const LOGPROBS: readonly TokenLogprob[] = [
  {
    token: 'é',
    logprob: -0.5,
    offset: 0,
    top: [
      { token: 'é', logprob: -0.5 },
      { token: '__proto__', logprob: -2 },
    ],
  },
  {
    token: '\uFFFD',
    bytes: [0xb8, 0xad],
    logprob: -9999,
    offset: 1,
    top: [
      { token: '\uFFFD', bytes: [0xe4], logprob: -1 },
      { token: ' a', logprob: -1.5 },
    ],
  },
];

const CHAT = {
  content: [
    {
      token: 'é',
      logprob: -0.5,
      bytes: [0xc3, 0xa9],
      top_logprobs: [
        { token: 'é', logprob: -0.5, bytes: [0xc3, 0xa9] },
        { token: '__proto__', logprob: -2, bytes: [...Buffer.from('__proto__')] },
      ],
    },
    {
      token: '\uFFFD',
      logprob: -9999,
      bytes: [0xb8, 0xad],
      top_logprobs: [
        { token: '\uFFFD', logprob: -1, bytes: [0xe4] },
        { token: ' a', logprob: -1.5, bytes: [32, 97] },
      ],
    },
  ],
  refusal: null,
};

const TEXT = {
  tokens: ['é', 'bytes:\\xb8\\xad'],
  token_logprobs: [-0.5, -9999],
  top_logprobs: [
    JSON.parse('{"é":-0.5,"__proto__":-2}'),
    { 'bytes:\\xe4': -1, ' a': -1.5, 'bytes:\\xb8\\xad': -9999 },
  ],
  text_offset: [0, 1],
};

const META = { id: '1', created: 2, model: 'm' };
const ASKED = { calls: [], parallel: 1, stream: false, includeUsage: false, ignored: [] };

function whole(dialect: Dialect, logprobs?: readonly TokenLogprob[]) {
  const choice = { text: 'é中', reasoning: '', toolCalls: [], reason: 'stop' } as const;
  const choices = [logprobs ? { ...choice, logprobs } : choice];
  const answer: PartialAnswer = { speaker: 's', choices, usage: undefined };
  return JSON.parse(JSON.stringify(dialect.whole(answer, META, ASKED, undefined))).choices[0];
}

function streamed(dialect: Dialect, events: readonly TokenEvent[]) {
  const codec = dialect.stream(META, ASKED);
  const written = events.map((event) => codec.event(event)).join('');
  return written
    .split('\n\n')
    .filter((block) => block !== '')
    .map((block) => JSON.parse(block.replace(/^data: /, '')).choices[0]);
}

test('a whole answer has them in the shape of its dialect, and null where there are none', () => {
  assert.deepEqual(whole(chatCompletions, LOGPROBS).logprobs, CHAT);
  assert.equal(whole(chatCompletions).logprobs, null);
  assert.deepEqual(whole(completions, LOGPROBS).logprobs, TEXT);
  assert.equal(whole(completions).logprobs, null);
  assert.equal('logprobs' in whole(generate, LOGPROBS), false);
});

test('a chunk has them beside its text; a chunk without stays as it is', () => {
  const events: readonly TokenEvent[] = [
    { type: 'text-delta', choice: 0, text: 'é中', logprobs: LOGPROBS },
    { type: 'text-delta', choice: 0, text: '!' },
  ];
  const [, likely, plain] = streamed(chatCompletions, events);
  assert.deepEqual(likely, { index: 0, delta: { content: 'é中' }, logprobs: CHAT, finish_reason: null });
  assert.deepEqual(plain, { index: 0, delta: { content: '!' }, finish_reason: null });
  const [text, rest] = streamed(completions, events);
  assert.deepEqual(text, { index: 0, text: 'é中', logprobs: TEXT, finish_reason: null });
  assert.deepEqual(rest, { index: 0, text: '!', logprobs: null, finish_reason: null });
});

const chatCall = (body: object) =>
  chatCompletions.parse({ model: 'm', messages: [{ role: 'user', content: 'x' }], ...body }, undefined)
    .calls[0]!;
const textCall = (body: object) =>
  completions.parse({ model: 'm', prompt: 'x', ...body }, undefined).calls[0]!;

test('what is asked for, and what is not', () => {
  assert.equal(chatCall({}).logprobs, undefined);
  assert.equal(chatCall({ logprobs: false, top_logprobs: 0 }).logprobs, undefined);
  assert.equal(chatCall({ logprobs: true }).logprobs, 0);
  assert.equal(chatCall({ logprobs: true, top_logprobs: 20 }).logprobs, 20);
  assert.equal(textCall({}).logprobs, undefined);
  assert.equal(textCall({ logprobs: 0 }).logprobs, 0);
  assert.equal(textCall({ logprobs: 5 }).logprobs, 5);
  assert.deepEqual(textCall({ logprobs: 5, best_of: 2, n: 2 }).extra, {});
});

for (const [call, body, param] of [
  [chatCall, { logprobs: 1 }, 'logprobs'],
  [chatCall, { logprobs: true, top_logprobs: 21 }, 'top_logprobs'],
  [chatCall, { logprobs: true, top_logprobs: -1 }, 'top_logprobs'],
  [chatCall, { top_logprobs: 2 }, 'top_logprobs'],
  [textCall, { logprobs: true }, 'logprobs'],
  [textCall, { logprobs: 6 }, 'logprobs'],
  [textCall, { best_of: 2 }, 'best_of'],
  [textCall, { best_of: 2, n: 3 }, 'best_of'],
] as const) {
  test(`${JSON.stringify(body)} is refused by name`, () => {
    assert.throws(
      () => call(body),
      (error) => error instanceof GatewayError && error.code === 'invalid_request' && error.param === param,
    );
  });
}
