// One call of a socket as its frames, one at a time and in their order: head, events, what it failed by, end. A reader of a kept
// answer like any other, with a place of its own; it holds no more of it than one piece of the buffer.

import { GatewayError } from '../../core/errors.ts';
import { errorBody } from '../../wire/error-body.ts';
import { retryMs } from '../http/exchange.ts';
import type { ResponseHeaders } from '../http/response.ts';
import { type ReadEvent, readEvents } from '../resume/event-numbers.ts';
import type { Follower, KeptAnswer } from '../resume/kept-answer.ts';
import type { Reading } from './begin.ts';
import {
  type EndReason,
  endFrame,
  errorFrame,
  eventFrame,
  type FrameHeaders,
  headFrame,
  type ServerFrame,
} from './frames.ts';

/** The end mark of OpenAI's dialects, which is no JSON: the frame of the end says it here. */
const END_MARK = '[DONE]';

export class SocketCall {
  readonly id: string;
  readonly kept: KeptAnswer;
  readonly #headers: FrameHeaders;
  readonly #follower: Follower;
  /** The number of the next event to read. */
  #from: number;
  /** Read, and not yet given; the next one last. */
  #events: ReadEvent[] = [];
  #isBegun = false;
  #failure: GatewayError | undefined;

  constructor(id: string, { kept, from, headers }: Reading) {
    this.id = id;
    this.kept = kept;
    this.#from = from;
    this.#headers = headers;
    this.#follower = kept.follow();
  }

  /** Resolves when there may be a frame; also when the call was left. */
  news(): Promise<void> {
    return this.#follower.news();
  }

  /** It is read no more. Safe to call twice. */
  leave(): void {
    this.#follower.leave();
  }

  /** Undefined: nothing for now. After the frame of kind `end` there is nothing. */
  next(): ServerFrame | undefined {
    const { kept, id } = this;
    if (this.#failure) return endFrame(id, reasonOf(this.#failure), endHeaders(kept));
    if (!this.#isBegun) {
      // What failed before its first word has no head, as over HTTP.
      if (kept.failure && kept.buffer.next === 1) return this.#fail(kept.failure);
      this.#isBegun = true;
      return headFrame(id, kept.id, this.#headers);
    }
    if (this.#events.length === 0 && this.#from < kept.buffer.first) {
      return this.#fail(
        new GatewayError('slow_reader', 'The client read too slowly: what it missed is no longer kept.'),
      );
    }
    const event = this.#nextEvent();
    if (event) return eventFrame(id, event.number, event.data);
    if (kept.isRunning) return undefined;
    return kept.failure ? this.#fail(kept.failure) : endFrame(id, 'complete', endHeaders(kept));
  }

  #nextEvent(): ReadEvent | undefined {
    const { buffer, guise } = this.kept;
    while (this.#events.length === 0) {
      const batch = buffer.read(this.#from);
      if (!batch) return undefined;
      this.#from = batch.next;
      const text = batch.bytes.toString();
      const events = guise.isStream ? readEvents(text, guise.contentType) : [wholeAnswer(text)];
      this.#events = events.filter(({ data }) => data !== END_MARK).reverse();
    }
    return this.#events.pop();
  }

  #fail(failure: GatewayError): ServerFrame {
    this.#failure = failure;
    const { error } = this.kept.guise.dialect;
    const body = error?.(failure, this.#headers['x-request-id'] ?? '') ?? errorBody(failure);
    return errorFrame(this.id, failure.status, body, retryMs(failure));
  }
}

/** An answer that is no stream is one event, and the first. */
function wholeAnswer(text: string): ReadEvent {
  return { number: 1, data: text.trimEnd() };
}

function reasonOf({ code }: GatewayError): EndReason {
  return code === 'cancelled' ? 'cancelled' : 'failed';
}

/** What is known of the answer when it has ended. */
function endHeaders({ guise }: KeptAnswer): FrameHeaders {
  const headers: ResponseHeaders = guise.headers();
  const told = Object.entries(headers).filter(
    (entry): entry is [string, string] =>
      typeof entry[1] === 'string' && (entry[0].startsWith('x-sluice-') || entry[0] === 'server-timing'),
  );
  return Object.fromEntries(told);
}
