// What happened to a request, told as it happens. Observers watch; they never change a request's way.

import type { Usage } from './chat.ts';
import type { ErrorCode } from './errors.ts';
import type { Priority } from './ticket.ts';

/** One request's story. Times are ms on the monotonic clock, or ms since `startedAt` where the name says `Ms`. */
export interface RequestRecord {
  readonly id: string;
  /** A name from a closed set, fit for a metric label. */
  readonly route: string;
  /** The model asked for, as the client wrote it: for logs, not for labels. */
  readonly model: string;
  /** The model's id if this server has it, else `other`. */
  readonly modelLabel: string;
  readonly tenant: string;
  readonly priority: Priority;
  readonly streamed: boolean;
  readonly startedAt: number;
  /** False while nothing but a refusal can follow. */
  admitted: boolean;
  backend: string | undefined;
  /** The model that really spoke. */
  speaker: string | undefined;
  queueMs: number | undefined;
  /** To the first event that carries text, reasoning or a tool call. */
  firstTokenMs: number | undefined;
  /** To the first event of the answer itself. */
  firstAnswerMs: number | undefined;
  /** The longest silence between two deltas while the client was reading. */
  longestGapMs: number;
  /** Gaps over 500 ms. */
  stutters: number;
  usage: Usage | undefined;
}

/** `ok`, or why the request did not end well. */
export type RequestOutcome = 'ok' | ErrorCode;

export interface RequestObserver {
  /** A back end was found; the wait in the queue is over. */
  started?(record: RequestRecord): void;
  /** A delta after the first: the silence before it, and whether the client was ready to read meanwhile. */
  gap?(record: RequestRecord, gapMs: number, readerWaiting: boolean): void;
  /** Once for every request that was understood, whatever became of it. */
  ended?(record: RequestRecord, outcome: RequestOutcome, totalMs: number, cause: unknown): void;
}
