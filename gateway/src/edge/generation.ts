// Requests to a model, in any dialect: understand, start, write, tell the observers. One path for all of them.
import type { Clock } from '../core/clock.ts';
import { GatewayError, toGatewayError } from '../core/errors.ts';
import {
  newRecord,
  type RequestObserver,
  type RequestOutcome,
  type RequestRecord,
} from '../core/observer.ts';
import { dearest, type Price } from '../core/price.ts';
import type { AccessKey, Readiness, ServedModel, World } from '../core/world.ts';
import { countCalls } from '../pipeline/choices.ts';
import { AnswerFold } from '../pipeline/partial.ts';
import type { Answer, Pipeline } from '../pipeline/pipeline.ts';
import { estimateCost } from '../scheduling/cost.ts';
import type { KeyQuotas, Reservation } from '../scheduling/quota.ts';
import type { AnswerMeta, Dialect, ParsedRequest } from '../wire/dialect.ts';
import { parseJson } from '../wire/json.ts';
import { answerHeaders, reportOf, streamHeaders } from './answer-headers.ts';
import type { BodyLimits } from './body.ts';
import { clientTakes } from './client-takes.ts';
import type { Exchange } from './exchange.ts';
import { Pacer } from './pacer.ts';
import { setRateLimitHeaders } from './rate-limit-headers.ts';
import {
  deadlineOf,
  degradeOf,
  failoverOf,
  hopsOf,
  ignoredWarning,
  mayShareOf,
  priorityOf,
  sessionOf,
} from './request-options.ts';
import { findModel, modelLabel } from './served-models.ts';
import { writeStream } from './stream-writer.ts';

export interface GenerationOptions {
  readonly pipeline: Pipeline;
  readonly quotas: KeyQuotas;
  readonly observer: RequestObserver;
  readonly clock: Clock;
  readonly readiness: () => Readiness;
  readonly bodyLimits: BodyLimits;
  readonly keepAliveMs: number;
  readonly slowReaderLimitMs: number;
  /** By which this server knows its own requests again, should a back end send them back. */
  readonly instanceId: string;
}

/** A request to a model on its way through here. */
export interface Call {
  readonly exchange: Exchange;
  readonly dialect: Dialect;
  readonly modelInPath: string | undefined;
  readonly key: AccessKey;
  /** As it was when the request came. */
  readonly world: World;
}

/** A call once its body was read. */
interface Understood extends Call {
  readonly record: RequestRecord;
  readonly request: ParsedRequest;
  readonly model: ServedModel;
  readonly deadlineMs: number | undefined;
  readonly failover: boolean;
  readonly mayDegrade: boolean;
  readonly mayShare: boolean;
  readonly session: string | undefined;
  readonly hops: readonly string[];
  readonly meta: AnswerMeta;
  readonly wantsReport: boolean;
}

export class Generation {
  readonly #options: GenerationOptions;

  constructor(options: GenerationOptions) {
    this.#options = options;
  }

  /** Answers the request, whatever happens; never rejects. */
  async handle(call: Call): Promise<void> {
    // What it may still ask of its back ends, it may until it has ended, also if a reload takes them away.
    const letGo = call.world.hold?.();
    try {
      await this.#handle(call);
    } finally {
      letGo?.();
    }
  }

  async #handle(call: Call): Promise<void> {
    const { clock, observer, slowReaderLimitMs } = this.#options;
    const { exchange, dialect, key } = call;
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
    await this.#understand(call, record)
      .then((understood) => this.#answer(understood))
      .catch(end);
    if (!exchange.response.writableFinished) {
      await clientTakes(exchange.response, 'finish', slowReaderLimitMs).catch(end);
    }
    observer.ended?.(record, outcome, clock.now() - record.startedAt, cause);
  }

  /** A step of its own, so that the body's bytes are gone while the answer is made. */
  async #understand(call: Call, record: RequestRecord): Promise<Understood> {
    const { exchange, dialect, modelInPath, key, world } = call;
    const body = await exchange.readBody(this.#options.bodyLimits);
    this.#refuseUnlessReady();
    const request = dialect.parse(parseJson(body), modelInPath);
    const asked = request.calls[0]!.model;
    const model = findModel(world, key, asked);
    record.model = modelLabel(world, model);
    record.streamed = request.stream;
    record.priority = priorityOf(exchange, request, model, key);
    if (request.ignored.length > 0) exchange.setHeader('x-sluice-warning', ignoredWarning(request.ignored));
    return {
      ...call,
      record,
      request,
      model,
      deadlineMs: deadlineOf(exchange) ?? model.firstTokenObjectiveMs,
      failover: failoverOf(exchange),
      mayDegrade: degradeOf(exchange),
      mayShare: mayShareOf(exchange),
      session: sessionOf(exchange),
      hops: hopsOf(exchange, this.#options.instanceId),
      meta: { id: exchange.id, created: Math.floor(Date.now() / 1000), model: asked },
      wantsReport: exchange.header('x-sluice-report') === '1',
    };
  }

  /** Takes what the key may have of it, and gives back in every ending what was not used. */
  async #answer(understood: Understood): Promise<void> {
    const { record, model } = understood;
    const asked = this.#admit(understood);
    const reservation = asked instanceof Promise ? await asked : asked;
    record.admitted = true;
    try {
      await this.#compute(understood, reservation.parallel);
    } finally {
      settle(reservation, record, model);
    }
  }

  #admit({ exchange, key, request, model }: Understood): Reservation | Promise<Reservation> {
    const { quotas } = this.#options;
    const { calls } = request;
    const parallel = Math.min(request.parallel, countCalls(calls, model.backends));
    const cost = { promptTokens: 0, outputTokens: 0 };
    for (const call of calls) {
      const { promptTokens, outputTokens } = estimateCost(call);
      cost.promptTokens += promptTokens;
      cost.outputTokens += outputTokens;
    }
    try {
      return quotas.admit(key, { parallel, cost, price: highestPrice(model) });
    } finally {
      setRateLimitHeaders(exchange, quotas.standing(key));
    }
  }

  async #compute(understood: Understood, parallel: number): Promise<void> {
    const {
      exchange,
      key,
      record,
      request,
      model,
      deadlineMs,
      failover,
      mayDegrade,
      mayShare,
      session,
      hops,
    } = understood;
    const calls = request.stream ? request.calls : request.calls.map((call) => ({ ...call, isWhole: true }));
    const { weight } = key;
    const job = {
      record,
      model,
      calls,
      parallel,
      deadlineMs,
      failover,
      mayDegrade,
      mayShare,
      session,
      hops,
      weight,
    };
    const answer = this.#options.pipeline.start(job);
    const onClose = () => answer.cancel(new GatewayError('cancelled', 'The client left.'));
    exchange.response.once('close', onClose);
    if (exchange.response.destroyed) onClose();
    try {
      if (request.stream) await this.#stream(understood, answer);
      else await this.#whole(understood, answer);
    } catch (thrown) {
      // Whatever ended the writing, also a bug of ours, ends the compute.
      answer.cancel(toGatewayError(thrown));
      throw thrown;
    } finally {
      exchange.response.off('close', onClose);
    }
  }

  #stream(
    { exchange, dialect, record, request, model, meta, wantsReport }: Understood,
    answer: Answer,
  ): Promise<void> {
    const codec = dialect.stream(meta, request);
    const source = model.isPaced ? new Pacer(answer.log, this.#options.clock) : answer.log;
    return writeStream(source, {
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
    { exchange, dialect, record, request, model, meta, wantsReport }: Understood,
    answer: Answer,
  ): Promise<void> {
    const { response } = exchange;
    const fold = new AnswerFold();
    // Blank lines before the JSON, only if asked for: once one is sent, an error can no longer have its status.
    const padding =
      exchange.header('x-sluice-keep-alive') === '1' && this.#padSilence(exchange, model, record);
    try {
      for await (const event of answer.log.read()) fold.add(event);
      const whole = dialect.whole(fold.answer(), meta, request, wantsReport ? reportOf(record) : undefined);
      if (response.headersSent) response.end(JSON.stringify(whole));
      else exchange.sendJson(200, whole, answerHeaders(record, model));
    } catch (thrown) {
      if (response.headersSent) response.end(JSON.stringify(exchange.errorBody(toGatewayError(thrown))));
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

/** What none of the model's back ends is dearer than; undefined: none of them has a price. */
function highestPrice({ backends, prices }: ServedModel): Price | undefined {
  const known = backends.flatMap(({ id }) => prices?.get(id) ?? []);
  return known.length === 0 ? undefined : dearest(known);
}

/** What was never begun counts for nothing. Of an answer that was cut nobody counted the tokens: they stay estimated. */
function settle(reservation: Reservation, record: RequestRecord, { prices }: ServedModel): void {
  const { backend, usage, firstTokenMs } = record;
  // What came without a back end of its own has a usage all the same, and costs nothing.
  const price = backend === undefined ? undefined : prices?.get(backend);
  if (usage !== undefined) reservation.settle(usage, price);
  else if (backend === undefined) reservation.cancel();
  else if (firstTokenMs === undefined) reservation.settle({ completionTokens: 0 }, price);
  reservation.release();
}
