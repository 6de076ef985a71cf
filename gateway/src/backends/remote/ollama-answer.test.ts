// Answers of Ollama's own dialect, each at every cut of its bytes: what came of them, and what was a failure.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ChatRequest, TokenEvent, Usage } from '../../core/chat.ts';
import {
  failureOf,
  optionsWith,
  type ReadChoice,
  readChoices,
  requestWith,
  ToldError,
} from './answer-testing.ts';
import { LineReader } from './line-reader.ts';
import { ollamaAnswer } from './ollama-answer.ts';
import type { UpstreamAnswer } from './upstream-answer.ts';
import type { Traits } from './vendors.ts';

interface How {
  readonly request?: Partial<ChatRequest>;
  readonly traits?: Partial<Traits>;
}

const line = (members: object): string =>
  `${JSON.stringify({ model: 'q', created_at: 'now', ...members })}\n`;
const said = (message: object): string => line({ message: { role: 'assistant', ...message }, done: false });
const text = (content: string): string => said({ content });
const done = (members: object = {}): string =>
  line({ message: { role: 'assistant', content: '' }, done: true, done_reason: 'stop', ...members });

function open({ request, traits }: How = {}): { answer: UpstreamAnswer; events: TokenEvent[] } {
  const events: TokenEvent[] = [];
  return { events, answer: ollamaAnswer(optionsWith(events, requestWith(request), traits)) };
}

function play(stream: Buffer, how?: How, size = stream.length, next = stream.length): TokenEvent[] {
  const { answer, events } = open(how);
  const reader = new LineReader({ onLine: (one) => answer.data(one), maxLineBytes: 1_000_000 });
  reader.push(stream.subarray(0, size));
  for (let at = size; at < stream.length; at += next) reader.push(stream.subarray(at, at + next));
  reader.end();
  answer.end();
  return events;
}

const one = (members: Partial<ReadChoice>): ReadChoice => ({
  text: '',
  reasoning: '',
  calls: [],
  reason: 'stop',
  ...members,
});

const CALL = { function: { name: 'get', arguments: { city: 'Paris', n: 1 } } };

const CASES: readonly (readonly [
  name: string,
  stream: string,
  choice: ReadChoice,
  usage?: Usage,
  how?: How,
])[] = [
  [
    'no last line end',
    (text('Über') + text(' 水') + done({ prompt_eval_count: 5, eval_count: 4 })).trimEnd(),
    one({ text: 'Über 水' }),
    { promptTokens: 5, completionTokens: 4 },
  ],
  ['the limit', text('a') + done({ done_reason: 'length' }), one({ text: 'a', reason: 'length' })],
  ['no reason, as older versions', text('a') + done({ done_reason: undefined }), one({ text: 'a' })],
  ['no message in the last line', text('a') + line({ done: true }), one({ text: 'a' })],
  ['nothing said', done({ eval_count: 0 }), one({}), { completionTokens: 0 }],
  [
    'a gap that is filled',
    line({ response: 'a, ', done: false }) +
      line({ response: 'b', done: false }) +
      line({ response: '', done: true, done_reason: 'length', prompt_eval_count: 7, eval_count: 2 }),
    one({ text: 'a, b', reason: 'length' }),
    { promptTokens: 7, completionTokens: 2 },
  ],
  [
    'thinking',
    said({ content: '', thinking: 'hm' }) + text('a') + done(),
    one({ reasoning: 'hm', text: 'a' }),
  ],
  [
    'think tags in the text',
    text('<thi') + text('nk>hm</think>\n') + text('a') + done(),
    one({ reasoning: 'hm', text: 'a' }),
    {},
    { traits: { thinkTags: true } },
  ],
  [
    'calls that all have one number, and none',
    said({ content: '', tool_calls: [{ function: { ...CALL.function, index: 0 } }, CALL] }) +
      said({ tool_calls: [{ id: 'call_x', function: { name: 'put', index: 0 } }] }) +
      done(),
    one({
      calls: [
        { id: 'made-1', name: 'get', arguments: '{"city":"Paris","n":1}' },
        { id: 'made-2', name: 'get', arguments: '{"city":"Paris","n":1}' },
        { id: 'call_x', name: 'put', arguments: '{}' },
      ],
      reason: 'tool_calls',
    }),
  ],
  [
    'two calls of one name, without arguments',
    said({ tool_calls: [{ function: { name: 'f' } }, { function: { name: 'f' } }] }) + done(),
    one({
      calls: [
        { id: 'made-1', name: 'f', arguments: '{}' },
        { id: 'made-2', name: 'f', arguments: '{}' },
      ],
      reason: 'tool_calls',
    }),
  ],
  [
    'digits of arguments',
    said({ tool_calls: [{ function: { name: 'f', arguments: { id: 'BIG' } } }] }).replace(
      '"BIG"',
      '2512292042121000001',
    ) + done(),
    one({
      calls: [{ id: 'made-1', name: 'f', arguments: '{"id":2512292042121000001}' }],
      reason: 'tool_calls',
    }),
  ],
  [
    'a stop string in pieces',
    text('a E') + text('ND b') + done({ eval_count: 9 }),
    one({ text: 'a ' }),
    {},
    { request: { stop: ['END'] } },
  ],
];

for (const [name, stream, choice, usage = {}, how] of CASES) {
  test(`${name}: at every cut`, () => {
    const bytes = Buffer.from(stream);
    const events = play(bytes, how);
    assert.deepEqual(readChoices(events), [choice]);
    assert.deepEqual(events[0], { type: 'start', speaker: 'q' });
    assert.deepEqual(JSON.parse(JSON.stringify(events.at(-1))), { type: 'finish', usage });
    assert.deepEqual(play(bytes, how, 0, 1), events, 'byte by byte');
    for (let cut = 0; cut <= bytes.length; cut += 1)
      assert.deepEqual(play(bytes, how, cut), events, `at ${cut}`);
  });
}

for (const [name, stream, message] of [
  ['a cut', text('a'), 'The back end ended its answer in the middle.'],
  ['a cut line', text('a').slice(0, -4), 'The back end sent something that is no JSON.'],
  ['nothing', '', 'The back end sent an answer with nothing in it.'],
  ['a web page', '<html></html>', 'The back end sent something that is no JSON.'],
] as const) {
  test(`${name} is a failure`, () => {
    assert.equal(failureOf(() => play(Buffer.from(stream))).message, message);
  });
}

test('an error in a line, with a status or without', () => {
  const failed = failureOf(() => play(Buffer.from(`${text('a')}{"error":"it broke"}\n`)));
  assert.ok(failed instanceof ToldError);
  assert.deepEqual([failed.toldStatus, failed.body], [500, '{"error":"it broke"}']);
  const busy = failureOf(() => play(Buffer.from('{"error":"busy","status_code":503}')));
  assert.ok(busy instanceof ToldError);
  assert.equal(busy.toldStatus, 503);
});

test('a whole answer, and one that is none', () => {
  const { answer, events } = open();
  answer.whole(`\n${done({ message: { role: 'assistant', content: 'a', thinking: 'hm' }, eval_count: 2 })}`);
  assert.equal(answer.isOver, true);
  assert.deepEqual(readChoices(events), [one({ text: 'a', reasoning: 'hm' })]);
  for (const body of ['', ' \n', '{}', text('a')]) failureOf(() => open().answer.whole(body));
});

test('over with its last line: what follows does not matter', () => {
  const { answer, events } = open();
  answer.data(text('a'));
  assert.deepEqual([answer.isOver, answer.isWhole], [false, false]);
  answer.data(done());
  assert.deepEqual([answer.isOver, answer.isWhole], [true, true]);
  const count = events.length;
  answer.data('no JSON');
  answer.end();
  assert.equal(events.length, count);
});
