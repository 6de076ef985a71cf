// OpenAI's text completions: the model goes on from a text as it stands, with no template around it.
// Its prompts must never be rendered or joined: each is one call, and their choices are numbered through.
import { z } from 'zod';
import type { Dialect } from './dialect.ts';
import {
  choicesField,
  modelField,
  promptsField,
  readBody,
  samplingFields,
  samplingOf,
  stopsOf,
  streamOptionsField,
  tokenLimitField,
} from './request-fields.ts';
import { type ChunkShape, ServerSentEvents } from './server-sent-events.ts';
import { usageBody } from './usage.ts';

/** OpenAI's own default on this route. */
const DEFAULT_MAX_TOKENS = 16;
const PARALLEL = 8;

const TEXT = 'must be a text: lists of token numbers are not understood here';

const schema = z.object({
  model: modelField,
  prompt: promptsField(TEXT),
  ...samplingFields,
  max_completion_tokens: tokenLimitField,
  n: choicesField,
  stream_options: streamOptionsField,
});

const CHUNK: ChunkShape = {
  opening: undefined,
  text: ['"text":', ',"logprobs":null'],
  reasoning: ['"text":"","reasoning_content":', ',"logprobs":null'],
  toolCall: undefined,
  closing: '"text":"","logprobs":null',
};

/** `POST /v1/completions`. */
export const completions: Dialect = {
  name: 'completions',

  parse(body) {
    const { fields, extra } = readBody(schema, body);
    const shared = {
      model: fields.model,
      sampling: samplingOf(fields),
      maxTokens: fields.max_completion_tokens ?? fields.max_tokens ?? DEFAULT_MAX_TOKENS,
      stop: stopsOf(fields),
      choices: fields.n ?? 1,
      extra,
    };
    return {
      calls: fields.prompt.map((text) => ({ ...shared, prompt: { kind: 'text', text } })),
      parallel: PARALLEL,
      stream: fields.stream ?? false,
      includeUsage: fields.stream_options?.include_usage ?? false,
      ignored: [],
    };
  },

  stream(meta, { includeUsage }) {
    const head = { ...meta, id: `cmpl-${meta.id}`, object: 'text_completion' };
    return new ServerSentEvents(head, CHUNK, includeUsage);
  },

  whole(answer, { id, created, model }, report) {
    return {
      id: `cmpl-${id}`,
      object: 'text_completion',
      created,
      model,
      choices: answer.choices.map(({ text, reasoning, reason }, index) => ({
        index,
        text,
        ...(reasoning !== '' && { reasoning_content: reasoning }),
        logprobs: null,
        finish_reason: reason ?? null,
      })),
      usage: usageBody(answer.usage ?? {}),
      ...(report && { sluice: report }),
    };
  },
};
