// The messages dialect's stream: legal whatever comes, and the same answer as the whole one.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { TokenEvent, Usage } from '../../../core/chat.ts';
import { GatewayError } from '../../../core/errors.ts';
import { AnswerFold } from '../../../pipeline/partial.ts';
import { messages } from './messages.ts';

const META = { id: '1', created: 2, model: 'm' };
const ASKED = { calls: [], parallel: 1, stream: true, includeUsage: true, ignored: [] };

interface Sent {
  readonly type: string;
  readonly index?: number;
  readonly content_block?: Record<string, unknown>;
  readonly delta?: Record<string, unknown>;
  readonly message?: Record<string, unknown>;
  readonly usage?: object;
}

function sentBy(written: string): Sent[] {
  const blocks = written.split('\n\n');
  assert.equal(blocks.pop(), '');
  return blocks.map((block) => {
    const [event, data, ...rest] = block.split('\n');
    assert.deepEqual(rest, []);
    const sent = JSON.parse(data!.replace(/^data: /, '')) as Sent;
    assert.equal(event, `event: ${sent.type}`);
    return sent;
  });
}

function write(events: readonly TokenEvent[]): Sent[] {
  const codec = messages.stream(META, ASKED);
  return sentBy(events.map((event) => codec.event(event)).join('') + codec.end(undefined));
}

interface Whole {
  readonly content: unknown;
  readonly usage: unknown;
  readonly stop_reason: string;
  readonly stop_sequence: string | null;
}

function wholeOf(events: readonly TokenEvent[]): Whole {
  const fold = new AnswerFold();
  for (const event of events) fold.add(event);
  return JSON.parse(JSON.stringify(messages.whole(fold.answer(), META, ASKED, undefined)));
}

/** As the vendor's own client puts a message together. */
function folded(sent: readonly Sent[]): Record<string, unknown>[] {
  const content: Record<string, unknown>[] = [];
  const inputs = new Map<number, string>();
  for (const { type, index = -1, content_block: block, delta } of sent) {
    if (type === 'content_block_start') content[index] = { ...block };
    if (type !== 'content_block_delta') continue;
    const own = content[index]!;
    if (delta!.type === 'text_delta') own.text = `${own.text}${delta!.text}`;
    if (delta!.type === 'thinking_delta') own.thinking = `${own.thinking}${delta!.thinking}`;
    if (delta!.type === 'signature_delta') own.signature = delta!.signature;
    if (delta!.type === 'input_json_delta') {
      inputs.set(index, (inputs.get(index) ?? '') + delta!.partial_json);
    }
  }
  for (const [index, text] of inputs) content[index]!.input = JSON.parse(text);
  return content;
}

const finish = (usage: Usage = { promptTokens: 5, completionTokens: 3 }): TokenEvent[] => [
  { type: 'choice-end', choice: 0, reason: 'stop' },
  { type: 'finish', usage },
];
const start: TokenEvent = { type: 'start', speaker: 's' };
const text = (words: string): TokenEvent => ({ type: 'text-delta', choice: 0, text: words });
const thought = (words: string): TokenEvent => ({ type: 'reasoning-delta', choice: 0, text: words });

const call = (index: number, piece: string, name?: string): TokenEvent => ({
  type: 'tool-call-delta',
  choice: 0,
  index,
  ...(name !== undefined && { id: `call_${index}`, name }),
  arguments: piece,
});

test('a thought, a text and two calls: one block at a time, the counts at the end', () => {
  const sent = write([
    start,
    thought('h'),
    thought('m'),
    text('a'),
    text('b'),
    call(0, '', 'f'),
    call(0, '{"x":'),
    call(1, '{}', 'g'),
    call(0, '1}'),
    { type: 'choice-end', choice: 0, reason: 'tool_calls' },
    { type: 'finish', usage: { promptTokens: 10, cachedTokens: 4, completionTokens: 3 } },
  ]);
  assert.deepEqual(
    sent.map(({ type, index }) =>
      index === undefined ? type : `${type.replace('content_block_', '')} ${index}`,
    ),
    [
      'message_start',
      ...['start 0', 'delta 0', 'delta 0', 'delta 0', 'stop 0'],
      ...['start 1', 'delta 1', 'delta 1', 'stop 1'],
      ...['start 2', 'delta 2', 'delta 2', 'stop 2'],
      ...['start 3', 'delta 3', 'stop 3'],
      'message_delta',
      'message_stop',
    ],
  );
  assert.deepEqual(folded(sent), [
    { type: 'thinking', thinking: 'hm', signature: 'unsigned' },
    { type: 'text', text: 'ab' },
    { type: 'tool_use', id: 'call_0', name: 'f', input: { x: 1 } },
    { type: 'tool_use', id: 'call_1', name: 'g', input: {} },
  ]);
  const last = sent.at(-2)!;
  assert.deepEqual(last.delta, { stop_reason: 'tool_use', stop_sequence: null });
  assert.deepEqual(last.usage, {
    input_tokens: 6,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: 4,
    output_tokens: 3,
  });
});

test('a call whose arguments are whole makes room at once; what comes sooner waits, and is lost in no case', () => {
  const told = (codec: ReturnType<typeof messages.stream>, ...events: TokenEvent[]) =>
    sentBy(events.map((event) => codec.event(event)).join('')).map(
      ({ type, index, delta }) =>
        `${type.replace(/^(content_block|message)_/, '')} ${index ?? ''}${delta?.partial_json ?? delta?.text ?? ''}`,
    );
  const inTurn = messages.stream(META, ASKED);
  told(inTurn, call(0, '{}', 'f'));
  assert.deepEqual(told(inTurn, call(1, '{"a":', 'g')), ['stop 0', 'start 1', 'delta 1{"a":']);
  const mixed = messages.stream(META, ASKED);
  told(mixed, call(0, '{', 'f'));
  assert.deepEqual(told(mixed, call(1, '{', 'g'), text('and')), []);
  assert.deepEqual(told(mixed, call(0, '}')), ['delta 0}', 'stop 0', 'start 1', 'delta 1{']);
  assert.deepEqual(told(mixed, ...finish()), ['stop 1', 'start 2', 'delta 2and', 'stop 2']);
});

test('of a call that never has its arguments not all that follows is held', () => {
  const codec = messages.stream(META, ASKED);
  codec.event(call(0, '{', 'f'));
  let written = '';
  for (let count = 0; count < 20_000 && written === ''; count += 1) written = codec.event(text('a'));
  assert.match(written, /"text_delta","text":"a"/);
});

test('an answer without a word is a message all the same', () => {
  assert.deepEqual(
    write(finish()).map(({ type }) => type),
    ['message_start', 'message_delta', 'message_stop'],
  );
});

test('why it ended, in their words', () => {
  const reasons = { stop: 'end_turn', length: 'max_tokens', content_filter: 'refusal' } as const;
  for (const [reason, told] of Object.entries(reasons)) {
    const end: TokenEvent = { type: 'choice-end', choice: 0, reason: reason as keyof typeof reasons };
    const [last] = write([text('a'), end, { type: 'finish', usage: {} }]).slice(-2);
    assert.deepEqual(last!.delta, { stop_reason: told, stop_sequence: null });
  }
});

test('a stop string that is known is told, streamed and whole', () => {
  const events: TokenEvent[] = [
    text('a'),
    { type: 'choice-end', choice: 0, reason: 'stop', stop: 'END' },
    { type: 'finish', usage: {} },
  ];
  const told = { stop_reason: 'stop_sequence', stop_sequence: 'END' };
  assert.deepEqual(write(events).at(-2)!.delta, told);
  const { stop_reason, stop_sequence } = wholeOf(events);
  assert.deepEqual({ stop_reason, stop_sequence }, told);
});

test('silence is a ping, and a failure an event of its own shape', () => {
  const codec = messages.stream(META, ASKED);
  assert.deepEqual(sentBy(codec.keepAlive()), [{ type: 'ping' }]);
  assert.deepEqual(sentBy(codec.idleEvent()), [{ type: 'ping' }]);
  const error = new GatewayError('backend_failed', 'It broke.', { cause: new Error('secret') });
  assert.deepEqual(sentBy(codec.error(error)), [
    {
      type: 'error',
      error: { type: 'api_error', message: 'It broke.', code: 'backend_failed' },
      request_id: '1',
    },
  ]);
});

test('errors bear the types that the vendor documents', () => {
  const typeOf = (error: GatewayError) =>
    (messages.error!(error, '1') as { error: { type: string } }).error.type;
  const codes = {
    invalid_request: 'invalid_request_error',
    unauthenticated: 'authentication_error',
    forbidden: 'permission_error',
    model_not_found: 'not_found_error',
    body_too_large: 'request_too_large',
    rate_limited: 'rate_limit_error',
    overloaded: 'overloaded_error',
    deadline_exceeded: 'timeout_error',
    internal: 'api_error',
  } as const;
  for (const [code, type] of Object.entries(codes)) {
    assert.equal(typeOf(new GatewayError(code as keyof typeof codes, 'x')), type);
  }
});

const delta: fc.Arbitrary<TokenEvent> = fc.oneof(
  fc.string({ unit: 'grapheme' }).map(text),
  fc.string({ unit: 'grapheme' }).map(thought),
  fc.nat(3).map(
    (index): TokenEvent => ({
      type: 'tool-call-delta',
      choice: 0,
      index,
      id: `call_${index}`,
      name: `f${index}`,
      arguments: ' ',
    }),
  ),
);

test('whatever comes, the stream is legal and says what the whole answer says', () => {
  fc.assert(
    fc.property(fc.array(delta, { maxLength: 30 }), (deltas) => {
      // Calls are numbered as they first come.
      const numbers = new Map<number, number>();
      const numbered = deltas.map((event) => {
        if (event.type !== 'tool-call-delta') return event;
        if (!numbers.has(event.index)) numbers.set(event.index, numbers.size);
        return { ...event, index: numbers.get(event.index)! };
      });
      const ends: TokenEvent[] = [...numbers.values()].map((index) => ({
        type: 'tool-call-delta',
        choice: 0,
        index,
        arguments: '{}',
      }));
      const events = [start, ...numbered, ...ends, ...finish()];
      const sent = write(events);
      const open = new Set<number>();
      let next = 0;
      for (const [place, { type, index = -1 }] of sent.entries()) {
        if (type === 'message_start') assert.equal(place, 0);
        if (type === 'content_block_start') {
          assert.deepEqual([index, open.size], [next, 0], 'one at a time');
          next += 1;
          open.add(index);
        }
        if (type === 'content_block_delta') assert.ok(open.has(index), `a delta of block ${index}`);
        if (type === 'content_block_stop') assert.ok(open.delete(index), `a second end of ${index}`);
      }
      assert.equal(open.size, 0);
      const kinds = ['thinking', 'text', 'tool_use'];
      const whole = wholeOf(events).content as { type: string }[];
      // The whole answer has one block of each kind; the stream has them as they came.
      for (const kind of kinds) {
        const own = (some: readonly { type?: unknown }[]) => some.filter(({ type }) => type === kind);
        if (kind === 'tool_use') assert.deepEqual(own(folded(sent)), own(whole));
        else {
          const field = kind === 'text' ? 'text' : 'thinking';
          const joined = (some: readonly object[]) =>
            some.map((block) => (block as Record<string, unknown>)[field]).join('');
          assert.equal(joined(own(folded(sent))), joined(own(whole)));
        }
      }
    }),
  );
});

test('a whole answer has its blocks, its end and its counts', () => {
  assert.deepEqual(wholeOf([start, thought('hm'), text('a'), ...finish()]), {
    id: 'msg_1',
    type: 'message',
    role: 'assistant',
    model: 'm',
    content: [
      { type: 'thinking', thinking: 'hm', signature: 'unsigned' },
      { type: 'text', text: 'a' },
    ],
    stop_reason: 'end_turn',
    stop_sequence: null,
    usage: {
      input_tokens: 5,
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: 0,
      output_tokens: 3,
    },
  });
});
