// How many calls a back end is given at once: the interface of those who find it out, and what they are told of each call.
import type { Outcome } from '../../core/ticket.ts';

/** One back end's. The scheduler gives it the least of this, and of the slots that it says it has. */
export interface ConcurrencyLimit {
  /** Calls at once: whole (or infinite: it adds nothing), never below 1. */
  readonly value: number;
  /**
   * What became of a call. To be told at its first word (`ok`), and at its end where that was an `overload`, or where no
   * word had come before it.
   */
  sampled(sample: LimitSample): void;
}

export interface LimitSample {
  /** When the call began to run, on the scheduler's clock, in ms. */
  readonly startedAt: number;
  /** When this is told, on the same clock. */
  readonly at: number;
  /** From its start to its first word, in ms; undefined: none came. */
  readonly firstTokenMs: number | undefined;
  /** Calls that run on the back end, this one among them. */
  readonly running: number;
  readonly outcome: Outcome;
}
