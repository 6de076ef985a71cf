// A request of Anthropic's messages dialect, in our words: blocks become texts, parts, tool calls and their results.
// It must never drop in silence what the model was to see, and adds no words of its own: what it cannot say is refused by its
// place. What only that vendor's own servers do (caching marks, containers, its tools) is not for the model: marks are skipped,
// tools are refused.
import { z } from 'zod';
import type { ChatRequest, ContentPart, Message, Tool, ToolChoice } from '../../../core/chat.ts';
import type { FieldNames, MessageOrigin } from '../../field-names.ts';
import { plainContent } from '../../plain-content.ts';
import { type MarkedMessage, prefillOf } from '../../prefill.ts';
import {
  bodyReader,
  isNullish,
  isObject,
  listOf,
  modelField,
  numberField,
  optional,
  samplingFields,
  stopsOf,
  textOr,
} from '../../request-fields.ts';
import { checkedTools, MAX_TOOLS } from '../../tools.ts';

type Members = Readonly<Record<string, unknown>>;

/** A block, read as far as it goes: what it says in a message of its own role, or the answer to a tool call. */
type Block =
  | { readonly kind: 'part'; readonly part: ContentPart }
  | { readonly kind: 'thought'; readonly text: string }
  | { readonly kind: 'call'; readonly call: object }
  | { readonly kind: 'result'; readonly toolCallId: string; readonly content: Message['content'] };

const BLOCK = 'must be a block, an object with a "type"';
const CONTENT = 'must be a text or a list of blocks';
const TEXT = 'must be a text';
const SYSTEM = 'must be a text or a list of text blocks';
const TOOL_NAME = 'must be a name of 1 to 128 letters, digits, hyphens and underscores';
const CHOICE = 'must be {"type": "auto"}, "any", "none", or {"type": "tool", "name"}';
const THINKING = 'must be {"type": "enabled", "budget_tokens"}, {"type": "disabled"} or {"type": "adaptive"}';

type Fault = (path: (string | number)[], message: string) => never;

function faultOf(context: z.RefinementCtx): Fault {
  return (path, message) => {
    context.addIssue({ code: 'custom', path, message });
    return z.NEVER;
  };
}

const object = z.custom<Members>(isObject, BLOCK);

const block = object.transform((value, context): Block | undefined => {
  const fault = faultOf(context);
  switch (value.type) {
    case 'text':
      return typeof value.text === 'string' ? textBlock(value.text) : fault(['text'], TEXT);
    case 'image':
      return imageBlock(value.source, fault);
    case 'document':
      return documentBlock(value, fault);
    case 'thinking':
      return typeof value.thinking === 'string'
        ? { kind: 'thought', text: value.thinking }
        : fault(['thinking'], TEXT);
    // It is a thought that only its own vendor can read.
    case 'redacted_thinking':
      return undefined;
    case 'tool_use':
      return callBlock(value, fault);
    case 'tool_result':
      return resultBlock(value, context, fault);
    default:
      return fault(
        ['type'],
        'must be text, image, document, thinking, redacted_thinking, tool_use or tool_result: no other kind of block is known here',
      );
  }
});

function textBlock(text: string): Block {
  return { kind: 'part', part: { type: 'text', text } };
}

/** In the words in which back ends take pictures. */
function imageBlock(source: unknown, fault: Fault): Block {
  const url = urlOf(source);
  if (url === undefined) return fault(['source'], 'must be a picture in base64 or a URL');
  const value = { type: 'image_url', image_url: { url } };
  return { kind: 'part', part: { type: 'other', kind: 'image_url', value } };
}

function documentBlock({ source, title }: Members, fault: Fault): Block {
  if (isObject(source) && source.type === 'text' && typeof source.data === 'string') {
    return textBlock(source.data);
  }
  const url = isObject(source) && source.type === 'base64' ? urlOf(source) : undefined;
  if (url === undefined) return fault(['source'], 'must be a text or a file in base64');
  const file = { file_data: url, filename: typeof title === 'string' ? title : 'document' };
  return { kind: 'part', part: { type: 'other', kind: 'file', value: { type: 'file', file } } };
}

function urlOf(source: unknown): string | undefined {
  if (!isObject(source)) return undefined;
  const { type, media_type: mediaType, data, url } = source;
  if (type === 'url') return typeof url === 'string' ? url : undefined;
  if (type !== 'base64' || typeof mediaType !== 'string' || typeof data !== 'string') return undefined;
  return `data:${mediaType};base64,${data}`;
}

function callBlock({ id, name, input }: Members, fault: Fault): Block {
  if (typeof id !== 'string' || id === '') return fault(['id'], 'must be the id of the call');
  if (typeof name !== 'string' || name === '') return fault(['name'], 'must be the name of a tool');
  if (!isNullish(input) && !isObject(input)) return fault(['input'], 'must be an object');
  const call = { id, type: 'function', function: { name, arguments: JSON.stringify(input ?? {}) } };
  return { kind: 'call', call };
}

function resultBlock(
  { tool_use_id: toolCallId, content }: Members,
  context: z.RefinementCtx,
  fault: Fault,
): Block {
  if (typeof toolCallId !== 'string' || toolCallId === '') {
    return fault(['tool_use_id'], 'must be the id of a tool_use block');
  }
  if (isNullish(content)) return { kind: 'result', toolCallId, content: '' };
  const read = resultContent.safeParse(content);
  if (!read.success) {
    const issue = read.error.issues[0]!;
    context.addIssue({ code: 'custom', path: ['content', ...issue.path], message: issue.message });
    return z.NEVER;
  }
  return { kind: 'result', toolCallId, content: read.data };
}

const resultPart = object.transform((value, context): ContentPart => {
  const fault = faultOf(context);
  if (value.type === 'text' && typeof value.text === 'string') return { type: 'text', text: value.text };
  const read = value.type === 'image' ? imageBlock(value.source, fault) : undefined;
  return read?.kind === 'part'
    ? read.part
    : fault(['type'], 'must be text or image in the result of a tool call');
});

const resultContent = textOr(listOf(resultPart, CONTENT)).transform((content) =>
  typeof content === 'string' ? content : plainContent(content),
);

const systemBlock = object.transform((value, context): string => {
  if (value.type === 'text' && typeof value.text === 'string') return value.text;
  return faultOf(context)(['type'], 'must be text');
});

interface Turn {
  readonly role: 'user' | 'assistant';
  readonly blocks: readonly Block[];
  /** The blocks are a message's parts, one for one. */
  readonly isParts: boolean;
}

const turn = z.unknown().transform((value, context): Turn => {
  const fault = faultOf(context);
  if (!isObject(value)) return fault([], 'must be a message, an object with a "role"');
  const { role, content } = value;
  if (role !== 'user' && role !== 'assistant') return fault(['role'], 'must be user or assistant');
  if (typeof content === 'string') return { role, blocks: [textBlock(content)], isParts: false };
  const read = blocks.safeParse(content);
  if (!read.success) {
    const issue = read.error.issues[0]!;
    return fault(['content', ...(issue.path as (string | number)[])], issue.message);
  }
  const all = read.data.filter((one) => one !== undefined);
  const strange = role === 'user' ? ['call', 'thought'] : ['result'];
  const at = read.data.findIndex((one) => one !== undefined && strange.includes(one.kind));
  if (at >= 0) return fault(['content', at, 'type'], `is no block of a message of the ${role}`);
  return { role, blocks: all, isParts: read.data.every((one) => one?.kind === 'part') };
});

const blocks = listOf(block, CONTENT);

const tool = z
  .custom<Members>(isObject, 'must be a tool, an object with a "name"')
  .transform((value, context): Omit<Tool, 'path'> => {
    const fault = faultOf(context);
    const { type, name, description, input_schema: schema, strict } = value;
    if (!isNullish(type) && type !== 'custom') {
      return fault(['type'], "must be custom: this server has none of the vendor's own tools");
    }
    if (typeof name !== 'string' || !/^[\w-]{1,128}$/.test(name)) return fault(['name'], TOOL_NAME);
    if (!isNullish(description) && typeof description !== 'string') return fault(['description'], TEXT);
    if (!isNullish(schema) && !isObject(schema)) {
      return fault(['input_schema'], 'must be a JSON Schema, an object');
    }
    if (!isNullish(strict) && typeof strict !== 'boolean') return fault(['strict'], 'must be true or false');
    const inner = {
      name,
      ...(typeof description === 'string' && { description }),
      ...(isObject(schema) && { parameters: schema }),
      ...(typeof strict === 'boolean' && { strict }),
    };
    return {
      name,
      parameters: schema ?? undefined,
      isStrict: strict === true,
      original: { type: 'function', function: inner },
    };
  });

interface Choice {
  readonly choice: ToolChoice;
  readonly isSingle: boolean;
}

const toolChoice = z.custom<Members>(isObject, CHOICE).transform((value, context): Choice => {
  const fault = faultOf(context);
  const { type, name, disable_parallel_tool_use: single } = value;
  if (!isNullish(single) && typeof single !== 'boolean') {
    return fault(['disable_parallel_tool_use'], 'must be true or false');
  }
  const isSingle = single === true;
  if (type === 'auto' || type === 'none') return { choice: type, isSingle };
  if (type === 'any') return { choice: 'required', isSingle };
  if (type !== 'tool') return fault(['type'], CHOICE);
  return typeof name === 'string' ? { choice: { name }, isSingle } : fault(['name'], TOOL_NAME);
});

interface Thinking {
  /** Undefined: the model decides. */
  readonly isOn: boolean | undefined;
  readonly budget: number | undefined;
}

const thinking = z.custom<Members>(isObject, THINKING).transform((value, context): Thinking => {
  const { type, budget_tokens: budget } = value;
  if (type === 'disabled') return { isOn: false, budget: undefined };
  if (type === 'adaptive') return { isOn: undefined, budget: undefined };
  if (type !== 'enabled') return faultOf(context)(['type'], THINKING);
  if (isNullish(budget)) return { isOn: true, budget: undefined };
  if (typeof budget === 'number' && Number.isInteger(budget) && budget > 0) return { isOn: true, budget };
  return faultOf(context)(['budget_tokens'], 'must be a whole number above 0');
});

const { temperature, top_p, top_k, stop, stream } = samplingFields;

const prompt = {
  model: modelField,
  messages: listOf(turn, 'must be a list of at least one message', 1),
  system: optional(textOr(listOf(systemBlock, SYSTEM))),
  tools: optional(listOf(tool, `must be a list of at most ${MAX_TOOLS} tools`, 0, MAX_TOOLS)),
  tool_choice: optional(toolChoice),
  thinking: optional(thinking),
};

const countSchema = z.object(prompt);
const readCountedFields = bodyReader(countSchema);

const LIMIT = 'must be a whole number above 0: this dialect wants a limit';

const schema = z.object({
  ...prompt,
  max_tokens: numberField(LIMIT, (value) => value >= 1 && Number.isInteger(value)).refine(
    (value) => value !== undefined,
    LIMIT,
  ),
  stop_sequences: stop,
  temperature,
  top_p,
  top_k,
  stream,
});
const readFields = bodyReader(schema);

const KNOWN: ReadonlySet<string> = new Set(Object.keys(schema.shape));
const RENAMED: FieldNames['renamed'] = [
  [/^stop$/, 'stop_sequences'],
  [/^max_completion_tokens$/, 'max_tokens'],
  [/^tools\.?(\[\d+\])\.function\b.*$/s, 'tools$1'],
  [/^(enable_thinking|thinking_budget)$/, 'thinking'],
  [/^parallel_tool_calls$/, 'tool_choice'],
];

/** What a body asks for. */
export interface MessagesAsked {
  readonly request: ChatRequest;
  readonly stream: boolean;
  readonly names: FieldNames;
}

/** Throws `invalid_request` with the first fault's place as `param`. */
export function readMessages(body: unknown): MessagesAsked {
  const { fields } = readFields(body);
  const { stop_sequences: stops, stream = false, temperature, top_p: topP, top_k: topK } = fields;
  const { asked, names } = promptOf(fields);
  const request = {
    ...asked,
    sampling: { temperature, topP, topK: topK !== undefined && topK >= 0 ? topK : undefined },
    maxTokens: fields.max_tokens,
    stop: stopsOf({ stop: stops }),
  };
  return { request, stream, names };
}

/** What a body of `count_tokens` asks to be counted. */
export function readCounted(body: unknown): Pick<MessagesAsked, 'request' | 'names'> {
  const { asked, names } = promptOf(readCountedFields(body).fields);
  return { request: { ...asked, sampling: {}, stop: [] }, names };
}

interface PromptAsked {
  readonly asked: Omit<ChatRequest, 'sampling' | 'stop'>;
  readonly names: FieldNames;
}

/** A message with its place in the body. */
interface PlacedMessage extends MarkedMessage {
  readonly origin: MessageOrigin;
}

function promptOf(fields: z.output<typeof countSchema>): PromptAsked {
  const system: readonly PlacedMessage[] = isNullish(fields.system)
    ? []
    : [placed({ role: 'system', content: blankLines(fields.system) }, { field: 'system' })];
  const turns = fields.messages.flatMap(messagesOf);
  const last = turns.at(-1);
  // An assistant's message at the end is the beginning of the answer.
  if (last?.message.role === 'assistant') turns[turns.length - 1] = { ...last, isPrefix: true };
  const all = [...system, ...turns];
  const { messages, continueFrom } = prefillOf({ messages: all });
  const { choice, isSingle } = fields.tool_choice ?? { choice: undefined, isSingle: false };
  const asked = {
    model: fields.model,
    prompt: { kind: 'messages', messages },
    choices: 1,
    ...checkedTools(fields.tools ?? [], choice, { name: '.name', schema: '.input_schema' }),
    parallelToolCalls: isSingle ? false : undefined,
    extra: thinkingFields(fields.thinking),
    continueFrom,
  } as const;
  const origins = all.map(({ origin }) => origin);
  return { asked, names: { messages: 'messages', origins, renamed: RENAMED, known: KNOWN } };
}

/** In the words that the chat dialect has for it. */
function thinkingFields(thinking: Thinking | undefined): ChatRequest['extra'] {
  if (thinking?.isOn === undefined) return {};
  const { isOn, budget } = thinking;
  return { enable_thinking: isOn, ...(budget !== undefined && { thinking_budget: budget }) };
}

/** The results of tool calls are messages of their own, before what the user says beside them. */
function messagesOf({ role, blocks, isParts }: Turn, index: number): PlacedMessage[] {
  const messages: PlacedMessage[] = [];
  const field = `messages[${index}]`;
  const parts: ContentPart[] = [];
  const calls: object[] = [];
  const thoughts: string[] = [];
  for (const one of blocks) {
    if (one.kind === 'part') parts.push(one.part);
    else if (one.kind === 'call') calls.push(one.call);
    else if (one.kind === 'thought') thoughts.push(one.text);
    else messages.push(placed({ role: 'tool', toolCallId: one.toolCallId, content: one.content }, { field }));
  }
  if (parts.length === 0 && messages.length > 0) return messages;
  const content = parts.length === 0 && calls.length > 0 ? null : plainContent(parts);
  messages.push(
    placed(
      {
        role,
        content,
        reasoning: thoughts.length > 0 ? blankLines(thoughts) : undefined,
        toolCalls: calls.length > 0 ? calls : undefined,
      },
      { field, parts: isParts ? `${field}.content` : undefined },
    ),
  );
  return messages;
}

function placed(message: Message, origin: MessageOrigin): PlacedMessage {
  return { message, isPrefix: false, origin };
}

function blankLines(texts: string | readonly string[]): string {
  return typeof texts === 'string' ? texts : texts.join('\n\n');
}
