// OpenAI's client for Node in its newer dialect, as its users write it.
import OpenAI from 'openai';
import type { Response, ResponseOutputItem } from 'openai/resources/responses/responses';
import { ALL, type Asked, type Client, type Seen, use, WEATHER } from './client.ts';

export const openaiResponsesNode: Client = {
  name: 'openai (Node), Responses',
  shows: ALL,
  missing: undefined,
  ask: (asked) => use(asked, stream, whole),
};

/** Why it ended, in the words of the suite's other clients. */
const FINISHES: Readonly<Record<string, string>> = { max_output_tokens: 'length' };

async function whole(asked: Asked, seen: Seen): Promise<void> {
  const response = await clientOf(asked).responses.create({ ...bodyOf(asked), stream: false });
  if (response.output_text) seen.pieces.push(response.output_text);
  for (const item of response.output) {
    if (item.type === 'reasoning') seen.reasoning += item.content?.map(({ text }) => text).join('') ?? '';
    noteCall(item, seen);
  }
  noteEnd(response, seen);
}

async function stream(asked: Asked, seen: Seen): Promise<void> {
  const events = await clientOf(asked).responses.create({ ...bodyOf(asked), stream: true });
  for await (const event of events) {
    switch (event.type) {
      case 'response.output_text.delta':
        seen.pieces.push(event.delta);
        break;
      case 'response.reasoning_text.delta':
        seen.reasoning += event.delta;
        break;
      case 'response.output_item.done':
        noteCall(event.item, seen);
        break;
      case 'response.completed':
      case 'response.incomplete':
        noteEnd(event.response, seen);
        break;
    }
    if (seen.pieces.length === asked.leaveAfter) break;
  }
  if (asked.leaveAfter !== undefined) await asked.afterLeaving?.();
}

function noteCall(item: ResponseOutputItem, seen: Seen): void {
  if (item.type !== 'function_call') return;
  seen.toolCalls = [...seen.toolCalls, { name: item.name, arguments: JSON.parse(item.arguments) }];
}

/** This dialect has no word for why a whole answer ended: its users look whether there is something to call. */
function noteEnd({ status, incomplete_details, usage }: Response, seen: Seen): void {
  const whole = seen.toolCalls.length > 0 ? 'tool_calls' : 'stop';
  seen.finish =
    status === 'completed'
      ? whole
      : (FINISHES[String(incomplete_details?.reason)] ?? incomplete_details?.reason);
  seen.completionTokens = usage?.output_tokens;
}

function clientOf({ url }: Asked): OpenAI {
  return new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 });
}

function bodyOf({ model, prompt, maxTokens, tools }: Asked) {
  return {
    model,
    input: prompt,
    max_output_tokens: maxTokens,
    ...(tools && { tools: [{ type: 'function' as const, strict: true, ...WEATHER }] }),
  };
}
