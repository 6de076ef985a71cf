// When an answer of OpenAI's dialects is whole, when it was cut, and when it is an error; answers that come in one piece.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TokenEvent } from '../../core/chat.ts';
import { failureOf, choiceWith as one, type ReadChoice, readChoices, ToldError } from './answer-testing.ts';
import {
  choice,
  DONE,
  delta,
  ended,
  event,
  type How,
  head,
  open,
  play,
  TOOL,
  text,
  usage,
} from './openai-testing.ts';

const CUT = 'The back end ended its answer in the middle.';
const NOTHING = 'The back end sent an answer with nothing in it.';
const NO_JSON = 'The back end sent something that is no JSON.';
const BROKEN = 'The back end broke off its answer.';

const FAILURES: readonly (readonly [
  name: string,
  stream: string,
  message: string,
  text: string,
  how?: How,
])[] = [
  ['a cut', text('The answer') + text(' is'), CUT, 'The answer is'],
  ['a cut in the middle of an event', `${text('The')}data: {"choices":[{"del`, NO_JSON, 'The'],
  ['a cut before anything', '', NOTHING, ''],
  ['only comments', ': hi\n\n: hi\n\n', NOTHING, ''],
  ['done and nothing else', DONE, NOTHING, ''],
  ['a role and done', delta({ role: 'assistant', content: '' }) + DONE, NOTHING, ''],
  ['usage and done', event({ ...head, choices: [], usage: usage(3, 0) }) + DONE, NOTHING, ''],
  ['one of two ended', text('a') + text('b', 1) + ended('stop'), CUT, 'a', { request: { choices: 2 } }],
  ['the second never came', text('a') + ended('stop'), CUT, 'a', { request: { choices: 2 } }],
  [
    'half an event and a whole one on one line',
    `${text('A')}data: {"id":"c-1","object":"chat.com${text('B')}${text('C')}${ended('stop')}${DONE}`,
    NO_JSON,
    'A',
  ],
  ['a web page', 'data: <html>secret</html>\n\n', NO_JSON, ''],
  ['an end that is none', text('a') + ended('abort') + DONE, BROKEN, 'a'],
  ['an end for want of means', text('a') + ended('insufficient_system_resource') + DONE, BROKEN, 'a'],
  [
    'a choice that nobody asked for',
    text('a') + text('b', 1),
    'The back end sent an answer that nobody asked for.',
    'a',
  ],
  ['a choice of a mad number', text('b', 1e9), 'The back end sent an answer that nobody asked for.', ''],
  [
    'depth',
    `data: {"choices":[{"delta":{"x":${'['.repeat(10_000)}${']'.repeat(10_000)}}}]}\n\n`,
    'The back end sent JSON that is nested too deep, or holds a number out of range.',
    '',
  ],
  [
    'depth in arguments',
    `data: {"choices":[{"delta":{"tool_calls":[{"function":{"name":"f","arguments":${'['.repeat(500)}${']'.repeat(500)}}}]}}]}\n\n`,
    'The back end sent JSON that is nested too deep, or holds a number out of range.',
    '',
  ],
];

for (const [name, stream, message, shown, how] of FAILURES) {
  test(`${name}: a failure, and what came before it was given out`, () => {
    const events: TokenEvent[] = [];
    const sink = (one: TokenEvent) => events.push(one);
    const failed = failureOf(() => play(Buffer.from(stream), { ...how, more: { sink } }));
    assert.equal(failed.message, message);
    const given = events.flatMap((one) => (one.type === 'text-delta' && one.choice === 0 ? [one.text] : []));
    assert.equal(given.join(''), shown);
    assert.ok(!events.some(({ type }) => type === 'choice-end' || type === 'finish'));
  });
}

test('an answer without a bound is refused', () => {
  const { answer } = open();
  const data = JSON.stringify({ choices: [{ delta: { content: 'x'.repeat(1024 * 1024) } }] });
  const failed = failureOf(() => {
    for (let count = 0; count < 40; count += 1) answer.data(data);
  });
  assert.equal(failed.message, 'The back end sent more than any answer can have.');
});

const ERRORS: readonly (readonly [name: string, stream: string, status: number])[] = [
  ['a number', 'event: error\ndata: {"error":{"message":"bad","type":"x","code":400}}\n\n', 400],
  ['no name', event({ error: { message: 'busy', code: 429 } }), 429],
  ['a number as text', event({ error: { message: 'busy', code: '503' } }), 503],
  ['a number that is no status', event({ error: { message: 'x', code: 20015 } }), 500],
  ['a kind', event({ error: { message: 'x', type: 'invalid_request_error', code: 'x' } }), 400],
  ['a word', event({ error: { message: 'x', code: 'rate_limit_exceeded' } }), 429],
  ['a text', event({ error: 'it broke' }), 500],
  ['the event itself', event({ object: 'error', message: 'x', type: 'BadRequestError', code: 400 }), 400],
  ['beside choices', event({ ...head, choices: [], error: { message: 'x', status: 504 } }), 504],
  ['only a name', 'event: error\ndata: it broke\n\n', 500],
  ['a word that every object knows', event({ error: { type: 'toString', code: '__proto__' } }), 500],
];

for (const [name, stream, status] of ERRORS) {
  test(`an error in the stream, its status told by ${name}`, () => {
    const failed = failureOf(() => play(Buffer.from(text('a') + stream + DONE)));
    assert.ok(failed instanceof ToldError);
    assert.equal(failed.toldStatus, status);
    assert.ok(stream.includes(failed.body));
  });
}

test('null is no error', () => {
  const stream = event({
    ...head,
    error: null,
    choices: [{ delta: { content: 'a' }, finish_reason: 'stop' }],
  });
  assert.deepEqual(readChoices(play(Buffer.from(stream))), [one({ text: 'a' })]);
});

const whole = (choices: unknown, more: object = {}): string =>
  JSON.stringify({ id: 'c-1', object: 'chat.completion', created: 1, model: 'up', choices, ...more });

const WHOLE: readonly (readonly [name: string, body: string, choices: readonly ReadChoice[], how?: How])[] = [
  [
    'a late one',
    `\n\n\n${whole([{ index: 0, message: { role: 'assistant', content: 'late' }, finish_reason: 'stop' }])}\n`,
    [one({ text: 'late' })],
  ],
  ['no reason', whole([{ message: { content: 'a' } }]), [one({ text: 'a' })]],
  ['nothing said', whole([{ message: { content: '' }, finish_reason: 'stop' }]), [one({})]],
  [
    'thinking, calls and their digits',
    whole([
      {
        message: {
          content: null,
          reasoning: 'hm',
          tool_calls: [
            { type: 'function', function: { name: 'f', arguments: '{}' } },
            { type: 'function', function: { name: 'f', arguments: { id: 'BIG' } } },
            { id: 'x', function: { name: 'g' } },
          ],
        },
        finish_reason: 'tool_calls',
      },
    ]).replace('"BIG"', '9007199254740993'),
    [
      one({
        reasoning: 'hm',
        calls: [
          { id: 'made-1', name: 'f', arguments: '{}' },
          { id: 'made-2', name: 'f', arguments: '{"id":9007199254740993}' },
          { id: 'x', name: 'g', arguments: '{}' },
        ],
        reason: 'tool_calls',
      }),
    ],
  ],
  [
    'choices without a number',
    whole([{ message: { content: 'a' } }, { message: { content: 'b' }, finish_reason: 'length' }]),
    [one({ text: 'a' }), one({ text: 'b', reason: 'length' })],
    { request: { choices: 2 } },
  ],
  [
    'a text completion, tags and a stop string',
    whole([{ index: 0, text: '<think>hm</think>a END b', finish_reason: 'length' }]),
    [one({ text: 'a ', reasoning: 'hm' })],
    { traits: { thinkTags: true }, request: { stop: ['END'] } },
  ],
];

for (const [name, body, choices, how] of WHOLE) {
  test(`a whole answer: ${name}`, () => {
    const { answer, events } = open(how);
    answer.whole(body);
    assert.equal(answer.isOver, true);
    answer.end();
    assert.deepEqual(readChoices(events), choices);
  });
}

for (const [name, body, message] of [
  ['blank', '\n\n \n', NOTHING],
  ['no choices', whole([]), NOTHING],
  ['no choices at all', '{}', NOTHING],
  ['a choice with nothing in it', whole([{ message: { content: null } }]), NOTHING],
  ['a list', '[]', NOTHING],
  ['a web page', '<html></html>', NO_JSON],
  ['cut', whole([{ message: { content: 'a' } }]).slice(0, -1), NO_JSON],
  ['an error', JSON.stringify({ error: { message: 'x', code: 500 } }), 'The back end told an error.'],
] as const) {
  test(`a whole answer that is none: ${name}`, () => {
    const { answer, events } = open();
    assert.equal(failureOf(() => answer.whole(body)).message, message);
    assert.deepEqual(
      events.filter(({ type }) => type !== 'start'),
      [],
    );
  });
}

const STOPS: readonly (readonly [name: string, end: object, stop: string | undefined])[] = [
  ['as vLLM and Sluice tell it', { finish_reason: 'stop', stop_reason: 'END' }, 'END'],
  ['as SGLang tells it', { finish_reason: 'stop', matched_stop: 'END' }, 'END'],
  ["the number of the model's own end", { finish_reason: 'stop', stop_reason: 2 }, undefined],
  ['none', { finish_reason: 'stop', stop_reason: null }, undefined],
  ['one that nobody asked for', { finish_reason: 'stop', stop_reason: 'end_turn' }, undefined],
  ['another end', { finish_reason: 'length', stop_reason: 'END' }, undefined],
];

for (const [name, end, stop] of STOPS) {
  test(`the stop string at which the server ended: ${name}`, () => {
    const events = play(Buffer.from(text('a') + choice({ delta: {}, ...end }) + DONE), {
      request: { stop: ['STOP', 'END'] },
    });
    assert.deepEqual(
      events.flatMap((one) => (one.type === 'choice-end' ? [one.stop] : [])),
      [stop],
    );
  });
}

test('a stop string that the server has passed over is told as well', () => {
  const events = play(Buffer.from(text('a E') + text('ND b')), { request: { stop: ['STOP', 'END'] } });
  assert.deepEqual(events.at(-2), { type: 'choice-end', choice: 0, reason: 'stop', stop: 'END' });
});

test('so is one that began in what the client had before its back end was lost', () => {
  const begun = { text: 'a E', reasoning: '', toolCalls: [], reason: undefined };
  const continueFrom = { speaker: 'up', choices: [begun], usage: undefined };
  const events = play(Buffer.from(text('ND b')), { request: { stop: ['END'], continueFrom } });
  assert.deepEqual(events.at(-2), { type: 'choice-end', choice: 0, reason: 'stop', stop: 'END' });
});

test('numbers of a whole answer are counted', () => {
  const { answer, events } = open();
  answer.whole(whole([{ message: { content: 'a' }, finish_reason: 'stop' }], { usage: usage(5, 1) }));
  const last = events.at(-1)!;
  assert.ok(last.type === 'finish');
  assert.deepEqual(JSON.parse(JSON.stringify(last.usage)), { promptTokens: 5, completionTokens: 1 });
});

test('over: after done, and when a stop string ends the only choice, but not the first of two', () => {
  const { answer, events } = open({ request: { stop: ['END'] } });
  const data = (content: string, index = 0) =>
    JSON.stringify({ choices: [{ index, delta: { content } }], usage: usage(1, 2) });
  answer.data(data('a'));
  assert.deepEqual([answer.isOver, answer.isWhole], [false, false]);
  answer.data(data('b END c'));
  assert.deepEqual([answer.isOver, answer.isWhole], [true, true]);
  const before = events.length;
  answer.data(data('more'));
  answer.data('no JSON');
  answer.end();
  assert.equal(events.length, before);
  const last = events.at(-1)!;
  assert.equal(last.type === 'finish' && last.usage.completionTokens, 2);

  const two = open({ request: { stop: ['END'], choices: 2 } }).answer;
  two.data(data('END'));
  assert.equal(two.isOver, false);
  two.data(data('END', 1));
  assert.equal(two.isOver, true);

  const done = open().answer;
  done.data(data('a'));
  done.data('[DONE]');
  assert.equal(done.isOver, true);
});

test('whole, but not over, once every choice told its end: a reset then breaks nothing', () => {
  const { answer, events } = open();
  answer.data(JSON.stringify({ choices: [{ delta: { content: 'a' }, finish_reason: 'stop' }] }));
  assert.deepEqual([answer.isOver, answer.isWhole], [false, true]);
  answer.data(JSON.stringify({ choices: [], usage: usage(1, 1) }));
  answer.end();
  assert.equal(answer.isOver, true);
  assert.deepEqual(readChoices(events), [one({ text: 'a' })]);
});

test('an answer with a single call ends with it', () => {
  const { answer, events } = open({
    traits: { toolMarkup: 'qwen' },
    request: { tools: [TOOL], parallelToolCalls: false },
  });
  const call = '<tool_call>{"name":"f","arguments":{}}</tool_call>';
  answer.data(JSON.stringify({ choices: [{ delta: { content: `${call}${call}` } }] }));
  assert.equal(answer.isOver, true);
  assert.deepEqual(readChoices(events), [
    one({ calls: [{ id: 'made-1', name: 'f', arguments: '{}' }], reason: 'tool_calls' }),
  ]);
});
