// Vectors of texts, and documents judged by a query: requests that are answered whole. Understand, compute, write, tell the
// observers, as generation.ts does for answers that are written word by word.
import type { OutgoingHttpHeaders } from 'node:http';
import { setImmediate as othersTurn } from 'node:timers/promises';
import type { Backend, ModelType } from '../core/backend.ts';
import type { Usage } from '../core/chat.ts';
import type { EmbeddingAnswer, EmbeddingInput, RerankAnswer } from '../core/embedding.ts';
import { GatewayError, toGatewayError } from '../core/errors.ts';
import { newRecord, type RequestRecord } from '../core/observer.ts';
import type { AccessKey, Readiness, ServedModel, World } from '../core/world.ts';
import { inLanes } from '../pipeline/lanes.ts';
import { addUsage } from '../pipeline/partial.ts';
import type { WholeAnswer, WholeJob } from '../pipeline/whole-compute.ts';
import { UNITS_PER_TOKEN } from '../scheduling/cost.ts';
import { type EmbeddingsAsked, embeddingsBody, readEmbeddings } from '../wire/dialects/embeddings.ts';
import { type RerankAsked, readRerank, rerankBody } from '../wire/dialects/rerank.ts';
import { parseJson } from '../wire/json.ts';
import { answerHeaders } from './answer-headers.ts';
import type { BodyLimits } from './body.ts';
import { clientLeft, watchClient } from './client-leaves.ts';
import { clientTakes } from './client-takes.ts';
import { type ComputeOptions, withinLimits } from './compute.ts';
import { refuseUnlessReady } from './discovery.ts';
import type { Exchange } from './exchange.ts';
import { deadlineOf, failoverOf, hopsOf, priorityOf } from './request-options.ts';
import { findModel, listModelsFor, modelLabel, refuseOtherType } from './served-models.ts';
import { endStory, type StoryOptions } from './story.ts';

export interface VectorOptions extends ComputeOptions, StoryOptions {
  readonly readiness: () => Readiness;
  readonly bodyLimits: BodyLimits;
  readonly slowReaderLimitMs: number;
  readonly instanceId: string;
}

/** A request on its way through here. */
interface Call {
  readonly exchange: Exchange;
  readonly key: AccessKey;
  readonly world: World;
}

/** What the two sorts of requests differ in. */
interface Sort<Asked extends { readonly request: { readonly model: string } }, Answer extends WholeAnswer> {
  readonly name: string;
  readonly type: ModelType;
  /** What a model does that can do it. */
  readonly does: string;
  readonly read: (body: unknown) => Asked;
  readonly isAble: (backend: Backend) => boolean;
  /** The request in pieces of a size that holds nobody up. */
  readonly pieces: (asked: Asked) => readonly Asked[];
  readonly promptTokens: (asked: Asked) => number;
  /** What the client is told of a piece's failure. `before`: the pieces before it. */
  readonly retold: (thrown: unknown, before: readonly Asked[]) => unknown;
  readonly compute: (asked: Asked) => WholeJob<Answer>['compute'];
  readonly body: (answers: readonly Answer[], usage: Usage, asked: Asked, id: string) => Iterable<string>;
}

/** What a back end gets at once, in texts and in tokens: clouds refuse more than some dozens of texts. */
const MOST_TEXTS = 32;
const MOST_TOKENS = 16_384;
/** Pieces of one request that run at once. */
const PARALLEL = 4;
/** UTF-16 units of an answer that are written before others have their turn. */
const UNITS_A_TURN = 256 * 1024;
const JSON_TYPE = 'application/json; charset=utf-8';

const EMBEDDINGS: Sort<EmbeddingsAsked, EmbeddingAnswer> = {
  name: 'embeddings',
  type: 'embedding',
  does: 'makes vectors of texts',
  read: readEmbeddings,
  isAble: (backend) => backend.embed !== undefined,
  pieces: (asked) =>
    piecesOf(asked.request.inputs).map((inputs) => ({
      ...asked,
      request: { ...asked.request, inputs },
    })),
  promptTokens: ({ request }) => request.inputs.reduce((sum, one) => sum + tokensOf(one), 0),
  retold: (thrown, before) => placedBehind(thrown, before.flatMap(({ request }) => request.inputs).length),
  compute:
    ({ request }) =>
    (backend, model, context) =>
      backend.embed!({ ...request, model }, context),
  body: (answers, usage, asked) => {
    const vectors = answers.flatMap((answer) => answer.vectors);
    refuseOtherLengths(vectors, asked.request.dimensions);
    return embeddingsBody({ speaker: answers[0]!.speaker, vectors, usage }, asked);
  },
};

const RERANK: Sort<RerankAsked, RerankAnswer> = {
  name: 'rerank',
  type: 'reranker',
  does: 'judges documents by a query',
  read: readRerank,
  isAble: (backend) => backend.rerank !== undefined,
  // In one piece: only the judgements of one back end can be compared.
  pieces: (asked) => [asked],
  promptTokens: ({ request: { query, documents } }) =>
    documents.reduce((sum, one) => sum + tokensOf(one) + tokensOf(query), 0),
  retold: (thrown) => thrown,
  compute:
    ({ request }) =>
    (backend, model, context) =>
      backend.rerank!({ ...request, model }, context),
  body: ([judged], usage, asked, id) => [`${JSON.stringify(rerankBody({ ...judged!, usage }, asked, id))}\n`],
};

/** `POST /v1/embeddings`. Answers the request, whatever happens; never rejects. */
export function answerEmbeddings(call: Call, options: VectorOptions): Promise<void> {
  return handle(EMBEDDINGS, call, options);
}

/** `POST /v1/rerank`. Answers the request, whatever happens; never rejects. */
export function answerRerank(call: Call, options: VectorOptions): Promise<void> {
  return handle(RERANK, call, options);
}

async function handle<
  Asked extends { readonly request: { readonly model: string } },
  Answer extends WholeAnswer,
>(sort: Sort<Asked, Answer>, call: Call, options: VectorOptions): Promise<void> {
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
    await answer(sort, call, record, options).catch(fail);
    if (!exchange.response.writableFinished) {
      await clientTakes(exchange.response, 'finish', options.slowReaderLimitMs).catch(fail);
    }
    endStory(record, options, failure);
  } finally {
    letGo?.();
  }
}

async function answer<
  Asked extends { readonly request: { readonly model: string } },
  Answer extends WholeAnswer,
>(
  sort: Sort<Asked, Answer>,
  { exchange, key, world }: Call,
  record: RequestRecord,
  options: VectorOptions,
): Promise<void> {
  const body = await exchange.readBody(options.bodyLimits);
  refuseUnlessReady(options.readiness());
  const asked = sort.read(parseJson(body));
  const found = findModel(world, key, asked.request.model);
  refuseOtherType(found, sort.type);
  record.model = modelLabel(world, found);
  record.priority = priorityOf(exchange, { calls: [], stream: false }, found, key);
  const model = ableOf(sort, found, world, key);
  const pieces = sort.pieces(asked);
  const isOne = pieces.length === 1;
  const cost = { promptTokens: sort.promptTokens(asked), outputTokens: 0 };
  const parallel = Math.min(PARALLEL, pieces.length);
  const compute = async (lanes: number): Promise<Iterable<string>> => {
    const abort = new AbortController();
    const unwatch = watchClient(exchange.response, (reason) => abort.abort(reason));
    try {
      const terms = {
        deadlineMs: deadlineOf(exchange) ?? model.firstTokenObjectiveMs,
        failover: failoverOf(exchange),
        hops: hopsOf(exchange, options.instanceId),
        weight: key.weight,
        signal: abort.signal,
      };
      const run = async (piece: Asked, number: number) => {
        try {
          return await options.pipeline.computeWhole({
            ...terms,
            callId: isOne ? record.id : `${record.id}#${number}`,
            record,
            model,
            cost: { promptTokens: sort.promptTokens(piece), outputTokens: 0 },
            compute: sort.compute(piece),
          });
        } catch (thrown) {
          throw isOne ? thrown : sort.retold(thrown, pieces.slice(0, number));
        }
      };
      const answers = await runAll(pieces, lanes, run, abort);
      const usage = { completionTokens: 0, ...answers.map((one) => one.usage).reduce(addUsage) };
      record.usage = usage;
      return sort.body(answers, usage, asked, exchange.id);
    } finally {
      unwatch();
    }
  };
  const limited = { exchange, key, model, record };
  const text = await withinLimits(limited, { parallel, cost }, options.quotas, compute);
  // Nothing is held of the key any more: a slow reader keeps nobody out.
  await sendPieces(exchange, text, answerHeaders(record, model), options.slowReaderLimitMs);
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
 * not taken. Rejects as `clientTakes` does.
 */
async function sendPieces(
  exchange: Exchange,
  pieces: Iterable<string>,
  headers: OutgoingHttpHeaders,
  slowReaderLimitMs: number,
): Promise<void> {
  const { response } = exchange;
  let text = '';
  for (const piece of pieces) {
    text += piece;
    if (text.length < UNITS_A_TURN) continue;
    if (response.destroyed) throw clientLeft();
    if (!response.headersSent) exchange.writeHead(200, { 'content-type': JSON_TYPE, ...headers });
    const isTaken = response.write(text);
    text = '';
    await (isTaken ? othersTurn() : clientTakes(response, 'drain', slowReaderLimitMs));
  }
  if (response.destroyed) throw clientLeft();
  if (response.headersSent) response.end(text);
  else exchange.send(200, JSON_TYPE, text, headers);
}

/** The model with those of its back ends that can. Throws `invalid_request` where none can, and says which models could. */
function ableOf<Asked extends { readonly request: { readonly model: string } }, Answer extends WholeAnswer>(
  { isAble, does }: Sort<Asked, Answer>,
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

function tokensOf(input: EmbeddingInput): number {
  return typeof input === 'string' ? Math.ceil(input.length / UNITS_PER_TOKEN) : input.length;
}

/** In their order, each of a size that a back end takes. */
function piecesOf(inputs: readonly EmbeddingInput[]): EmbeddingInput[][] {
  const pieces: EmbeddingInput[][] = [];
  let tokens = 0;
  for (const input of inputs) {
    const own = tokensOf(input);
    const last = pieces.at(-1);
    if (last && last.length < MOST_TEXTS && tokens + own <= MOST_TOKENS) {
      last.push(input);
      tokens += own;
    } else {
      pieces.push([input]);
      tokens = own;
    }
  }
  return pieces;
}

/** A back end names a text by its place in what it was given; its client counts all of them. */
function placedBehind(thrown: unknown, first: number): unknown {
  if (!(thrown instanceof GatewayError)) return thrown;
  const { code, message, param = '', retryAfterMs, status, wire } = thrown;
  const place = /^input(?:\[(\d+)\])?$/.exec(param);
  // Without a number, and not in its words, all texts are meant.
  if (!place || (place[1] === undefined && !message.startsWith(param))) return thrown;
  const here = `input[${first + Number(place[1] ?? 0)}]`;
  const text = message.startsWith(param) ? here + message.slice(param.length) : message;
  return new GatewayError(code, text, { param: here, retryAfterMs, status, wire, cause: thrown });
}

/** Vectors of two lengths cannot be compared; nor is a length that the model did not make what was asked for. */
function refuseOtherLengths(vectors: readonly Float32Array[], dimensions: number | undefined): void {
  const { length } = vectors[0]!;
  if (vectors.some((vector) => vector.length !== length)) {
    throw new GatewayError('backend_failed', 'The back ends gave vectors of different lengths.');
  }
  if (dimensions === undefined || dimensions === length) return;
  const message = `This model makes vectors of ${length} numbers, and no others.`;
  throw new GatewayError('invalid_request', message, { param: 'dimensions' });
}
