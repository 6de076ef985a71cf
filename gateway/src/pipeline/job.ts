// A request as the pipeline gets it. Words only.
import type { ChatRequest } from '../core/chat.ts';
import type { RequestRecord } from '../core/observer.ts';
import type { ServedModel } from '../core/world.ts';

export interface Job {
  /** Filled in as the request goes its way. */
  readonly record: RequestRecord;
  readonly model: ServedModel;
  /** One for each prompt, never empty; several share one answer, their choices numbered through. */
  readonly calls: readonly ChatRequest[];
  /** How many calls may run at once: a call of several choices can become as many. */
  readonly parallel: number;
  /** The first token is due this long after `record.startedAt`, in ms. */
  readonly deadlineMs: number | undefined;
  /** False: where its back end is lost, its client wants the error. Default true. */
  readonly failover?: boolean | undefined;
  /** False: its client wants the answer as it asked for it, or none. Default true. */
  readonly mayDegrade?: boolean | undefined;
  /** False: its client wants it computed for itself alone, and nothing of it kept. Default true. */
  readonly mayShare?: boolean | undefined;
  /** What its client calls the conversation that it belongs to. */
  readonly session?: string | undefined;
  /** Gateways that the request passed before this one, by their ids. */
  readonly hops?: readonly string[] | undefined;
  /** Its tenant's share against the others'; absent: 1. */
  readonly weight?: number | undefined;
}
