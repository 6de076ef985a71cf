// What the driver drives: a sequence of the engine, and what holds a sequence's answer to a form. The words alone, so that
// the driver needs no binding, and its tests no model.
import type { EngineSampling, SampledToken } from './messages.ts';
import type { StatefulSequence } from './prefix-store.ts';

/** Holds one answer's tokens to a form. Made by the engine, for its own sampler. */
export interface Constraint {
  /** A token that was not sampled here, but is the answer's. Throws when it does not fit. */
  accept(token: number): void;
}

/** A place in the engine's KV cache. All of its methods' work of one macrotask shares a batch. */
export interface EngineSequence extends StatefulSequence {
  /** Evaluates tokens without sampling. */
  feed(tokens: readonly number[]): Promise<void>;
  /**
   * Evaluates `tokens`, then yields sampled tokens, evaluating each when the next is asked for. `generated`: what the
   * answer already has, for the penalties.
   */
  generate(
    tokens: readonly number[],
    sampling: EngineSampling,
    generated: readonly number[],
    constraint?: Constraint | undefined,
  ): AsyncIterator<SampledToken>;
}
