// LangChain's ChatOpenAI for JavaScript, as its users write it.
import type { AIMessageChunk } from '@langchain/core/messages';
import { ChatOpenAI } from '@langchain/openai';
import { ALL, type Asked, type Client, type Seen, use, WEATHER } from './client.ts';

export const langchainNode: Client = {
  name: 'LangChain (JavaScript)',
  shows: ALL,
  missing: undefined,
  ask: (asked) => use(asked, stream, whole),
};

async function whole(asked: Asked, seen: Seen): Promise<void> {
  const answer = await modelOf(asked).invoke(asked.prompt);
  if (answer.text) seen.pieces.push(answer.text);
  seen.reasoning = String(answer.additional_kwargs.reasoning_content ?? '');
  note(answer, seen);
}

async function stream(asked: Asked, seen: Seen): Promise<void> {
  const leaving = new AbortController();
  let answer: AIMessageChunk | undefined;
  try {
    for await (const chunk of await modelOf(asked).stream(asked.prompt, { signal: leaving.signal })) {
      seen.reasoning += String(chunk.additional_kwargs.reasoning_content ?? '');
      if (chunk.text) seen.pieces.push(chunk.text);
      answer = answer === undefined ? chunk : answer.concat(chunk);
      if (seen.pieces.length === asked.leaveAfter) leaving.abort();
    }
  } catch (thrown) {
    if (!leaving.signal.aborted) throw thrown;
  }
  if (asked.leaveAfter !== undefined) await asked.afterLeaving?.();
  if (answer) note(answer, seen);
}

/** What an answer and the sum of its chunks have in common. */
interface Ended {
  readonly response_metadata: Readonly<Record<string, unknown>>;
  readonly usage_metadata?: { readonly output_tokens: number } | undefined;
  readonly tool_calls?: readonly { readonly name: string; readonly args: unknown }[] | undefined;
}

function note({ response_metadata, usage_metadata, tool_calls = [] }: Ended, seen: Seen): void {
  seen.finish = String(response_metadata.finish_reason);
  seen.completionTokens = usage_metadata?.output_tokens;
  seen.toolCalls = tool_calls.map(({ name, args }) => ({ name, arguments: args }));
}

function modelOf({ url, model, maxTokens, tools }: Asked) {
  const chat = new ChatOpenAI({
    model,
    apiKey: 'none',
    maxTokens,
    maxRetries: 0,
    configuration: { baseURL: `${url}/v1` },
  });
  return tools ? chat.bindTools([{ type: 'function' as const, function: WEATHER }]) : chat;
}
