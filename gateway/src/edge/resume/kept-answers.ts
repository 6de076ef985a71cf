// The answers that are kept: by their ids, and by the names that clients gave to their requests. It holds the bounds: how long
// a running answer may be without a reader, how long a finished one stays, and how much memory all of them take.
// It knows neither requests nor connections.
import type { Clock } from '../../core/clock.ts';
import { GatewayError, toGatewayError } from '../../core/errors.ts';
import { type Guise, KeptAnswer } from './kept-answer.ts';
import { ReplayBuffer, type SharedMemory } from './replay-buffer.ts';
import { type Owner, StreamIds } from './stream-ids.ts';

export interface KeptAnswersOptions {
  readonly clock: Clock;
  /** How long a running answer may be without a reader, in ms. */
  readonly graceMs: number;
  /** How long a finished answer stays, in ms. */
  readonly keepMs: number;
  /** Of one answer. */
  readonly bufferBytes: number;
  /** Of all of them; running ones may go over it by what their readers have not had yet. */
  readonly memoryBytes: number;
}

/** What a client calls a request of its own, so that it is computed once. */
export interface RequestName {
  /** Unique: holds whose it is. */
  readonly name: string;
  /** What it asks: the same name with another one is a mistake. */
  readonly fingerprint: string;
}

/** Computes into the answer until it has ended, or rejects with what it failed by; ends when its signal is aborted. */
export type Compute = (kept: KeptAnswer) => Promise<void>;

interface Entry {
  readonly kept: KeptAnswer;
  readonly name: RequestName | undefined;
}

/** An idle one costs some kilobytes besides what it keeps. */
const MOST_KEPT = 10_000;
/** So often it is looked who has gone for too long, at most; and in a quarter of what that is, at least. */
const LONGEST_SWEEP_MS = 1_000;

export class KeptAnswers {
  readonly #options: KeptAnswersOptions;
  readonly #ids = new StreamIds();
  /** By id. */
  readonly #findable = new Map<string, Entry>();
  readonly #named = new Map<string, Entry>();
  readonly #running = new Set<Entry>();
  /** Longest finished first. */
  readonly #finished = new Set<Entry>();
  readonly #memory: SharedMemory;
  #bytes = 0;
  #stopSweeping: (() => void) | undefined;

  constructor(options: KeptAnswersOptions) {
    this.#options = options;
    this.#memory = {
      hasFor: (bytes) => this.#hasFor(bytes),
      add: (bytes) => {
        this.#bytes += bytes;
      },
    };
  }

  /** Answers that are computed. */
  get running(): number {
    return this.#running.size;
  }

  /** All of them. */
  get count(): number {
    return this.#running.size + this.#finished.size;
  }

  /** Held by all of them. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Begins to compute an answer that is kept; undefined: there is no room for one more. */
  begin(owner: Owner, guise: Guise, name: RequestName | undefined, compute: Compute): KeptAnswer | undefined {
    if (!this.#hasPlace() || !this.#hasFor(1)) return undefined;
    const { bufferBytes, clock } = this.#options;
    const buffer = new ReplayBuffer(bufferBytes, this.#memory);
    const kept = new KeptAnswer(this.#ids.make(owner), guise, buffer, clock);
    const entry = { kept, name };
    this.#findable.set(kept.id, entry);
    if (name) this.#named.set(name.name, entry);
    this.#running.add(entry);
    this.#sweepLater();
    void compute(kept)
      .then(
        () => kept.end(),
        (thrown: unknown) => kept.end(toGatewayError(thrown)),
      )
      .then(() => this.#ended(entry));
    return kept;
  }

  /** Throws `not_found` for what this owner was never given, and `stream_gone` for what is kept no more. */
  find(id: string, owner: Owner): KeptAnswer {
    if (!this.#ids.isOf(id, owner)) {
      throw new GatewayError('not_found', 'There is no such stream, or this API key did not begin it.');
    }
    const entry = this.#findable.get(id);
    if (entry) return entry.kept;
    throw new GatewayError('stream_gone', 'This stream is no longer kept here: send the request anew.');
  }

  /** Throws `idempotency_mismatch` where the name was given to another request. */
  named({ name, fingerprint }: RequestName): KeptAnswer | undefined {
    const entry = this.#named.get(name);
    if (!entry || entry.name!.fingerprint === fingerprint) return entry?.kept;
    throw new GatewayError(
      'idempotency_mismatch',
      'Idempotency-Key was sent before with another request: a new request needs a new one.',
      { param: 'Idempotency-Key' },
    );
  }

  /** Nobody finds it any more, and its compute ends with the reason. Who reads it reads on to its end. */
  remove(kept: KeptAnswer, reason: GatewayError): void {
    const entry = this.#findable.get(kept.id);
    if (!entry) return;
    this.#findable.delete(kept.id);
    this.#cancel(entry, reason);
  }

  /** Ends all of them. */
  close(): void {
    const reason = new GatewayError('cancelled', 'The server is closing.');
    for (const entry of this.#running) this.#cancel(entry, reason);
    this.#stopSweeping?.();
    this.#stopSweeping = undefined;
  }

  #ended(entry: Entry): void {
    const { kept } = entry;
    this.#running.delete(entry);
    this.#finished.add(entry);
    // What has said nothing is no answer: who asks again gets another one.
    if (kept.failure && !kept.hasSpoken) this.#forgetName(entry);
  }

  /** What is not wanted to its end is no answer for who asks again. */
  #cancel(entry: Entry, reason: GatewayError): void {
    this.#forgetName(entry);
    entry.kept.cancel(reason);
  }

  #sweep(): void {
    const { clock, graceMs, keepMs } = this.#options;
    const now = clock.now();
    for (const entry of this.#running) {
      if (entry.kept.isRead || now - entry.kept.unreadSince < graceMs) continue;
      this.#cancel(entry, new GatewayError('cancelled', `Nobody read this answer for ${graceMs / 1000} s.`));
    }
    for (const entry of this.#finished) {
      const isFindable = this.#findable.has(entry.kept.id);
      if (isFindable && now - entry.kept.endedAt! < keepMs) continue;
      if (!entry.kept.isRead) this.#drop(entry);
    }
    if (this.count > 0) this.#sweepLater();
  }

  /** One timer for all of them, and none where there are none. */
  #sweepLater(): void {
    if (this.#stopSweeping) return;
    const { clock, graceMs, keepMs } = this.#options;
    this.#stopSweeping = clock.after(Math.min(LONGEST_SWEEP_MS, graceMs / 4, keepMs / 4), () => {
      this.#stopSweeping = undefined;
      this.#sweep();
    });
  }

  #hasPlace(): boolean {
    return this.count < MOST_KEPT || this.#dropOldest();
  }

  #hasFor(bytes: number): boolean {
    while (this.#bytes + bytes > this.#options.memoryBytes) if (!this.#dropOldest()) return false;
    return true;
  }

  /** Of the finished ones, the first that nobody reads; false: there is none. */
  #dropOldest(): boolean {
    for (const entry of this.#finished) {
      if (entry.kept.isRead) continue;
      this.#drop(entry);
      return true;
    }
    return false;
  }

  #drop(entry: Entry): void {
    this.#finished.delete(entry);
    this.#findable.delete(entry.kept.id);
    this.#forgetName(entry);
    entry.kept.buffer.clear();
  }

  #forgetName(entry: Entry): void {
    if (entry.name && this.#named.get(entry.name.name) === entry) this.#named.delete(entry.name.name);
  }
}
