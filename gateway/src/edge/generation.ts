// Requests to a model, in any dialect: understand, start, write, tell the observers. One path for all of them.
import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { Clock } from '../core/clock.ts';
import { GatewayError, toGatewayError } from '../core/errors.ts';
import type { RequestObserver, RequestOutcome, RequestRecord } from '../core/observer.ts';
import type { Priority } from '../core/ticket.ts';
import type { AccessKey, Readiness, ServedModel, World } from '../core/world.ts';
import { AnswerFold } from '../pipeline/partial.ts';
import type { Answer, Pipeline } from '../pipeline/pipeline.ts';
import type { AnswerMeta, Dialect, ParsedRequest, Report } from '../wire/dialect.ts';
import { errorBody } from '../wire/error-body.ts';
import { parseJson } from '../wire/json.ts';
import { authorizeModel } from './access.ts';
import type { BodyLimits } from './body.ts';
import { type Exchange, headerSafe } from './exchange.ts';
import { writeStream } from './stream-writer.ts';

export interface GenerationOptions {
  readonly pipeline: Pipeline;
  readonly observer: RequestObserver;
  readonly clock: Clock;
  readonly readiness: () => Readiness;
  readonly bodyLimits: BodyLimits;
  readonly keepAliveMs: number;
  readonly slowReaderLimitMs: number;
}

/** Everything that is known of a request once it was understood. */
interface Understood {
  readonly request: ParsedRequest;
  readonly model: ServedModel;
  readonly meta: AnswerMeta;
  readonly wantsReport: boolean;
}

const MOST_DEADLINE_MS = 24 * 60 * 60 * 1000;
const MOST_IGNORED_NAMES = 10;
const PRIORITIES: readonly Priority[] = ['interactive', 'standard', 'batch'];

export class Generation {
  readonly #options: GenerationOptions;

  constructor(options: GenerationOptions) {
    this.#options = options;
  }

  /** Answers the request, whatever happens; never rejects. */
  async handle(
    exchange: Exchange,
    dialect: Dialect,
    modelInPath: string | undefined,
    key: AccessKey,
    world: World,
  ): Promise<void> {
    const { clock, observer } = this.#options;
    const record = newRecord(exchange.id, dialect.name, key.tenant, clock.now());
    let outcome: RequestOutcome = 'ok';
    let cause: unknown;
    const end = (thrown: unknown) => {
      if (outcome !== 'ok') return;
      const error = toGatewayError(thrown);
      outcome = error.code;
      cause = error.cause;
      exchange.sendError(error, answerHeaders(record));
    };
    await this.#answer(exchange, dialect, modelInPath, key, world, record).catch(end);
    await lastByte(exchange.response, this.#options.slowReaderLimitMs).catch(end);
    observer.ended?.(record, outcome, clock.now() - record.startedAt, cause);
  }

  async #answer(
    exchange: Exchange,
    dialect: Dialect,
    modelInPath: string | undefined,
    key: AccessKey,
    world: World,
    record: RequestRecord,
  ): Promise<void> {
    const { pipeline, bodyLimits } = this.#options;
    const body = await exchange.readBody(bodyLimits);
    this.#refuseUnlessReady();
    const request = dialect.parse(parseJson(body), modelInPath);
    const asked = request.calls[0]!.model;
    const model = findModel(world, key, asked);
    record.model = model.id;
    record.streamed = request.stream;
    record.priority = priorityOf(exchange, request);
    const deadlineMs = deadlineOf(exchange);
    if (request.ignored.length > 0) exchange.setHeader('x-sluice-warning', ignoredWarning(request.ignored));
    const understood: Understood = {
      request,
      model,
      meta: { id: exchange.id, created: Math.floor(Date.now() / 1000), model: asked },
      wantsReport: exchange.header('x-sluice-report') === '1',
    };
    record.admitted = true;
    const answer = pipeline.start({
      record,
      model,
      calls: request.calls,
      parallel: request.parallel,
      deadlineMs,
    });
    const onClose = () => answer.cancel(new GatewayError('cancelled', 'The client left.'));
    exchange.response.once('close', onClose);
    if (exchange.response.destroyed) onClose();
    try {
      if (request.stream) await this.#stream(exchange, dialect, understood, answer, record);
      else await this.#whole(exchange, dialect, understood, answer, record);
    } catch (thrown) {
      // Whatever ended the writing, also a bug of ours, ends the compute.
      answer.cancel(toGatewayError(thrown));
      throw thrown;
    } finally {
      exchange.response.off('close', onClose);
    }
  }

  #stream(
    exchange: Exchange,
    dialect: Dialect,
    { request, model, meta, wantsReport }: Understood,
    answer: Answer,
    record: RequestRecord,
  ): Promise<void> {
    const codec = dialect.stream(meta, request);
    return writeStream(answer.log, {
      response: exchange.response,
      codec,
      sendHead: () =>
        exchange.writeHead(200, { ...answerHeaders(record, model), ...streamHeaders(codec.contentType) }),
      report: () => (wantsReport ? reportOf(record) : undefined),
      keepAliveMs: this.#options.keepAliveMs,
      slowReaderLimitMs: this.#options.slowReaderLimitMs,
    });
  }

  async #whole(
    exchange: Exchange,
    dialect: Dialect,
    { model, meta, wantsReport }: Understood,
    answer: Answer,
    record: RequestRecord,
  ): Promise<void> {
    const { response } = exchange;
    const fold = new AnswerFold();
    // Blank lines before the JSON, only if asked for: once one is sent, an error can no longer have its status.
    const padding =
      exchange.header('x-sluice-keep-alive') === '1' && this.#padSilence(exchange, model, record);
    try {
      for await (const event of answer.log.read()) fold.add(event);
      const whole = dialect.whole(fold.answer(), meta, wantsReport ? reportOf(record) : undefined);
      if (response.headersSent) response.end(JSON.stringify(whole));
      else exchange.sendJson(200, whole, answerHeaders(record, model));
    } catch (thrown) {
      if (response.headersSent) response.end(JSON.stringify(errorBody(toGatewayError(thrown))));
      throw thrown;
    } finally {
      if (padding) clearInterval(padding);
    }
  }

  #padSilence(exchange: Exchange, model: ServedModel, record: RequestRecord): NodeJS.Timeout {
    const { response } = exchange;
    return setInterval(() => {
      if (response.destroyed || response.writableNeedDrain) return;
      if (!response.headersSent) {
        exchange.writeHead(200, {
          ...answerHeaders(record, model),
          ...streamHeaders('application/json; charset=utf-8'),
        });
      }
      response.write('\n');
    }, this.#options.keepAliveMs).unref();
  }

  #refuseUnlessReady(): void {
    const { state, reason } = this.#options.readiness();
    if (state !== 'ready' && state !== 'restarting') throw new GatewayError('not_ready', reason);
  }
}

function newRecord(id: string, route: string, tenant: string, startedAt: number): RequestRecord {
  return {
    id,
    route,
    tenant,
    startedAt,
    model: 'other',
    priority: 'standard',
    streamed: false,
    admitted: false,
    backend: undefined,
    speaker: undefined,
    queueMs: undefined,
    firstTokenMs: undefined,
    firstAnswerMs: undefined,
    longestGapMs: 0,
    stutters: 0,
    usage: undefined,
  };
}

function findModel(world: World, key: AccessKey, asked: string): ServedModel {
  const model = world.models.get(asked);
  if (model) {
    authorizeModel(key, model.id);
    return model;
  }
  const known = [...world.models.keys()].filter((id) => key.models?.includes(id) ?? true);
  throw new GatewayError(
    'model_not_found',
    `There is no such model here. The models are: ${known.join(', ')}.`,
    {
      param: 'model',
    },
  );
}

/** Someone waits for a stream's next word; an array of prompts is work in bulk. */
function priorityOf(exchange: Exchange, request: ParsedRequest): Priority {
  const asked = exchange.header('x-sluice-priority');
  if (asked === undefined) {
    if (request.calls.length > 1) return 'batch';
    return request.stream ? 'interactive' : 'standard';
  }
  const priority = PRIORITIES.find((one) => one === asked);
  if (priority) return priority;
  throw new GatewayError('invalid_request', `x-sluice-priority is one of: ${PRIORITIES.join(', ')}.`, {
    param: 'x-sluice-priority',
  });
}

function deadlineOf(exchange: Exchange): number | undefined {
  const asked = exchange.header('x-sluice-deadline-ms');
  if (asked === undefined) return undefined;
  if (/^\d{1,8}$/.test(asked) && Number(asked) >= 1 && Number(asked) <= MOST_DEADLINE_MS)
    return Number(asked);
  throw new GatewayError(
    'invalid_request',
    `x-sluice-deadline-ms is a whole number from 1 to ${MOST_DEADLINE_MS}.`,
    {
      param: 'x-sluice-deadline-ms',
    },
  );
}

function ignoredWarning(names: readonly string[]): string {
  return `ignored=${names.slice(0, MOST_IGNORED_NAMES).map(encodeURIComponent).join(',')}`;
}

/** What is known of the answer when its head leaves. */
function answerHeaders(record: RequestRecord, model?: ServedModel): OutgoingHttpHeaders {
  const headers: OutgoingHttpHeaders = {};
  const speaker = record.speaker ?? model?.speaker;
  if (speaker !== undefined) headers['x-sluice-model'] = headerSafe(speaker);
  if (record.backend !== undefined) headers['x-sluice-backend'] = headerSafe(record.backend);
  const timings: string[] = [];
  if (record.queueMs !== undefined) timings.push(`queue;dur=${record.queueMs.toFixed(1)}`);
  if (record.firstTokenMs !== undefined) timings.push(`first_token;dur=${record.firstTokenMs.toFixed(1)}`);
  if (timings.length > 0) headers['server-timing'] = timings.join(', ');
  return headers;
}

/** Proxies on the way must neither hold a stream back nor compress it. */
function streamHeaders(contentType: string): OutgoingHttpHeaders {
  return {
    'content-type': contentType,
    'cache-control': 'no-cache, no-transform',
    'x-accel-buffering': 'no',
  };
}

function reportOf(record: RequestRecord): Report {
  return {
    backend: record.backend,
    model: record.speaker,
    continued: 0,
    stutters: record.stutters,
    longest_gap_ms: Math.round(record.longestGapMs),
    queue_ms: rounded(record.queueMs),
    first_token_ms: rounded(record.firstTokenMs),
  };
}

function rounded(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : Math.round(ms);
}

/** Until the response was handed over whole, or its client left: the request's true end. */
function lastByte(response: ServerResponse, limitMs: number): Promise<void> {
  if (response.writableFinished) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const settle = (error?: GatewayError) => {
      clearTimeout(timer);
      response.off('finish', onFinish).off('close', onClose);
      if (error) reject(error);
      else resolve();
    };
    const onFinish = () => settle();
    const onClose = () => settle(new GatewayError('cancelled', 'The client left before the last byte.'));
    const timer = setTimeout(() => {
      settle(new GatewayError('slow_reader', `The client read nothing for ${limitMs / 1000} s.`));
      response.destroy();
    }, limitMs).unref();
    response.on('finish', onFinish).on('close', onClose);
    if (response.destroyed) onClose();
  });
}
