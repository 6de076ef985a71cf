// Streams of OpenAI's dialects as many servers write them, each at every cut of its bytes: what came of them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { ChatRequest, Usage } from '../../core/chat.ts';
import { choiceWith as one, type ReadChoice, readChoices } from './answer-testing.ts';
import {
  CALL,
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
import type { Traits } from './vendors.ts';

interface Case extends How {
  readonly name: string;
  readonly stream: string;
  readonly choices: readonly ReadChoice[];
  readonly usage?: Usage;
}

const tags: Partial<Traits> = { thinkTags: true };
const r1: Partial<Traits> = { thinkTags: true, beginsInReasoning: true };
const json: Partial<ChatRequest> = { responseFormat: { kind: 'json', original: {} } };

const CASES: readonly Case[] = [
  {
    name: 'characters of every length',
    stream:
      delta({ role: 'assistant', content: '' }) + text('北京今天') + text('多云 🌍') + ended('stop') + DONE,
    choices: [one({ text: '北京今天多云 🌍' })],
  },
  {
    name: 'CR and LF, no space, the usage apart',
    stream: (
      text('Hello') +
      text(' world') +
      ended('stop') +
      event({ ...head, choices: [], usage: usage(3, 2) }) +
      DONE
    )
      .replaceAll('data: ', 'data:')
      .replaceAll('\n', '\r\n'),
    choices: [one({ text: 'Hello world' })],
    usage: { promptTokens: 3, completionTokens: 2 },
  },
  {
    name: 'events that are not ours',
    stream: `: PROCESSING\n\nretry: 3000\n\ndata:\n\nevent: ping\ndata: {"type":"ping"}\n\nevent: ping\ndata: pong\n\n${text('ok')}${event({ ...head, choices: [], prompt_filter_results: [] })}data: 7\n\ndata:  \n\n${ended('stop')}${DONE}`,
    choices: [one({ text: 'ok' })],
  },
  {
    name: 'an event of several lines',
    stream: `data: ${JSON.stringify({ ...head, choices: [{ index: 0, delta: { content: 'two lines' } }] }, null, 1).replaceAll('\n', '\ndata: ')}\n\n${ended('stop')}${DONE}`,
    choices: [one({ text: 'two lines' })],
  },
  {
    name: 'done without a finish reason',
    stream: text('Hel') + text('lo') + DONE,
    choices: [one({ text: 'Hello' })],
  },
  {
    name: 'a finish reason without done',
    stream: text('Hello') + ended('stop'),
    choices: [one({ text: 'Hello' })],
  },
  {
    name: 'the finish reason beside the last text, and no last line end',
    stream: (text('Hel') + choice({ delta: { content: 'lo' }, finish_reason: 'length' })).trimEnd(),
    choices: [one({ text: 'Hello', reason: 'length' })],
  },
  {
    name: 'what is cut behind the end was not needed',
    stream: `${text('Hello')}${ended('stop')}data: {"choices":[],"usage":{"pro`,
    choices: [one({ text: 'Hello' })],
  },
  {
    name: 'an empty answer that ended',
    stream: delta({ role: 'assistant' }) + ended('stop') + DONE,
    choices: [one({})],
  },
  {
    name: 'text behind the finish reason is not lost',
    stream: text('a') + ended('stop') + text('b') + DONE,
    choices: [one({ text: 'ab' })],
  },
  {
    name: 'stop and then what really ended it',
    stream: text('a') + ended('stop') + ended('length') + ended('stop') + DONE,
    choices: [one({ text: 'a', reason: 'length' })],
  },
  {
    name: 'the last total wins',
    stream:
      choice({ delta: { content: 'a' } }).replace(
        '"choices"',
        `"usage":${JSON.stringify(usage(20, 1))},"choices"`,
      ) +
      choice({ delta: { content: 'b' }, finish_reason: 'stop' }) +
      event({
        ...head,
        choices: [],
        usage: {
          ...usage(20, 3),
          prompt_tokens_details: { cached_tokens: 16 },
          completion_tokens_details: { reasoning_tokens: 1 },
        },
      }) +
      event({ ...head, choices: [], usage: null }) +
      DONE,
    choices: [one({ text: 'ab' })],
    usage: { promptTokens: 20, completionTokens: 3, cachedTokens: 16, reasoningTokens: 1 },
  },
  {
    name: 'usage beside the finish reason, with a cache as DeepSeek tells it',
    stream:
      text('a') +
      choice({
        delta: {},
        finish_reason: 'stop',
        usage: { ...usage(13, 1), prompt_cache_hit_tokens: 8, completion_tokens: 'many' },
      }) +
      DONE,
    choices: [one({ text: 'a' })],
    usage: { promptTokens: 13, cachedTokens: 8 },
  },
  {
    name: 'reasoning in one field or in both, nulls beside it',
    stream:
      delta({ role: 'assistant', content: null, reasoning_content: '' }) +
      delta({ content: null, reasoning_content: 'a' }) +
      delta({ reasoning: 'b' }) +
      delta({ reasoning_content: 'c', reasoning: 'c' }) +
      delta({ content: 'yes', reasoning_content: null }) +
      ended('stop') +
      DONE,
    choices: [one({ reasoning: 'abc', text: 'yes' })],
  },
  {
    name: 'text beside reasoning that was told apart is not searched for tags',
    traits: r1,
    stream:
      delta({ reasoning_content: 'hm', content: '<think>a' }) + text('</think>b') + ended('stop') + DONE,
    choices: [one({ reasoning: 'hm', text: '<think>a</think>b' })],
  },
  {
    name: 'think tags in pieces',
    traits: tags,
    stream:
      ['<thi', 'nk>reason', 'ing</th', 'ink>ans', 'wer <', 'b>'].map((piece) => text(piece)).join('') +
      ended('stop') +
      DONE,
    choices: [one({ reasoning: 'reasoning', text: 'answer <b>' })],
  },
  {
    name: 'think tags are text where they are not to be looked for',
    stream: text('<think>a</think>b') + DONE,
    choices: [one({ text: '<think>a</think>b' })],
  },
  {
    name: 'what may become a tag is given out at the end',
    traits: tags,
    stream: text('<thi') + ended('stop') + DONE,
    choices: [one({ text: '<thi' })],
  },
  {
    name: 'a prompt that ends inside a thought',
    traits: r1,
    stream: text('hm</think>') + text('\n\nYes') + ended('stop') + DONE,
    choices: [one({ reasoning: 'hm', text: 'Yes' })],
  },
  ...[
    { enable_thinking: false },
    { thinking: { type: 'disabled' } },
    { chat_template_kwargs: { enable_thinking: false } },
    { chat_template_kwargs: { thinking: false } },
  ].map((extra) => ({
    name: `thinking switched off by ${JSON.stringify(extra)}`,
    traits: r1,
    request: { extra },
    stream: text('No') + text(' thought') + ended('stop') + DONE,
    choices: [one({ text: 'No thought' })],
  })),
  {
    name: 'a form that left no room for thinking',
    traits: r1,
    request: json,
    stream: text('\n') + text('{"a":1}') + ended('stop') + DONE,
    choices: [one({ text: '\n{"a":1}' })],
  },
  {
    name: 'a form that came after the thinking',
    traits: r1,
    request: json,
    stream: text('\n') + text('hm</think>{"a":1}') + ended('stop') + DONE,
    choices: [one({ reasoning: 'hm', text: '{"a":1}' })],
  },
  {
    name: 'a text prompt that ends inside a thought, and one that does not',
    traits: r1,
    request: { prompt: { kind: 'text', text: '<think>\n' } },
    stream: text('hm</think>b') + ended('stop') + DONE,
    choices: [one({ reasoning: 'hm', text: 'b' })],
  },
  {
    name: 'a text prompt without a thought',
    traits: r1,
    request: { prompt: { kind: 'text', text: 'Once' } },
    stream: text(' upon') + ended('stop') + DONE,
    choices: [one({ text: ' upon' })],
  },
  {
    name: 'content in parts',
    stream:
      delta({ content: [{ type: 'thinking', thinking: [{ type: 'text', text: 'hm' }] }] }) +
      delta({ content: [{ type: 'thinking', thinking: '!' }, { type: 'text', text: 'a' }, 7] }) +
      ended('stop'),
    choices: [one({ reasoning: 'hm!', text: 'a' })],
  },
  {
    name: 'a refusal is text',
    stream: delta({ refusal: 'No.' }) + ended('stop'),
    choices: [one({ text: 'No.' })],
  },
  {
    name: 'calls in pieces, one index for two',
    stream:
      delta({ tool_calls: [{ ...CALL, function: { name: 'f', arguments: '' } }], content: '' }) +
      delta({ tool_calls: [{ index: 0, function: { arguments: '{"p"' } }] }) +
      delta({ tool_calls: [{ index: 0, function: { arguments: ':1}' } }] }) +
      delta({
        tool_calls: [
          { ...CALL, id: 'call_b', function: { name: 'g', arguments: '{"id":2512292042121000001}' } },
        ],
      }) +
      ended('tool_calls') +
      DONE,
    choices: [
      one({
        calls: [
          { id: 'call_a', name: 'f', arguments: '{"p":1}' },
          { id: 'call_b', name: 'g', arguments: '{"id":2512292042121000001}' },
        ],
        reason: 'tool_calls',
      }),
    ],
  },
  {
    name: 'arguments as an object keep their digits, an id is made up, stop becomes tool_calls',
    stream:
      delta({
        tool_calls: [{ index: 0, function: { name: 'get', arguments: { city: 'Paris', n: 'BIG' } } }],
      }).replace('"BIG"', '2512292042121000001') +
      ended('stop') +
      DONE,
    choices: [
      one({
        calls: [{ id: 'made-1', name: 'get', arguments: '{"city":"Paris","n":2512292042121000001}' }],
        reason: 'tool_calls',
      }),
    ],
  },
  {
    name: 'tool_calls and then stop',
    stream: text('Let me look.') + delta({ tool_calls: [CALL] }) + ended('tool_calls') + ended('stop') + DONE,
    choices: [
      one({
        text: 'Let me look.',
        calls: [{ id: 'call_a', name: 'f', arguments: '{"p":1}' }],
        reason: 'tool_calls',
      }),
    ],
  },
  {
    name: 'a call that was cut by the limit stays as far as it came',
    stream: delta({ tool_calls: [{ ...CALL, function: { name: 'f' } }] }) + ended('length') + DONE,
    choices: [one({ calls: [{ id: 'call_a', name: 'f', arguments: '' }], reason: 'length' })],
  },
  {
    name: 'a call without arguments has none, as JSON',
    stream: delta({ tool_calls: [{ ...CALL, function: { name: 'f', arguments: null } }] }) + DONE,
    choices: [one({ calls: [{ id: 'call_a', name: 'f', arguments: '{}' }], reason: 'tool_calls' })],
  },
  {
    name: 'tool_calls without a call is stop',
    stream: delta({ content: 'a', tool_calls: [] }) + ended('tool_calls') + DONE,
    choices: [one({ text: 'a' })],
  },
  {
    name: 'a call as it was before there were several',
    stream:
      delta({ function_call: { name: 'f', arguments: '{' } }) +
      delta({ function_call: { arguments: '}' } }) +
      ended('function_call') +
      DONE,
    choices: [one({ calls: [{ id: 'made-1', name: 'f', arguments: '{}' }], reason: 'tool_calls' })],
  },
  {
    name: 'calls that the server left in the text, behind thinking that mentions one',
    traits: { ...tags, toolMarkup: 'qwen' },
    request: { tools: [TOOL] },
    stream:
      [
        '<think>use <tool_call> the',
        ' tool</think>\n\n<tool',
        '_call>\n{"name": "f", "argu',
        'ments": {"city": "Paris"}}\n</tool_call>',
      ]
        .map((piece) => text(piece))
        .join('') +
      ended('stop') +
      DONE,
    choices: [
      one({
        reasoning: 'use <tool_call> the tool',
        calls: [{ id: 'made-1', name: 'f', arguments: '{"city": "Paris"}' }],
        reason: 'tool_calls',
      }),
    ],
  },
  {
    name: 'call markup is text where no tool was offered',
    traits: { toolMarkup: 'qwen' },
    stream: text('<tool_call>{}') + ended('stop'),
    choices: [one({ text: '<tool_call>{}' })],
  },
  {
    name: 'a stop string in pieces, and all behind it',
    request: { stop: ['\nUser:'] },
    stream:
      ['See\nUs', 'age.', '\nUs', 'er', ':', ' secret'].map((piece) => text(piece)).join('') +
      ended('length') +
      DONE,
    choices: [one({ text: 'See\nUsage.' })],
  },
  {
    name: 'what may become a stop string is given out at the end',
    request: { stop: ['END'] },
    stream: text('a EN') + ended('length') + DONE,
    choices: [one({ text: 'a EN', reason: 'length' })],
  },
  {
    name: 'choices that alternate',
    request: { choices: 2 },
    stream:
      delta({ role: 'assistant', content: 'AAA' }) +
      text('BBB', 1) +
      text(' aaa') +
      ended('stop') +
      text(' bbb', 1) +
      ended('length', 1) +
      event({ ...head, choices: [], usage: usage(3, 4) }) +
      DONE,
    choices: [one({ text: 'AAA aaa' }), one({ text: 'BBB bbb', reason: 'length' })],
    usage: { promptTokens: 3, completionTokens: 4 },
  },
  {
    name: 'a choice that met a stop string says nothing more, while another goes on',
    request: { choices: 2, stop: ['END'] },
    stream:
      text('aEND') +
      text('b', 1) +
      text('c') +
      delta({ reasoning_content: 'd', tool_calls: [CALL] }) +
      ended('abort') +
      ended('length', 1) +
      DONE,
    choices: [one({ text: 'a' }), one({ text: 'b', reason: 'length' })],
  },
  {
    name: 'text completions',
    stream:
      event({ ...head, choices: [{ index: 0, text: 'a', logprobs: null, finish_reason: null }] }) +
      event({ ...head, choices: [{ index: 0, text: '', reasoning_content: 'r' }] }) +
      event({ ...head, choices: [{ text: 'b', finish_reason: 'length' }] }) +
      DONE,
    choices: [one({ text: 'ab', reasoning: 'r', reason: 'length' })],
  },
  {
    name: 'the whole message once more at the end, and the whole message in one event',
    stream:
      text('a') + choice({ message: { role: 'assistant', content: 'a' }, finish_reason: 'stop' }) + DONE,
    choices: [one({ text: 'a' })],
  },
  {
    name: 'the whole message in one event',
    stream:
      choice({
        message: { content: 'a', tool_calls: [{ ...CALL, index: undefined }] },
        finish_reason: 'stop',
      }) + DONE,
    choices: [
      one({ text: 'a', calls: [{ id: 'call_a', name: 'f', arguments: '{"p":1}' }], reason: 'tool_calls' }),
    ],
  },
  {
    name: 'an emoji that a server cut in two',
    stream: text('a\ud83c') + text('\udf0db\ud83c') + ended('stop') + DONE,
    choices: [one({ text: 'a🌍b\ufffd' })],
  },
];

for (const { name, stream, choices, usage: counted = {}, ...how } of CASES) {
  test(`${name}: at every cut`, () => {
    const bytes = Buffer.from(stream);
    const events = play(bytes, how);
    assert.deepEqual(readChoices(events), choices);
    const last = events.at(-1)!;
    assert.equal(last.type, 'finish');
    assert.deepEqual(JSON.parse(JSON.stringify(last)), { type: 'finish', usage: counted });
    assert.deepEqual(play(bytes, how, 0, 1), events, 'byte by byte');
    for (let cut = 0; cut <= bytes.length; cut += 1)
      assert.deepEqual(play(bytes, how, cut), events, `at ${cut}`);
  });
}

test('who speaks: the server says, or it is as we call it; once', () => {
  const [named] = play(Buffer.from(text('a') + DONE));
  assert.deepEqual(named, { type: 'start', speaker: 'up' });
  const [unnamed] = play(Buffer.from(event({ model: '', choices: [{ delta: { content: 'a' } }] }) + DONE));
  assert.deepEqual(unnamed, { type: 'start', speaker: 'speaker' });
});

test('probabilities: what is no number is a floor, strings that hold such words stay, thinking has none', () => {
  const stream =
    delta({ reasoning_content: 'hm' }).replace(
      '"finish_reason"',
      '"logprobs":{"content":[{"token":"hm","logprob":-1}]},"finish_reason"',
    ) +
    `data: {"model":"up","choices":[{"index":0,"delta":{"content":"yes"},"logprobs":{"content":[{"token":"yes","logprob":-0.1,"bytes":[121,101,115],"top_logprobs":[{"token":"-Infinity","logprob":-Infinity,"bytes":null}]}]}}]}\n\n` +
    ended('stop');
  const asked = play(Buffer.from(stream), { request: { logprobs: 2 } });
  assert.deepEqual(asked.slice(1, 3), [
    { type: 'reasoning-delta', choice: 0, text: 'hm' },
    {
      type: 'text-delta',
      choice: 0,
      text: 'yes',
      logprobs: [{ token: 'yes', logprob: -0.1, offset: 0, top: [{ token: '-Infinity', logprob: -9999 }] }],
    },
  ]);
  const unasked = play(Buffer.from(stream));
  assert.deepEqual(unasked[2], { type: 'text-delta', choice: 0, text: 'yes' });
});

test('probabilities of a token that a stop string swallowed are not told', () => {
  const likely = (content: string) =>
    choice({ delta: { content }, logprobs: { content: [{ token: content, logprob: -1 }] } });
  const stream = ['a', ' E', 'N', 'x', 'END'].map(likely).join('') + ended('stop') + DONE;
  const events = play(Buffer.from(stream), { request: { logprobs: 0, stop: ['END'] } });
  const told = events.flatMap((one) =>
    one.type === 'text-delta' ? [[one.text, one.logprobs?.map(({ token, offset }) => [token, offset])]] : [],
  );
  assert.deepEqual(told, [
    ['a', [['a', 0]]],
    [' ', [[' E', 1]]],
    [
      'ENx',
      [
        ['N', 3],
        ['x', 4],
      ],
    ],
  ]);
});

test('probabilities beside thinking and text in one event cannot be told apart', () => {
  const logprobs = {
    content: [
      { token: 'hm', logprob: -1 },
      { token: 'a', logprob: -1 },
    ],
  };
  const stream = choice({ delta: { reasoning_content: 'hm', content: 'a' }, logprobs }) + ended('stop');
  const events = play(Buffer.from(stream), { request: { logprobs: 0 } });
  assert.deepEqual(events[2], { type: 'text-delta', choice: 0, text: 'a' });
});

const before = (members: { text?: string; reasoning?: string }): Partial<ChatRequest> => ({
  continueFrom: {
    speaker: undefined,
    choices: [{ text: '', reasoning: '', toolCalls: [], reason: undefined, ...members }],
    usage: undefined,
  },
});

const CONTINUED: readonly (readonly [
  name: string,
  stream: string,
  choices: readonly ReadChoice[],
  how: How,
])[] = [
  [
    'a stop string over the cut',
    text('er: secret'),
    [one({})],
    { request: { ...before({ text: 'See.\nUs' }), stop: ['\nUser:'] } },
  ],
  [
    'what was no stop string',
    text('age') + DONE,
    [one({ text: 'age' })],
    { request: { ...before({ text: 'See.\nUs' }), stop: ['\nUser:'] } },
  ],
  [
    'in the answer no tags are looked for',
    text(' <think>') + DONE,
    [one({ text: ' <think>' })],
    { traits: r1, request: before({ text: 'Use', reasoning: 'hm' }) },
  ],
  [
    'in a thought its white space counts',
    text(' so</think>\n\nYes') + DONE,
    [one({ reasoning: ' so', text: 'Yes' })],
    { traits: tags, request: before({ reasoning: 'I think' }) },
  ],
  [
    'a splicer stands before the stop strings',
    text('See\n') + text('\nUs') + DONE,
    [one({ text: 'Us!' })],
    {
      request: { ...before({ text: 'See\n' }), stop: ['\n\n'] },
      more: { splicer: { push: (piece) => piece.replace('See', '').replaceAll('\n', ''), end: () => '!' } },
    },
  ],
];

for (const [name, stream, choices, how] of CONTINUED) {
  test(`an answer that goes on: ${name}`, () =>
    assert.deepEqual(readChoices(play(Buffer.from(stream), how)), choices));
}

test('any text with tags, calls and stop strings comes to the same, however its server cut it', () => {
  const words = fc.constantFrom(
    ...[
      '<think>',
      '</think>',
      '<tool_call>',
      '</tool_call>',
      '{"name": "f", "arguments": {"a": "}"}}',
      '<',
      '</t',
    ],
    ...['END', 'EN', ' ', '\n', 'a', '😀', '{', '"'],
  );
  const how: How = { traits: { ...r1, toolMarkup: 'qwen' }, request: { tools: [TOOL], stop: ['END', 'aa'] } };
  const run = (pieces: readonly string[]) => {
    const { answer, events } = open(how);
    for (const content of ['', ...pieces]) answer.data(JSON.stringify({ choices: [{ delta: { content } }] }));
    answer.data(JSON.stringify({ choices: [{ delta: {}, finish_reason: 'stop' }] }));
    answer.end();
    return readChoices(events);
  };
  fc.assert(
    fc.property(fc.array(words, { maxLength: 14 }), fc.array(fc.nat(6), { minLength: 1 }), (all, sizes) => {
      const content = all.join('');
      const pieces: string[] = [];
      for (let at = 0, turn = 0; at < content.length; turn += 1) {
        const size = Math.max(1, sizes[turn % sizes.length]!);
        pieces.push(content.slice(at, at + size));
        at += size;
      }
      assert.deepEqual(run(pieces), run([content]));
    }),
    { numRuns: 2_000 },
  );
});
