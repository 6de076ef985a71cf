// Vectors of texts, and documents judged by a query: requests that are answered whole. Understand, compute, write, tell the
// observers, as generation.ts does for answers that are written word by word.
import type { Backend } from '../core/backend.ts';
import type { Usage } from '../core/chat.ts';
import type { EmbeddingAnswer, EmbeddingInput, RerankAnswer } from '../core/embedding.ts';
import { GatewayError, toGatewayError } from '../core/errors.ts';
import { newRecord, type RequestRecord } from '../core/observer.ts';
import type { AccessKey, ModelType, Readiness, ServedModel, World } from '../core/world.ts';
import { addUsage } from '../pipeline/partial.ts';
import type { WholeAnswer, WholeJob } from '../pipeline/whole-compute.ts';
import { UNITS_PER_TOKEN } from '../scheduling/cost.ts';
import { type EmbeddingsAsked, embeddingsBody, readEmbeddings } from '../wire/embeddings.ts';
import { parseJson } from '../wire/json.ts';
import { type RerankAsked, readRerank, rerankBody } from '../wire/rerank.ts';
import { answerHeaders } from './answer-headers.ts';
import type { BodyLimits } from './body.ts';
import { clientTakes } from './client-takes.ts';
import { type ComputeOptions, reserve, settle } from './compute.ts';
import { refuseUnlessReady } from './discovery.ts';
import type { Exchange } from './exchange.ts';
import { deadlineOf, hopsOf, priorityOf } from './request-options.ts';
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
  readonly compute: (asked: Asked) => WholeJob<Answer>['compute'];
  readonly body: (answers: readonly Answer[], usage: Usage, asked: Asked, id: string) => object;
}

/** Texts that a back end gets at once, and such pieces of one request that run at once. */
const MOST_TEXTS = 128;
const PARALLEL = 4;

const EMBEDDINGS: Sort<EmbeddingsAsked, EmbeddingAnswer> = {
  name: 'embeddings',
  type: 'embedding',
  does: 'makes vectors of texts',
  read: readEmbeddings,
  isAble: (backend) => backend.embed !== undefined,
  pieces: (asked) =>
    chunksOf(asked.request.inputs, MOST_TEXTS).map((inputs) => ({
      ...asked,
      request: { ...asked.request, inputs },
    })),
  promptTokens: ({ request }) => request.inputs.reduce((sum, one) => sum + tokensOf(one), 0),
  compute:
    ({ request }) =>
    (backend, model, context) =>
      backend.embed!({ ...request, model }, context),
  body: (answers, usage, asked) => {
    const vectors = answers.flatMap((answer) => answer.vectors);
    return embeddingsBody({ speaker: answers[0]!.speaker, vectors, usage }, asked);
  },
};

const RERANK: Sort<RerankAsked, RerankAnswer> = {
  name: 'rerank',
  type: 'reranker',
  does: 'judges documents by a query',
  read: readRerank,
  isAble: (backend) => backend.rerank !== undefined,
  pieces: (asked) =>
    chunksOf(asked.request.documents, MOST_TEXTS).map((documents) => ({
      ...asked,
      request: { ...asked.request, documents },
    })),
  promptTokens: ({ request: { query, documents } }) =>
    documents.reduce((sum, one) => sum + tokensOf(one) + tokensOf(query), 0),
  compute:
    ({ request }) =>
    (backend, model, context) =>
      backend.rerank!({ ...request, model }, context),
  body: (answers, usage, asked, id) => {
    const scores = answers.flatMap((answer) => answer.scores);
    return rerankBody({ speaker: answers[0]!.speaker, scores, usage }, asked, id);
  },
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
  const cost = { promptTokens: sort.promptTokens(asked), outputTokens: 0 };
  const parallel = Math.min(PARALLEL, pieces.length);
  const taken = reserve({ exchange, key, model }, { parallel, cost }, options.quotas);
  const reservation = taken instanceof Promise ? await taken : taken;
  record.admitted = true;
  const abort = new AbortController();
  const onClose = () => abort.abort(new GatewayError('cancelled', 'The client left.'));
  exchange.response.once('close', onClose);
  if (exchange.response.destroyed) onClose();
  try {
    const run = (piece: Asked) =>
      options.pipeline.computeWhole({
        record,
        model,
        cost: { promptTokens: sort.promptTokens(piece), outputTokens: 0 },
        deadlineMs: deadlineOf(exchange) ?? model.firstTokenObjectiveMs,
        hops: hopsOf(exchange, options.instanceId),
        weight: key.weight,
        signal: abort.signal,
        compute: sort.compute(piece),
      });
    const answers = await inLanes(pieces, reservation.parallel, run, abort);
    const usage = { completionTokens: 0, ...answers.map((one) => one.usage).reduce(addUsage) };
    record.usage = usage;
    exchange.sendJson(200, sort.body(answers, usage, asked, exchange.id), answerHeaders(record, model));
  } finally {
    exchange.response.off('close', onClose);
    settle(reservation, record, model);
  }
}

/** The results in the order of the pieces; the first that fails ends them all. */
async function inLanes<Piece, Result>(
  pieces: readonly Piece[],
  lanes: number,
  run: (piece: Piece) => Promise<Result>,
  abort: AbortController,
): Promise<Result[]> {
  const results: Result[] = new Array(pieces.length);
  // One iterator for all lanes: whoever is free takes the next piece.
  const entries = pieces.entries();
  const lane = async () => {
    for (const [index, piece] of entries) {
      if (abort.signal.aborted) return;
      results[index] = await run(piece);
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.max(1, lanes) }, lane));
  } catch (thrown) {
    abort.abort(toGatewayError(thrown));
    throw thrown;
  }
  abort.signal.throwIfAborted();
  return results;
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

function chunksOf<T>(items: readonly T[], size: number): T[][] {
  const chunks: T[][] = [];
  for (let at = 0; at < items.length; at += size) chunks.push(items.slice(at, at + size));
  return chunks;
}
