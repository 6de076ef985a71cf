// What happened to a request, told as it happens. Observers watch; they never change a request's way.

import type { Usage } from './chat.ts';
import type { ErrorCode } from './errors.ts';
import type { Priority } from './priority.ts';

/** A silence within an answer that its reader notices, in ms. */
export const STUTTER_MS = 500;

/** What may be given up of an answer so that there is one in time, mildest first. */
export const DEGRADE_STEPS = ['cache', 'coalesced', 'trimmed', 'smaller-model', 'shorter', 'spill'] as const;
export type DegradeStep = (typeof DEGRADE_STEPS)[number];

/** One request's story, written as it goes. `startedAt` is on the monotonic clock; what ends in `Ms` is a duration. */
export interface RequestRecord {
  readonly id: string;
  /** A name from a closed set, fit for a metric label. */
  readonly route: string;
  readonly tenant: string;
  readonly startedAt: number;
  /** The model's id if this server has it, else `other`: what clients write is never a label. */
  model: string;
  priority: Priority;
  streamed: boolean;
  /** The pipeline took it. What was refused before is no error of ours. */
  admitted: boolean;
  backend: string | undefined;
  /** The model that really spoke. */
  speaker: string | undefined;
  queueMs: number | undefined;
  /** What `firstTokenMs` was expected to be when the request came to its queue; undefined: not enough was measured. */
  predictedFirstTokenMs: number | undefined;
  /** To the first event that carries text, reasoning or a tool call. */
  firstTokenMs: number | undefined;
  /** To the first event of the answer itself. */
  firstAnswerMs: number | undefined;
  /**
   * The longest silence between two deltas, as far as its client waited through it: who has not read yet what there is
   * hears no silence, nor does who takes the answer whole.
   */
  longestGapMs: number;
  /** Such silences over 500 ms. */
  stutters: number;
  /** How often a call of it went to another back end, or to the same one again, before it had said anything. */
  failovers: number;
  /** How often the answer lost its back end and went on. */
  continued: number;
  /** How often a call of it was sent to a second back end, because the first was late. */
  hedged: number;
  /** How often a call of it gave its slot back to a more urgent one, and went on later. */
  preempted: number;
  /** What was given up for it, in the order of `DEGRADE_STEPS`; written by `noteDegraded`. */
  degraded: readonly DegradeStep[];
  usage: Usage | undefined;
}

/** A request's record before anything happened to it. `startedAt` is on the monotonic clock. */
export function newRecord(id: string, route: string, tenant: string, startedAt: number): RequestRecord {
  return {
    id,
    route,
    tenant,
    startedAt,
    model: 'other',
    priority: 'standard',
    streamed: false,
    admitted: false,
    backend: undefined,
    speaker: undefined,
    queueMs: undefined,
    predictedFirstTokenMs: undefined,
    firstTokenMs: undefined,
    firstAnswerMs: undefined,
    longestGapMs: 0,
    stutters: 0,
    failovers: 0,
    continued: 0,
    hedged: 0,
    preempted: 0,
    degraded: [],
    usage: undefined,
  };
}

/** Writes down, once and in its place, that a step was taken. */
export function noteDegraded(record: RequestRecord, step: DegradeStep): void {
  record.degraded = DEGRADE_STEPS.filter((one) => one === step || record.degraded.includes(one));
}

/** How an answer went on. */
export type ContinuationKind = 'ids' | 'text' | 'rethink';

/** Whether the second of two back ends that ran the same call gave the answer. */
export type HedgeResult = 'won' | 'lost';

/**
 * What became of a request that came for an answer which is kept. `resumed`: its stream was read on; `complete`: all of it was had
 * already; `replayed`: a repeated POST got what its first one began; `cancelled`: its client wants it no more; `bad_id`: what it
 * had last is no event of it; `gone`: it is kept no more; `unknown`: there is none, or it is another key's; `mismatch`: the POST was
 * another one under the same name. `not_kept`: there was no room to keep a new one, which was answered all the same.
 */
export type ResumeOutcome =
  | 'resumed'
  | 'complete'
  | 'replayed'
  | 'cancelled'
  | 'bad_id'
  | 'gone'
  | 'unknown'
  | 'mismatch'
  | 'not_kept';

/** `ok`, or why the request did not end well. */
export type RequestOutcome = 'ok' | ErrorCode;

export interface RequestObserver {
  /** A back end was found; the wait in the queue is over. */
  started?(record: RequestRecord): void;
  /** A delta after the first: the silence before it, and how much of it the client waited through. */
  gap?(record: RequestRecord, gapMs: number, heardMs: number): void;
  /** A call failed before it had said anything, with this code, and is tried again. */
  failedOver?(record: RequestRecord, code: ErrorCode): void;
  /**
   * The answer lost its back end and went on: from its tokens' ids, from its text, or, where it had only thought, by
   * thinking again unseen.
   */
  continued?(record: RequestRecord, kind: ContinuationKind): void;
  /** A call ran on two back ends at once, and that is over. */
  hedged?(record: RequestRecord, result: HedgeResult): void;
  /** A call gave its slot back to a more urgent one. */
  preempted?(record: RequestRecord): void;
  /** Somebody came for an answer that is kept, or had wanted one to be. */
  resumed?(outcome: ResumeOutcome): void;
  /**
   * Once for every request to a model that began an answer, or could not, whatever became of it; `totalMs` is to the last byte,
   * or, of an answer that is kept, to the end of its compute.
   */
  ended?(record: RequestRecord, outcome: RequestOutcome, totalMs: number, cause: unknown): void;
}
