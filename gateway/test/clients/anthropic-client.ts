// Anthropic's client for Node, as its users write it: a stream read event by event, or a message.
import Anthropic from '@anthropic-ai/sdk';
import { ALL, type Asked, type Client, type Seen, use, WEATHER } from './client.ts';

export const anthropicNode: Client = {
  name: 'Anthropic (Node)',
  shows: ALL,
  missing: undefined,
  ask: (asked) => use(asked, stream, whole),
};

/** Why it ended, in the words of the suite's other clients. */
const FINISHES: Readonly<Record<string, string>> = {
  end_turn: 'stop',
  max_tokens: 'length',
  tool_use: 'tool_calls',
};

async function whole(asked: Asked, seen: Seen): Promise<void> {
  note(await clientOf(asked).messages.create({ ...bodyOf(asked), stream: false }), seen);
}

async function stream(asked: Asked, seen: Seen): Promise<void> {
  const events = clientOf(asked).messages.stream(bodyOf(asked));
  for await (const event of events) {
    if (event.type !== 'content_block_delta') continue;
    if (event.delta.type === 'text_delta') seen.pieces.push(event.delta.text);
    if (seen.pieces.length === asked.leaveAfter) break;
  }
  if (asked.leaveAfter !== undefined) {
    await asked.afterLeaving?.();
    return;
  }
  note(await events.finalMessage(), { ...seen, pieces: [] }, seen);
}

/** What a message holds; its text only where it did not come in pieces. */
function note({ content, stop_reason: reason, usage }: Anthropic.Message, texts: Seen, seen = texts): void {
  for (const block of content) {
    if (block.type === 'text') texts.pieces.push(block.text);
    if (block.type === 'thinking') seen.reasoning += block.thinking;
    if (block.type === 'tool_use') {
      seen.toolCalls = [...seen.toolCalls, { name: block.name, arguments: block.input }];
    }
  }
  seen.finish = reason === null ? undefined : (FINISHES[reason] ?? reason);
  seen.completionTokens = usage.output_tokens;
}

function clientOf({ url }: Asked): Anthropic {
  return new Anthropic({ baseURL: url, apiKey: 'none', maxRetries: 0 });
}

function bodyOf({ model, prompt, maxTokens, tools }: Asked) {
  const { name, description, parameters } = WEATHER;
  const schema = { ...parameters, required: ['city'] };
  return {
    model,
    max_tokens: maxTokens,
    messages: [{ role: 'user' as const, content: prompt }],
    ...(tools && { tools: [{ name, description, input_schema: schema }] }),
  };
}
