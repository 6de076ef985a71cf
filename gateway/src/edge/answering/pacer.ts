// A stream's events for its writer, evenly: it stands between the log and the writer where a model asks for it, and is not
// there otherwise. What goes when is paced-queue.ts's; here is the one timer. It reads on only while its own reader waits,
// so a client that stops reading fills the log, which has a bound, and not this.
import type { TokenEvent } from '../../core/chat.ts';
import type { Clock } from '../../core/clock.ts';
import { PacedQueue } from './paced-queue.ts';
import type { EventSource } from './stream-writer.ts';

type Result = IteratorResult<TokenEvent, undefined>;

const DONE: Result = { value: undefined, done: true };

export class Pacer implements EventSource {
  readonly #log: EventSource;
  readonly #clock: Clock;
  readonly #queue = new PacedQueue(isText);
  #events: AsyncIterableIterator<TokenEvent, undefined> | undefined;
  #isAsking = false;
  #waiting: { resolve(result: Result): void; reject(error: unknown): void } | undefined;
  /** The log has ended; with an error, it failed. */
  #ending: { readonly error?: unknown } | undefined;
  #cancelTimer = () => {};

  constructor(log: EventSource, clock: Clock) {
    this.#log = log;
    this.#clock = clock;
  }

  /** As the log's: one reader, whose leaving cancels at once. */
  read(): AsyncIterableIterator<TokenEvent, undefined> {
    const events = this.#log.read();
    this.#events = events;
    const cursor: AsyncIterableIterator<TokenEvent, undefined> = {
      [Symbol.asyncIterator]: () => cursor,
      next: () => this.#next(),
      return: () => {
        this.#cancelTimer();
        this.#waiting?.resolve(DONE);
        this.#waiting = undefined;
        return events.return!();
      },
    };
    return cursor;
  }

  takeReady(): TokenEvent | undefined {
    return this.#queue.take(this.#clock.now());
  }

  #next(): Promise<Result> {
    // What is in the log although nobody asked came while the client took nothing: it has waited long enough.
    const missed = this.#isAsking ? [] : this.#rest();
    if (missed.length > 0) {
      this.#queue.add(missed, this.#clock.now());
      this.#queue.letGo();
    }
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#serve();
    });
  }

  /** Gives the waiting reader what it may have, or sees to it that it gets it in time. */
  #serve(): void {
    this.#cancelTimer();
    if (!this.#waiting) return;
    const { resolve, reject } = this.#waiting;
    const event = this.takeReady();
    if (!event && (this.#queue.length > 0 || !this.#ending)) {
      this.#wait();
      return;
    }
    this.#waiting = undefined;
    if (event) resolve({ value: event, done: false });
    else if (this.#ending?.error === undefined) resolve(DONE);
    else reject(this.#ending.error);
  }

  #wait(): void {
    const { nextAt } = this.#queue;
    if (nextAt !== undefined) {
      this.#cancelTimer = this.#clock.after(Math.max(0, nextAt - this.#clock.now()), () => this.#serve());
    }
    if (this.#isAsking || this.#ending) return;
    this.#isAsking = true;
    this.#events!.next().then(
      (result) => this.#came(result),
      (error: unknown) => this.#end({ error }),
    );
  }

  #came(result: Result): void {
    this.#isAsking = false;
    if (result.done) {
      this.#end({});
      return;
    }
    this.#queue.add([result.value, ...this.#rest()], this.#clock.now());
    this.#serve();
  }

  #end(ending: { readonly error?: unknown }): void {
    this.#isAsking = false;
    this.#ending = ending;
    this.#queue.letGo();
    this.#serve();
  }

  #rest(): TokenEvent[] {
    const events: TokenEvent[] = [];
    for (let event = this.#log.takeReady(); event; event = this.#log.takeReady()) events.push(event);
    return events;
  }
}

/** What is read as it comes; a tool's call is worth nothing before it is whole, and an end waits for nobody. */
function isText({ type }: TokenEvent): boolean {
  return type === 'text-delta' || type === 'reasoning-delta';
}
