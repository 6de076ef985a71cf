// What the gateway asks of anything that computes. Implementations live in backends/.
import type { ChatRequest, EventSink } from './chat.ts';
import type { EmbeddingAnswer, EmbeddingRequest, RerankAnswer, RerankRequest } from './embedding.ts';
import type { Priority } from './priority.ts';

/** What a model is for: to write, to make vectors of texts, to judge documents by a query. */
export type ModelType = 'chat' | 'embedding' | 'reranker';

/** The caller's side of one call, beside the request itself. */
export interface CallContext {
  /** Unique in this process; for logs. */
  readonly callId: string;
  /** Whose call it is: no computed state is shared between tenants. */
  readonly tenant: string;
  /** Aborted when nobody wants the answer any more; its reason is a GatewayError, and `chat` rejects with it. */
  readonly signal: AbortSignal;
  /** What travels on to another server. */
  readonly origin?: CallOrigin | undefined;
}

/** Names the gateways that a request has passed, with commas between. */
export const HOPS_HEADER = 'x-sluice-hops';

/** Where a call comes from, for servers that it is passed on to. */
export interface CallOrigin {
  /** The id by which the client knows its request. */
  readonly requestId: string;
  readonly priority: Priority;
  /** How long the client still waits for its first token, in ms from now; absent: no promise was made. */
  readonly deadlineMs: number | undefined;
  /** Gateways that the request has passed, by their ids, this one last: none may see it twice. */
  readonly hops: readonly string[];
  /** What its client calls the conversation that it belongs to. */
  readonly session?: string | undefined;
}

export interface BackendLoad {
  /**
   * `loading`: it will be ready, and calls may wait for it. `busy`: it has asked to be left alone for a while. `down`: it
   * cannot be reached, and is tried again; no call waits for it. `failed`, `closed`: for good.
   */
  readonly state: 'loading' | 'ready' | 'busy' | 'down' | 'failed' | 'closed';
  /** Why it is not ready, in a sentence for people. */
  readonly reason?: string | undefined;
  /** `busy` and `down`: when it is worth asking again, in ms from now. */
  readonly retryAfterMs?: number | undefined;
  /** Calls that it can run at once; 0 while it is not ready. */
  readonly slots: number;
  /** 0 to 1: the share of the last seconds that it spent computing, where known. */
  readonly utilization?: number | undefined;
  /** What it says itself that it runs, and has waiting, whoever asked for it; a snapshot of some seconds ago. */
  readonly running?: number | undefined;
  readonly waiting?: number | undefined;
  /** Of these, calls that were not ours. */
  readonly others?: number | undefined;
  /** 0 to 1. */
  readonly kvCacheUsage?: number | undefined;
  /** What its owner lets us have of it for now, where it says so; absent also once that is over. */
  readonly budget?: CallBudget | undefined;
}

/**
 * What a server with limits by time still takes. One that has nothing left is `busy` until its reset: that is seen to by who
 * says this. A call that needs more tokens than are left would be refused.
 */
export interface CallBudget {
  /** Calls; undefined, here and below: it does not say. */
  readonly requests: number | undefined;
  /** Tokens, of prompts and answers. */
  readonly tokens: number | undefined;
  /** When there is more, in ms from now. */
  readonly resetMs: number;
}

/** How many calls at once, where that has to be found out. `aimd`: from refusals; `gradient`: from times to the first token. */
export interface AdaptiveLimit {
  readonly kind: 'aimd' | 'gradient';
  /** Never more than this. */
  readonly most: number;
}

export interface Backend {
  /** Stable and unique; also the metric label. */
  readonly id: string;
  /**
   * It answers `choices` above 1 in one call, and counts their prompt once. Absent: such a request comes to it as calls
   * of one choice each.
   */
  readonly answersSeveral?: boolean | undefined;
  /**
   * It can go on with an answer that was begun: `text`, from the text so far; `ids`, also from the ids of its own tokens,
   * and its own lost answers with it, once it is ready again. Absent: `continueFrom` is of no use to it.
   */
  readonly continues?: 'text' | 'ids' | undefined;
  /** It keeps an answer to its form (`responseFormat`) also where it goes on with its text. */
  readonly continuesForm?: boolean | undefined;
  /** It goes on inside a thought, too. Absent: where there is no text yet, it would think anew. */
  readonly continuesThought?: boolean | undefined;
  /** How many calls at once it takes is to be found out. Absent: as many as it has slots. */
  readonly limit?: AdaptiveLimit | undefined;
  /** What it is for, where it can do one thing alone, and knows. Absent: whatever its server's models are for. */
  readonly isFor?: ModelType | undefined;
  /** The models that it says it serves, where it says so. */
  models?(): readonly string[];
  /**
   * Runs one call: pushes its events into `sink` as they are made, and resolves after `finish` was pushed. Rejects
   * with a GatewayError, be it the call's fault, the back end's, or the signal's reason. Whatever the call held is
   * free again when the promise settles, which is at most one engine step after an abort.
   */
  chat(request: ChatRequest, context: CallContext, sink: EventSink): Promise<void>;
  /** Makes vectors of texts, under the rules of `chat`. Absent: it cannot. */
  readonly embed?:
    | ((request: EmbeddingRequest, context: CallContext) => Promise<EmbeddingAnswer>)
    | undefined;
  /** Judges documents by a query, under the rules of `chat`. Absent: it cannot. */
  readonly rerank?: ((request: RerankRequest, context: CallContext) => Promise<RerankAnswer>) | undefined;
  /** The prompt tokens that the request would have; undefined: it cannot tell. Absent: it never can. Takes no slot. */
  countTokens?(request: ChatRequest, context: CallContext): Promise<number | undefined>;
  /** A snapshot, cheap enough to take for every decision. */
  load(): BackendLoad;
  /**
   * Where it is `down` and a call has nobody else: whether the call may try it before its rest is over. If so it counts as
   * ready, for one call until that has come to something. Absent: never.
   */
  tryNow?(): boolean;
  /** Calls back whenever `load()` may have changed, until the returned function is called. */
  onLoadChange(listener: () => void): () => void;
  /** Ends it and all it started. Calls that still run are rejected with `backend_failed`. Safe to call twice. */
  close(): Promise<void>;
}
