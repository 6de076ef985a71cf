// Vercel's AI SDK over its provider for OpenAI-compatible servers, as its users write it.
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateText, jsonSchema, streamText, type ToolSet, tool } from 'ai';
import { ALL, type Asked, type Client, errorOf, nothingSeen, type Seen, WEATHER } from './client.ts';

export const aiSdk: Client = { name: 'Vercel AI SDK', shows: ALL, missing: undefined, ask };

async function ask(asked: Asked): Promise<Seen> {
  const seen = nothingSeen();
  try {
    await (asked.stream ? stream(asked, seen) : whole(asked, seen));
  } catch (thrown) {
    seen.error = errorOf(thrown);
  }
  return seen;
}

async function whole(asked: Asked, seen: Seen): Promise<void> {
  const { text, reasoningText, finishReason, usage, toolCalls } = await generateText(callOf(asked));
  if (text) seen.pieces.push(text);
  seen.reasoning = reasoningText ?? '';
  seen.finish = finishReason;
  seen.completionTokens = usage.outputTokens;
  seen.toolCalls = toolCalls.map(({ toolName, input }) => ({ name: toolName, arguments: input }));
}

async function stream(asked: Asked, seen: Seen): Promise<void> {
  const leaving = new AbortController();
  const { fullStream } = streamText({
    ...callOf(asked),
    abortSignal: leaving.signal,
    // Its default prints what the stream tells as well.
    onError: () => {},
  });
  for await (const part of fullStream) {
    switch (part.type) {
      case 'text-delta':
        seen.pieces.push(part.text);
        if (seen.pieces.length === asked.leaveAfter) leaving.abort();
        break;
      case 'reasoning-delta':
        seen.reasoning += part.text;
        break;
      case 'tool-call':
        seen.toolCalls = [...seen.toolCalls, { name: part.toolName, arguments: part.input }];
        break;
      case 'finish':
        seen.finish = part.finishReason;
        seen.completionTokens = part.totalUsage.outputTokens;
        break;
      case 'error':
        seen.error = errorOf(part.error);
        break;
    }
  }
  if (asked.leaveAfter !== undefined) await asked.afterLeaving?.();
}

function callOf({ url, model, prompt, maxTokens, tools }: Asked) {
  const provider = createOpenAICompatible({
    name: 'sluice',
    baseURL: `${url}/v1`,
    apiKey: 'none',
    includeUsage: true,
  });
  const weather: ToolSet = {
    [WEATHER.name]: tool({
      description: WEATHER.description,
      inputSchema: jsonSchema<{ city: string }>({ ...WEATHER.parameters, required: ['city'] }),
    }),
  };
  return {
    model: provider(model),
    prompt,
    maxOutputTokens: maxTokens,
    maxRetries: 0,
    ...(tools && { tools: weather }),
  };
}
