// One JSON object a line: the dialect of `generate` and `generate_stream`, which differ in one default.
// Its known reader splits lines as Python does and hands each to json.loads, then takes `choices[0]` of what it gets:
// so no line may ever hold anything else, and every line that has `choices` has one.
import { z } from 'zod';
import type { FinishReason, Message, TokenEvent, Usage } from '../../core/chat.ts';
import { GatewayError } from '../../core/errors.ts';
import type { AnswerMeta, Dialect, ParsedRequest, Report, StreamCodec } from '../dialect.ts';
import { errorBody } from '../error-body.ts';
import type { FieldNames } from '../field-names.ts';
import { stringifyLine } from '../json.ts';
import {
  bodyReader,
  integerField,
  isObject,
  modelField,
  promptsField,
  samplingFields,
  samplingOf,
  stopsOf,
  textField,
} from '../request-fields.ts';
import { responseFormatField } from '../response-format.ts';
import { usageBody } from '../usage.ts';

const DEFAULT_MAX_TOKENS = 2048;
const DEFAULT_TEMPERATURE = 0.6;
const DEFAULT_PARALLEL = 8;
const MAX_PARALLEL = 64;
/** Of a name that was ignored: it is repeated in a header. */
const MAX_NAME_LENGTH = 64;

const schema = z.object({
  prompt: promptsField('must be a text'),
  ...samplingFields,
  system_message: textField,
  batch_size: integerField(1, MAX_PARALLEL),
  response_format: responseFormatField,
});
const readFields = bodyReader(schema);

const KNOWN: ReadonlySet<string> = new Set([...Object.keys(schema.shape), 'model']);

/** `POST /v1/models/{model}/generate`: one JSON object, unless `stream` is true. */
export const generate = dialect('generate', false);
/** `POST /v1/models/{model}/generate_stream`: lines of JSON, unless `stream` is false. */
export const generateStream = dialect('generate_stream', true);

function dialect(name: string, streamsByDefault: boolean): Dialect {
  return {
    name,
    parse: (body, model) => parse(body, model, streamsByDefault),
    stream: (meta) => new JsonLines(meta),
    whole: (answer, meta, _request, report) => ({
      ...headOf(meta),
      choices: answer.choices.map(({ text, reasoning, reason }, index) => ({
        index,
        text,
        reasoning_content: reasoning === '' ? null : reasoning,
        finish_reason: reason === undefined ? null : reasonOf(reason),
      })),
      usage: usageBody(answer.usage ?? {}),
      ...(report && { sluice: report }),
    }),
  };
}

function parse(body: unknown, modelInPath: string | undefined, streamsByDefault: boolean): ParsedRequest {
  const model = modelOf(modelInPath);
  refuseMessages(body);
  const { fields, extra } = readFields(body);
  const system: readonly Message[] =
    fields.system_message === undefined ? [] : [{ role: 'system', content: fields.system_message }];
  const sampling = samplingOf(fields);
  const shared = {
    model,
    sampling: { ...sampling, temperature: sampling.temperature ?? DEFAULT_TEMPERATURE },
    maxTokens: fields.max_tokens ?? DEFAULT_MAX_TOKENS,
    stop: stopsOf(fields),
    choices: 1,
    responseFormat: fields.response_format,
    extra: { ...(Object.hasOwn(extra, 'seed') && { seed: extra.seed }) },
  };
  return {
    calls: fields.prompt.map((content) => ({
      ...shared,
      prompt: { kind: 'messages', messages: [...system, { role: 'user', content }] },
    })),
    parallel: fields.batch_size ?? DEFAULT_PARALLEL,
    stream: fields.stream ?? streamsByDefault,
    includeUsage: true,
    ignored: ignoredOf(extra),
    names: namesOf(system.length > 0),
  };
}

function namesOf(hasSystem: boolean): FieldNames {
  const prompt = { field: 'prompt' };
  const origins = hasSystem ? [{ field: 'system_message' }, prompt] : [prompt];
  return { messages: 'prompt', origins, renamed: [], known: KNOWN };
}

function modelOf(modelInPath: string | undefined): string {
  const parsed = modelField.safeParse(modelInPath);
  if (parsed.success) return parsed.data;
  throw new GatewayError('invalid_request', `model ${parsed.error.issues[0]!.message}.`, { param: 'model' });
}

/** `model` is in the path: clients that send it in the body as well mean no harm. */
function ignoredOf(extra: Readonly<Record<string, unknown>>): string[] {
  return Object.keys(extra)
    .filter((name) => name !== 'model' && name !== 'seed')
    .map((name) => name.slice(0, MAX_NAME_LENGTH).toWellFormed());
}

function refuseMessages(body: unknown): void {
  if (!isObject(body) || (body.messages ?? null) === null || (body.prompt ?? null) !== null) return;
  throw new GatewayError(
    'invalid_request',
    'prompt is missing: send "prompt", a text or a list of texts, or post "messages" to /v1/chat/completions.',
    { param: 'prompt' },
  );
}

/** The codec of one stream. Each choice's end is held back until the next one's, the last until usage is known. */
class JsonLines implements StreamCodec {
  readonly contentType = 'application/x-ndjson';
  /** The constant members, as JSON text up to and with `"choices":[{`. */
  readonly #opening: string;
  #held: { readonly choice: number; readonly reason: FinishReason } | undefined;
  #usage: Usage = {};

  constructor(meta: AnswerMeta) {
    this.#opening = `${stringifyLine(headOf(meta)).slice(0, -1)},"choices":[{"index":`;
  }

  event(event: TokenEvent): string {
    switch (event.type) {
      case 'text-delta':
        return `${this.#opening}${event.choice},"text":${stringifyLine(event.text)},"reasoning_content":null,"finish_reason":null}]}\n`;
      case 'reasoning-delta':
        return `${this.#opening}${event.choice},"text":"","reasoning_content":${stringifyLine(event.text)},"finish_reason":null}]}\n`;
      case 'choice-end': {
        const earlier = this.#flush('');
        this.#held = event;
        return earlier;
      }
      case 'finish':
        this.#usage = event.usage;
        return '';
      // A line that says neither would be an empty text to this dialect's reader: the first has something to say.
      case 'start':
      case 'tool-call-delta':
        return '';
    }
  }

  keepAlive(): string {
    return '\n';
  }

  idleEvent(): string {
    return this.keepAlive();
  }

  error(error: GatewayError): string {
    return `${stringifyLine(errorBody(error))}\n`;
  }

  end(report: Report | undefined): string {
    const record = report === undefined ? '' : `,"sluice":${stringifyLine(report)}`;
    return this.#flush(`,"usage":${stringifyLine(usageBody(this.#usage))}${record}`);
  }

  #flush(more: string): string {
    const held = this.#held;
    if (!held) return '';
    this.#held = undefined;
    return `${this.#opening}${held.choice},"text":"","reasoning_content":null,"finish_reason":"${reasonOf(held.reason)}"}]${more}}\n`;
  }
}

function headOf({ id, created, model }: AnswerMeta) {
  return { id: `gen-${id}`, object: 'text_completion', created, model };
}

/** This dialect has no tool calls: an answer that ended in one has, to its reader, just ended. */
function reasonOf(reason: FinishReason): FinishReason {
  return reason === 'tool_calls' ? 'stop' : reason;
}
