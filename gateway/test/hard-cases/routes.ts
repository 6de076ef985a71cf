// Every route on which a model answers, and how a small request is worded there: what holds of one must hold of all.
// Pure: no input, no output.
import { JSON_BODY } from '../upstream/answers.ts';
import type { Script } from '../upstream/script.ts';
import type { CaseRequest } from './cases.ts';

interface Wording {
  readonly path: (model: string) => string;
  /** Members beside `stream`. */
  readonly body: (model: string, text: string) => Readonly<Record<string, unknown>>;
}

const conversation = (text: string) => [{ role: 'user', content: text }];

const ROUTES: readonly Wording[] = [
  { path: () => '/v1/chat/completions', body: (model, text) => ({ model, messages: conversation(text) }) },
  { path: () => '/v1/completions', body: (model, prompt) => ({ model, prompt }) },
  { path: () => '/v1/responses', body: (model, input) => ({ model, input }) },
  {
    path: () => '/v1/messages',
    body: (model, text) => ({ model, max_tokens: 64, messages: conversation(text) }),
  },
  {
    path: (model) => `/v1/models/${encodeURIComponent(model)}/generate_stream`,
    body: (_model, prompt) => ({ prompt }),
  },
];

export interface RouteRequest {
  readonly model?: string | undefined;
  readonly text?: string | undefined;
  readonly stream: boolean;
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/** The request on every route. */
export function onEveryRoute({ model = 'case', text = 'hi', stream, headers }: RouteRequest): CaseRequest[] {
  return ROUTES.map(({ path, body }) => ({
    method: 'POST',
    path: path(model),
    headers,
    body: { ...body(model, text), stream },
  }));
}

/** A request for what is computed whole, and what a back end answers to it. */
export interface VectorRequest {
  readonly request: CaseRequest;
  readonly answer: Script;
}

/** On every route of this kind. */
export function onVectorRoutes(headers?: Readonly<Record<string, string>>): VectorRequest[] {
  const route = (path: string, body: object, answer: object): VectorRequest => ({
    request: { method: 'POST', path, headers, body: { model: 'case', ...body } },
    answer: { headers: JSON_BODY, chunks: [JSON.stringify(answer)] },
  });
  return [
    route('/v1/embeddings', { input: 'hi' }, { data: [{ index: 0, embedding: [0.5, -1] }] }),
    route('/v1/rerank', { query: 'q', documents: ['hi'] }, { results: [{ index: 0, relevance_score: 0.5 }] }),
  ];
}
