// Answers of llama.cpp's own dialect, each at every cut of its bytes: what came of them, and what was a failure.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ChatRequest, TokenEvent, Usage } from '../../core/chat.ts';
import {
  choiceWith,
  failureOf,
  optionsWith,
  type ReadChoice,
  readChoices,
  requestWith,
  ToldError,
} from './answer-testing.ts';
import { EventStreamReader, MAX_EVENT_BYTES } from './event-stream-reader.ts';
import { infillAnswer } from './infill-answer.ts';
import { event } from './openai-testing.ts';
import type { UpstreamAnswer } from './upstream-answer.ts';

const prompt = { kind: 'text', text: 'f(', suffix: ')' } as const;
const piece = (content: string): string => event({ index: 0, content, stop: false, tokens_predicted: 1 });
const last = (members: object): string => event({ content: '', model: 'up', stop: true, ...members });

function open(members: Partial<ChatRequest> = {}): { answer: UpstreamAnswer; events: TokenEvent[] } {
  const events: TokenEvent[] = [];
  return { events, answer: infillAnswer(optionsWith(events, requestWith({ prompt, ...members }))) };
}

function play(stream: Buffer, members?: Partial<ChatRequest>, size = stream.length): TokenEvent[] {
  const { answer, events } = open(members);
  const reader = new EventStreamReader({
    onEvent: (data) => answer.data(data),
    maxEventBytes: MAX_EVENT_BYTES,
  });
  reader.push(stream.subarray(0, size));
  reader.push(stream.subarray(size));
  reader.end();
  answer.end();
  return events;
}

const CASES: readonly (readonly [
  name: string,
  stream: string,
  choice: ReadChoice,
  usage?: Usage,
  request?: Partial<ChatRequest>,
])[] = [
  [
    'an end by itself',
    piece('a, ') +
      piece('Ü') +
      last({ stop_type: 'eos', tokens_evaluated: 8, tokens_predicted: 2, timings: { cache_n: 3 } }),
    choiceWith({ text: 'a, Ü' }),
    { promptTokens: 8, cachedTokens: 3, completionTokens: 2 },
  ],
  ['the limit', piece('a') + last({ stop_type: 'limit' }), choiceWith({ text: 'a', reason: 'length' })],
  [
    'the limit, as older versions say it',
    piece('a') + last({ stopped_limit: true, stopped_eos: false }),
    choiceWith({ text: 'a', reason: 'length' }),
  ],
  ['words in the last piece', last({ content: 'all', stop_type: 'word' }), choiceWith({ text: 'all' })],
  ['nothing to fill in', last({ stop_type: 'eos' }), choiceWith({})],
  [
    'a stop string in pieces',
    piece('a E') + piece('ND b') + last({ stop_type: 'eos' }),
    choiceWith({ text: 'a ' }),
    { completionTokens: 1 },
    { stop: ['END'] },
  ],
];

test('the stop string that its server names is told', () => {
  const bytes = Buffer.from(piece('a ') + last({ stop_type: 'word', stopping_word: 'END' }));
  assert.deepEqual(play(bytes, { stop: ['END'] }).at(-2), {
    type: 'choice-end',
    choice: 0,
    reason: 'stop',
    stop: 'END',
  });
});

for (const [name, stream, choice, usage = {}, request] of CASES) {
  test(`${name}: at every cut`, () => {
    const bytes = Buffer.from(stream);
    const events = play(bytes, request);
    assert.deepEqual(readChoices(events), [choice]);
    assert.deepEqual(JSON.parse(JSON.stringify(events.at(-1))), { type: 'finish', usage });
    for (let cut = 0; cut <= bytes.length; cut += 1)
      assert.deepEqual(play(bytes, request, cut), events, `at ${cut}`);
  });
}

for (const [name, stream, message] of [
  ['a cut', piece('a'), 'The back end ended its answer in the middle.'],
  ['nothing', '', 'The back end sent an answer with nothing in it.'],
  ['no JSON', 'data: oh\n\n', 'The back end sent something that is no JSON.'],
] as const) {
  test(`${name} is a failure`, () => {
    assert.equal(failureOf(() => play(Buffer.from(stream))).message, message);
  });
}

test('an error in the stream is told with its status', () => {
  const failed = failureOf(() =>
    play(Buffer.from(piece('a') + event({ error: { code: 501, message: 'no' } }))),
  );
  assert.ok(failed instanceof ToldError);
  assert.equal(failed.toldStatus, 501);
});

test('a whole answer is its last piece', () => {
  const { answer, events } = open();
  answer.whole('{"content":"a","stop":true,"stop_type":"eos","model":"up","tokens_predicted":1}');
  assert.equal(answer.isOver, true);
  assert.deepEqual(readChoices(events), [choiceWith({ text: 'a' })]);
  assert.deepEqual(events[0], { type: 'start', speaker: 'up' });
  for (const body of ['', '{}']) failureOf(() => open().answer.whole(body));
});
