// A request of OpenAI's Responses dialect, in the words of the house: the history comes with it, since nothing is stored here.
// What a back end of the chat dialect knows by another name goes on by that name; what it has no word for stops here, and is
// named as ignored. Pure.
import { z } from 'zod';
import type { ChatRequest } from '../../../core/chat.ts';
import { GatewayError } from '../../../core/errors.ts';
import type { ParsedRequest } from '../../dialect.ts';
import type { FieldNames } from '../../field-names.ts';
import {
  bodyReader,
  booleanField,
  integerField,
  isNullish,
  isObject,
  listOf,
  modelField,
  optional,
  samplingFields,
  samplingOf,
  stopsOf,
  streamOptionsField,
  textField,
  tokenLimitField,
} from '../../request-fields.ts';
import { textFormatField } from '../../response-format.ts';
import { flatToolFields, toolsOf } from '../../tools.ts';
import { inputField } from './input.ts';

const MAX_TOP_LOGPROBS = 20;
const LOGPROBS = 'message.output_text.logprobs';

/** Of this dialect, or the chat dialect's names for what has another one here: no back end could make anything of them. */
const WITHOUT_MEANING: ReadonlySet<string> = new Set([
  'access_programs',
  'client_metadata',
  'context_management',
  'function_call',
  'functions',
  'image',
  'logprobs',
  'max_completion_tokens',
  'max_tool_calls',
  'messages',
  'moderation',
  'n',
  'prompt',
  'prompt_cache_options',
  'response_format',
]);

const RENAMED: FieldNames['renamed'] = [
  [/^max_(completion_)?tokens$/, 'max_output_tokens'],
  [/^response_format\b(\.json_schema)?/, 'text.format'],
  [/^tools\.?(\[\d+\])\.function\b/, 'tools$1'],
  [/^tool_choice\.function\b/, 'tool_choice'],
  [/^reasoning_effort$/, 'reasoning.effort'],
  [/^verbosity$/, 'text.verbosity'],
  [/^logprobs$/, 'include'],
];

type Body = Readonly<Record<string, unknown>>;

const object = z.custom<Body>(isObject, 'must be an object');

const schema = z.object({
  model: modelField,
  input: inputField,
  instructions: textField,
  ...samplingFields,
  max_output_tokens: tokenLimitField,
  top_logprobs: integerField(0, MAX_TOP_LOGPROBS),
  include: optional(listOf(z.string('must be a text'), 'must be a list of texts')),
  text: optional(object.pipe(z.object({ format: textFormatField, verbosity: textField }))),
  reasoning: optional(object.pipe(z.object({ effort: textField, summary: textField }))),
  ...flatToolFields,
  stream_options: streamOptionsField,
  truncation: optional(z.enum(['auto', 'disabled'], 'must be auto or disabled')),
  metadata: optional(object),
  user: textField,
  store: booleanField,
  background: booleanField,
  previous_response_id: optional(z.unknown()),
  conversation: optional(z.unknown()),
});
const readFields = bodyReader(schema);

type Fields = z.output<typeof schema>;

/** Throws `invalid_request` with the first thing that is wrong, its path as `param`. */
export function parseResponsesRequest(body: unknown): ParsedRequest {
  const { fields, extra } = readFields(body);
  refuseWhatNeedsAStore(fields, extra);
  if (fields.input.messages.length === 0) throw refusal('input', 'holds nothing that was said');
  const messages = [
    ...(fields.instructions === undefined ? [] : [{ role: 'system', content: fields.instructions } as const]),
    ...fields.input.messages,
  ];
  const entries = Object.entries(extra);
  return {
    calls: [
      {
        model: fields.model,
        prompt: { kind: 'messages', messages },
        sampling: samplingOf(fields),
        maxTokens: fields.max_output_tokens ?? fields.max_tokens,
        stop: stopsOf(fields),
        choices: 1,
        logprobs: logprobsOf(fields),
        responseFormat: fields.text?.format,
        ...toolsOf(fields, ''),
        extra: {
          ...Object.fromEntries(entries.filter(([name]) => !WITHOUT_MEANING.has(name))),
          ...inChatWords(fields),
        },
      },
    ],
    parallel: 1,
    stream: fields.stream ?? false,
    includeUsage: fields.stream_options?.include_usage ?? false,
    ignored: [
      ...entries.map(([name]) => name).filter((name) => WITHOUT_MEANING.has(name)),
      ...(fields.store === true ? ['store'] : []),
      ...(fields.truncation === 'auto' ? ['truncation'] : []),
    ],
    echo: echoOf(fields, body as Body),
    names: namesOf(fields),
  };
}

function namesOf({ instructions, input }: Fields): FieldNames {
  const origins = instructions === undefined ? input.origins : [{ field: 'instructions' }, ...input.origins];
  return { messages: 'input', origins, renamed: RENAMED };
}

function refuseWhatNeedsAStore(fields: Fields, { prompt }: ChatRequest['extra']): void {
  const history = 'refers to what is stored, and nothing is stored here: send the whole history in "input"';
  if (fields.previous_response_id !== undefined) throw refusal('previous_response_id', history);
  if (fields.conversation !== undefined) throw refusal('conversation', history);
  if (isObject(prompt)) {
    throw refusal(
      'prompt',
      'refers to a stored template, and nothing is stored here: send its text in "input"',
    );
  }
  if (fields.background === true) {
    throw refusal(
      'background',
      'would keep the answer for later, and nothing is stored here: ask without it, with "stream": true for what takes long',
    );
  }
}

/** How many of the likeliest tokens were asked for; undefined: no probabilities at all. */
function logprobsOf({ include = [], top_logprobs: top = 0 }: Fields): number | undefined {
  if (include.includes(LOGPROBS)) return top;
  if (top === 0) return undefined;
  throw refusal('top_logprobs', `is of use only beside "include": ["${LOGPROBS}"]`);
}

/** What the chat dialect has as fields of its own, that only back ends understand. */
function inChatWords({ reasoning, text, user }: Fields): ChatRequest['extra'] {
  return {
    ...(reasoning?.effort !== undefined && { reasoning_effort: reasoning.effort }),
    ...(text?.verbosity !== undefined && { verbosity: text.verbosity }),
    ...(user !== undefined && { user }),
  };
}

/** What an answer repeats. It says what holds, not what was wished: nothing is stored, and no input is cut here. */
function echoOf(fields: Fields, body: Body): ParsedRequest['echo'] {
  const text = isObject(body.text) ? body.text : {};
  return {
    background: false,
    instructions: fields.instructions ?? null,
    max_output_tokens: fields.max_output_tokens ?? fields.max_tokens ?? null,
    metadata: fields.metadata ?? {},
    parallel_tool_calls: fields.parallel_tool_calls ?? true,
    previous_response_id: null,
    reasoning: { effort: fields.reasoning?.effort ?? null, summary: fields.reasoning?.summary ?? null },
    store: false,
    temperature: fields.temperature ?? null,
    text: { ...text, format: text.format ?? { type: 'text' } },
    tool_choice: isNullish(body.tool_choice) ? 'auto' : body.tool_choice,
    tools: body.tools ?? [],
    top_logprobs: fields.top_logprobs ?? 0,
    top_p: fields.top_p ?? null,
    truncation: 'disabled',
    user: fields.user ?? null,
  };
}

function refusal(param: string, message: string): GatewayError {
  return new GatewayError('invalid_request', `${param} ${message}.`, { param });
}
