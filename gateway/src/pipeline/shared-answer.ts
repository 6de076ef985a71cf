// One answer in the making that several requests read, each from its beginning: what came so far at once, the rest as it
// comes. The compute ends with its last reader, and not with the one for whom it was begun.
// It must never let a slow reader hold up another, and takes nobody in once it is over.
import { isDelta, type TokenEvent, type Usage } from '../core/chat.ts';
import type { Clock } from '../core/clock.ts';
import { ERROR_TRAITS, type GatewayError } from '../core/errors.ts';
import { noteDegraded, type RequestRecord } from '../core/observer.ts';
import type { Standing } from './call.ts';
import type { Run } from './call-runner.ts';
import { type Recorded, Recording } from './recording.ts';

/** A request that reads along. */
export interface Reader extends Pick<Run, 'record' | 'push' | 'signal'> {
  /** It joined what was begun for another one: where that breaks off in the middle, it tries itself. */
  readonly isFollower: boolean;
  /** The compute has failed for good and still holds its slot: whatever else its reader computes is to end. */
  readonly onFailed: (error: GatewayError) => void;
}

/** How it ended for a reader: whole; or broken off, where the reader can go on by itself from how the call stands. */
export type SharedEnd = { readonly usage: Usage } | { readonly standing: Standing };

export interface SharedAnswerOptions {
  readonly clock: Clock;
  /** Of the request for which it is begun. */
  readonly record: RequestRecord;
  /** Whether some back end could go on from there. */
  readonly canGoOn: (standing: Standing) => boolean;
  /** Nobody can join any more. `usage`: the answer is whole. */
  readonly onOver: (usage: Usage | undefined) => void;
}

export class SharedAnswer {
  readonly #recording = new Recording();
  /** What the compute does, told once for all that read. */
  readonly record: RequestRecord;
  readonly #options: SharedAnswerOptions;
  readonly #readers = new Map<Reader, PromiseWithResolvers<SharedEnd>>();
  readonly #abort = new AbortController();
  #standing: Standing | undefined;
  #isOver = false;

  constructor(options: SharedAnswerOptions) {
    this.#options = options;
    this.record = { ...options.record, failovers: 0, continued: 0, hedged: 0, preempted: 0 };
  }

  /** What there is of it, for who comes later; undefined: more than is kept. */
  get soFar(): Recorded | undefined {
    const { events, bytes } = this.#recording;
    return events && { events, bytes };
  }

  /** Starts the compute; its first reader is there already. */
  begin(compute: (run: Run) => Promise<Usage>): void {
    const run: Run = {
      record: this.record,
      push: (event) => this.#take(event),
      signal: this.#abort.signal,
      onFailed: (error, standing) => this.#fail(error, standing),
    };
    compute(run).then(
      (usage) => {
        this.#close(usage);
        for (const { resolve } of this.#readers.values()) resolve({ usage });
      },
      (thrown: unknown) => {
        this.#close(undefined);
        for (const [reader, { resolve, reject }] of this.#readers) {
          const standing = this.#standingFor(reader);
          if (standing) resolve({ standing });
          else reject(thrown);
        }
      },
    );
  }

  /** Rejects with what ended it for this reader: its signal's reason, its own slowness, or the compute's failure. */
  async read(reader: Reader): Promise<SharedEnd> {
    reader.signal.throwIfAborted();
    const end = Promise.withResolvers<SharedEnd>();
    const onAbort = () => this.#leave(reader, reader.signal.reason);
    reader.signal.addEventListener('abort', onAbort);
    this.#readers.set(reader, end);
    for (const event of this.#recording.events ?? []) this.#give(reader, event);
    try {
      return await end.promise;
    } finally {
      reader.signal.removeEventListener('abort', onAbort);
      this.#tellSpeaker(reader);
      this.#tellCourse(reader);
    }
  }

  #take(event: TokenEvent): void {
    // Nobody reads, and the compute has not heard of it yet.
    this.#abort.signal.throwIfAborted();
    const { record } = this;
    if (event.type === 'start') record.speaker ??= event.speaker;
    else if (isDelta(event)) record.firstTokenMs ??= this.#options.clock.now() - record.startedAt;
    this.#recording.add(event);
    for (const reader of this.#readers.keys()) this.#give(reader, event);
  }

  /** What a reader does not take is its own end only. */
  #give(reader: Reader, event: TokenEvent): void {
    this.#tellSpeaker(reader);
    const { record } = reader;
    // Before a word of it, another form of the answer may still be given.
    if (event.type !== 'start' && reader.isFollower && !record.degraded.includes('coalesced')) {
      noteDegraded(record, 'coalesced');
    }
    try {
      reader.push(event);
    } catch (thrown) {
      this.#leave(reader, thrown);
    }
  }

  /** Until an answer speaks, who will speak may change. */
  #tellSpeaker({ record, isFollower }: Reader): void {
    if (record.firstTokenMs !== undefined) return;
    record.backend = this.record.backend;
    record.speaker = this.record.speaker;
    // Who joins waits for no slot, and nothing was predicted of it.
    if (isFollower) return;
    record.queueMs = this.record.queueMs;
    record.predictedFirstTokenMs = this.record.predictedFirstTokenMs;
  }

  #tellCourse({ record }: Reader): void {
    const { failovers, continued, hedged, preempted } = this.record;
    record.failovers += failovers;
    record.continued += continued;
    record.hedged += hedged;
    record.preempted += preempted;
  }

  #leave(reader: Reader, reason: unknown): void {
    this.#readers.get(reader)?.reject(reason);
    this.#readers.delete(reader);
    if (this.#readers.size > 0) return;
    this.#close(undefined);
    this.#abort.abort(reason);
  }

  #fail(error: GatewayError, standing: Standing): void {
    const mayGoOn = this.#recording.hasWords && ERROR_TRAITS[error.code].elsewhere;
    if (mayGoOn && this.#options.canGoOn(standing)) this.#standing = standing;
    for (const reader of this.#readers.keys()) if (!this.#standingFor(reader)) reader.onFailed(error);
  }

  /** From where the reader tries itself what has failed; undefined: it has failed for the reader too. */
  #standingFor({ isFollower }: Reader): Standing | undefined {
    return isFollower ? this.#standing : undefined;
  }

  #close(usage: Usage | undefined): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#options.onOver(usage);
  }
}
