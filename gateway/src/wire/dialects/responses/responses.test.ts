// What the Responses dialect answers, read as its clients read it: the order of its events, their numbers, and that the stream,
// its last event and the whole answer tell the same.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { PartialAnswer, TokenEvent, TokenLogprob } from '../../../core/chat.ts';
import { GatewayError } from '../../../core/errors.ts';
import { AnswerFold } from '../../../pipeline/partial.ts';
import type { Report, StreamCodec } from '../../dialect.ts';
import { responses } from './responses.ts';

const META = { id: '7', created: 5, model: 'a "quoted"\\ \u2028model' };
const USAGE = { promptTokens: 3, cachedTokens: 1, completionTokens: 2, reasoningTokens: 1 };
const REPORT: Report = {
  backend: 'b',
  model: undefined,
  continued: 0,
  degraded: undefined,
  stutters: 0,
  longest_gap_ms: 1,
  queue_ms: undefined,
  first_token_ms: 3,
};
/** Some clients split lines on all that Python's str.splitlines knows. */
const LINE_ENDS = ['\r', '\v', '\f', '\u001c', '\u001d', '\u001e', '\u0085', '\u2028', '\u2029'];

/** What came over the wire, looked into member by member. */
type Json = ReturnType<typeof JSON.parse>;

const requestOf = (body: object) => responses.parse({ model: 'm', input: 'hi', ...body }, undefined);
const open = (body: object = {}): StreamCodec => responses.stream(META, requestOf(body));
const wholeOf = (answer: PartialAnswer, body: object = {}, report?: Report): Json =>
  asJson(responses.whole(answer, META, requestOf(body), report));
const asJson = (value: object): Json => JSON.parse(JSON.stringify(value));

/** As strict as the strictest client: a name, one line of data of the same type, a blank line; numbers from 0, by one. */
function readEvents(written: string, first = 0): Json[] {
  const blocks = written.split('\n\n');
  assert.equal(blocks.pop(), '');
  return blocks.map((block, index) => {
    const match = /^event: ([\w.]+)\ndata: (\{[^\n]*\})$/.exec(block);
    assert.ok(match, block);
    for (const end of LINE_ENDS) assert.ok(!block.includes(end), block);
    const data = JSON.parse(match[2]!);
    assert.equal(data.type, match[1]);
    assert.equal(data.sequence_number, first + index);
    return data;
  });
}

function play(codec: StreamCodec, events: readonly TokenEvent[], report?: Report): Json[] {
  return readEvents(events.map((event) => codec.event(event)).join('') + codec.end(report));
}

const start: TokenEvent = { type: 'start', speaker: 's' };
const finish: TokenEvent = { type: 'finish', usage: USAGE };
const text = (value: string): TokenEvent => ({ type: 'text-delta', choice: 0, text: value });
const thought = (value: string): TokenEvent => ({ type: 'reasoning-delta', choice: 0, text: value });
const call = (index: number, piece: string, id?: string, name?: string): TokenEvent => ({
  type: 'tool-call-delta',
  choice: 0,
  index,
  id,
  name,
  arguments: piece,
});
const ended = (reason: 'stop' | 'length' | 'tool_calls' | 'content_filter' = 'stop'): TokenEvent => ({
  type: 'choice-end',
  choice: 0,
  reason,
});
const fold = (events: readonly TokenEvent[]): PartialAnswer => {
  const folded = new AnswerFold();
  for (const event of events) folded.add(event);
  return folded.answer();
};

/** What a client makes of the events alone; throws where they are in no legal order. */
function replay(events: readonly Json[]): Json[] {
  const items: Json[] = [];
  const done = new Set<number>();
  let isOver = false;
  for (const [place, event] of events.entries()) {
    const type = event.type.replace(/^response\./, '');
    assert.ok(!isOver, `${type} after the end`);
    if (place === 0) assert.equal(type, 'created');
    if (place === 1) assert.equal(type, 'in_progress');
    const at: number = event.output_index;
    const item = items[at];
    const isOpen = () => {
      assert.ok(item && !done.has(at), `${type} of no open item`);
      if (event.item_id !== undefined) assert.equal(event.item_id, item.id);
    };
    switch (type) {
      case 'output_item.added':
        assert.equal(at, items.length);
        items.push({ ...event.item });
        break;
      case 'output_item.done':
        isOpen();
        assert.deepEqual({ ...item, status: event.item.status }, event.item);
        item.status = event.item.status;
        done.add(at);
        break;
      case 'content_part.added':
        isOpen();
        assert.equal(event.content_index, item.content.length);
        item.content = [...item.content, { ...event.part }];
        break;
      case 'reasoning_summary_part.added':
        isOpen();
        assert.equal(event.summary_index, item.summary.length);
        item.summary = [...item.summary, { ...event.part }];
        break;
      case 'content_part.done':
        isOpen();
        assert.deepEqual(item.content[event.content_index], event.part);
        break;
      case 'reasoning_summary_part.done':
        isOpen();
        assert.deepEqual(item.summary[event.summary_index], event.part);
        break;
      case 'output_text.delta':
      case 'reasoning_text.delta': {
        isOpen();
        const part = item.content[event.content_index];
        part.text += event.delta;
        if (event.logprobs) part.logprobs = [...part.logprobs, ...event.logprobs];
        break;
      }
      case 'reasoning_summary_text.delta':
        isOpen();
        item.summary[event.summary_index].text += event.delta;
        break;
      case 'output_text.done':
      case 'reasoning_text.done':
        isOpen();
        assert.equal(item.content[event.content_index].text, event.text);
        break;
      case 'reasoning_summary_text.done':
        isOpen();
        assert.equal(item.summary[event.summary_index].text, event.text);
        break;
      case 'function_call_arguments.delta':
        isOpen();
        item.arguments += event.delta;
        break;
      case 'function_call_arguments.done':
        isOpen();
        assert.equal(item.arguments, event.arguments);
        break;
      case 'completed':
      case 'incomplete':
        assert.equal(done.size, items.length, 'an item was never done');
        assert.deepEqual(event.response.output, items);
        isOver = true;
        break;
      default:
        assert.ok(type === 'created' || type === 'in_progress', type);
    }
  }
  assert.ok(isOver, 'it has no end');
  return items;
}

const typesOf = (events: readonly Json[]) => events.map(({ type }) => type.replace(/^response\./, ''));

test('a thought, a text and two calls: the order of events', () => {
  const events = play(open(), [
    start,
    thought('r'),
    text('量子'),
    text('!'),
    call(0, '', 'call_a', 'f'),
    call(0, '{}'),
    call(1, '{"x":1}', 'call_b', 'g'),
    ended('tool_calls'),
    finish,
  ]);
  assert.deepEqual(typesOf(events), [
    'created',
    'in_progress',
    'output_item.added',
    'content_part.added',
    'reasoning_text.delta',
    'reasoning_text.done',
    'content_part.done',
    'output_item.done',
    'output_item.added',
    'content_part.added',
    'output_text.delta',
    'output_text.delta',
    'output_text.done',
    'content_part.done',
    'output_item.done',
    'output_item.added',
    'function_call_arguments.delta',
    'output_item.added',
    'function_call_arguments.delta',
    'function_call_arguments.done',
    'output_item.done',
    'function_call_arguments.done',
    'output_item.done',
    'completed',
  ]);
  assert.deepEqual(replay(events), [
    {
      id: 'rs_7_0',
      type: 'reasoning',
      status: 'completed',
      summary: [],
      content: [{ type: 'reasoning_text', text: 'r' }],
    },
    {
      id: 'msg_7_1',
      type: 'message',
      status: 'completed',
      role: 'assistant',
      content: [{ type: 'output_text', annotations: [], logprobs: [], text: '量子!' }],
    },
    {
      id: 'fc_7_2',
      type: 'function_call',
      status: 'completed',
      call_id: 'call_a',
      name: 'f',
      arguments: '{}',
    },
    {
      id: 'fc_7_3',
      type: 'function_call',
      status: 'completed',
      call_id: 'call_b',
      name: 'g',
      arguments: '{"x":1}',
    },
  ]);
});

test('the response object has what clients look for, from its first event to its last', () => {
  const events = play(open({ instructions: 'Be brief.' }), [start, text('a'), ended(), finish], REPORT);
  const { output, ...first } = events[0]!.response;
  assert.deepEqual(output, []);
  assert.deepEqual(first, {
    id: 'resp_7',
    object: 'response',
    created_at: 5,
    model: META.model,
    status: 'in_progress',
    background: false,
    error: null,
    incomplete_details: null,
    instructions: 'Be brief.',
    max_output_tokens: null,
    metadata: {},
    parallel_tool_calls: true,
    previous_response_id: null,
    reasoning: { effort: null, summary: null },
    store: false,
    temperature: null,
    text: { format: { type: 'text' } },
    tool_choice: 'auto',
    tools: [],
    top_logprobs: 0,
    top_p: null,
    truncation: 'disabled',
    usage: null,
    user: null,
  });
  assert.deepEqual(events.at(-1)!.response, {
    ...first,
    status: 'completed',
    output: [events.at(-2)!.item],
    usage: {
      input_tokens: 3,
      input_tokens_details: { cached_tokens: 1 },
      output_tokens: 2,
      output_tokens_details: { reasoning_tokens: 1 },
      total_tokens: 5,
    },
    sluice: asJson(REPORT),
  });
});

test('an answer that was cut is incomplete, and so is its last item', () => {
  for (const [reason, told] of [
    ['length', 'max_output_tokens'],
    ['content_filter', 'content_filter'],
  ] as const) {
    const events: TokenEvent[] = [start, thought('r'), text('a'), ended(reason), finish];
    const written = play(open(), events);
    const { type, response } = written.at(-1)!;
    assert.equal(type, 'response.incomplete');
    assert.equal(response.status, 'incomplete');
    assert.deepEqual(response.incomplete_details, { reason: told });
    assert.deepEqual(
      replay(written).map(({ status }) => status),
      ['completed', 'incomplete'],
    );
    assert.deepEqual(wholeOf(fold(events)), response);
  }
});

test('usage of which a sum is unknown is null, and parts that are unknown are none', () => {
  const usageOf = (usage: object) =>
    wholeOf(fold([start, text('a'), ended(), { type: 'finish', usage }])).usage;
  assert.equal(usageOf({ completionTokens: 4 }), null);
  assert.deepEqual(usageOf({ promptTokens: 1, completionTokens: 4 }), {
    input_tokens: 1,
    input_tokens_details: { cached_tokens: 0 },
    output_tokens: 4,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: 5,
  });
});

test('an answer of nothing is a response without items', () => {
  const events = play(open(), [start, text(''), ended(), finish]);
  assert.deepEqual(typesOf(events), ['created', 'in_progress', 'completed']);
  assert.deepEqual(replay(events), []);
});

test('a thought is told as its summary where the client asked for one', () => {
  const events = [start, thought('r'), thought('s'), text('a'), ended(), finish];
  const body = { reasoning: { summary: 'auto' } };
  const written = play(open(body), events);
  const names = typesOf(written).filter((type) => type.startsWith('reasoning'));
  assert.deepEqual(names, [
    'reasoning_summary_part.added',
    'reasoning_summary_text.delta',
    'reasoning_summary_text.delta',
    'reasoning_summary_text.done',
    'reasoning_summary_part.done',
  ]);
  const [reasoning] = replay(written);
  assert.deepEqual(reasoning.summary, [{ type: 'summary_text', text: 'rs' }]);
  assert.deepEqual(wholeOf(fold(events), body), written.at(-1)!.response);
});

test('probabilities are told with their text, and again at its end', () => {
  const likely: TokenLogprob = { token: 'é', logprob: -0.5, offset: 0, top: [{ token: 'e', logprob: -1 }] };
  const told = {
    token: 'é',
    logprob: -0.5,
    bytes: [195, 169],
    top_logprobs: [{ token: 'e', logprob: -1, bytes: [101] }],
  };
  const events: TokenEvent[] = [
    start,
    { type: 'text-delta', choice: 0, text: 'é', logprobs: [likely] },
    text('!'),
    ended(),
    finish,
  ];
  const written = play(open(), events);
  const deltas = written.filter(({ type }) => type === 'response.output_text.delta');
  assert.deepEqual(
    deltas.map(({ logprobs }) => logprobs),
    [[told], []],
  );
  assert.deepEqual(replay(written)[0].content[0].logprobs, [told]);
  assert.deepEqual(wholeOf(fold(events)), written.at(-1)!.response);
});

test('a call begins when its name is known, and may get its arguments after another has begun', () => {
  const written = play(open(), [
    start,
    call(0, '', 'a', 'f'),
    call(1, '{"x"', 'b'),
    call(1, ':1}', undefined, 'g'),
    call(0, '{}'),
    ended('tool_calls'),
    finish,
  ]);
  const told = replay(written).map(({ call_id, name, arguments: all }) => [call_id, name, all]);
  assert.deepEqual(told, [
    ['a', 'f', '{}'],
    ['b', 'g', '{"x":1}'],
  ]);
});

test('a stream that fails tells it twice: as the response, and as what clients raise', () => {
  const error = new GatewayError('backend_failed', 'It broke.');
  const codec = open();
  const written = codec.event(start) + codec.event(text('a')) + codec.error(error);
  const [failed, raised] = readEvents(written).slice(-2);
  assert.equal(failed.type, 'response.failed');
  assert.equal(failed.response.status, 'failed');
  assert.deepEqual(failed.response.error, { code: 'backend_failed', message: 'It broke.' });
  assert.equal(failed.response.output[0].status, 'incomplete');
  assert.equal(failed.response.output[0].content[0].text, 'a');
  const names = { code: 'backend_failed', message: 'It broke.', param: null };
  assert.deepEqual(raised, {
    type: 'error',
    sequence_number: 6,
    ...names,
    error: { ...names, type: 'backend_error' },
  });
});

test('a stream that fails before its first word still begins as a response', () => {
  const events = readEvents(open().error(new GatewayError('overloaded', 'Busy.')));
  assert.deepEqual(typesOf(events), ['created', 'in_progress', 'failed', 'error']);
});

test('silence is a blank line, or an empty piece of what is under way', () => {
  const codec = open();
  assert.equal(codec.keepAlive(), '\n');
  const steps: [TokenEvent | undefined, string][] = [
    [undefined, 'in_progress'],
    [start, 'in_progress'],
    [thought('r'), 'reasoning_text.delta'],
    [text('a'), 'output_text.delta'],
    [call(0, '', 'a', 'f'), 'function_call_arguments.delta'],
  ];
  let written = '';
  for (const [event, type] of steps) {
    written += event ? codec.event(event) : '';
    const idle = codec.idleEvent();
    assert.equal(typesOf(readEvents(idle, readEvents(written).length)).at(-1), type);
    written += idle;
  }
  written += codec.event(ended()) + codec.end(undefined);
  assert.deepEqual(
    replay(readEvents(written)).map(({ type }) => type),
    ['reasoning', 'message', 'function_call'],
  );
});

test('an answer that grows past any reason fails', () => {
  const codec = open();
  const piece = text('x'.repeat(1024 * 1024));
  assert.throws(() => {
    for (let count = 0; count <= 32; count += 1) codec.event(piece);
  }, /more text than any answer/);
});

const someText = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 6 }),
  fc.constantFrom(...LINE_ENDS, '\n\n', ''),
);
const anyDelta: fc.Arbitrary<TokenEvent> = fc.oneof(
  someText.map(text),
  someText.map(thought),
  fc
    .record({ index: fc.nat(2), piece: someText, isNamed: fc.boolean() })
    .map(({ index, piece, isNamed }) =>
      call(index, piece, `call_${index}`, isNamed ? `f${index}` : undefined),
    ),
);
const anyReason = fc.constantFrom('stop', 'length', 'tool_calls', 'content_filter');

test('any order of deltas is a legal order of events, and no text is lost', () => {
  fc.assert(
    fc.property(
      fc.array(anyDelta, { maxLength: 20 }),
      anyReason,
      fc.boolean(),
      (deltas, reason, hasSummary) => {
        const events = [start, ...deltas, ended(reason), finish];
        const body = hasSummary ? { reasoning: { summary: 'auto' } } : {};
        const items = replay(play(open(body), events));
        const choice = fold(events).choices[0]!;
        const partsOf = (type: string) =>
          items
            .filter((item) => item.type === type)
            .flatMap((item) => [...item.content, ...(item.summary ?? [])].map((part) => part.text));
        assert.equal(partsOf('message').join(''), choice.text);
        assert.equal(partsOf('reasoning').join(''), choice.reasoning);
        const calls = items.filter((item) => item.type === 'function_call');
        const told = new Set(calls.map((item) => JSON.stringify([item.call_id, item.name, item.arguments])));
        const known = choice.toolCalls
          .filter(({ id }) => id !== undefined)
          .map((one) => JSON.stringify([one.id, one.name ?? '', one.arguments]));
        assert.deepEqual(told, new Set(known));
      },
    ),
  );
});

test('an answer in the usual order is the same from its deltas, from its last event and whole', () => {
  const calls = fc
    .array(fc.array(someText, { maxLength: 3 }), { maxLength: 3 })
    .map((all) =>
      all.flatMap((pieces, index) => [
        call(index, '', `call_${index}`, `f${index}`),
        ...pieces.map((piece) => call(index, piece)),
      ]),
    );
  fc.assert(
    fc.property(
      fc.array(someText.map(thought), { maxLength: 4 }),
      fc.array(someText.map(text), { maxLength: 4 }),
      calls,
      anyReason,
      (thoughts, texts, called, reason) => {
        const events = [start, ...thoughts, ...texts, ...called, ended(reason), finish];
        const written = play(open(), events);
        const { response } = written.at(-1)!;
        assert.deepEqual(response.output, replay(written));
        assert.deepEqual(wholeOf(fold(events)), response);
      },
    ),
  );
});
