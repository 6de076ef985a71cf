// An answer's events for those who read them later: what came in many pieces is kept in few.
// It must never change what a reader makes of them, nor keep what only a back end can use.
import { isDelta, type TokenEvent } from '../core/chat.ts';
import { bytesOf } from './stream-log.ts';

/** UTF-16 units in one event: above them the next piece begins another. */
const MOST_UNITS = 4 * 1024;
/** The same for tokens that are told with their probabilities. */
const MOST_LOGPROBS = 64;
/** Estimated, of one answer: more than 8,192 tokens have as text, and a bound on what a mad back end can make us hold. */
const MOST_BYTES = 4 * 1024 * 1024;

/** Events in order, without `finish`, which is the reader's own. */
export interface Recorded {
  readonly events: readonly TokenEvent[];
  /** Their memory, estimated. */
  readonly bytes: number;
}

export class Recording {
  #events: TokenEvent[] = [];
  #bytes = 0;
  #hasWords = false;
  #isOverfull = false;

  /** In order, without `finish`, which is the reader's own. Undefined: they were more than are kept. */
  get events(): readonly TokenEvent[] | undefined {
    return this.#isOverfull ? undefined : this.#events;
  }

  /** Their memory, estimated. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether there was more than who speaks. */
  get hasWords(): boolean {
    return this.#hasWords;
  }

  add(event: TokenEvent): void {
    if (event.type === 'start') {
      // Who announced itself and then said nothing is not who speaks.
      if (!this.#hasWords) this.#put(0, event);
      return;
    }
    this.#hasWords = true;
    if (this.#isOverfull) return;
    const joined = join(this.#events.at(-1), event);
    if (joined) this.#put(this.#events.length - 1, joined);
    else this.#put(this.#events.length, isDelta(event) ? { ...event, tokens: undefined } : event);
    if (this.#bytes <= MOST_BYTES) return;
    this.#isOverfull = true;
    this.#events = [];
    this.#bytes = 0;
  }

  /** At the last place, or behind it. */
  #put(place: number, event: TokenEvent): void {
    const before = this.#events[place];
    this.#bytes += bytesOf(event) - (before ? bytesOf(before) : 0);
    this.#events[place] = event;
  }
}

/** The two as one, if they are pieces of the same thing and it does not get too large. */
function join(a: TokenEvent | undefined, b: TokenEvent): TokenEvent | undefined {
  if (!a || !isDelta(a) || !isDelta(b) || a.choice !== b.choice) return undefined;
  if (a.type === 'tool-call-delta') {
    // Later pieces of a call have only its index.
    if (b.type !== a.type || b.index !== a.index || b.id !== undefined || b.name !== undefined)
      return undefined;
    return fits(a.arguments, b.arguments) ? { ...a, arguments: a.arguments + b.arguments } : undefined;
  }
  if (b.type === 'tool-call-delta' || a.type !== b.type || !fits(a.text, b.text)) return undefined;
  if (a.type === 'reasoning-delta' || b.type === 'reasoning-delta') return { ...a, text: a.text + b.text };
  const logprobs = [...(a.logprobs ?? []), ...(b.logprobs ?? [])];
  if (logprobs.length > MOST_LOGPROBS) return undefined;
  return { ...a, text: a.text + b.text, ...((a.logprobs ?? b.logprobs) && { logprobs }) };
}

function fits(a: string, b: string): boolean {
  return a.length + b.length <= MOST_UNITS;
}
