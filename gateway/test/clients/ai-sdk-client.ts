// Vercel's AI SDK as its users write it, over its provider for OpenAI-compatible servers, and over that for OpenAI itself,
// which speaks Responses.
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateText, jsonSchema, type LanguageModel, streamText, type ToolSet, tool } from 'ai';
import { ALL, type Asked, type Client, errorOf, type Seen, use, WEATHER } from './client.ts';

type ModelOf = (asked: Asked) => LanguageModel;

export const aiSdk: Client = {
  name: 'Vercel AI SDK',
  shows: ALL,
  missing: undefined,
  ask: (asked) =>
    ask(asked, ({ url, model }) =>
      createOpenAICompatible({
        name: 'sluice',
        baseURL: `${url}/v1`,
        apiKey: 'none',
        includeUsage: true,
      })(model),
    ),
};

export const aiSdkOpenAi: Client = {
  name: 'Vercel AI SDK, openai()',
  // Of a thought it shows the summary, to those who ask for one.
  shows: { ...ALL, reasoning: false },
  missing: undefined,
  ask: (asked) =>
    ask(asked, ({ url, model }) => createOpenAI({ baseURL: `${url}/v1`, apiKey: 'none' })(model)),
};

function ask(asked: Asked, modelOf: ModelOf): Promise<Seen> {
  return use(
    asked,
    (_, seen) => stream(asked, modelOf, seen),
    (_, seen) => whole(asked, modelOf, seen),
  );
}

async function whole(asked: Asked, modelOf: ModelOf, seen: Seen): Promise<void> {
  const { text, reasoningText, finishReason, usage, toolCalls } = await generateText(callOf(asked, modelOf));
  if (text) seen.pieces.push(text);
  seen.reasoning = reasoningText ?? '';
  seen.finish = finishReason;
  seen.completionTokens = usage.outputTokens;
  seen.toolCalls = toolCalls.map(({ toolName, input }) => ({ name: toolName, arguments: input }));
}

async function stream(asked: Asked, modelOf: ModelOf, seen: Seen): Promise<void> {
  const leaving = new AbortController();
  const { fullStream } = streamText({
    ...callOf(asked, modelOf),
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

function callOf(asked: Asked, modelOf: ModelOf) {
  const { prompt, maxTokens, tools } = asked;
  const weather: ToolSet = {
    [WEATHER.name]: tool({
      description: WEATHER.description,
      inputSchema: jsonSchema<{ city: string }>({ ...WEATHER.parameters, required: ['city'] }),
    }),
  };
  return {
    model: modelOf(asked),
    prompt,
    maxOutputTokens: maxTokens,
    maxRetries: 0,
    ...(tools && { tools: weather }),
  };
}
