// What a request to a model asks, once its body was read: by its dialect, and by its headers. Nothing is begun here.
import type { RequestRecord } from '../../core/observer.ts';
import type { AccessKey, ServedModel, World } from '../../core/world.ts';
import type { AnswerMeta, Dialect, ParsedRequest } from '../../wire/dialect.ts';
import type { Envelope } from '../http/envelope.ts';
import {
  deadlineOf,
  degradeOf,
  failoverOf,
  hopsOf,
  ignoredWarning,
  mayShareOf,
  priorityOf,
  reportIsWanted,
  resumableOf,
  sessionOf,
} from './request-options.ts';
import { findModel, modelLabel, refuseOtherType } from './served-models.ts';

/** A request to a model on its way through here. */
export interface Call<From extends Envelope = Envelope> {
  readonly exchange: From;
  readonly dialect: Dialect;
  readonly modelInPath: string | undefined;
  readonly key: AccessKey;
  /** As it was when the request came. */
  readonly world: World;
  /** Its answer outlives its connection also where it is no stream and has no name. */
  readonly keepsAll?: boolean | undefined;
}

/** A call once its body was read. */
export interface Asked<From extends Envelope = Envelope> extends Call<From> {
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
  /** A stream whose client may come again for what it missed. */
  readonly isResumable: boolean;
}

/**
 * Writes into the record what it learns. `body`: what `parseJson` gave. `instanceId`: as this server's requests bear it. Throws
 * `invalid_request`, `model_not_found`, `forbidden`, `loop_detected`.
 */
export function understand<From extends Envelope>(
  call: Call<From>,
  record: RequestRecord,
  body: unknown,
  instanceId: string,
): Asked<From> {
  const { exchange, dialect, modelInPath, key, world } = call;
  const request = dialect.parse(body, modelInPath);
  const asked = request.calls[0]!.model;
  const model = findModel(world, key, asked);
  refuseOtherType(model, 'chat');
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
    hops: hopsOf(exchange, instanceId),
    meta: { id: exchange.id, created: Math.floor(Date.now() / 1000), model: asked },
    wantsReport: reportIsWanted(exchange),
    isResumable: request.stream && resumableOf(exchange, model),
  };
}
