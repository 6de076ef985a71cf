// Guards the decision what another attempt may do: what was given decides, and what the back end can. A wrong "yes" here
// is a word that comes twice, or is lost.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Backend } from '../core/backend.ts';
import type { ChatRequest, PartialAnswer, PartialChoice } from '../core/chat.ts';
import { answerSoFar, type Begun, isWorthKeeping, wayOn, wholeUsage } from './going-on.ts';

function backend(rest: Partial<Backend> = {}): Backend {
  return {
    id: 'b',
    chat: async () => {},
    load: () => ({ state: 'ready', slots: 1 }),
    onLoadChange: () => () => {},
    close: async () => {},
    ...rest,
  };
}

function request(rest: Partial<ChatRequest> = {}): ChatRequest {
  const prompt = { kind: 'text', text: 'x' } as const;
  return { model: 'm', prompt, sampling: {}, stop: [], choices: 1, extra: {}, ...rest };
}

function answer(...choices: Partial<PartialChoice>[]): PartialAnswer {
  const empty = { text: '', reasoning: '', toolCalls: [], reason: undefined };
  return { speaker: 's', choices: choices.map((choice) => ({ ...empty, ...choice })), usage: undefined };
}

const given = (choice: Partial<PartialChoice>, by: Backend = backend()): Begun => ({
  isGiven: true,
  answer: answer(choice),
  by,
});
const NOTHING: Begun = { isGiven: false, answer: undefined, by: backend() };

const PLAIN = backend();
const TEXT = backend({ continues: 'text' });
const THOUGHT = backend({ continues: 'text', continuesThought: true });
const FORM = backend({ continues: 'text', continuesForm: true });
const BOTH = backend({ continues: 'text', continuesForm: true, continuesThought: true });
const IDS = backend({ continues: 'ids', continuesForm: true });
const JSON_FORM = request({ responseFormat: { kind: 'json', original: {} } });
const LIKELY = request({ logprobs: 2 });
const BEGUN_BY_CLIENT = request({ continueFrom: answer({ text: 'Once' }) });
const CALL = { id: 'c', name: 'f', arguments: '{' };

const TABLE: readonly [
  name: string,
  request: ChatRequest,
  begun: Begun | undefined,
  on: Backend,
  way: string | undefined,
][] = [
  ['the first attempt', request(), undefined, PLAIN, 'anew'],
  ['nothing given', request(), NOTHING, PLAIN, 'anew'],
  ['text, on one that cannot go on', request(), given({ text: 'a' }), PLAIN, undefined],
  ['text, on one that goes on with text', request(), given({ text: 'a' }), TEXT, 'text'],
  [
    'text and thought, on one that knows no thoughts',
    request(),
    given({ text: 'a', reasoning: 'r' }),
    TEXT,
    'text',
  ],
  ['tokens, on who made them', request(), given({ text: 'a', tokens: [1] }, IDS), IDS, 'ids'],
  ['tokens, on another of the kind', request(), given({ text: 'a', tokens: [1] }), IDS, 'text'],
  [
    'tokens, on who made them but goes on only with text',
    request(),
    given({ text: 'a', tokens: [1] }, TEXT),
    TEXT,
    'text',
  ],
  ['tokens that were lost, on who made them', request(), given({ text: 'a' }, IDS), IDS, 'text'],
  ['a thought, on one that goes on with it', request(), given({ reasoning: 'r' }), THOUGHT, 'text'],
  ['a thought, on one that knows no thoughts', request(), given({ reasoning: 'r' }), TEXT, 'rethink'],
  ['a thought, on one that cannot go on', request(), given({ reasoning: 'r' }), PLAIN, 'rethink'],
  [
    'a thought as tokens, on who made them',
    request(),
    given({ reasoning: 'r', tokens: [1] }, IDS),
    IDS,
    'ids',
  ],
  ['a call', request(), given({ toolCalls: [CALL] }), TEXT, undefined],
  ['a call behind text', request(), given({ text: 'a', toolCalls: [CALL] }), TEXT, undefined],
  [
    'a call as tokens, on who made them',
    request(),
    given({ toolCalls: [CALL], tokens: [1] }, IDS),
    IDS,
    'ids',
  ],
  ['an ended choice', request(), given({ text: 'a', tokens: [1], reason: 'stop' }, IDS), IDS, undefined],
  ['several choices', request({ choices: 2 }), given({ text: 'a' }), TEXT, undefined],
  [
    'two choices where one was asked for',
    request(),
    { ...given({}), answer: answer({}, {}) },
    TEXT,
    undefined,
  ],
  ['an answer that was not kept', request(), { ...given({}), answer: undefined }, TEXT, undefined],
  ['text of a form, on one that keeps none', JSON_FORM, given({ text: '{' }), TEXT, undefined],
  ['text of a form, on one that keeps it', JSON_FORM, given({ text: '{' }), FORM, 'text'],
  ['text of a form, as tokens', JSON_FORM, given({ text: '{', tokens: [1] }, IDS), IDS, 'ids'],
  [
    'a thought before a form, on one that keeps none',
    JSON_FORM,
    given({ reasoning: 'r' }),
    THOUGHT,
    'rethink',
  ],
  ['a thought before a form, on one that keeps it', JSON_FORM, given({ reasoning: 'r' }), BOTH, 'text'],
  ['probabilities', LIKELY, given({ text: 'a' }), BOTH, undefined],
  ['probabilities, as tokens', LIKELY, given({ text: 'a', tokens: [1] }, IDS), IDS, 'ids'],
  ['probabilities, of which none were told', LIKELY, given({ reasoning: 'r' }), PLAIN, 'rethink'],
  ["a client's own beginning, on one that cannot go on", BEGUN_BY_CLIENT, undefined, PLAIN, undefined],
  ["a client's own beginning, on one that can", BEGUN_BY_CLIENT, undefined, TEXT, 'anew'],
  ["a client's own beginning, lost before anything", BEGUN_BY_CLIENT, NOTHING, PLAIN, undefined],
  ["a client's own beginning and more", BEGUN_BY_CLIENT, given({ text: 'Once upon' }), TEXT, 'text'],
];

for (const [name, asked, begun, on, way] of TABLE) {
  test(`${name}: ${way ?? 'nothing can be done'}`, () => {
    assert.equal(wayOn(asked, begun, on), way);
  });
}

test('ids go to nobody but who made them', () => {
  const begun = given({ text: 'a', tokens: [1, 2], pieces: 2 }, IDS);
  assert.deepEqual(answerSoFar('ids', request(), begun)?.choices[0]?.tokens, [1, 2]);
  for (const way of ['text', 'rethink'] as const) {
    const choice = answerSoFar(way, request(), begun)?.choices[0];
    assert.deepEqual([choice?.text, choice?.pieces, choice?.tokens], ['a', 2, undefined]);
  }
  assert.equal(answerSoFar('anew', BEGUN_BY_CLIENT, NOTHING), BEGUN_BY_CLIENT.continueFrom);
  assert.equal(answerSoFar('anew', request(), undefined), undefined);
});

test('an answer is kept only where somebody could go on with it', () => {
  assert.equal(isWorthKeeping(request(), [PLAIN]), false);
  assert.equal(isWorthKeeping(request(), [TEXT]), false, 'who lost it is not asked again');
  assert.equal(isWorthKeeping(request(), [IDS]), true);
  assert.equal(isWorthKeeping(request(), [PLAIN, PLAIN]), true, 'a thought can be thought again');
  assert.equal(isWorthKeeping(request({ choices: 2 }), [IDS, TEXT]), false);
});

test('usage is that of the whole answer, and each of its tokens counts once', () => {
  const last = { promptTokens: 30, cachedTokens: 28, completionTokens: 5, reasoningTokens: 1 };
  const soFar = answer({ text: 'a', reasoning: 'r', pieces: 7, reasoningPieces: 4 });
  assert.equal(wholeUsage('anew', soFar, last, TEXT), last);
  assert.equal(wholeUsage('ids', soFar, last, IDS), last);
  const rest = { completionTokens: 12, reasoningTokens: 5 };
  assert.deepEqual(wholeUsage('text', soFar, last, BOTH), { promptTokens: 23, cachedTokens: 23, ...rest });
  assert.deepEqual(wholeUsage('text', soFar, last, TEXT), { promptTokens: 27, cachedTokens: 27, ...rest });
  assert.deepEqual(wholeUsage('rethink', soFar, last, TEXT), { promptTokens: 30, cachedTokens: 28, ...rest });
  assert.deepEqual(wholeUsage('text', soFar, {}, TEXT), {
    promptTokens: undefined,
    cachedTokens: undefined,
    completionTokens: undefined,
    reasoningTokens: undefined,
  });
  assert.equal(wholeUsage('text', soFar, { promptTokens: 2 }, BOTH).promptTokens, 0);
});
