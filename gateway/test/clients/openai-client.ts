// OpenAI's client for Node, as its users write it.
import OpenAI from 'openai';
import { ALL, type Asked, type Client, type Seen, use, WEATHER } from './client.ts';

/** What servers that show their thinking add to OpenAI's own types. */
interface Thinking {
  readonly reasoning_content?: string;
}

export const openaiNode: Client = {
  name: 'openai (Node)',
  shows: ALL,
  missing: undefined,
  ask: (asked) => use(asked, stream, whole),
};

async function whole(asked: Asked, seen: Seen): Promise<void> {
  const { choices, usage } = await clientOf(asked).chat.completions.create({
    ...bodyOf(asked),
    stream: false,
  });
  const { message, finish_reason } = choices[0]!;
  if (message.content) seen.pieces.push(message.content);
  seen.reasoning = (message as Thinking).reasoning_content ?? '';
  seen.finish = finish_reason;
  seen.completionTokens = usage?.completion_tokens;
  seen.toolCalls = (message.tool_calls ?? []).map((call) => {
    if (call.type !== 'function') throw new Error('It called something that is no function.');
    return { name: call.function.name, arguments: JSON.parse(call.function.arguments) };
  });
}

async function stream(asked: Asked, seen: Seen): Promise<void> {
  const chunks = await clientOf(asked).chat.completions.create({
    ...bodyOf(asked),
    stream: true,
    stream_options: { include_usage: true },
  });
  const calls: { name: string; arguments: string }[] = [];
  for await (const { choices, usage } of chunks) {
    seen.completionTokens = usage?.completion_tokens ?? seen.completionTokens;
    const [choice] = choices;
    if (!choice) continue;
    const { delta, finish_reason } = choice;
    seen.reasoning += (delta as Thinking).reasoning_content ?? '';
    seen.finish = finish_reason ?? seen.finish;
    for (const { index, function: part } of delta.tool_calls ?? []) {
      calls[index] ??= { name: '', arguments: '' };
      calls[index].name += part?.name ?? '';
      calls[index].arguments += part?.arguments ?? '';
    }
    if (delta.content) seen.pieces.push(delta.content);
    if (seen.pieces.length === asked.leaveAfter) break;
  }
  if (asked.leaveAfter !== undefined) await asked.afterLeaving?.();
  seen.toolCalls = calls.map((call) => ({ name: call.name, arguments: JSON.parse(call.arguments) }));
}

function clientOf({ url }: Asked): OpenAI {
  return new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 });
}

function bodyOf({ model, prompt, maxTokens, tools }: Asked) {
  return {
    model,
    messages: [{ role: 'user' as const, content: prompt }],
    max_tokens: maxTokens,
    ...(tools && { tools: [{ type: 'function' as const, function: WEATHER }] }),
  };
}
