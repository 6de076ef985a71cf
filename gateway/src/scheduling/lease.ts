// The right to run one call on one back end: what the scheduler gives, and what it wants to hear.
import type { Backend } from '../core/backend.ts';
import type { Usage } from '../core/chat.ts';
import type { Outcome } from '../core/ticket.ts';

/** It lives as long as the compute, not as long as the client's socket. */
export interface Lease {
  readonly backend: Backend;
  /** How long the call waited for it, in ms. */
  readonly queueMs: number;
  /** When the first token was expected, in ms after the call was acquired; undefined: not enough was measured yet. */
  readonly predictedFirstTokenMs?: number | undefined;
  /** Aborted when the call must stop: the ticket's own signal, or the scheduler took the right back. */
  readonly signal: AbortSignal;
  /** The scheduler took the right back for a more urgent call: this one may go on later, on a lease of its own. */
  readonly isPreempted: boolean;
  /** The back end gave the call's first word. Only the first call counts. */
  spoke(): void;
  /** Gives the slot to the next; `usage` is what it really took, where known. Only the first call counts. */
  release(outcome: Outcome, usage?: Usage): void;
}
