// A request as Ollama's own API has it: only there can its window be set, and a prompt that does not fit is otherwise cut
// in silence.
// Pure: it makes text.
import { type ChatRequest, type Message, type Prompt, promptUnits } from '../../core/chat.ts';
import { GatewayError } from '../../core/errors.ts';
import { thinkingAsked, tokensLeft, type UpstreamText } from './openai-request.ts';
import { samplingFields } from './sampling-fields.ts';

/** No tokenizer makes tokens of more characters than this, over a whole text: under it a prompt may fit. */
const MOST_UNITS_PER_TOKEN = 6;

/** Throws `invalid_request` for what the API cannot express, `context_length_exceeded` for what it would cut. */
export function ollamaRequest(
  request: ChatRequest,
  contextWindow: number | undefined,
  prefix: string | undefined,
): UpstreamText {
  const { prompt, sampling } = request;
  const asked = askedOf(prompt, prefix);
  refuseWhatIsCut(prompt, contextWindow);
  const options = withoutAbsent({
    ...samplingFields(sampling),
    seed: request.extra.seed ?? sampling.seed,
    repeat_penalty: sampling.repetitionPenalty,
    num_predict: tokensLeft(request),
    num_ctx: contextWindow,
    stop: request.stop.length > 0 ? request.stop : undefined,
  });
  const think = thinkingAsked(request.extra);
  const body = withoutAbsent({
    model: request.model,
    ...asked,
    stream: true,
    options,
    think,
    tools: request.toolChoice === 'none' ? undefined : request.tools?.map((tool) => tool.original),
    format: formatOf(request),
    keep_alive: request.extra.keep_alive,
  });
  const path = prompt.kind === 'text' ? '/api/generate' : '/api/chat';
  return { path, body: JSON.stringify(body) };
}

/** A conversation, or a gap between two texts: without one its templates would make a conversation of a text. */
function askedOf(prompt: Prompt, prefix: string | undefined): object {
  if (prompt.kind === 'text') {
    const { text, suffix } = prompt;
    if (suffix !== undefined) return { prompt: text + (prefix ?? ''), suffix };
    throw new GatewayError('invalid_request', 'The back end of this model takes conversations only.', {
      param: 'prompt',
    });
  }
  const messages = prompt.messages.map(messageBody);
  if (prefix !== undefined) messages.push({ role: 'assistant', content: prefix });
  return { messages };
}

function refuseWhatIsCut(prompt: Prompt, contextWindow: number | undefined): void {
  const least = Math.ceil(promptUnits(prompt) / MOST_UNITS_PER_TOKEN);
  if (contextWindow === undefined || least <= contextWindow) return;
  throw new GatewayError(
    'context_length_exceeded',
    `The prompt has at least ${least} tokens, and the model's window has ${contextWindow}; the back end would cut it in silence.`,
    { param: prompt.kind === 'text' ? 'prompt' : 'messages' },
  );
}

function formatOf({ responseFormat }: ChatRequest): unknown {
  if (responseFormat?.kind === 'json') return 'json';
  return responseFormat?.kind === 'schema' ? responseFormat.schema : undefined;
}

function messageBody({ role, content, name, toolCalls }: Message): object {
  let text = '';
  const images: string[] = [];
  if (typeof content === 'string') text = content;
  for (const part of Array.isArray(content) ? content : []) {
    if (part.type === 'text') text += part.text;
    else images.push(imageOf(part));
  }
  return withoutAbsent({
    role: role === 'developer' ? 'system' : role,
    content: text,
    images: images.length > 0 ? images : undefined,
    tool_name: role === 'tool' ? name : undefined,
    tool_calls: toolCalls?.map(toolCallBody),
  });
}

/** The API takes an image's bytes, never its address; nothing is fetched here. */
function imageOf(part: { readonly kind: string; readonly value: unknown }): string {
  const url = (part.value as { image_url?: { url?: unknown } }).image_url?.url;
  const data = typeof url === 'string' ? /^data:image\/[\w.+-]+;base64,(.+)$/s.exec(url) : null;
  if (part.kind === 'image_url' && data) return data[1]!;
  throw new GatewayError(
    'invalid_request',
    'The back end of this model takes text, and images as data: URLs; nothing else.',
    { param: 'messages' },
  );
}

/** Arguments are text with OpenAI, an object here. */
function toolCallBody(call: unknown): object {
  const { name, arguments: text } =
    (call as { function?: { name?: unknown; arguments?: unknown } }).function ?? {};
  if (typeof text !== 'string') return { function: { name, arguments: text ?? {} } };
  try {
    return { function: { name, arguments: JSON.parse(text) } };
  } catch {
    throw new GatewayError(
      'invalid_request',
      'A tool call of the conversation has arguments that are not JSON.',
      {
        param: 'messages',
      },
    );
  }
}

function withoutAbsent(members: Readonly<Record<string, unknown>>): object {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined));
}
