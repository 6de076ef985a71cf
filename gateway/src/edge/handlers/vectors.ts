// Vectors of texts, and documents judged by a query: requests that are answered whole. Understand, compute, write, tell the
// observers, as generation.ts does for answers that are written word by word; and like those, one that has a name belongs to no
// connection (resume/).
import { setImmediate as othersTurn } from 'node:timers/promises';
import { GatewayError, toGatewayError } from '../../core/errors.ts';
import { newRecord, type RequestRecord } from '../../core/observer.ts';
import type { AccessKey, Readiness, ServedModel, World } from '../../core/world.ts';
import { inLanes } from '../../pipeline/lanes.ts';
import { addUsage } from '../../pipeline/partial.ts';
import type { WholeAnswer } from '../../pipeline/whole-compute.ts';
import { parseJson } from '../../wire/json.ts';
import { answerHeaders, reportOf } from '../answering/answer-headers.ts';
import { type ComputeOptions, withinLimits } from '../answering/compute.ts';
import { endStory, type StoryOptions } from '../answering/story.ts';
import { JSON_TYPE } from '../answering/whole-writer.ts';
import { deadlineOf, failoverOf, hopsOf, priorityOf, reportIsWanted } from '../asking/request-options.ts';
import {
  findModel,
  listModelsFor,
  modelLabel,
  refuseOtherType,
  refuseUnlessReady,
} from '../asking/served-models.ts';
import type { BodyLimits } from '../http/body.ts';
import type { Exchange } from '../http/exchange.ts';
import { clientLeft, type ResponseHeaders } from '../http/response.ts';
import { requestName } from '../resume/idempotency.ts';
import type { Guise, KeptAnswer } from '../resume/kept-answer.ts';
import type { KeptAnswers, RequestName } from '../resume/kept-answers.ts';
import { type Coming, findNamed, type KeptReadingOptions, showKept } from '../resume/kept-reading.ts';
import { type AskedModel, EMBEDDINGS, RERANK, type Sort } from './vector-sorts.ts';

export interface VectorOptions extends ComputeOptions, StoryOptions, KeptReadingOptions {
  readonly kept: KeptAnswers;
  readonly readiness: () => Readiness;
  readonly bodyLimits: BodyLimits;
  readonly instanceId: string;
}

/** A request on its way through here. */
interface Call {
  readonly exchange: Exchange;
  readonly key: AccessKey;
  readonly world: World;
}

/** A call once its body was read. */
interface Asked<Body extends AskedModel, Answer extends WholeAnswer> extends Call {
  readonly sort: Sort<Body, Answer>;
  readonly record: RequestRecord;
  readonly body: Body;
  /** With those of its back ends that can. */
  readonly model: ServedModel;
  readonly deadlineMs: number | undefined;
  readonly failover: boolean;
  readonly hops: readonly string[];
  readonly wantsReport: boolean;
}

/** What a request came to: a new answer of its own connection, or one that is kept. */
type Taken<Body extends AskedModel, Answer extends WholeAnswer> =
  | { readonly asked: Asked<Body, Answer> }
  | { readonly kept: KeptAnswer; readonly coming: Coming };

/** Pieces of one request that run at once. */
const PARALLEL = 4;
/** UTF-16 units of an answer that are written before others have their turn. */
const UNITS_A_TURN = 256 * 1024;

/** `POST /v1/embeddings`. Answers the request, whatever happens; never rejects. */
export function answerEmbeddings(call: Call, options: VectorOptions): Promise<void> {
  return handle(EMBEDDINGS, call, options);
}

/** `POST /v1/rerank`. Answers the request, whatever happens; never rejects. */
export function answerRerank(call: Call, options: VectorOptions): Promise<void> {
  return handle(RERANK, call, options);
}

async function handle<Body extends AskedModel, Answer extends WholeAnswer>(
  sort: Sort<Body, Answer>,
  call: Call,
  options: VectorOptions,
): Promise<void> {
  const { exchange, key, world } = call;
  const record = newRecord(exchange.id, sort.name, key.tenant, options.clock.now());
  const letGo = world.hold?.();
  let failure: unknown;
  const fail = (thrown: unknown) => {
    if (failure !== undefined) return;
    failure = thrown;
    exchange.sendError(toGatewayError(thrown), answerHeaders(record));
  };
  try {
    const taken = await take(sort, call, record, options).catch(fail);
    if (taken && 'kept' in taken) return await showKept(exchange, taken.kept, taken.coming, options);
    if (taken) await answer(taken.asked, options).catch(fail);
    await exchange.response.taken(options.slowReaderLimitMs)?.catch(fail);
    endStory(record, options, failure);
  } finally {
    letGo?.();
  }
}

/** Once the body is there it does not wait: of two requests of one name the second finds what the first began. */
async function take<Body extends AskedModel, Answer extends WholeAnswer>(
  sort: Sort<Body, Answer>,
  call: Call,
  record: RequestRecord,
  options: VectorOptions,
): Promise<Taken<Body, Answer>> {
  const { exchange, key } = call;
  const bytes = await exchange.readBody(options.bodyLimits);
  const name = requestName(exchange, sort.name, key, () => bytes);
  const earlier = name && findNamed(name, options);
  if (earlier) return { kept: earlier, coming: 'again' };
  refuseUnlessReady(options.readiness());
  const asked = understand(sort, call, record, sort.read(parseJson(bytes)), options.instanceId);
  const kept = name && beginKept(asked, name, options);
  return kept ? { kept, coming: 'first' } : { asked };
}

/** Writes into the record what it learns. */
function understand<Body extends AskedModel, Answer extends WholeAnswer>(
  sort: Sort<Body, Answer>,
  call: Call,
  record: RequestRecord,
  body: Body,
  instanceId: string,
): Asked<Body, Answer> {
  const { exchange, key, world } = call;
  const found = findModel(world, key, body.request.model);
  refuseOtherType(found, sort.type);
  record.model = modelLabel(world, found);
  record.priority = priorityOf(exchange, { calls: [], stream: false }, found, key);
  const model = ableOf(sort, found, world, key);
  return {
    ...call,
    sort,
    record,
    body,
    model,
    deadlineMs: deadlineOf(exchange) ?? model.firstTokenObjectiveMs,
    failover: failoverOf(exchange),
    hops: hopsOf(exchange, instanceId),
    wantsReport: reportIsWanted(exchange),
  };
}

/** An answer of its own connection: it ends when its client leaves. */
async function answer<Body extends AskedModel, Answer extends WholeAnswer>(
  asked: Asked<Body, Answer>,
  options: VectorOptions,
): Promise<void> {
  const { exchange, record, model } = asked;
  const abort = new AbortController();
  const unwatch = exchange.response.watch((reason) => abort.abort(reason));
  let text: Iterable<string>;
  try {
    text = await compute(asked, options, abort);
  } finally {
    unwatch();
  }
  // Nothing is held of the key any more: a slow reader keeps nobody out.
  await sendPieces(exchange, text, answerHeaders(record, model), options.slowReaderLimitMs);
}

/** Undefined: there is no room to keep it, and nothing was begun. */
function beginKept<Body extends AskedModel, Answer extends WholeAnswer>(
  asked: Asked<Body, Answer>,
  name: RequestName,
  options: VectorOptions,
): KeptAnswer | undefined {
  const { record, model, key } = asked;
  const kept = options.kept.begin(key, guiseOf(record, model.speaker), name, (kept) =>
    computeInto(kept, asked, options),
  );
  if (!kept) options.observer.resumed?.('not_kept');
  return kept;
}

/** Made apart from what computes: it stays for as long as the answer is kept, and what its functions see would stay with it. */
function guiseOf(record: RequestRecord, speaker: string): Guise {
  return {
    // Written in pieces, which are there at once.
    isStream: true,
    contentType: JSON_TYPE,
    isNumbered: false,
    headers: () => ({ 'content-type': JSON_TYPE, ...answerHeaders(record, { speaker }) }),
    errorHeaders: () => answerHeaders(record),
    dialect: {},
  };
}

async function computeInto<Body extends AskedModel, Answer extends WholeAnswer>(
  kept: KeptAnswer,
  asked: Asked<Body, Answer>,
  options: VectorOptions,
): Promise<void> {
  const letGo = asked.world.hold?.();
  const abort = new AbortController();
  const stop = () => abort.abort(kept.signal.reason);
  kept.signal.addEventListener('abort', stop);
  let failure: unknown;
  try {
    const pieces: string[] = [];
    for (const piece of inTurns(await compute(asked, options, abort))) {
      pieces.push(piece);
      await othersTurn();
    }
    // Together, so that none of them goes before its readers have had it.
    kept.add(pieces, true);
  } catch (thrown) {
    failure = thrown;
    throw thrown;
  } finally {
    kept.signal.removeEventListener('abort', stop);
    letGo?.();
    endStory(asked.record, options, failure);
  }
}

/** The answer's JSON, which is made while it is read. `abort`: ends the compute, and is aborted where a piece of it fails. */
function compute<Body extends AskedModel, Answer extends WholeAnswer>(
  asked: Asked<Body, Answer>,
  options: VectorOptions,
  abort: AbortController,
): Promise<Iterable<string>> {
  const { sort, exchange, key, record, body, model, deadlineMs, failover, hops, wantsReport } = asked;
  const pieces = sort.pieces(body);
  const isOne = pieces.length === 1;
  const run = async (piece: Body, number: number) => {
    try {
      return await options.pipeline.computeWhole({
        callId: isOne ? record.id : `${record.id}#${number}`,
        record,
        model,
        cost: { promptTokens: sort.promptTokens(piece), outputTokens: 0 },
        deadlineMs,
        failover,
        hops,
        weight: key.weight,
        signal: abort.signal,
        compute: sort.compute(piece),
      });
    } catch (thrown) {
      throw isOne ? thrown : sort.retold(thrown, pieces.slice(0, number));
    }
  };
  const wanted = {
    parallel: Math.min(PARALLEL, pieces.length),
    cost: { promptTokens: sort.promptTokens(body), outputTokens: 0 },
  };
  return withinLimits(asked, wanted, options.quotas, async (lanes) => {
    const answers = await runAll(pieces, lanes, run, abort);
    const usage = { completionTokens: 0, ...answers.map((one) => one.usage).reduce(addUsage) };
    record.usage = usage;
    const report = wantsReport ? reportOf(record) : undefined;
    return sort.body(answers, { asked: body, usage, id: exchange.id, report });
  });
}

/** The results in the order of the pieces; the first that fails ends them all. */
async function runAll<Piece, Result>(
  pieces: readonly Piece[],
  lanes: number,
  run: (piece: Piece, number: number) => Promise<Result>,
  abort: AbortController,
): Promise<Result[]> {
  const results: Result[] = new Array(pieces.length);
  try {
    await inLanes(pieces.entries(), Math.max(1, lanes), abort.signal, async ([index, piece]) => {
      results[index] = await run(piece, index);
    });
  } catch (thrown) {
    abort.abort(toGatewayError(thrown));
    throw thrown;
  }
  abort.signal.throwIfAborted();
  return results;
}

/**
 * What is long is made and written in pieces: others have their turn in between, and no more of it is held than its client has
 * not taken. Rejects as `Response.flows` does.
 */
async function sendPieces(
  exchange: Exchange,
  pieces: Iterable<string>,
  headers: ResponseHeaders,
  slowReaderLimitMs: number,
): Promise<void> {
  const { response } = exchange;
  for (const text of inTurns(pieces)) {
    if (response.isLost) throw clientLeft();
    if (text.length < UNITS_A_TURN && !response.hasBegun) return exchange.send(200, JSON_TYPE, text, headers);
    if (!response.hasBegun) exchange.begin(200, { 'content-type': JSON_TYPE, ...headers });
    const isTaken = response.write(text);
    await (isTaken ? othersTurn() : response.flows(slowReaderLimitMs));
  }
  if (response.isLost) throw clientLeft();
  response.end();
}

/** The same text in pieces of what is written at once: only the last is shorter. */
function* inTurns(pieces: Iterable<string>): Generator<string> {
  let text = '';
  for (const piece of pieces) {
    text += piece;
    if (text.length < UNITS_A_TURN) continue;
    yield text;
    text = '';
  }
  if (text !== '') yield text;
}

/** The model with those of its back ends that can. Throws `invalid_request` where none can, and says which models could. */
function ableOf<Body extends AskedModel, Answer extends WholeAnswer>(
  { isAble, does }: Sort<Body, Answer>,
  model: ServedModel,
  world: World,
  key: AccessKey,
): ServedModel {
  const able = model.backends.map(isAble);
  if (able.every(Boolean)) return model;
  const backends = model.backends.filter((_, index) => able[index]);
  if (backends.length > 0) {
    return { ...model, backends, tiers: model.tiers?.filter((_, index) => able[index]) };
  }
  if (model.backends.some((backend) => backend.load().state === 'loading')) {
    throw new GatewayError('not_ready', 'What this model is for is known once it is loaded.');
  }
  const others = listModelsFor(world, key).filter((one) => one.backends.some(isAble));
  const there = others.length > 0 ? others.map(({ id }) => id).join(', ') : 'none';
  throw new GatewayError(
    'invalid_request',
    `This model is no model that ${does}. Of such there are here: ${there}.`,
    {
      param: 'model',
    },
  );
}
