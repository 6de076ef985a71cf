// Good answers of OpenAI's chat dialect as an upstream writes them: what scripts are made of, and then spoilt.
// Pure: no input, no output.
import type { Script } from './script.ts';

const HEAD = { id: 'c-1', created: 1_764_000_000, model: 'up' };

export const DONE = 'data: [DONE]\n\n';
export const EVENT_STREAM = { 'content-type': 'text/event-stream' } as const;
export const JSON_BODY = { 'content-type': 'application/json' } as const;

/** An event that carries a value. */
export function eventOf(value: unknown): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}

/** A chunk with one choice. `rest`: members beside `choices`, such as `usage`. */
export function chunkOf(choice: object, rest: object = {}): string {
  const choices = [{ index: 0, finish_reason: null, ...choice }];
  return eventOf({ ...HEAD, object: 'chat.completion.chunk', choices, ...rest });
}

/** A chunk that says something. */
export function textChunk(content: string, index = 0): string {
  return chunkOf({ index, delta: { content } });
}

/** A chunk that holds pieces of tool calls, as the dialect has them. */
export function toolChunk(...calls: readonly object[]): string {
  return chunkOf({ delta: { tool_calls: calls } });
}

/** A choice's last chunk. */
export function endChunk(reason = 'stop', index = 0): string {
  return chunkOf({ index, delta: {}, finish_reason: reason });
}

/** A whole stream that says these texts, a write each. */
export function streamOf(...texts: readonly string[]): Script {
  const opening = chunkOf({ delta: { role: 'assistant', content: '' } });
  const words = texts.map((text) => textChunk(text));
  return { headers: EVENT_STREAM, chunks: [opening, ...words, endChunk(), DONE] };
}

/** The same at a pace: `ms` before each text. */
export function slowStreamOf(ms: number, ...texts: readonly string[]): Script {
  return { ...streamOf(...texts), delaysMs: [0, ...texts.map(() => ms)] };
}

/** A whole answer as one JSON object. */
export function jsonOf(content: string, usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 }) {
  const choices = [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }];
  const body = JSON.stringify({ ...HEAD, object: 'chat.completion', choices, usage });
  return { headers: JSON_BODY, chunks: [body] } satisfies Script;
}

/** A refusal in OpenAI's shape. */
export function refusalOf(status: number, error: object, headers: Readonly<Record<string, string>> = {}) {
  const body = JSON.stringify({ error });
  return { status, headers: { ...JSON_BODY, ...headers }, chunks: [body] } satisfies Script;
}
