// Guards the fold from events to an answer: nothing lost, nothing mixed up between choices or tool calls, unknown
// usage stays unknown, and a mad back end cannot make it grow without end.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { TokenEvent } from '../core/chat.ts';
import { AnswerFold, addUsage } from './partial.ts';

function fold(events: readonly TokenEvent[]) {
  const answer = new AnswerFold();
  for (const event of events) answer.add(event);
  return answer.answer();
}

test('an answer of nothing has no speaker, no choices and no usage', () => {
  assert.deepEqual(fold([]), { speaker: undefined, choices: [], usage: undefined });
});

test('text and thinking are joined apart from each other, and the ending is kept', () => {
  const answer = fold([
    { type: 'start', speaker: 'someone' },
    { type: 'reasoning-delta', choice: 0, text: 'hm' },
    { type: 'reasoning-delta', choice: 0, text: 'm.' },
    { type: 'text-delta', choice: 0, text: '量' },
    { type: 'text-delta', choice: 0, text: '子' },
    { type: 'choice-end', choice: 0, reason: 'length' },
    { type: 'finish', usage: { promptTokens: 3, completionTokens: 4 } },
  ]);
  assert.deepEqual(answer, {
    speaker: 'someone',
    choices: [
      {
        text: '量子',
        reasoning: 'hmm.',
        toolCalls: [],
        tokens: undefined,
        pieces: 4,
        reasoningPieces: 2,
        reason: 'length',
      },
    ],
    usage: { promptTokens: 3, completionTokens: 4 },
  });
});

test('the stop string that ended a choice is kept with it', () => {
  const { choices } = fold([
    { type: 'choice-end', choice: 0, reason: 'stop', stop: 'END' },
    { type: 'choice-end', choice: 1, reason: 'stop' },
  ]);
  assert.deepEqual(
    choices.map(({ stop }) => stop),
    ['END', undefined],
  );
});

test('an answer cut in the middle has neither reason nor usage', () => {
  const { choices, usage } = fold([{ type: 'text-delta', choice: 0, text: 'half' }]);
  assert.equal(choices[0]?.reason, undefined);
  assert.equal(usage, undefined);
});

test('tool calls that come in pieces and mixed are put together by their index', () => {
  const call = (index: number, args: string, id?: string, name?: string): TokenEvent => ({
    type: 'tool-call-delta',
    choice: 0,
    index,
    id,
    name,
    arguments: args,
  });
  const { choices } = fold([
    call(0, '', 'call-a', 'look'),
    call(0, '{"at"'),
    call(1, '{}', 'call-b', 'wait'),
    call(0, ':1}'),
    { type: 'choice-end', choice: 0, reason: 'tool_calls' },
  ]);
  assert.deepEqual(choices, [
    {
      text: '',
      reasoning: '',
      toolCalls: [
        { id: 'call-a', name: 'look', arguments: '{"at":1}' },
        { id: 'call-b', name: 'wait', arguments: '{}' },
      ],
      tokens: undefined,
      pieces: 4,
      reasoningPieces: 0,
      reason: 'tool_calls',
    },
  ]);
});

test('a tool call keeps its first id and name, and takes them late if they come late', () => {
  const { choices } = fold([
    { type: 'tool-call-delta', choice: 0, index: 0, arguments: '{' },
    { type: 'tool-call-delta', choice: 0, index: 0, id: 'first', name: 'one', arguments: '' },
    { type: 'tool-call-delta', choice: 0, index: 0, id: 'second', name: 'two', arguments: '}' },
  ]);
  assert.deepEqual(choices[0]?.toolCalls, [{ id: 'first', name: 'one', arguments: '{}' }]);
});

test('choices stand by their number without holes, in whatever order they come', () => {
  const { choices } = fold([
    { type: 'text-delta', choice: 2, text: 'two' },
    { type: 'text-delta', choice: 0, text: 'zero' },
    { type: 'choice-end', choice: 2, reason: 'stop' },
    { type: 'text-delta', choice: 0, text: '!' },
  ]);
  assert.deepEqual(
    choices.map(({ text, reason }) => [text, reason]),
    [
      ['zero!', undefined],
      ['', undefined],
      ['two', 'stop'],
    ],
  );
});

test('however an answer is cut into deltas and its choices interleaved, the fold is the same', () => {
  const piece = fc.record({
    choice: fc.nat(3),
    type: fc.constantFrom('text-delta' as const, 'reasoning-delta' as const),
    text: fc.string({ maxLength: 5 }),
  });
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
      const { choices } = fold(pieces);
      for (const [number, choice] of choices.entries()) {
        const joined = (type: string) =>
          pieces
            .filter((one) => one.choice === number && one.type === type)
            .map((one) => one.text)
            .join('');
        assert.equal(choice.text, joined('text-delta'));
        assert.equal(choice.reasoning, joined('reasoning-delta'));
      }
      assert.equal(choices.length, Math.max(-1, ...pieces.map((one) => one.choice)) + 1);
    }),
  );
});

test('an answer longer than any answer is the back end failing, be it text, thinking or tool arguments', () => {
  const quarter = 'x'.repeat(8 * 1024 * 1024);
  const kinds: TokenEvent[] = [
    { type: 'text-delta', choice: 0, text: quarter },
    { type: 'reasoning-delta', choice: 1, text: quarter },
    { type: 'tool-call-delta', choice: 0, index: 0, arguments: quarter },
    { type: 'text-delta', choice: 1, text: quarter },
  ];
  for (const last of ['text-delta', 'reasoning-delta'] as const) {
    const answer = new AnswerFold();
    for (const event of kinds) answer.add(event);
    assert.throws(() => answer.add({ type: last, choice: 2, text: 'x' }), { code: 'backend_failed' });
  }
  const answer = new AnswerFold();
  for (const event of kinds) answer.add(event);
  const more: TokenEvent = { type: 'tool-call-delta', choice: 2, index: 0, arguments: 'x' };
  assert.throws(() => answer.add(more), { code: 'backend_failed' });
});

test('a part numbered beyond all reason is the back end failing, not memory without end', () => {
  for (const number of [-1, Number.NaN, 131_072, 2 ** 40]) {
    for (const event of [
      { type: 'text-delta', choice: number, text: '' },
      { type: 'choice-end', choice: number, reason: 'stop' },
      { type: 'tool-call-delta', choice: 0, index: number, arguments: '' },
    ] as const) {
      assert.throws(() => new AnswerFold().add(event), { code: 'backend_failed' }, `${event.type} ${number}`);
    }
  }
});

test('the ids of the tokens are those of every delta, or unknown', () => {
  const delta = (tokens?: number[]): TokenEvent => ({ type: 'text-delta', choice: 0, text: 'x', tokens });
  const thought: TokenEvent = { type: 'reasoning-delta', choice: 0, text: 'x', tokens: [3] };
  assert.deepEqual(fold([delta([1, 2]), thought, delta([])]).choices[0]?.tokens, [1, 2, 3]);
  assert.equal(fold([delta([1]), delta(), delta([2])]).choices[0]?.tokens, undefined);
});

test('a fold goes on from an answer that was begun, and leaves that as it was', () => {
  const call: TokenEvent = {
    type: 'tool-call-delta',
    choice: 0,
    index: 0,
    id: 'c',
    name: 'f',
    arguments: '{',
  };
  const events: TokenEvent[] = [
    { type: 'start', speaker: 's' },
    { type: 'reasoning-delta', choice: 0, text: 'hm', tokens: [1] },
    {
      type: 'text-delta',
      choice: 0,
      text: 'a',
      tokens: [2],
      logprobs: [{ token: 'a', logprob: -1, offset: 0, top: [] }],
    },
    { ...call, tokens: [3] },
    { ...call, arguments: '}', tokens: [4] },
    { type: 'text-delta', choice: 1, text: 'b', tokens: [] },
    { type: 'choice-end', choice: 0, reason: 'tool_calls' },
  ];
  const whole = fold(events);
  for (let cut = 0; cut <= events.length; cut++) {
    const begun = fold(events.slice(0, cut));
    const kept = structuredClone(begun);
    const rest = new AnswerFold(begun);
    for (const event of events.slice(cut)) rest.add(event);
    assert.deepEqual(rest.answer(), whole);
    assert.deepEqual(begun, kept);
  }
});

test("what a client began itself counts for nothing, and its tokens are nobody's", () => {
  const choice = { text: 'Once', reasoning: '', toolCalls: [], reason: undefined };
  const answer = new AnswerFold({ speaker: undefined, choices: [choice], usage: undefined });
  answer.add({ type: 'text-delta', choice: 0, text: ' upon', tokens: [1] });
  const { text, pieces, tokens } = answer.answer().choices[0]!;
  assert.deepEqual([text, pieces, tokens], ['Once upon', 1, undefined]);
  const long = { ...choice, text: 'x'.repeat(33 * 1024 * 1024) };
  assert.throws(() => new AnswerFold({ speaker: undefined, choices: [long], usage: undefined }), {
    code: 'backend_failed',
  });
});

test('usage is summed field by field, and what one part does not know the sum does not know', () => {
  assert.deepEqual(
    addUsage(
      { promptTokens: 1, cachedTokens: 2, completionTokens: 3, reasoningTokens: 4 },
      { promptTokens: 10, cachedTokens: 20, completionTokens: 30, reasoningTokens: 40 },
    ),
    { promptTokens: 11, cachedTokens: 22, completionTokens: 33, reasoningTokens: 44 },
  );
  assert.deepEqual(addUsage({ promptTokens: 1, cachedTokens: 0 }, { promptTokens: 2, completionTokens: 5 }), {
    promptTokens: 3,
    cachedTokens: undefined,
    completionTokens: undefined,
    reasoningTokens: undefined,
  });
});

test('the probabilities of tokens are kept beside their choice, and count towards the bound', () => {
  const fold = new AnswerFold();
  const token = { token: 'a', logprob: -1, offset: 0, top: [] };
  fold.add({ type: 'text-delta', choice: 1, text: 'a', logprobs: [token] });
  fold.add({ type: 'text-delta', choice: 1, text: 'b' });
  fold.add({ type: 'text-delta', choice: 1, text: 'c', logprobs: [token] });
  const [first, second] = fold.answer().choices;
  assert.deepEqual(second?.logprobs, [token, token]);
  assert.equal('logprobs' in first!, false);
  const mad = { ...token, top: Array(100_000).fill({ token: 'b', logprob: -2 }) };
  assert.throws(
    () => {
      for (let i = 0; i < 100; i++) fold.add({ type: 'text-delta', choice: 0, text: '', logprobs: [mad] });
    },
    { code: 'backend_failed' },
  );
});
