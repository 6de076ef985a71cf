// The two sorts of requests for what has no words: vectors of texts, and documents judged by a query. What they differ in: how they
// are read, cut into pieces, computed and written. Nothing waits here, and nothing is sent.
import type { Backend, ModelType } from '../../core/backend.ts';
import type { Usage } from '../../core/chat.ts';
import type { EmbeddingAnswer, EmbeddingInput, RerankAnswer } from '../../core/embedding.ts';
import { GatewayError } from '../../core/errors.ts';
import type { WholeAnswer, WholeJob } from '../../pipeline/whole-compute.ts';
import { UNITS_PER_TOKEN } from '../../scheduling/cost.ts';
import type { Report } from '../../wire/dialect.ts';
import { type EmbeddingsAsked, embeddingsBody, readEmbeddings } from '../../wire/dialects/embeddings.ts';
import { type RerankAsked, readRerank, rerankBody } from '../../wire/dialects/rerank.ts';

/** What the body of any of them says. */
export interface AskedModel {
  readonly request: { readonly model: string };
}

/** What an answer's body is made of besides the answer. */
export interface Around<Asked> {
  readonly asked: Asked;
  readonly usage: Usage;
  /** The request's. */
  readonly id: string;
  /** Absent: not asked for. */
  readonly report: Report | undefined;
}

export interface Sort<Asked extends AskedModel, Answer extends WholeAnswer> {
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
  /** The answer's JSON in pieces, from those of the request's pieces. */
  readonly body: (answers: readonly Answer[], around: Around<Asked>) => Iterable<string>;
}

/** What a back end gets at once, in texts and in tokens: clouds refuse more than some dozens of texts. */
const MOST_TEXTS = 32;
const MOST_TOKENS = 16_384;

export const EMBEDDINGS: Sort<EmbeddingsAsked, EmbeddingAnswer> = {
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
  body: (answers, { asked, usage, report }) => {
    const vectors = answers.flatMap((answer) => answer.vectors);
    refuseOtherLengths(vectors, asked.request.dimensions);
    return embeddingsBody({ speaker: answers[0]!.speaker, vectors, usage }, asked, report);
  },
};

export const RERANK: Sort<RerankAsked, RerankAnswer> = {
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
  body: ([judged], { asked, usage, id, report }) => {
    const body = rerankBody({ ...judged!, usage }, asked, id);
    return [`${JSON.stringify({ ...body, ...(report && { sluice: report }) })}\n`];
  },
};

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
