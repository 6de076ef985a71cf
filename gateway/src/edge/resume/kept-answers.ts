// The answers that are kept: by their ids, and by the names that clients gave to their requests. It holds the bounds: how long
// a running answer may be without a reader, how long a finished one stays, and how much memory all of them take. Where room is
// short a finished answer goes of whoever holds most: nobody loses one for somebody who would then hold more.
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
  readonly share: Share;
}

/** What is kept for one key. */
interface Share {
  readonly owner: string;
  bytes: number;
  /** Of the running ones and the finished ones. */
  count: number;
  /** Longest finished first. */
  readonly finished: Set<Entry>;
}

/** What there is a bound of. */
type Measure = 'bytes' | 'count';

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
  /** By owner: of those who have something here. */
  readonly #shares = new Map<string, Share>();
  #count = 0;
  #bytes = 0;
  #stopSweeping: (() => void) | undefined;

  constructor(options: KeptAnswersOptions) {
    this.#options = options;
  }

  /** Answers that are computed. */
  get running(): number {
    return this.#running.size;
  }

  /** All of them. */
  get count(): number {
    return this.#count;
  }

  /** Held by all of them. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Begins to compute an answer that is kept; undefined: there is no room for one more. */
  begin(owner: Owner, guise: Guise, name: RequestName | undefined, compute: Compute): KeptAnswer | undefined {
    const share = this.#shareOf(owner);
    if (!this.#hasPlace(share) || !this.#hasFor(1, share)) return undefined;
    const { bufferBytes, clock } = this.#options;
    const buffer = new ReplayBuffer(bufferBytes, this.#memoryOf(share));
    const kept = new KeptAnswer(this.#ids.make(owner), guise, buffer, clock);
    const entry = { kept, name, share };
    this.#findable.set(kept.id, entry);
    if (name) this.#named.set(name.name, entry);
    this.#running.add(entry);
    this.#shares.set(share.owner, share);
    share.count += 1;
    this.#count += 1;
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
    const { kept, share } = entry;
    this.#running.delete(entry);
    share.finished.add(entry);
    // What has said nothing is no answer: who asks again gets another one.
    if (kept.failure && !kept.hasSpoken) this.#forgetName(entry);
    // What came in one piece that is larger than an answer may be is for who waits for it, and for nobody who comes later.
    if (!kept.guise.isNumbered && kept.buffer.bytes > this.#options.bufferBytes) this.#hide(entry);
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
    for (const { finished } of this.#shares.values()) {
      for (const entry of finished) {
        const isFindable = this.#findable.has(entry.kept.id);
        if (isFindable && now - entry.kept.endedAt! < keepMs) continue;
        if (!entry.kept.isRead) this.#drop(entry);
      }
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

  #shareOf({ digest }: Owner): Share {
    const owner = digest.toString('base64');
    return this.#shares.get(owner) ?? { owner, bytes: 0, count: 0, finished: new Set() };
  }

  #memoryOf(share: Share): SharedMemory {
    return {
      hasFor: (bytes) => this.#hasFor(bytes, share),
      add: (bytes) => {
        share.bytes += bytes;
        this.#bytes += bytes;
      },
    };
  }

  #hasPlace(asker: Share): boolean {
    return this.count < MOST_KEPT || this.#dropFor(asker, 'count', 1);
  }

  #hasFor(bytes: number, asker: Share): boolean {
    while (this.#bytes + bytes > this.#options.memoryBytes) {
      if (!this.#dropFor(asker, 'bytes', bytes)) return false;
    }
    return true;
  }

  /**
   * Drops a finished answer that nobody reads, the oldest of who holds most: of the asker, or of one who holds more than
   * the asker will with `more`. False: there is none.
   */
  #dropFor(asker: Share, measure: Measure, more: number): boolean {
    let found: Entry | undefined;
    for (const share of this.#shares.values()) {
      if (share !== asker && share[measure] <= asker[measure] + more) continue;
      if (found && share[measure] <= found.share[measure]) continue;
      found = firstUnread(share) ?? found;
    }
    if (found) this.#drop(found);
    return found !== undefined;
  }

  #drop(entry: Entry): void {
    const { kept, share } = entry;
    this.#hide(entry);
    kept.buffer.clear();
    share.finished.delete(entry);
    share.count -= 1;
    this.#count -= 1;
    if (share.count === 0) this.#shares.delete(share.owner);
  }

  /** Nobody finds it any more. */
  #hide(entry: Entry): void {
    this.#findable.delete(entry.kept.id);
    this.#forgetName(entry);
  }

  #forgetName(entry: Entry): void {
    if (entry.name && this.#named.get(entry.name.name) === entry) this.#named.delete(entry.name.name);
  }
}

function firstUnread({ finished }: Share): Entry | undefined {
  for (const entry of finished) if (!entry.kept.isRead) return entry;
  return undefined;
}
