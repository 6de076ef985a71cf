// The answers of the dialects whose events have names, Responses and Messages, told in the words of chat completions: one
// expectation holds of a case in every dialect. It is strict: an event in the wrong place fails the case.
// Pure: no input, no output.
import assert from 'node:assert/strict';

export type Value = Readonly<Record<string, unknown>>;

/** What an event, or a whole answer, says. */
export interface Told {
  /** As chat completions would have it; absent: nothing that they have. */
  readonly chunk?: Value | undefined;
  /** It only fills a silence. */
  readonly isKeepAlive?: boolean;
  /** The answer says that it is whole. Nothing follows. */
  readonly isDone?: boolean;
}

/** Reads one stream, event by event. Throws an AssertionError where one is not of the dialect's contract. */
export type EventReader = (name: string, value: Value) => Told;

/** By a stream's first event. Throws an AssertionError where no dialect begins with it. */
export function readerOf(name: string): EventReader {
  if (name === 'response.created') return responsesReader();
  if (name === 'message_start' || name === 'ping' || name === 'error') return messagesReader();
  assert.fail(`no dialect begins with ${name}`);
}

/** A whole answer; undefined: it is of neither dialect. */
export function wholeOf(value: Value): Told | undefined {
  if (value.object === 'response') {
    const { output, usage } = value;
    const message = messageOfItems(output as readonly Item[]);
    return { isDone: true, chunk: chunkOf({ message }, finishOfResponse(value), usageOfResponse(usage)) };
  }
  if (value.type === 'message') {
    const message = messageOfBlocks(value.content as readonly Value[]);
    const finish = STOP_REASONS[String(value.stop_reason)];
    return { isDone: true, chunk: chunkOf({ message }, finish, usageOfMessage(value.usage)) };
  }
  return undefined;
}

interface Item {
  readonly type: string;
  readonly id: string;
  readonly call_id?: string;
  readonly name?: string;
  readonly arguments?: string;
  readonly content?: readonly { readonly type: string; readonly text: string }[];
}

/** An item on its way. */
interface OpenItem {
  readonly type: string;
  readonly id: string;
  /** Its place among the tool calls. */
  readonly call: number;
  text: string;
  isDone: boolean;
}

function responsesReader(): EventReader {
  const items: OpenItem[] = [];
  let events = 0;
  let hasFailed = false;
  const itemOf = (value: Value): OpenItem => {
    const item = items[value.output_index as number];
    assert.ok(item && !item.isDone, `no item is open at ${value.output_index}`);
    assert.equal(value.item_id ?? (value.item as Item).id, item.id);
    return item;
  };
  const add = (value: Value, type: string): OpenItem => {
    const item = itemOf(value);
    assert.equal(item.type, type);
    item.text += value.delta;
    return item;
  };
  const told: Readonly<Record<string, (value: Value) => Told>> = {
    'response.created': () => ({ chunk: chunkOf({ delta: { role: 'assistant' } }) }),
    'response.in_progress': () => (events > 2 ? { isKeepAlive: true } : {}),
    'response.output_item.added': (value) => {
      assert.equal(value.output_index, items.length);
      const { type, id, call_id, name } = value.item as Item;
      const call = items.filter((item) => item.type === 'function_call').length;
      items.push({ type, id, call, text: '', isDone: false });
      if (type !== 'function_call') return {};
      return callPiece({ index: call, id: call_id, type: 'function', function: { name, arguments: '' } });
    },
    'response.output_text.delta': (value) => {
      add(value, 'message');
      return { chunk: chunkOf({ delta: { content: value.delta } }) };
    },
    'response.reasoning_text.delta': (value) => {
      add(value, 'reasoning');
      return { chunk: chunkOf({ delta: { reasoning_content: value.delta } }) };
    },
    'response.function_call_arguments.delta': (value) => {
      const { call } = add(value, 'function_call');
      return callPiece({ index: call, function: { arguments: value.delta } });
    },
    'response.output_item.done': (value) => {
      const item = itemOf(value);
      assert.equal(textOf(value.item as Item), item.text, 'what is done is what was said');
      item.isDone = true;
      return {};
    },
    'response.failed': ({ response }) => {
      assert.equal(typeof ((response as Value).error as Value).message, 'string');
      hasFailed = true;
      return {};
    },
    error: ({ message, code, param }) => ({ chunk: { error: { message, code, param, type: 'error' } } }),
  };
  const ended = ({ response }: Value): Told => {
    assert.ok(
      items.every(({ isDone }) => isDone),
      'every item is done',
    );
    const { output, usage } = response as Value;
    assert.deepEqual(
      (output as readonly Item[]).map((item) => [item.id, textOf(item)]),
      items.map(({ id, text }) => [id, text]),
      'the response is what was said',
    );
    const finish = finishOfResponse(response as Value);
    return { isDone: true, chunk: chunkOf({ delta: {} }, finish, usageOfResponse(usage)) };
  };
  return (name, value) => {
    assert.equal(value.type, name);
    assert.equal(value.sequence_number, events, 'each event has the next number');
    events += 1;
    assert.ok(!hasFailed || name === 'error', `${name} after response.failed`);
    if (name === 'response.completed' || name === 'response.incomplete') return ended(value);
    const tell = told[name];
    if (tell) return tell(value);
    assert.match(name, /^response\.(content_part\.(added|done)|\w+\.done)$/);
    return {};
  };
}

function textOf({ type, arguments: text, content = [] }: Item): string {
  return type === 'function_call' ? (text ?? '') : content.map((part) => part.text).join('');
}

function messageOfItems(items: readonly Item[]): Value {
  const said = (type: string) => items.filter((item) => item.type === type);
  return {
    content: said('message').map(textOf).join(''),
    reasoning_content: said('reasoning').map(textOf).join(''),
    tool_calls: said('function_call').map(({ call_id, name, arguments: text }) => ({
      id: call_id,
      type: 'function',
      function: { name, arguments: text },
    })),
  };
}

function finishOfResponse({ status, incomplete_details, output }: Value): string {
  const { reason } = (incomplete_details ?? {}) as { readonly reason?: string };
  if (status === 'incomplete') return reason === 'max_output_tokens' ? 'length' : String(reason);
  assert.equal(status, 'completed');
  return (output as readonly Item[]).some(({ type }) => type === 'function_call') ? 'tool_calls' : 'stop';
}

function usageOfResponse(usage: unknown): Value | undefined {
  if (!usage) return undefined;
  const { input_tokens, output_tokens } = usage as Value;
  return { prompt_tokens: input_tokens, completion_tokens: output_tokens };
}

const STOP_REASONS: Readonly<Record<string, string>> = {
  end_turn: 'stop',
  stop_sequence: 'stop',
  max_tokens: 'length',
  tool_use: 'tool_calls',
  refusal: 'content_filter',
};

/** Says what a block's delta is, by the block's type. */
const BLOCK_DELTAS: Readonly<Record<string, string>> = {
  text: 'text_delta',
  thinking: 'thinking_delta',
  tool_use: 'input_json_delta',
};

function messagesReader(): EventReader {
  let place: 'before' | 'within' | 'ended' = 'before';
  let blocks = 0;
  let calls = 0;
  /** The type of the block that is open. */
  let open: string | undefined;
  const told: Readonly<Record<string, (value: Value) => Told>> = {
    message_start: ({ message }) => {
      assert.equal(place, 'before');
      place = 'within';
      const { role, content } = message as Value;
      assert.deepEqual(content, []);
      return { chunk: chunkOf({ delta: { role } }) };
    },
    content_block_start: ({ index, content_block }) => {
      assert.deepEqual([place, open, index], ['within', undefined, blocks]);
      blocks += 1;
      const { type, id, name, input } = content_block as Value;
      open = String(type);
      assert.ok(open in BLOCK_DELTAS, open);
      if (open !== 'tool_use') return {};
      assert.deepEqual(input, {});
      calls += 1;
      return callPiece({ index: calls - 1, id, type: 'function', function: { name, arguments: '' } });
    },
    content_block_delta: ({ index, delta }) => {
      assert.equal(index, blocks - 1);
      const { type, text, thinking, partial_json } = delta as Value;
      if (type === 'signature_delta') {
        assert.equal(open, 'thinking');
        return {};
      }
      assert.equal(type, BLOCK_DELTAS[open ?? '']);
      if (type === 'input_json_delta') {
        return callPiece({ index: calls - 1, function: { arguments: partial_json } });
      }
      const said = type === 'text_delta' ? { content: text } : { reasoning_content: thinking };
      return { chunk: chunkOf({ delta: said }) };
    },
    content_block_stop: ({ index }) => {
      assert.ok(open !== undefined && index === blocks - 1);
      open = undefined;
      return {};
    },
    message_delta: ({ delta, usage }) => {
      assert.deepEqual([place, open], ['within', undefined]);
      place = 'ended';
      const finish = STOP_REASONS[String((delta as Value).stop_reason)];
      return { chunk: chunkOf({ delta: {} }, finish, usageOfMessage(usage)) };
    },
    message_stop: () => {
      assert.equal(place, 'ended');
      return { isDone: true };
    },
    ping: () => ({ isKeepAlive: true }),
    error: ({ error }) => ({ chunk: { error } }),
  };
  return (name, value) => {
    assert.equal(value.type, name);
    const tell = told[name];
    assert.ok(tell, `no event of this dialect: ${name}`);
    return tell(value);
  };
}

function messageOfBlocks(blocks: readonly Value[]): Value {
  const said = (type: string) => blocks.filter((block) => block.type === type);
  return {
    content: said('text')
      .map(({ text }) => text)
      .join(''),
    reasoning_content: said('thinking')
      .map(({ thinking }) => thinking)
      .join(''),
    tool_calls: said('tool_use').map(({ id, name, input }) => ({
      id,
      type: 'function',
      function: { name, arguments: JSON.stringify(input) },
    })),
  };
}

/** What was read from a cache is not among `input_tokens` there. */
function usageOfMessage(usage: unknown): Value {
  const { input_tokens, output_tokens, cache_read_input_tokens } = usage as Readonly<Record<string, number>>;
  return {
    prompt_tokens: (input_tokens ?? 0) + (cache_read_input_tokens ?? 0),
    completion_tokens: output_tokens,
  };
}

function chunkOf(said: Value, finish: string | null = null, usage?: Value): Value {
  return { choices: [{ index: 0, ...said, finish_reason: finish }], ...(usage && { usage }) };
}

function callPiece(call: Value): Told {
  return { chunk: chunkOf({ delta: { tool_calls: [call] } }) };
}
