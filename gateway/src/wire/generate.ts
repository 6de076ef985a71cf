// One JSON object a line: the dialect of `generate` and `generate_stream`, which differ in one default.
// Its known reader splits lines as Python does and hands each to json.loads, then takes `choices[0]` of what it gets:
// so no line may hold anything else, and every line that has `choices` has one.
import { z } from 'zod';
import type { FinishReason, Message, TokenEvent, Usage } from '../core/chat.ts';
import type { GatewayError } from '../core/errors.ts';
import type { AnswerMeta, Dialect, ParsedRequest, Report, StreamCodec } from './dialect.ts';
import { errorBody } from './error-body.ts';
import { stringifyLine } from './json.ts';
import { check, MAX_PROMPTS, optional, samplingFields, samplingOf, stopsOf } from './request-fields.ts';
import { usageBody } from './usage.ts';

const DEFAULT_MAX_TOKENS = 2048;
const DEFAULT_TEMPERATURE = 0.6;
const DEFAULT_PARALLEL = 8;
const MAX_PARALLEL = 64;

const fields = {
  ...samplingFields,
  prompt: z.union(
    [
      z.string(),
      z.array(z.string('must be a text')).min(1, 'at least one prompt is needed').max(MAX_PROMPTS),
    ],
    'a text or a list of texts is needed',
  ),
  system_message: optional(z.string('must be a text')),
  batch_size: optional(
    z.number('must be a whole number').int('must be a whole number').min(1).max(MAX_PARALLEL),
  ),
  response_format: optional(z.looseObject({}, 'must be an object')),
};
const schema = z.looseObject(fields);
/** `model` is in the path; clients that also send it in the body mean no harm. */
const named: ReadonlySet<string> = new Set([...Object.keys(fields), 'model']);

export const generate = dialect('generate', false);
export const generateStream = dialect('generate_stream', true);

function dialect(name: string, streamsByDefault: boolean): Dialect {
  return {
    name,
    parse: (body, model) => parse(body, model ?? '', streamsByDefault),
    stream: (meta) => new JsonLines(meta),
    whole: (answer, meta, report) => ({
      ...headOf(meta),
      choices: answer.choices.map(({ text, reasoning, reason }, index) => ({
        index,
        text,
        reasoning_content: reasoning === '' ? null : reasoning,
        finish_reason: reason ?? null,
      })),
      usage: usageBody(answer.usage ?? {}),
      sluice: report,
    }),
  };
}

function parse(body: unknown, model: string, streamsByDefault: boolean): ParsedRequest {
  const request = check(schema, body);
  const prompts = typeof request.prompt === 'string' ? [request.prompt] : request.prompt;
  const system: Message[] =
    request.system_message === undefined ? [] : [{ role: 'system', content: request.system_message }];
  const sampling = samplingOf(request);
  const shared = {
    model,
    sampling: { ...sampling, temperature: sampling.temperature ?? DEFAULT_TEMPERATURE },
    maxTokens: request.max_tokens ?? DEFAULT_MAX_TOKENS,
    stop: stopsOf(request),
    choices: 1,
    extra: request.response_format === undefined ? {} : { response_format: request.response_format },
  };
  return {
    calls: prompts.map((content) => ({
      ...shared,
      prompt: { kind: 'messages', messages: [...system, { role: 'user', content }] },
    })),
    parallel: request.batch_size ?? DEFAULT_PARALLEL,
    stream: request.stream ?? streamsByDefault,
    includeUsage: true,
    ignored: Object.keys(request).filter((field) => !named.has(field)),
  };
}

class JsonLines implements StreamCodec {
  readonly contentType = 'application/x-ndjson';
  /** The constant fields, as JSON text up to and with `"choices":[{`. */
  readonly #opening: string;
  /** The last choice's end: it waits for usage and report. */
  #held: { readonly choice: number; readonly reason: FinishReason } | undefined;
  #usage: Usage = {};

  constructor(meta: AnswerMeta) {
    this.#opening = `${stringifyLine(headOf(meta)).slice(0, -1)},"choices":[{`;
  }

  event(event: TokenEvent): string {
    switch (event.type) {
      case 'text-delta':
        return this.#line(event.choice, stringifyLine(event.text), 'null', 'null', '');
      case 'reasoning-delta':
        return this.#line(event.choice, '""', stringifyLine(event.text), 'null', '');
      case 'choice-end': {
        const earlier = this.#flush('');
        this.#held = event;
        return earlier;
      }
      case 'finish':
        this.#usage = event.usage;
        return '';
      default:
        return '';
    }
  }

  keepAlive(): string {
    return '\n';
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
    this.#held = undefined;
    return held ? this.#line(held.choice, '""', 'null', `"${held.reason}"`, more) : '';
  }

  #line(choice: number, text: string, reasoning: string, reason: string, more: string): string {
    return `${this.#opening}"index":${choice},"text":${text},"reasoning_content":${reasoning},"finish_reason":${reason}}]${more}}\n`;
  }
}

function headOf({ id, created, model }: AnswerMeta) {
  return { id: `gen-${id}`, object: 'text_completion', created, model };
}
