// The words for reading another server's answer, whatever its dialect: what is needed to read one, and how it is driven.
// A reader of answers must never see a socket: it is given text, and pushes events.
import type { ChatRequest, EventSink } from '../../core/chat.ts';
import type { GatewayError } from '../../core/errors.ts';
import type { Traits } from './vendors.ts';

/** Takes out of a continuation what its client has already. */
export interface TextSplicer {
  push(piece: string): string;
  end(): string;
}

export interface AnswerOptions {
  readonly traits: Traits;
  readonly request: ChatRequest;
  /** Who speaks, where the server does not say. */
  readonly speaker: string;
  readonly sink: EventSink;
  /** The error that a server told within its answer: the HTTP status that it stands for, and its JSON as it came. */
  readonly failure: (status: number, body: string) => GatewayError;
  /** With `continueFrom`, for servers that repeat or trim; its text comes out of the splicer. */
  readonly splicer?: TextSplicer | undefined;
  /** Ids of calls that came without one. */
  readonly newId?: (() => string) | undefined;
}

/** An answer in a server's dialect, being read. What it throws is a GatewayError, and it is of no use after that. */
export interface UpstreamAnswer {
  /** The answer is over and `finish` was pushed: nothing that may follow matters, and the connection can be closed. */
  readonly isOver: boolean;
  /** It was ended here, by a stop string or a call that is enough: the server may still compute. */
  readonly isStopped: boolean;
  /** All choices have told why they ended: a connection that breaks now has broken nothing. */
  readonly isWhole: boolean;
  /** One event's data, or one line. `event`: the event's name, '' if it has none. */
  data(text: string, event?: string): void;
  /**
   * Takes the event that begins at `at`, if its bytes tell what it is. Returns where it ends; `at`: it is to be read. Absent:
   * all are.
   */
  known?(bytes: Buffer, at: number): number;
  /** An answer that came in one piece, asked for or not. */
  whole(text: string): void;
  /** The body has ended. Throws `backend_failed` when that was too early. */
  end(): void;
}
