// The dialect of lines, read as its known client reads it: Python's str.splitlines, json.loads, choices[0].
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { TokenEvent } from '../../core/chat.ts';
import { GatewayError } from '../../core/errors.ts';
import { retoldIn } from '../field-names.ts';
import { generate, generateStream } from './generate.ts';

const META = { id: '7', created: 5, model: 'deep"seek/\u0085r1' };
const HEAD = { id: 'gen-7', object: 'text_completion', created: 5, model: META.model };
const REPORT = {
  backend: 'b',
  model: 's',
  continued: 0,
  degraded: 'trimmed',
  stutters: 0,
  longest_gap_ms: 1,
  queue_ms: 2,
  first_token_ms: 3,
};

interface Line {
  readonly choices?: readonly {
    readonly index: number;
    readonly text: string;
    readonly reasoning_content: string | null;
    readonly finish_reason: string | null;
  }[];
  readonly [member: string]: unknown;
}

/** Every end of a line that Python's str.splitlines knows. */
const LINE_ENDS = '\n\r\v\f\u001c\u001d\u001e\u0085\u2028\u2029';

/** str.splitlines, but that CR LF gives an empty line more: the caller skips those, as that client does. */
function pythonLines(text: string): string[] {
  const lines = [''];
  for (const character of text) {
    if (LINE_ENDS.includes(character)) lines.push('');
    else lines[lines.length - 1] += character;
  }
  return lines;
}

function readLines(text: string): Line[] {
  return pythonLines(text)
    .filter((line) => line !== '')
    .map((line) => {
      const value = JSON.parse(line) as Line;
      assert.equal(typeof value, 'object');
      if (value.choices) assert.ok(value.choices[0]);
      return value;
    });
}

const parse = (body: object, dialect = generateStream) => dialect.parse({ prompt: 'hi', ...body }, 'm');
const open = () => generateStream.stream(META, parse({}));
const play = (events: readonly TokenEvent[], report?: typeof REPORT) => {
  const codec = open();
  const writes = [...events.map((event) => codec.event(event)), codec.end(report)].filter(
    (write) => write !== '',
  );
  return writes;
};

for (const [name, body, param] of [
  ['no prompt', { prompt: null }, 'prompt'],
  ['messages for a prompt', { prompt: undefined, messages: [] }, 'prompt'],
  ['a number as a prompt', { prompt: 1 }, 'prompt'],
  ['no prompts', { prompt: [] }, 'prompt'],
  ['1025 prompts', { prompt: Array(1025).fill('x') }, 'prompt'],
  ['a number among prompts', { prompt: ['a', 1] }, 'prompt[1]'],
  ['a system_message that is no text', { system_message: 1 }, 'system_message'],
  ['batch_size 0', { batch_size: 0 }, 'batch_size'],
  ['batch_size 65', { batch_size: 65 }, 'batch_size'],
  ['response_format as a text', { response_format: 'json' }, 'response_format'],
] as const) {
  test(`${name} is refused by name`, () => {
    assert.throws(
      () => parse(body),
      (error) => error instanceof GatewayError && error.code === 'invalid_request' && error.param === param,
    );
  });
}

test('a body with messages is told where to go, a path without a model that it has none', () => {
  assert.throws(() => parse({ prompt: undefined, messages: [] }), /"prompt".*\/v1\/chat\/completions/);
  for (const model of [undefined, '', 'x'.repeat(257)]) {
    assert.throws(
      () => generate.parse({ prompt: 'x' }, model),
      (error) => error instanceof GatewayError && error.param === 'model',
    );
  }
});

test('the defaults of the two routes differ in one', () => {
  for (const [dialect, stream] of [
    [generate, false],
    [generateStream, true],
  ] as const) {
    const { calls, names, ...rest } = parse({}, dialect);
    assert.deepEqual(names?.origins, [{ field: 'prompt' }]);
    assert.deepEqual(rest, { parallel: 8, stream, includeUsage: true, ignored: [] });
    assert.equal(calls[0]!.model, 'm');
    assert.equal(calls[0]!.maxTokens, 2048);
    assert.equal(calls[0]!.sampling.temperature, 0.6);
    assert.deepEqual(calls[0]!.prompt, { kind: 'messages', messages: [{ role: 'user', content: 'hi' }] });
    assert.equal(parse({ stream: !stream }, dialect).stream, !stream);
  }
});

test('what back ends say of messages is said of the prompt and the system message', () => {
  const { names } = parse({ system_message: 'Be brief.' }, generate);
  const retold = (param: string) =>
    retoldIn(names, new GatewayError('invalid_request', 'No.', { param }), false).param;
  assert.deepEqual(['messages[0].content', 'messages[1]', 'messages', 'stop', 'tools[0]'].map(retold), [
    'system_message',
    'prompt',
    'prompt',
    'stop',
    undefined,
  ]);
});

test('prompts are a conversation each, after the system message', () => {
  const format = { type: 'json_object' };
  const request = parse({ prompt: ['a', 'b'], system_message: 's', batch_size: 64, response_format: format });
  assert.equal(request.parallel, 64);
  assert.deepEqual(
    request.calls.map(({ prompt }) => prompt.kind === 'messages' && prompt.messages),
    ['a', 'b'].map((content) => [
      { role: 'system', content: 's' },
      { role: 'user', content },
    ]),
  );
  assert.deepEqual(request.calls[1]!.responseFormat, { kind: 'json', original: format });
});

test('unknown fields are ignored by name, not passed on; nulls and the model are not named', () => {
  const { ignored, calls } = parse({
    model: 'other',
    top_n: 1,
    näme: 2,
    nothing: null,
    [`${'x'.repeat(63)}😀`]: 1,
  });
  assert.deepEqual(ignored, ['top_n', 'näme', `${'x'.repeat(63)}\ufffd`]);
  assert.deepEqual(calls[0]!.extra, {});
});

test('one write is one object and a newline; the last has end and usage', () => {
  const writes = play([
    { type: 'start', speaker: 's' },
    { type: 'reasoning-delta', choice: 0, text: 'r' },
    { type: 'text-delta', choice: 0, text: '量子' },
    { type: 'tool-call-delta', choice: 0, index: 0, arguments: '' },
    { type: 'choice-end', choice: 0, reason: 'length' },
    { type: 'finish', usage: { promptTokens: 2, completionTokens: 3 } },
  ]);
  for (const write of writes) assert.match(write, /^\{[^\n]*\}\n$/);
  const one = (text: string, reasoning_content: string | null, finish_reason: string | null) => ({
    ...HEAD,
    choices: [{ index: 0, text, reasoning_content, finish_reason }],
  });
  assert.deepEqual(readLines(writes.join('')), [
    one('', 'r', null),
    one('量子', null, null),
    { ...one('', null, 'length'), usage: { prompt_tokens: 2, completion_tokens: 3, total_tokens: 5 } },
  ]);
});

test('of several prompts each ends on its own line, the last with usage and report', () => {
  const lines = readLines(
    play(
      [
        { type: 'text-delta', choice: 1, text: 'b' },
        { type: 'choice-end', choice: 1, reason: 'stop' },
        { type: 'text-delta', choice: 0, text: 'a' },
        { type: 'choice-end', choice: 0, reason: 'tool_calls' },
        { type: 'finish', usage: {} },
      ],
      REPORT,
    ).join(''),
  );
  assert.deepEqual(
    lines.map(({ choices, usage, sluice }) => [
      choices![0]!.index,
      choices![0]!.finish_reason,
      usage,
      sluice,
    ]),
    [
      [1, null, undefined, undefined],
      [0, null, undefined, undefined],
      [1, 'stop', undefined, undefined],
      [0, 'stop', {}, REPORT],
    ],
  );
});

test('silence is a bare newline, an error one line without choices', () => {
  const codec = open();
  assert.equal(codec.contentType, 'application/x-ndjson');
  assert.equal(codec.keepAlive(), '\n');
  const line = codec.error(new GatewayError('slow_reader', 'a\u2028b\nc', { cause: new Error('secret') }));
  assert.deepEqual(readLines(line), [
    {
      error: { message: 'a\u2028b\nc', type: 'stream_error', code: 'slow_reader', param: null },
      code: 'slow_reader',
      message: 'a\u2028b\nc',
      data: null,
    },
  ]);
});

test('any texts come out of that reader as they went in', () => {
  const breaks = fc.constantFrom(
    '\u0085',
    '\u2028',
    '\u2029',
    '\v',
    '\f',
    '\u001c',
    '\u001e',
    '\r\n',
    '"',
    '\\',
    '\0',
  );
  const text = fc.array(fc.oneof(breaks, fc.string({ unit: 'binary' }))).map((all) => all.join(''));
  const delta = fc.record({ isReasoning: fc.boolean(), choice: fc.nat(2), text });
  fc.assert(
    fc.property(fc.array(delta), (deltas) => {
      const events = deltas.map(
        (one): TokenEvent => ({
          type: one.isReasoning ? 'reasoning-delta' : 'text-delta',
          choice: one.choice,
          text: one.text,
        }),
      );
      const end: TokenEvent = { type: 'choice-end', choice: 0, reason: 'stop' };
      const choices = readLines(play([...events, end, { type: 'finish', usage: {} }]).join('')).map(
        (line) => line.choices![0]!,
      );
      assert.equal(choices.length, deltas.length + 1);
      assert.equal(choices.at(-1)!.finish_reason, 'stop');
      for (const [index, { isReasoning, choice, text }] of deltas.entries()) {
        const read = choices[index]!;
        assert.equal(read.index, choice);
        assert.equal(isReasoning ? read.reasoning_content : read.text, text);
        assert.equal(isReasoning ? read.text : read.reasoning_content, isReasoning ? '' : null);
      }
    }),
  );
});

test('a whole answer has every choice on one object', () => {
  const choice = { toolCalls: [], reason: 'stop' } as const;
  const choices = [
    { ...choice, text: 'a', reasoning: '' },
    { ...choice, text: 'b', reasoning: 'r' },
  ];
  const asked = { calls: [], parallel: 1, stream: false, includeUsage: false, ignored: [] };
  const answer = { speaker: 's', choices, usage: { completionTokens: 1 } };
  const whole = generate.whole(answer, META, asked, REPORT);
  assert.deepEqual(JSON.parse(JSON.stringify(whole)), {
    ...HEAD,
    choices: [
      { index: 0, text: 'a', reasoning_content: null, finish_reason: 'stop' },
      { index: 1, text: 'b', reasoning_content: 'r', finish_reason: 'stop' },
    ],
    usage: { completion_tokens: 1 },
    sluice: REPORT,
  });
});
