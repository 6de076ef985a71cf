// OpenAI's text completions: the model goes on from a text as it stands, with no template around it.
// Its prompts must never be rendered or joined: each is one call, and their choices are numbered through.
import { z } from 'zod';
import { GatewayError } from '../../core/errors.ts';
import type { Dialect } from '../dialect.ts';
import type { FieldNames } from '../field-names.ts';
import { stringifyLine } from '../json.ts';
import { completionLogprobs } from '../logprobs.ts';
import {
  bodyReader,
  choicesField,
  integerField,
  modelField,
  promptsField,
  samplingFields,
  samplingOf,
  stopsOf,
  streamOptionsField,
  textField,
  tokenLimitField,
} from '../request-fields.ts';
import { type ChunkShape, ServerSentEvents } from '../server-sent-events.ts';
import { usageBody } from '../usage.ts';

/** OpenAI's own default on this route. */
const DEFAULT_MAX_TOKENS = 16;
/** Prompts, or choices of them, that run at once. */
const PARALLEL = 8;
const MAX_LOGPROBS = 5;

const TEXT = 'must be a text: lists of token numbers are not understood here';

const schema = z.object({
  model: modelField,
  prompt: promptsField(TEXT),
  suffix: textField,
  ...samplingFields,
  max_completion_tokens: tokenLimitField,
  n: choicesField,
  best_of: choicesField,
  logprobs: integerField(0, MAX_LOGPROBS),
  stream_options: streamOptionsField,
});
const readFields = bodyReader(schema);

const CHUNK: ChunkShape = {
  opening: undefined,
  text: ['"text":', ',"logprobs":null'],
  likelyText: (text, logprobs) =>
    `"text":${stringifyLine(text)},"logprobs":${stringifyLine(completionLogprobs(logprobs))}`,
  reasoning: ['"text":"","reasoning_content":', ',"logprobs":null'],
  toolCall: undefined,
  closing: '"text":"","logprobs":null',
};

/** Its fields have the names that back ends know; messages it has none. */
const NAMES: FieldNames = { origins: [], renamed: [] };

/** `POST /v1/completions`. */
export const completions: Dialect = {
  name: 'completions',

  parse(body) {
    const { fields, extra } = readFields(body);
    const choices = fields.n ?? 1;
    refuseChoosing(choices, fields.best_of ?? choices);
    const shared = {
      model: fields.model,
      sampling: samplingOf(fields),
      maxTokens: fields.max_completion_tokens ?? fields.max_tokens ?? DEFAULT_MAX_TOKENS,
      stop: stopsOf(fields),
      choices,
      logprobs: fields.logprobs,
      extra,
    };
    // An empty one asks for nothing: some clients always send it.
    const gap = fields.suffix ? { suffix: fields.suffix } : {};
    return {
      calls: fields.prompt.map((text) => ({ ...shared, prompt: { kind: 'text', text, ...gap } })),
      parallel: PARALLEL,
      stream: fields.stream ?? false,
      includeUsage: fields.stream_options?.include_usage ?? false,
      ignored: [],
      names: NAMES,
    };
  },

  stream(meta, { includeUsage }) {
    const head = { ...meta, id: `cmpl-${meta.id}`, object: 'text_completion' };
    return new ServerSentEvents(head, CHUNK, includeUsage);
  },

  whole(answer, { id, created, model }, _request, report) {
    return {
      id: `cmpl-${id}`,
      object: 'text_completion',
      created,
      model,
      choices: answer.choices.map(({ text, reasoning, reason, stop, logprobs }, index) => ({
        index,
        text,
        ...(reasoning !== '' && { reasoning_content: reasoning }),
        logprobs: logprobs ? completionLogprobs(logprobs) : null,
        finish_reason: reason ?? null,
        ...(stop !== undefined && { stop_reason: stop }),
      })),
      usage: usageBody(answer.usage ?? {}),
      ...(report && { sluice: report }),
    };
  },
};

/** To give the best of several answers, all would have to be made and judged: none is made that is not given. */
function refuseChoosing(choices: number, bestOf: number): void {
  if (bestOf === choices) return;
  const message = 'best_of must be equal to n: this server gives every answer that it makes.';
  throw new GatewayError('invalid_request', message, { param: 'best_of' });
}
