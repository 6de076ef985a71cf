// OpenAI's chat completions, with the reasoning fields of DeepSeek and SiliconFlow, in history as well as in answers.
// What it has no word for goes on untouched in `extra`: it never drops a client's field, and never fetches what a part
// of a message names.
import { z } from 'zod';
import type { ContentPart, PartialChoice, TokenEvent } from '../../core/chat.ts';
import { GatewayError } from '../../core/errors.ts';
import type { Dialect } from '../dialect.ts';
import { stringifyLine } from '../json.ts';
import { chatLogprobs } from '../logprobs.ts';
import { type MarkedMessage, prefillFields, prefillOf } from '../prefill.ts';
import {
  bodyReader,
  booleanField,
  choicesField,
  integerField,
  isNullish,
  isObject,
  listOf,
  modelField,
  objectWithRest,
  optional,
  samplingFields,
  samplingOf,
  stopsOf,
  streamOptionsField,
  textField,
  textOr,
  tokenLimitField,
} from '../request-fields.ts';
import { responseFormatField } from '../response-format.ts';
import { type ChunkShape, ServerSentEvents } from '../server-sent-events.ts';
import { toolFields, toolsOf } from '../tools.ts';
import { usageBody } from '../usage.ts';
import { parseResponsesRequest } from './responses/request.ts';

/** OpenAI's newer dialect has its own names for a text. */
const TEXT_KINDS: ReadonlySet<unknown> = new Set(['text', 'input_text', 'output_text']);

const part = z
  .custom<Readonly<Record<string, unknown>>>(isObject, 'must be a part, an object with a "type"')
  .transform((value, context): ContentPart => {
    const { type, text } = value;
    if (typeof type !== 'string') {
      context.addIssue({ code: 'custom', path: ['type'], message: 'must be the name of a kind of part' });
      return z.NEVER;
    }
    if (!TEXT_KINDS.has(type)) return { type: 'other', kind: type, value };
    if (typeof text === 'string') return { type: 'text', text };
    context.addIssue({ code: 'custom', path: ['text'], message: 'must be a text' });
    return z.NEVER;
  });

/** Choices of one request that run at once. */
const PARALLEL = 8;
const MAX_TOP_LOGPROBS = 20;

const MESSAGES = 'must be a list of at least one message';
const ROLE = 'must be system, developer, user, assistant or tool';
const CONTENT = 'must be a text or a list of parts';

const messageFields = z.object(
  {
    role: z.enum(['system', 'developer', 'user', 'assistant', 'tool', 'function'], ROLE),
    content: optional(textOr(listOf(part, CONTENT))),
    reasoning_content: textField,
    reasoning: textField,
    name: textField,
    tool_call_id: textField,
    tool_calls: optional(z.array(z.unknown(), 'must be a list of calls')),
    prefix: booleanField,
  },
  'must be a message, an object with a "role"',
);

const message = objectWithRest(messageFields).transform(({ fields, rest }, context): MarkedMessage => {
  // Only an assistant can have said nothing: it called tools instead.
  if (fields.content === undefined && fields.role !== 'assistant') {
    context.addIssue({ code: 'custom', path: ['content'], message: CONTENT });
    return z.NEVER;
  }
  const message = {
    // `function` is what `tool` was called before.
    role: fields.role === 'function' ? 'tool' : fields.role,
    content: fields.content ?? null,
    reasoning: fields.reasoning_content ?? fields.reasoning,
    name: fields.name,
    toolCallId: fields.tool_call_id,
    toolCalls: fields.tool_calls,
    extra: Object.keys(rest).length > 0 ? rest : undefined,
  } as const;
  return { message, isPrefix: fields.prefix ?? false };
});

const schema = z.object({
  model: modelField,
  messages: listOf(message, MESSAGES, 1),
  ...samplingFields,
  max_completion_tokens: tokenLimitField,
  n: choicesField,
  logprobs: booleanField,
  top_logprobs: integerField(0, MAX_TOP_LOGPROBS),
  stream_options: streamOptionsField,
  response_format: responseFormatField,
  ...toolFields,
  ...prefillFields,
});
const readFields = bodyReader(schema);

const CHUNK: ChunkShape = {
  opening: '"delta":{"role":"assistant","content":""}',
  text: ['"delta":{"content":', '}'],
  likelyText: (text, logprobs) =>
    `"delta":{"content":${stringifyLine(text)}},"logprobs":${stringifyLine(chatLogprobs(logprobs))}`,
  reasoning: ['"delta":{"reasoning_content":', '}'],
  toolCall: toolCallMembers,
  closing: '"delta":{}',
};

/** `POST /v1/chat/completions`. */
export const chatCompletions: Dialect = {
  name: 'chat_completions',

  parse(body) {
    if (isResponsesBody(body)) return parseResponsesRequest(body);
    const { fields, extra } = readFields(body);
    const { messages, continueFrom, extra: prefillExtra } = prefillOf(fields);
    return {
      calls: [
        {
          model: fields.model,
          prompt: { kind: 'messages', messages },
          sampling: samplingOf(fields),
          maxTokens: fields.max_completion_tokens ?? fields.max_tokens,
          stop: stopsOf(fields),
          choices: fields.n ?? 1,
          logprobs: logprobsOf(fields.logprobs ?? false, fields.top_logprobs),
          responseFormat: fields.response_format,
          ...toolsOf(fields),
          extra: { ...extra, ...prefillExtra },
          continueFrom,
        },
      ],
      parallel: PARALLEL,
      stream: fields.stream ?? false,
      includeUsage: fields.stream_options?.include_usage ?? false,
      ignored: [],
    };
  },

  stream(meta, { includeUsage }) {
    const head = { ...meta, id: `chatcmpl-${meta.id}`, object: 'chat.completion.chunk' };
    return new ServerSentEvents(head, CHUNK, includeUsage);
  },

  whole(answer, { id, created, model }, _request, report) {
    return {
      id: `chatcmpl-${id}`,
      object: 'chat.completion',
      created,
      model,
      choices: answer.choices.map((choice, index) => ({
        index,
        message: messageBody(choice),
        logprobs: choice.logprobs ? chatLogprobs(choice.logprobs) : null,
        finish_reason: choice.reason ?? null,
        ...(choice.stop !== undefined && { stop_reason: choice.stop }),
      })),
      usage: usageBody(answer.usage ?? {}),
      ...(report && { sluice: report }),
    };
  },
};

/** How many of the likeliest tokens were asked for; undefined: no probabilities at all. */
function logprobsOf(isAsked: boolean, top: number | undefined): number | undefined {
  if (isAsked) return top ?? 0;
  if (top === undefined || top === 0) return undefined;
  const message = 'top_logprobs is of use only beside "logprobs": true.';
  throw new GatewayError('invalid_request', message, { param: 'top_logprobs' });
}

/** A call is named in its first piece; later ones have only its index. */
function toolCallMembers(event: Extract<TokenEvent, { type: 'tool-call-delta' }>): string {
  const { index, id, name } = event;
  const opening = id === undefined ? {} : { id, type: 'function' };
  const call = { index, ...opening, function: { name, arguments: event.arguments } };
  return `"delta":{"tool_calls":[${stringifyLine(call)}]}`;
}

function messageBody({ text, reasoning, toolCalls }: PartialChoice): object {
  const calls = toolCalls.map((call) => ({
    id: call.id,
    type: 'function',
    function: { name: call.name, arguments: call.arguments },
  }));
  return {
    role: 'assistant',
    content: text === '' && calls.length > 0 ? null : text,
    refusal: null,
    ...(reasoning !== '' && { reasoning_content: reasoning }),
    ...(calls.length > 0 && { tool_calls: calls }),
  };
}

/** Some clients post the newer dialect's body to the older one's path, and read the older one's answers. */
function isResponsesBody(body: unknown): boolean {
  return isObject(body) && !isNullish(body.input) && isNullish(body.messages);
}
