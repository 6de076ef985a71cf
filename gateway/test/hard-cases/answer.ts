// Reads an answer of ours strictly, in any of its forms: what a lenient client would put up with is a failure here.
import assert from 'node:assert/strict';
import type { RawAnswer } from './client.ts';
import { type EventReader, readerOf, wholeOf } from './named-events.ts';

export interface ReadToolCall {
  readonly index: number;
  id: string;
  type: string;
  name: string;
  arguments: string;
}

export interface ReadChoice {
  content: string;
  reasoning: string;
  readonly toolCalls: ReadToolCall[];
  finish: string | null;
  /** Chunks with a finish reason, and with a role. */
  finishChunks: number;
  roleChunks: number;
}

export interface ReadError {
  readonly message: string;
  readonly type: string;
  readonly code: string;
  readonly param: string | null;
}

/** An event of a stream, or the one object of an answer that is none; of dialects with named events, in the words of chat. */
export interface ReadEvent {
  readonly value: Readonly<Record<string, unknown>>;
  /** When its last byte came, on the monotonic clock, in ms. */
  readonly at: number;
}

export interface Answer extends RawAnswer {
  readonly form: 'sse' | 'named' | 'ndjson' | 'json' | 'none';
  readonly events: readonly ReadEvent[];
  readonly choices: ReadonlyMap<number, ReadChoice>;
  /** It says itself that it is whole: [DONE] or its like, a last line with its reason and usage, or a JSON answer. */
  readonly isDone: boolean;
  readonly error: ReadError | undefined;
  readonly usage: Readonly<Record<string, unknown>> | undefined;
  readonly report: Readonly<Record<string, unknown>> | undefined;
  readonly keepAlives: number;
}

/** Throws an AssertionError where it is not of the wire's contract. */
export function readAnswer(raw: RawAnswer): Answer {
  const type = raw.headers['content-type'] ?? '';
  if (type.startsWith('text/event-stream')) {
    return /^\n*event: /.test(raw.text) ? readNamedEvents(raw) : readEventStream(raw);
  }
  if (type.startsWith('application/x-ndjson')) return readLines(raw);
  if (type.startsWith('application/json') && raw.text !== '') return readWhole(raw);
  return { ...raw, ...folded([]), form: 'none', events: [], isDone: false, keepAlives: 0 };
}

/** Events of `data: `, a line and a blank one, and keep-alives; nothing else. */
function readEventStream(raw: RawAnswer): Answer {
  const events: ReadEvent[] = [];
  let isDone = false;
  const keepAlives = eachEvent(raw.text, (event, end) => {
    assert.ok(event.startsWith('data: '), `no data: ${quoted(event)}`);
    const data = event.slice('data: '.length);
    assert.ok(!data.includes('\n'), `an event of several lines: ${quoted(data)}`);
    assert.ok(!isDone, `something comes after [DONE]: ${quoted(data)}`);
    if (data === '[DONE]') isDone = true;
    else events.push({ value: parsed(data), at: timeOf(raw, end) });
  });
  return { ...raw, ...folded(events), form: 'sse', events, isDone, keepAlives };
}

/** Events of two lines, `event: ` and `data: `, and a blank one, and keep-alives; some of the events are keep-alives too. */
function readNamedEvents(raw: RawAnswer): Answer {
  const events: ReadEvent[] = [];
  let read: EventReader | undefined;
  let namedKeepAlives = 0;
  let isDone = false;
  const keepAlives = eachEvent(raw.text, (event, end) => {
    const [, name = '', data = ''] = /^event: (.+)\ndata: (.+)$/.exec(event) ?? [];
    assert.ok(name !== '', `no named event: ${quoted(event)}`);
    assert.ok(!isDone, `something comes after the end: ${quoted(data)}`);
    read ??= readerOf(name);
    const told = read(name, parsed(data));
    if (told.isKeepAlive) namedKeepAlives += 1;
    if (told.chunk) events.push({ value: told.chunk, at: timeOf(raw, end) });
    isDone = told.isDone ?? false;
  });
  return {
    ...raw,
    ...folded(events),
    form: 'named',
    events,
    isDone,
    keepAlives: keepAlives + namedKeepAlives,
  };
}

/** Tells each event, and where its blank line ends. Returns how many bare line ends are between them: keep-alives. */
function eachEvent(text: string, tell: (event: string, end: number) => void): number {
  let keepAlives = 0;
  for (let at = 0; at < text.length; ) {
    if (text[at] === '\n') {
      keepAlives += 1;
      at += 1;
      continue;
    }
    const end = text.indexOf('\n\n', at);
    assert.ok(end >= 0, `an event without its end: ${quoted(text.slice(at))}`);
    tell(text.slice(at, end), end + 2);
    at = end + 2;
  }
  return keepAlives;
}

/** One JSON object a line; an empty line is a keep-alive. */
function readLines(raw: RawAnswer): Answer {
  const events: ReadEvent[] = [];
  let keepAlives = 0;
  let end = 0;
  assert.ok(
    raw.text === '' || raw.text.endsWith('\n'),
    `a line without its end: ${quoted(raw.text.slice(-80))}`,
  );
  for (const line of raw.text.split('\n').slice(0, -1)) {
    end += line.length + 1;
    if (line === '') keepAlives += 1;
    else events.push({ value: parsed(line), at: timeOf(raw, end) });
  }
  const last = events.at(-1)?.value;
  const isDone = last !== undefined && choicesOf(last)[0]?.finish_reason != null && 'usage' in last;
  return { ...raw, ...folded(events), form: 'ndjson', events, isDone, keepAlives };
}

function readWhole(raw: RawAnswer): Answer {
  const object = parsed(raw.text);
  const value = wholeOf(object)?.chunk ?? object;
  const events = [{ value, at: timeOf(raw, raw.text.length) }];
  return { ...raw, ...folded(events), form: 'json', events, isDone: 'choices' in value, keepAlives: 0 };
}

type Folded = Pick<Answer, 'choices' | 'error' | 'usage' | 'report'>;

function folded(events: readonly ReadEvent[]): Folded {
  const choices = new Map<number, ReadChoice>();
  let error: ReadError | undefined;
  let usage: Answer['usage'];
  let report: Answer['report'];
  for (const { value } of events) {
    assert.equal(error, undefined, 'something comes after an error');
    if ('error' in value) {
      assert.ok(!('choices' in value), 'an error is no part of an answer');
      error = value.error as ReadError;
      assert.equal(typeof error.message, 'string');
    }
    if (isObject(value.usage)) usage = value.usage;
    if (isObject(value.sluice)) report = value.sluice;
    for (const choice of choicesOf(value)) addChoice(choices, choice);
  }
  return { choices, error, usage, report };
}

function addChoice(choices: Map<number, ReadChoice>, value: Readonly<Record<string, unknown>>): void {
  const index = value.index as number;
  let choice = choices.get(index);
  if (!choice) {
    choice = { content: '', reasoning: '', toolCalls: [], finish: null, finishChunks: 0, roleChunks: 0 };
    choices.set(index, choice);
  }
  // A chunk's `delta`, a whole answer's `message`, or, in the dialects of text, the choice itself.
  const said = (value.delta ?? value.message ?? value) as Readonly<Record<string, unknown>>;
  choice.content += (said.content ?? said.text ?? '') as string;
  choice.reasoning += (said.reasoning_content ?? '') as string;
  if (said.role !== undefined) choice.roleChunks += 1;
  const calls = (said.tool_calls ?? []) as readonly ToolCallPiece[];
  for (const [place, piece] of calls.entries()) addToolCall(choice.toolCalls, piece, piece.index ?? place);
  if (value.finish_reason == null) return;
  choice.finish = value.finish_reason as string;
  choice.finishChunks += 1;
}

interface ToolCallPiece {
  readonly index?: number;
  readonly id?: string;
  readonly type?: string;
  readonly function?: { readonly name?: string; readonly arguments?: string };
}

function addToolCall(calls: ReadToolCall[], piece: ToolCallPiece, index: number): void {
  let call = calls.find((one) => one.index === index);
  if (!call) {
    call = { index, id: '', type: '', name: '', arguments: '' };
    calls.push(call);
  }
  call.id += piece.id ?? '';
  call.type += piece.type ?? '';
  call.name += piece.function?.name ?? '';
  const text = piece.function?.arguments ?? '';
  assert.equal(typeof text, 'string', 'arguments are text');
  call.arguments += text;
}

function choicesOf(value: Readonly<Record<string, unknown>>): readonly Readonly<Record<string, unknown>>[] {
  return (value.choices ?? []) as readonly Readonly<Record<string, unknown>>[];
}

/** When the read came that holds the last of so many characters. */
function timeOf({ reads }: RawAnswer, end: number): number {
  return reads.find((read) => read.end >= end)?.at ?? Number.NaN;
}

function parsed(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    if (isObject(value)) return value;
  } catch {
    // Said below, as for JSON of another kind.
  }
  assert.fail(`no JSON object: ${quoted(text)}`);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 200));
}
