// OpenAI's text completions: the model goes on from a text as it stands, no template around it.
import { z } from 'zod';
import type { TokenEvent } from '../core/chat.ts';
import type { Dialect, ParsedRequest } from './dialect.ts';
import {
  check,
  choiceField,
  extraOf,
  MAX_PROMPTS,
  modelField,
  samplingFields,
  samplingOf,
  stopsOf,
  streamOptionsField,
} from './request-fields.ts';
import { ServerSentEvents } from './server-sent-events.ts';
import { usageBody } from './usage.ts';

/** OpenAI's own default on this route. */
const DEFAULT_MAX_TOKENS = 16;
const PARALLEL = 8;

const fields = {
  ...samplingFields,
  model: modelField,
  prompt: z.union(
    [
      z.string(),
      z.array(z.string('must be a text: lists of token numbers are not read')).min(1).max(MAX_PROMPTS),
    ],
    'a text or a list of texts is needed',
  ),
  n: choiceField,
  stream_options: streamOptionsField,
};
const schema = z.looseObject(fields);
const named: ReadonlySet<string> = new Set(Object.keys(fields));

export const completions: Dialect = {
  name: 'completions',

  parse(body): ParsedRequest {
    const request = check(schema, body);
    const prompts = typeof request.prompt === 'string' ? [request.prompt] : request.prompt;
    const shared = {
      model: request.model,
      sampling: samplingOf(request),
      maxTokens: request.max_tokens ?? DEFAULT_MAX_TOKENS,
      stop: stopsOf(request),
      choices: request.n ?? 1,
      extra: extraOf(request, named),
    };
    return {
      calls: prompts.map((text) => ({ ...shared, prompt: { kind: 'text', text } })),
      parallel: PARALLEL,
      stream: request.stream ?? false,
      includeUsage: request.stream_options?.include_usage ?? false,
      ignored: [],
    };
  },

  stream({ id, created, model }, { includeUsage }) {
    const head = `"id":${JSON.stringify(`cmpl-${id}`)},"object":"text_completion","created":${created},"model":${JSON.stringify(model)}`;
    const closing = '"text":"","logprobs":null';
    return new ServerSentEvents({ head, opening: undefined, delta: textBody, closing }, includeUsage);
  },

  whole(answer, { id, created, model }, report): object {
    return {
      id: `cmpl-${id}`,
      object: 'text_completion',
      created,
      model,
      choices: answer.choices.map(({ text, reasoning, reason }, index) => ({
        index,
        text,
        ...(reasoning === '' ? {} : { reasoning_content: reasoning }),
        logprobs: null,
        finish_reason: reason ?? null,
      })),
      usage: usageBody(answer.usage ?? {}),
      sluice: report,
    };
  },
};

/** Tool calls have no place in this dialect. */
function textBody(
  event: Extract<TokenEvent, { type: 'text-delta' | 'reasoning-delta' | 'tool-call-delta' }>,
): string {
  if (event.type === 'text-delta') return `"text":${JSON.stringify(event.text)},"logprobs":null`;
  if (event.type === 'reasoning-delta') {
    return `"text":"","reasoning_content":${JSON.stringify(event.text)},"logprobs":null`;
  }
  return '"text":"","logprobs":null';
}
