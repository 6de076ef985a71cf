// A coding assistant on /v1/responses, in the manner of Codex: its instructions and tools on every request, the whole history
// again each time with thoughts, calls and what came of them, and a user who stops it in the middle. The bytes are ours; what
// the assistant reads of a stream, and what it insists on, is what Codex does (openai/codex, codex-api/src/sse/responses.rs).
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RawAnswer } from '../hard-cases/client.ts';
import { type Setup, type Stage, withStage } from '../hard-cases/stage.ts';
import {
  chunkOf,
  DONE,
  EVENT_STREAM,
  endChunk,
  refusalOf,
  textChunk,
  toolChunk,
} from '../upstream/answers.ts';
import type { Script } from '../upstream/script.ts';
import { waitUntil } from './harness.ts';

interface Item {
  readonly type: string;
  readonly call_id?: string;
  readonly name?: string;
  readonly arguments?: string;
  readonly [member: string]: unknown;
}

interface Message {
  readonly role: string;
  readonly content: string | null;
  readonly reasoning_content?: string;
  readonly tool_call_id?: string;
  readonly tool_calls?: readonly { readonly id: string; readonly function: { readonly arguments: string } }[];
}

/** A back end of a family whose history keeps the thoughts of turns with calls. */
const SETUP: Setup = { backends: { a: { template: 'deepseek-v4' } } };
const LIMIT_MS = 10_000;
const PATCH =
  '*** Begin Patch\n*** Update File: src/lock.ts\n@@\n-const gate = 1;\n+const gate = "水门 🌊";\n';

const tool = (name: string, properties: object) => ({
  type: 'function',
  name,
  description: `What ${name} does. `.repeat(20),
  strict: false,
  parameters: { type: 'object', properties, required: Object.keys(properties), additionalProperties: false },
});
const TOOLS = [
  tool('shell', {
    command: { type: 'array', items: { type: 'string' } },
    workdir: { type: 'string' },
    timeout_ms: { type: 'number' },
  }),
  tool('apply_patch', { input: { type: 'string' } }),
  tool('update_plan', { plan: { type: 'array', items: { type: 'object' } } }),
  ...Array.from({ length: 17 }, (_, index) =>
    tool(`mcp__server__tool_${index}`, { query: { type: 'string' } }),
  ),
];

const said = (role: string, text: string): Item => ({
  type: 'message',
  role,
  content: [{ type: role === 'assistant' ? 'output_text' : 'input_text', text }],
});

/** What the assistant sends for the next turn. */
function requestFor(input: readonly Item[]) {
  const body = {
    model: 'case',
    instructions: 'You are a coding agent. Keep going until the task is done. '.repeat(40),
    input,
    tools: TOOLS,
    tool_choice: 'auto',
    parallel_tool_calls: true,
    reasoning: { effort: 'medium', summary: 'auto' },
    store: false,
    stream: true,
    include: ['reasoning.encrypted_content'],
    prompt_cache_key: '0199c1f0-7e1a-7b41-9f0b-5a0c3c9f0d11',
    text: { verbosity: 'medium' },
  };
  const headers = { accept: 'text/event-stream', originator: 'codex_cli_rs', session_id: 'session-1' };
  return { method: 'POST', path: '/v1/responses', headers, body };
}

/** The history with which it comes: questions, thoughts, calls and their outputs. */
function longHistory(turns: number): Item[] {
  const items: Item[] = [
    said('developer', '<permissions>read-only</permissions>'),
    said('user', '<environment_context>\n  <cwd>/repo</cwd>\n</environment_context>'),
  ];
  for (let turn = 0; turn < turns; turn += 1) {
    const id = `call_${turn}`;
    const text = JSON.stringify({ command: ['rg', `gate_${turn}`], workdir: '/repo', timeout_ms: 9_007 });
    if (turn % 10 === 0) items.push(said('user', `Step ${turn}: look for the gate.`));
    items.push(
      {
        type: 'reasoning',
        summary: [],
        content: [{ type: 'reasoning_text', text: `Thought ${turn}.` }],
        encrypted_content: null,
      },
      { type: 'function_call', name: 'shell', arguments: text, call_id: id },
      {
        type: 'function_call_output',
        call_id: id,
        output: `src/lock.ts:${turn}: const gate = 1;\n`.repeat(40),
      },
    );
    if (turn % 10 === 9) items.push(said('assistant', `Step ${turn - 9} is done.`));
  }
  return items;
}

/** What Codex makes of a stream. Throws what it would tell its user. */
function readAs(codex: RawAnswer): { readonly items: readonly Item[]; readonly text: string } {
  assert.equal(codex.status, 200, codex.text.slice(0, 500));
  const items: Item[] = [];
  let text = '';
  let completed: Readonly<Record<string, unknown>> | undefined;
  let failure = 'stream closed before response.completed';
  for (const block of codex.text.split('\n\n')) {
    const data = /^data: (.*)$/m.exec(block)?.[1];
    if (data === undefined) continue;
    const event = JSON.parse(data);
    if (event.type === 'response.output_item.done') items.push(event.item);
    if (event.type === 'response.output_text.delta') text += event.delta;
    if (event.type === 'response.reasoning_text.delta') assert.equal(typeof event.content_index, 'number');
    if (event.type === 'response.completed') completed = event.response;
    if (event.type === 'response.failed') failure = event.response.error.message;
  }
  if (!completed) throw new Error(failure);
  const { id, usage } = completed as { id: unknown; usage: Record<string, unknown> };
  assert.equal(typeof id, 'string');
  for (const name of ['input_tokens', 'output_tokens', 'total_tokens']) {
    assert.ok(Number.isInteger(usage[name]), `${name} is ${usage[name]}: it is no whole number`);
  }
  for (const item of items) {
    if (item.type === 'reasoning') assert.ok(Array.isArray(item.summary), 'a thought has a summary');
    if (item.type === 'function_call') assert.ok(item.call_id && item.name, 'a call has a name and an id');
  }
  return { items, text };
}

/** An answer of the model: a thought, a word, and calls whose arguments come in pieces. */
function turnOf(
  thought: string,
  word: string,
  calls: readonly (readonly [id: string, text: string])[],
): Script {
  const pieces = calls.flatMap(([id, text], index) => [
    toolChunk({ index, id, type: 'function', function: { name: 'apply_patch', arguments: '' } }),
    ...(text.match(/.{1,7}/gsu) ?? []).map((piece) => toolChunk({ index, function: { arguments: piece } })),
  ]);
  const usage = { prompt_tokens: 900, completion_tokens: 30, total_tokens: 930 };
  return {
    headers: EVENT_STREAM,
    chunks: [
      chunkOf({ delta: { role: 'assistant', content: '', reasoning_content: thought } }),
      ...(word === '' ? [] : [textChunk(word)]),
      ...pieces,
      endChunk(calls.length > 0 ? 'tool_calls' : 'stop'),
      chunkOf({}, { choices: [], usage }),
      DONE,
    ],
  };
}

function messagesOf(stage: Stage, index: number): readonly Message[] {
  return JSON.parse(stage.a.requests[index]!.body).messages;
}

test('turn after turn the model gets what it said before, and its history is the same again', async () => {
  const patch = JSON.stringify({ input: PATCH });
  await withStage(SETUP, async (stage) => {
    stage.a.play([
      turnOf('I look first.', 'Looking.', [['call_a', patch]]),
      turnOf('Two at once.', '', [
        ['call_b', patch],
        ['call_c', '{"input":""}'],
      ]),
      turnOf('That is all.', 'Done: 水门 🌊.', []),
    ]);
    const history = longHistory(2);
    for (let turn = 0; turn < 3; turn += 1) {
      const { items, text } = readAs(await stage.ask(requestFor(history)).answer);
      history.push(...items);
      const calls = items.filter(({ type }) => type === 'function_call');
      for (const { call_id } of calls) {
        history.push({ type: 'function_call_output', call_id: call_id!, output: `patched by ${call_id}` });
      }
      assert.deepEqual(
        calls.map(({ call_id, arguments: args }) => [call_id, args]),
        [
          [['call_a', patch]],
          [
            ['call_b', patch],
            ['call_c', '{"input":""}'],
          ],
          [],
        ][turn],
      );
      if (turn === 2) assert.equal(text, 'Done: 水门 🌊.');
    }
    const [first, second, third] = [0, 1, 2].map((index) => messagesOf(stage, index));
    assert.deepEqual(second!.slice(0, first!.length), first, 'the beginning stays as it was, for caches');
    assert.deepEqual(third!.slice(0, second!.length), second);
    const added = third!.slice(first!.length);
    assert.deepEqual(
      added.map(({ role, reasoning_content: thought, tool_call_id: id }) => [role, thought ?? id]),
      [
        ['assistant', 'I look first.'],
        ['tool', 'call_a'],
        ['assistant', 'Two at once.'],
        ['tool', 'call_b'],
        ['tool', 'call_c'],
      ],
    );
    assert.equal(added[0]!.content, 'Looking.');
    assert.deepEqual(
      added[2]!.tool_calls?.map(({ id, function: { arguments: args } }) => [id, args]),
      [
        ['call_b', patch],
        ['call_c', '{"input":""}'],
      ],
      'calls of one answer are one message',
    );
  });
});

test('a history of a hundred calls reaches the model whole and in order', async () => {
  await withStage(SETUP, async (stage) => {
    stage.a.play(turnOf('hm', 'ok', []));
    const history = [...longHistory(100), said('user', 'And now?')];
    readAs(await stage.ask(requestFor(history)).answer);
    const messages = messagesOf(stage, 0);
    assert.equal(messages[0]!.role, 'system');
    assert.equal(messages.at(-1)!.content, 'And now?');
    const calls = messages.flatMap(({ tool_calls: calls = [] }) => calls.map(({ id }) => id));
    const outputs = messages.flatMap(({ tool_call_id: id }) => id ?? []);
    assert.deepEqual(
      calls,
      Array.from({ length: 100 }, (_, turn) => `call_${turn}`),
    );
    assert.deepEqual(outputs, calls);
    const sent = JSON.parse(stage.a.requests[0]!.body);
    assert.deepEqual([sent.tools.length, sent.tools[0].function.name], [TOOLS.length, 'shell']);
    for (const name of ['input', 'instructions', 'include', 'store', 'prompt_cache_key', 'text']) {
      assert.ok(!(name in sent), `${name} is nothing that this back end knows`);
    }
  });
});

test('a user who stops it in the middle stops the model too, and goes on with the next request', async () => {
  await withStage(SETUP, async (stage) => {
    for (const pieces of [
      [],
      [textChunk('I begin')],
      [toolChunk({ index: 0, id: 'c', function: { name: 'shell' } })],
    ]) {
      const index = stage.a.requests.length;
      stage.a.play({ headers: EVENT_STREAM, chunks: pieces, end: 'hold' });
      const asked = stage.ask(requestFor(longHistory(20)));
      if (pieces.length > 0) await asked.firstByte();
      const isThere = () => stage.a.requests[index] !== undefined;
      await waitUntil(isThere, LIMIT_MS, () => 'the back end did not get the request');
      asked.drop();
      const isClosed = () => stage.a.requests[index]!.closedByPeerAt !== undefined;
      await waitUntil(isClosed, LIMIT_MS, () => 'the model goes on for nobody');
      await stage.metricIs('sluice_requests_running', 0);
      stage.a.play(turnOf('hm', 'Stopped.', []));
      const again = [...longHistory(20), said('user', '<turn_aborted/>'), said('user', 'Do less.')];
      assert.equal(readAs(await stage.ask(requestFor(again)).answer).text, 'Stopped.');
    }
  });
});

test('what fails is told in words that it can act on', async () => {
  await withStage(SETUP, async (stage) => {
    stage.a.play({
      headers: EVENT_STREAM,
      chunks: [textChunk('half a'), 'data: {"error":{"message":"OOM"}}\n\n'],
    });
    const cut = await stage.ask(requestFor(longHistory(3))).answer;
    assert.throws(() => readAs(cut), /OOM/);
    stage.a.play(refusalOf(429, { message: 'Slow down.' }, { 'retry-after': '3' }));
    const { status, headers, text } = await stage.ask(requestFor(longHistory(3))).answer;
    assert.equal(status, 429);
    assert.ok(Number(headers['retry-after']) >= 3);
    assert.equal(typeof JSON.parse(text).error.message, 'string');
  });
});
