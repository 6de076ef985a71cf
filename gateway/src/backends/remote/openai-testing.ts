// For tests of answers in OpenAI's dialects: a server's events as text, and their way through the readers.
// It must never be needed outside of tests.
import type { ChatRequest, TokenEvent } from '../../core/chat.ts';
import { optionsWith, requestWith } from './answer-testing.ts';
import { EventStreamReader, MAX_EVENT_BYTES } from './event-stream-reader.ts';
import { OpenAiAnswer } from './openai-answer.ts';
import type { AnswerOptions } from './upstream-answer.ts';
import type { Traits } from './vendors.ts';

export const head = { id: 'c-1', object: 'chat.completion.chunk', created: 1, model: 'up' };
export const event = (value: unknown): string => `data: ${JSON.stringify(value)}\n\n`;
export const choice = (members: object, index = 0): string =>
  event({ ...head, choices: [{ index, ...members }] });
export const delta = (members: object, index = 0): string =>
  choice({ delta: members, finish_reason: null }, index);
export const text = (content: string, index = 0): string => delta({ content }, index);
export const ended = (reason: string, index = 0): string =>
  choice({ delta: {}, finish_reason: reason }, index);
export const usage = (prompt: number, completion: number): object => ({
  prompt_tokens: prompt,
  completion_tokens: completion,
  total_tokens: prompt + completion,
});
export const DONE = 'data: [DONE]\n\n';
export const CALL = {
  index: 0,
  id: 'call_a',
  type: 'function',
  function: { name: 'f', arguments: '{"p":1}' },
};
export const TOOL = { name: 'f', parameters: undefined, isStrict: false, path: 'tools[0]', original: {} };

interface Played {
  readonly events: TokenEvent[];
  readonly answer: OpenAiAnswer;
}

export interface How {
  readonly request?: Partial<ChatRequest>;
  readonly traits?: Partial<Traits>;
  readonly more?: Partial<AnswerOptions>;
  /** No event is taken by its bytes alone. */
  readonly parsesAll?: boolean;
}

export function open({ request, traits, more }: How = {}): Played {
  const events: TokenEvent[] = [];
  return { events, answer: new OpenAiAnswer(optionsWith(events, requestWith(request), traits, more)) };
}

/** `size`: of the first piece; `next`: of those after it. */
export function play(stream: Buffer, how?: How, size = stream.length, next = stream.length): TokenEvent[] {
  const reads = [stream.subarray(0, size)];
  for (let at = size; at < stream.length; at += next) reads.push(stream.subarray(at, at + next));
  return playReads(reads, how);
}

/** Pushes what came, read by read, and the end. Throws what the answer failed by. */
export function playReads(reads: readonly Buffer[], how?: How): TokenEvent[] {
  const { answer, events } = open(how);
  const reader = new EventStreamReader({
    onEvent: (data, name) => answer.data(data, name),
    takeKnown: how?.parsesAll ? undefined : (bytes, at) => answer.known(bytes, at),
    maxEventBytes: MAX_EVENT_BYTES,
  });
  for (const read of reads) reader.push(read);
  reader.end();
  answer.end();
  return events;
}
