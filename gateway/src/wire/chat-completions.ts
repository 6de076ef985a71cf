// OpenAI's chat completions, with the reasoning fields of DeepSeek and SiliconFlow.
import { z } from 'zod';
import type { ContentPart, Message, PartialAnswer, PartialChoice, TokenEvent } from '../core/chat.ts';
import { GatewayError } from '../core/errors.ts';
import type { AnswerMeta, Dialect, ParsedRequest, Report } from './dialect.ts';
import {
  check,
  choiceField,
  extraOf,
  modelField,
  optional,
  samplingFields,
  samplingOf,
  stopsOf,
  streamOptionsField,
  tokenLimitField,
} from './request-fields.ts';
import { ServerSentEvents } from './server-sent-events.ts';
import { usageBody } from './usage.ts';

const contentPart = z.looseObject({ type: z.string('must be the name of a kind of content') });

const message = z
  .looseObject({
    role: z.enum(
      ['system', 'developer', 'user', 'assistant', 'tool', 'function'],
      'must be system, developer, user, assistant or tool',
    ),
    content: optional(z.union([z.string(), z.array(contentPart)], 'must be a text or a list of parts')),
    reasoning_content: optional(z.string('must be a text')),
    reasoning: optional(z.string('must be a text')),
    name: optional(z.string('must be a text')),
    tool_call_id: optional(z.string('must be a text')),
    tool_calls: optional(z.array(z.unknown(), 'must be a list')),
  })
  .superRefine(({ role, content }, context) => {
    if (content === undefined && role !== 'assistant') {
      context.addIssue({ code: 'custom', path: ['content'], message: 'a text or a list of parts is needed' });
    }
  });

const fields = {
  ...samplingFields,
  model: modelField,
  messages: z.array(message, 'a list of messages is needed').min(1, 'at least one message is needed'),
  max_completion_tokens: tokenLimitField,
  n: choiceField,
  stream_options: streamOptionsField,
};
const schema = z.looseObject(fields);
const named: ReadonlySet<string> = new Set(Object.keys(fields));

export const chatCompletions: Dialect = {
  name: 'chat_completions',

  parse(body): ParsedRequest {
    refuseResponsesBody(body);
    const request = check(schema, body);
    return {
      calls: [
        {
          model: request.model,
          prompt: { kind: 'messages', messages: request.messages.map(toMessage) },
          sampling: samplingOf(request),
          maxTokens: request.max_completion_tokens ?? request.max_tokens,
          stop: stopsOf(request),
          choices: request.n ?? 1,
          extra: extraOf(request, named),
        },
      ],
      parallel: 1,
      stream: request.stream ?? false,
      includeUsage: request.stream_options?.include_usage ?? false,
      ignored: [],
    };
  },

  stream({ id, created, model }, { includeUsage }) {
    const head = `"id":${JSON.stringify(`chatcmpl-${id}`)},"object":"chat.completion.chunk","created":${created},"model":${JSON.stringify(model)}`;
    return new ServerSentEvents(
      { head, opening: '"delta":{"role":"assistant","content":""}', delta: deltaBody, closing: '"delta":{}' },
      includeUsage,
    );
  },

  whole(answer: PartialAnswer, { id, created, model }: AnswerMeta, report: Report | undefined): object {
    return {
      id: `chatcmpl-${id}`,
      object: 'chat.completion',
      created,
      model,
      choices: answer.choices.map((choice, index) => ({
        index,
        message: messageBody(choice),
        logprobs: null,
        finish_reason: choice.reason ?? null,
      })),
      usage: usageBody(answer.usage ?? {}),
      sluice: report,
    };
  },
};

function deltaBody(
  event: Extract<TokenEvent, { type: 'text-delta' | 'reasoning-delta' | 'tool-call-delta' }>,
): string {
  if (event.type === 'text-delta') return `"delta":{"content":${JSON.stringify(event.text)}}`;
  if (event.type === 'reasoning-delta') return `"delta":{"reasoning_content":${JSON.stringify(event.text)}}`;
  const { index, id, name } = event;
  const opening = id === undefined ? {} : { id, type: 'function' };
  const call = { index, ...opening, function: { name, arguments: event.arguments } };
  return `"delta":{"tool_calls":[${JSON.stringify(call)}]}`;
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
    ...(reasoning === '' ? {} : { reasoning_content: reasoning }),
    ...(calls.length === 0 ? {} : { tool_calls: calls }),
  };
}

function toMessage(one: z.output<typeof message>): Message {
  return {
    // `function` is what `tool` was called before.
    role: one.role === 'function' ? 'tool' : one.role,
    content: typeof one.content === 'string' ? one.content : (one.content?.map(toPart) ?? null),
    reasoning: one.reasoning_content ?? one.reasoning,
    name: one.name,
    toolCallId: one.tool_call_id,
    toolCalls: one.tool_calls,
  };
}

function toPart(part: z.output<typeof contentPart>): ContentPart {
  const isText = part.type === 'text' || part.type === 'input_text' || part.type === 'output_text';
  if (isText && typeof part.text === 'string') return { type: 'text', text: part.text };
  return { type: 'other', kind: part.type, value: part };
}

/** Some clients post the newer dialect's body to the older one's path. */
function refuseResponsesBody(body: unknown): void {
  if (typeof body !== 'object' || body === null || !('input' in body) || 'messages' in body) return;
  throw new GatewayError(
    'invalid_request',
    'This is a body of the Responses dialect: here a list of "messages" is needed instead of "input".',
    { param: 'messages' },
  );
}
