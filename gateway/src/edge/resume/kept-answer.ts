// One answer that is kept: its compute belongs to no connection, and each reader has a place of its own in what came of it.
// It never waits for a reader, and never ends by itself because one has left: when is too long, the store knows.
import type { Clock } from '../../core/clock.ts';
import type { GatewayError } from '../../core/errors.ts';
import type { Dialect } from '../../wire/dialect.ts';
import type { ResponseHeaders } from '../http/response.ts';
import type { ReplayBuffer } from './replay-buffer.ts';

/** How it is shown to whoever reads it. */
export interface Guise {
  /** Its text is read as it comes; else it is one JSON, read when it is whole. */
  readonly isStream: boolean;
  /** Of the text. */
  readonly contentType: string;
  /** Its events bear ids, by which a reader comes again. */
  readonly isNumbered: boolean;
  /** Of its head, as things stand. */
  readonly headers: () => ResponseHeaders;
  /** Of an error in its place. */
  readonly errorHeaders: () => ResponseHeaders;
  /** How what is said of it, also to who comes again, is worded. */
  readonly dialect: Pick<Dialect, 'error' | 'idHeader'>;
}

/** A reader of an answer, for as long as it is there. */
export interface Follower {
  /** Resolves when there is more than a moment ago, when the answer has ended, and when this follower has left. */
  news(): Promise<void>;
  /** Safe to call twice. */
  leave(): void;
}

export class KeptAnswer {
  readonly id: string;
  readonly guise: Guise;
  /** What there is of it to read. */
  readonly buffer: ReplayBuffer;
  readonly #clock: Clock;
  readonly #abort = new AbortController();
  /** What wakes each of them. */
  readonly #followers = new Set<{ wake: () => void }>();
  #unreadSince: number;
  #endedAt: number | undefined;
  #failure: GatewayError | undefined;
  #hasSpoken = false;

  constructor(id: string, guise: Guise, buffer: ReplayBuffer, clock: Clock) {
    this.id = id;
    this.guise = guise;
    this.buffer = buffer;
    this.#clock = clock;
    this.#unreadSince = clock.now();
  }

  get isRunning(): boolean {
    return this.#endedAt === undefined;
  }

  /** On the clock; undefined while it runs. */
  get endedAt(): number | undefined {
    return this.#endedAt;
  }

  /** What ended it, where it did not end well. */
  get failure(): GatewayError | undefined {
    return this.#failure;
  }

  /** A model's word is in it, and not only what fills silence. */
  get hasSpoken(): boolean {
    return this.#hasSpoken;
  }

  get isRead(): boolean {
    return this.#followers.size > 0;
  }

  /** Since when nobody reads it, or when somebody last did. */
  get unreadSince(): number {
    return this.#unreadSince;
  }

  /** Aborted when the compute is to end, with the reason. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** `isWord`: the events show something that a model made. */
  add(events: readonly string[], isWord: boolean): void {
    this.#hasSpoken ||= isWord;
    this.buffer.add(events);
    this.#tellAll();
  }

  /** Nothing follows. */
  end(failure?: GatewayError): void {
    this.#endedAt = this.#clock.now();
    this.#failure = failure;
    this.#tellAll();
  }

  /** Ends the compute. Its readers get the reason, as the answer's failure. */
  cancel(reason: GatewayError): void {
    this.#abort.abort(reason);
  }

  follow(): Follower {
    const follower = { wake: () => {} };
    this.#followers.add(follower);
    return {
      news: () =>
        new Promise((resolve) => {
          if (this.#followers.has(follower)) follower.wake = resolve;
          else resolve();
        }),
      leave: () => {
        if (!this.#followers.delete(follower)) return;
        this.#unreadSince = this.#clock.now();
        follower.wake();
      },
    };
  }

  #tellAll(): void {
    for (const { wake } of this.#followers) wake();
  }
}
