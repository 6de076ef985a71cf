// The words of what is computed whole, without a stream: vectors of texts, and how well documents answer a query.
// Wire-neutral, as chat.ts is.
import type { Usage } from './chat.ts';

/** A text, or the numbers of its tokens where the client has made them itself. */
export type EmbeddingInput = string | readonly number[];

export interface EmbeddingRequest {
  /** As the client named it. */
  readonly model: string;
  /** Never empty. */
  readonly inputs: readonly EmbeddingInput[];
  /** Numbers in each vector; absent: as many as the model makes. */
  readonly dimensions?: number | undefined;
  /** The client's fields that have no name above, untouched. */
  readonly extra: Readonly<Record<string, unknown>>;
}

export interface EmbeddingAnswer {
  readonly speaker: string;
  /** One for each input, in their order, all of one length. */
  readonly vectors: readonly Float32Array[];
  readonly usage: Usage;
}

export interface RerankRequest {
  /** As the client named it. */
  readonly model: string;
  readonly query: string;
  /** Never empty. */
  readonly documents: readonly string[];
  /** The client's fields that have no name above, untouched. */
  readonly extra: Readonly<Record<string, unknown>>;
}

export interface RerankAnswer {
  readonly speaker: string;
  /** One for each document, in their order; higher is better. Only their order means the same on every back end. */
  readonly scores: readonly number[];
  readonly usage: Usage;
}
