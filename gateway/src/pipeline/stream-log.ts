// The bounded buffer between a model's compute and a client's socket: neither ever waits for the other.
// Producers push synchronously; one reader takes events out in order, and what it has taken is freed. Only who computes
// nothing, and has an answer's events already, may wait for the reader.
// Nothing is ever dropped from the middle: a log that is full ends its stream.
import type { TokenEvent } from '../core/chat.ts';
import type { Clock } from '../core/clock.ts';
import { GatewayError } from '../core/errors.ts';

export interface StreamLogOptions {
  /** Bound on what waits to be read, in estimated bytes of memory. */
  readonly maxBytes: number;
  readonly clock: Clock;
  /** The reader left before the end. */
  readonly onAbandoned: () => void;
}

type Result = IteratorResult<TokenEvent, undefined>;

/** The reader, waiting. */
interface Pending {
  readonly since: number;
  resolve(result: Result): void;
  reject(error: GatewayError): void;
}

/** The object around an event's text, which has two bytes a UTF-16 unit. */
const EVENT_BYTES = 64;
const TOKEN_BYTES = 8;
/** A token with its probability, or one that it is compared with. */
const LOGPROB_BYTES = 128;
const DONE: Result = { value: undefined, done: true };

export class StreamLog {
  readonly #options: StreamLogOptions;
  #events: TokenEvent[] = [];
  #head = 0;
  #bytes = 0;
  #state: 'open' | 'ended' | 'failed' | 'abandoned' = 'open';
  #failure: GatewayError | undefined;
  #pending: Pending | undefined;
  #hasReader = false;
  #readerWaits: PromiseWithResolvers<void> | undefined;

  constructor(options: StreamLogOptions) {
    this.#options = options;
  }

  /** Since when the reader has read all and waits, on the clock: so long a silence is the model's. Undefined: it does not wait. */
  get readerWaitsSince(): number | undefined {
    return this.#pending?.since;
  }

  /**
   * For an answer that is there already and may be larger than the log. Undefined: the reader has read all and waits, or
   * will read no more, so that a `push` right now takes no memory. Else it resolves when that may be so.
   */
  whenReaderWaits(): Promise<void> | undefined {
    if (this.#pending || this.#state !== 'open') return undefined;
    this.#readerWaits ??= Promise.withResolvers();
    return this.#readerWaits.promise;
  }

  /** Throws `slow_reader` when full, and `cancelled` when the reader has left: whoever computes should stop then. */
  push(event: TokenEvent): void {
    if (this.#state !== 'open') {
      throw this.#failure ?? new GatewayError('cancelled', 'Nobody reads this answer any more.');
    }
    if (this.#pending) {
      const { resolve } = this.#pending;
      this.#pending = undefined;
      resolve({ value: event, done: false });
      return;
    }
    const bytes = bytesOf(event);
    if (this.#bytes + bytes > this.#options.maxBytes) {
      const error = new GatewayError(
        'slow_reader',
        'The client read too slowly: its answer no longer fits the buffer.',
      );
      this.fail(error);
      throw error;
    }
    this.#bytes += bytes;
    this.#events.push(event);
  }

  /** No event will follow; the reader ends after the last one. */
  end(): void {
    if (this.#state !== 'open') return;
    this.#state = 'ended';
    this.#pending?.resolve(DONE);
    this.#pending = undefined;
    this.#wakeProducers();
  }

  /** The reader gets what is there, then the error. Only the first ending counts. */
  fail(error: GatewayError): void {
    if (this.#state !== 'open') return;
    this.#state = 'failed';
    this.#failure = error;
    this.#pending?.reject(error);
    this.#pending = undefined;
    this.#wakeProducers();
  }

  /**
   * The one reader. Written by hand because `return()` of an async generator waits for its pending await: leaving a
   * silent model would then cancel nothing.
   */
  read(): AsyncIterableIterator<TokenEvent, undefined> {
    if (this.#hasReader) throw new Error('A stream log has one reader.');
    this.#hasReader = true;
    return new Cursor(
      () => this.#next(),
      () => this.#abandon(),
    );
  }

  /** For the reader, between two events: the next one if it is there already, undefined if it would have to wait. */
  takeReady(): TokenEvent | undefined {
    const event = this.#events[this.#head];
    if (!event) return undefined;
    this.#head += 1;
    this.#bytes -= bytesOf(event);
    if (this.#head === this.#events.length) {
      this.#events = [];
      this.#head = 0;
    }
    return event;
  }

  #next(): Promise<Result> {
    const event = this.takeReady();
    if (event) return Promise.resolve({ value: event, done: false });
    if (this.#state === 'failed') return Promise.reject(this.#failure);
    if (this.#state !== 'open') return Promise.resolve(DONE);
    return new Promise((resolve, reject) => {
      this.#pending = { since: this.#options.clock.now(), resolve, reject };
      this.#wakeProducers();
    });
  }

  #abandon(): void {
    this.#events = [];
    this.#head = 0;
    this.#bytes = 0;
    this.#pending?.resolve(DONE);
    this.#pending = undefined;
    if (this.#state !== 'open') return;
    this.#state = 'abandoned';
    this.#wakeProducers();
    this.#options.onAbandoned();
  }

  #wakeProducers(): void {
    this.#readerWaits?.resolve();
    this.#readerWaits = undefined;
  }
}

class Cursor implements AsyncIterableIterator<TokenEvent, undefined> {
  readonly next: () => Promise<Result>;
  readonly #leave: () => void;

  constructor(next: () => Promise<Result>, leave: () => void) {
    this.next = next;
    this.#leave = leave;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  return(): Promise<Result> {
    this.#leave();
    return Promise.resolve(DONE);
  }
}

/** An event's memory, estimated, in bytes. */
export function bytesOf(event: TokenEvent): number {
  switch (event.type) {
    case 'text-delta': {
      let bytes = EVENT_BYTES + 2 * event.text.length + TOKEN_BYTES * (event.tokens?.length ?? 0);
      for (const { top } of event.logprobs ?? []) bytes += LOGPROB_BYTES * (1 + top.length);
      return bytes;
    }
    case 'reasoning-delta':
      return EVENT_BYTES + 2 * event.text.length + TOKEN_BYTES * (event.tokens?.length ?? 0);
    case 'tool-call-delta':
      return EVENT_BYTES + 2 * event.arguments.length;
    default:
      return EVENT_BYTES;
  }
}
