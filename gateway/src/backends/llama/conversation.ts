// From the client's messages to what crosses to the engine: plain texts, of a bounded size.
// It must never look at a template or a token: those are the engine's process.
// Pure.
import type { ChatRequest, Message } from '../../core/chat.ts';
import { GatewayError } from '../../core/errors.ts';
import { engineToolsOf } from './answer-format.ts';
import type { EngineMessage, EnginePrompt } from './messages.ts';

/** No vocabulary in use packs real text tighter than this: beyond it a prompt is refused without being counted. */
export const MOST_BYTES_PER_TOKEN = 16;
/** For estimates shown to people: ordinary prose. */
const USUAL_BYTES_PER_TOKEN = 4;

/**
 * The prompt to send. Throws `invalid_request` for content that is not text, and `context_length_exceeded` for what
 * is so long that counting it would only block the engine; the exact check is the engine's.
 */
export function toEnginePrompt(request: ChatRequest, contextTokens: number): EnginePrompt {
  const { prompt } = request;
  const begunBytes = bytesBegun(request);
  if (prompt.kind === 'text') {
    const { text, suffix } = prompt;
    const bytes = Buffer.byteLength(text) + Buffer.byteLength(suffix ?? '') + begunBytes;
    refuseOversized(bytes, 0, contextTokens, 'prompt');
    return { kind: 'text', text: text.toWellFormed(), suffix: suffix?.toWellFormed() };
  }
  if (prompt.messages.length === 0) {
    throw new GatewayError('invalid_request', 'A conversation needs at least one message.', {
      param: 'messages',
    });
  }
  let bytes = begunBytes;
  const messages: EngineMessage[] = [];
  for (const [index, message] of prompt.messages.entries()) {
    const plain = toEngineMessage(message, index);
    bytes += Buffer.byteLength(plain.content) + Buffer.byteLength(plain.reasoning ?? '');
    messages.push(plain);
  }
  const tools = engineToolsOf(request);
  if (tools !== undefined) bytes += Buffer.byteLength(JSON.stringify(tools.definitions));
  refuseOversized(bytes, messages.length, contextTokens, 'messages');
  return { kind: 'messages', messages, enableThinking: enableThinking(request.extra), tools };
}

/** Of what there is of the answer already. A model's own tokens fit its window. */
function bytesBegun({ continueFrom }: ChatRequest): number {
  const choice = continueFrom?.choices[0];
  if (choice === undefined || choice.tokens) return 0;
  return Buffer.byteLength(choice.text) + Buffer.byteLength(choice.reasoning);
}

function toEngineMessage(message: Message, index: number): EngineMessage {
  return {
    // Few templates know 'developer', and it is the newer word for the same thing.
    role: message.role === 'developer' ? 'system' : message.role,
    content: textOf(message, index).toWellFormed(),
    reasoning: message.reasoning?.toWellFormed(),
    name: message.name?.toWellFormed(),
    toolCallId: message.toolCallId?.toWellFormed(),
    toolCalls: message.toolCalls,
  };
}

function textOf(message: Message, index: number): string {
  const { content } = message;
  if (content === null) return '';
  if (typeof content === 'string') return content;
  return content
    .map((part, place) => {
      if (part.type === 'text') return part.text;
      throw new GatewayError(
        'invalid_request',
        `This model reads only text; a message holds a part of the kind '${part.kind}'.`,
        { param: `messages[${index}].content[${place}]` },
      );
    })
    .join('');
}

/** Qwen's and vLLM's switch, for templates that have one. */
function enableThinking(extra: ChatRequest['extra']): boolean | undefined {
  const inner = extra.chat_template_kwargs;
  const value =
    extra.enable_thinking ??
    (typeof inner === 'object' && inner !== null
      ? (inner as { enable_thinking?: unknown }).enable_thinking
      : undefined);
  return typeof value === 'boolean' ? value : undefined;
}

function refuseOversized(bytes: number, messages: number, contextTokens: number, param: string): void {
  // Every template spends at least a token on a message, and in practice three or more.
  if (bytes <= contextTokens * MOST_BYTES_PER_TOKEN && messages < contextTokens) return;
  const about = Math.ceil(bytes / USUAL_BYTES_PER_TOKEN) + messages * 3;
  throw new GatewayError(
    'context_length_exceeded',
    `This prompt has about ${about} tokens (estimated from its ${bytes} bytes${
      messages > 0 ? ` in ${messages} messages` : ''
    }); the context window is ${contextTokens} tokens.`,
    { param },
  );
}
