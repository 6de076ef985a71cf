// What OpenAI's streaming dialects write, read back by a small reader of events: frames, order, ends, odd texts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { TokenEvent } from '../core/chat.ts';
import { GatewayError } from '../core/errors.ts';
import type { Dialect, ParsedRequest, Report, StreamCodec } from './dialect.ts';
import { chatCompletions } from './dialects/chat-completions.ts';
import { completions } from './dialects/completions.ts';

const META = { id: '7', created: 5, model: 'a "quoted"\\ \u2028model' };
const REPORT: Report = {
  backend: 'b',
  model: undefined,
  continued: 0,
  degraded: 'trimmed',
  stutters: 0,
  longest_gap_ms: 1,
  queue_ms: undefined,
  first_token_ms: 3,
};
/** Some clients split lines on all that Python's str.splitlines knows. */
const LINE_ENDS = ['\n', '\r', '\v', '\f', '\u001c', '\u001d', '\u001e', '\u0085', '\u2028', '\u2029'];
const USAGE = { promptTokens: 3, cachedTokens: 1, completionTokens: 2, reasoningTokens: 1 };
const USAGE_BODY = {
  prompt_tokens: 3,
  completion_tokens: 2,
  total_tokens: 5,
  completion_tokens_details: { reasoning_tokens: 1 },
  prompt_tokens_details: { cached_tokens: 1 },
  prompt_cache_hit_tokens: 1,
  prompt_cache_miss_tokens: 2,
};

function open(dialect: Dialect, includeUsage = false): StreamCodec {
  const request: ParsedRequest = { calls: [], parallel: 1, stream: true, includeUsage, ignored: [] };
  return dialect.stream(META, request);
}

/** As strict as the strictest client: `data: `, one line, a blank line, nothing else; `[DONE]` only at the very end. */
function readEvents(text: string, isWhole = true): Record<string, unknown>[] {
  const blocks = text.split('\n\n');
  assert.equal(blocks.pop(), '');
  if (isWhole) assert.equal(blocks.pop(), 'data: [DONE]');
  return blocks.map((block) => {
    assert.match(block, /^data: \{/);
    for (const end of LINE_ENDS) assert.ok(!block.includes(end), block);
    return JSON.parse(block.slice('data: '.length)) as Record<string, unknown>;
  });
}

function play(codec: StreamCodec, events: readonly TokenEvent[], report?: Report): string {
  return events.map((event) => codec.event(event)).join('') + codec.end(report);
}

const start: TokenEvent = { type: 'start', speaker: 's' };
const finish: TokenEvent = { type: 'finish', usage: USAGE };
const text = (value: string, choice = 0): TokenEvent => ({ type: 'text-delta', choice, text: value });
const reasoning = (value: string, choice = 0): TokenEvent => ({
  type: 'reasoning-delta',
  choice,
  text: value,
});
const ended = (choice = 0): TokenEvent => ({ type: 'choice-end', choice, reason: 'stop' });

const head = { id: 'chatcmpl-7', object: 'chat.completion.chunk', created: 5, model: META.model };
const chunk = (delta: object, finish_reason: string | null = null, index = 0) => ({
  ...head,
  choices: [{ index, delta, finish_reason }],
});
const opening = { role: 'assistant', content: '' };

test('a chat answer: role, reasoning, content, end, [DONE]', () => {
  const written = play(open(chatCompletions), [
    start,
    reasoning('r'),
    text('量子'),
    text('!'),
    ended(),
    finish,
  ]);
  assert.deepEqual(readEvents(written), [
    chunk(opening),
    chunk({ reasoning_content: 'r' }),
    chunk({ content: '量子' }),
    chunk({ content: '!' }),
    chunk({}, 'stop'),
  ]);
});

test('a stop string that is known is told beside the reason, as vLLM does', () => {
  const met: TokenEvent = { type: 'choice-end', choice: 0, reason: 'stop', stop: 'a "b"' };
  for (const dialect of [chatCompletions, completions]) {
    const [last] = readEvents(play(open(dialect), [start, text('a'), met, finish])).slice(-1);
    const [choice] = last!.choices as [{ finish_reason: string; stop_reason: string }];
    assert.deepEqual([choice.finish_reason, choice.stop_reason], ['stop', 'a "b"']);
  }
});

test('with include_usage: null on all chunks, then one chunk with no choice', () => {
  const written = play(open(chatCompletions, true), [start, text('a'), ended(), finish], REPORT);
  const events = readEvents(written);
  assert.deepEqual(
    events.slice(0, -1),
    [chunk(opening), chunk({ content: 'a' }), chunk({}, 'stop')].map((one) => ({ ...one, usage: null })),
  );
  assert.deepEqual(events.at(-1), {
    ...head,
    choices: [],
    usage: USAGE_BODY,
    sluice: JSON.parse(JSON.stringify(REPORT)),
  });
});

test('usage that is unknown is left out, not 0', () => {
  const unknown: TokenEvent = { type: 'finish', usage: { completionTokens: 4 } };
  const written = play(open(chatCompletions, true), [start, text('a'), ended(), unknown]);
  assert.deepEqual(readEvents(written).at(-1), { ...head, choices: [], usage: { completion_tokens: 4 } });
});

test('the report rides on the last chunk, which waits for it', () => {
  const codec = open(chatCompletions);
  assert.equal(codec.event(start) !== '', true);
  codec.event(text('a'));
  assert.equal(codec.event(ended()), '');
  assert.equal(codec.event(finish), '');
  const [last] = readEvents(codec.end(REPORT));
  assert.deepEqual(last, { ...chunk({}, 'stop'), sluice: JSON.parse(JSON.stringify(REPORT)) });
});

test('several choices: each opens when first heard of, ends once, and only the last end waits', () => {
  const written = play(open(chatCompletions), [
    start,
    text('a'),
    text('b', 2),
    ended(2),
    reasoning('c', 1),
    ended(1),
    ended(0),
    ended(3),
    finish,
  ]);
  assert.deepEqual(readEvents(written), [
    chunk(opening),
    chunk({ content: 'a' }),
    chunk(opening, null, 2),
    chunk({ content: 'b' }, null, 2),
    chunk(opening, null, 1),
    chunk({ reasoning_content: 'c' }, null, 1),
    chunk({}, 'stop', 2),
    chunk({}, 'stop', 1),
    chunk({}, 'stop', 0),
    chunk(opening, null, 3),
    chunk({}, 'stop', 3),
  ]);
});

test('tool calls: named once, then pieces of arguments as they came', () => {
  const piece = { type: 'tool-call-delta', choice: 0, index: 1 } as const;
  const written = play(open(chatCompletions), [
    start,
    { ...piece, id: 'call_1', name: 'f', arguments: '' },
    { ...piece, arguments: '{"id":2512292042121000001' },
    { type: 'choice-end', choice: 0, reason: 'tool_calls' },
    finish,
  ]);
  assert.deepEqual(readEvents(written), [
    chunk(opening),
    chunk({
      tool_calls: [{ index: 1, id: 'call_1', type: 'function', function: { name: 'f', arguments: '' } }],
    }),
    chunk({ tool_calls: [{ index: 1, function: { arguments: '{"id":2512292042121000001' } }] }),
    chunk({}, 'tool_calls'),
  ]);
});

test('text completions: texts, reasoning beside them, no chunk for what they cannot say', () => {
  const codec = open(completions, true);
  const written = play(codec, [
    start,
    text('a'),
    reasoning('r', 1),
    { type: 'tool-call-delta', choice: 1, index: 0, arguments: '{}' },
    ended(1),
    ended(0),
    finish,
  ]);
  const base = { id: 'cmpl-7', object: 'text_completion', created: 5, model: META.model };
  const one = (index: number, members: object, finish_reason: string | null = null) => ({
    ...base,
    choices: [{ index, ...members, logprobs: null, finish_reason }],
    usage: null,
  });
  assert.deepEqual(readEvents(written), [
    one(0, { text: 'a' }),
    one(1, { text: '', reasoning_content: 'r' }),
    one(1, { text: '' }, 'stop'),
    one(0, { text: '' }, 'stop'),
    { ...base, choices: [], usage: USAGE_BODY },
  ]);
});

for (const dialect of [chatCompletions, completions]) {
  test(`${dialect.name}: silence is a bare newline, an error one event without an end mark`, () => {
    const codec = open(dialect);
    assert.equal(codec.contentType, 'text/event-stream; charset=utf-8');
    assert.equal(codec.keepAlive(), '\n');
    const idle = readEvents(`${codec.idleEvent()}data: [DONE]\n\n`);
    assert.match(JSON.stringify(idle.at(-1)), /"finish_reason":null/);
    const cause = new Error('secret');
    const error = new GatewayError('backend_failed', 'It\nbroke.', { cause });
    const body = {
      error: { message: 'It\nbroke.', type: 'backend_error', code: 'backend_failed', param: null },
      code: 'backend_failed',
      message: 'It\nbroke.',
      data: null,
    };
    assert.deepEqual(readEvents(codec.error(error), false), [body]);
  });

  test(`${dialect.name}: any texts in any order come out as they went in`, () => {
    const odd = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: 'grapheme' }),
      fc.constantFrom('\u0085', '"', '\n\n'),
    );
    const event = fc.record({ isReasoning: fc.boolean(), choice: fc.nat(3), text: odd });
    fc.assert(
      fc.property(fc.array(event), fc.boolean(), fc.boolean(), (deltas, includeUsage, isReported) => {
        const choices = [...new Set(deltas.map(({ choice }) => choice))];
        const events = [
          start,
          ...deltas.map((one) => (one.isReasoning ? reasoning : text)(one.text, one.choice)),
          ...choices.map(ended),
          finish,
        ];
        const chunks = readEvents(play(open(dialect, includeUsage), events, isReported ? REPORT : undefined));
        if (includeUsage) assert.deepEqual(chunks.pop()!.choices, []);
        const read = chunks.map(({ choices }) => (choices as Record<string, unknown>[])[0]!);
        for (const choice of choices) {
          const expected = (wanted: boolean) =>
            deltas
              .filter((one) => one.choice === choice && one.isReasoning === wanted)
              .map((one) => one.text)
              .join('');
          const own = read.filter(({ index }) => index === choice);
          const members = own.map((one) => (one.delta ?? one) as Record<string, string | undefined>);
          assert.equal(members.map((one) => one.content ?? one.text ?? '').join(''), expected(false));
          assert.equal(members.map((one) => one.reasoning_content ?? '').join(''), expected(true));
          assert.deepEqual(
            own.map(({ finish_reason }) => finish_reason).filter((reason) => reason !== null),
            ['stop'],
          );
          assert.equal(own.at(-1)!.finish_reason, 'stop');
        }
      }),
    );
  });
}
