// An answer's events for those who read them later: what came in many pieces is kept in few.
// It must never change what a reader makes of them, nor keep what only a back end can use.
import { isDelta, type TokenEvent } from '../core/chat.ts';
import { bytesOf } from './stream-log.ts';

/** UTF-16 units in one event: above them the next piece begins another. */
const MOST_UNITS = 4 * 1024;
/** The same for tokens that are told with their probabilities. */
const MOST_LOGPROBS = 64;

export class Recording {
  readonly #events: TokenEvent[] = [];
  #bytes = 0;

  /** A `finish` is the reader's own. */
  get events(): readonly TokenEvent[] {
    return this.#events;
  }

  /** An estimate of its memory. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether it has more than who speaks. */
  get hasWords(): boolean {
    return this.#events.some(({ type }) => type !== 'start');
  }

  add(event: TokenEvent): void {
    if (event.type === 'start') {
      // Who announced itself and then said nothing is not who speaks.
      if (!this.hasWords) this.#events[0] = event;
      return;
    }
    const last = this.#events.at(-1);
    const joined = last && join(last, event);
    if (joined) {
      this.#bytes += bytesOf(joined) - bytesOf(last);
      this.#events[this.#events.length - 1] = joined;
      return;
    }
    const kept = isDelta(event) ? { ...event, tokens: undefined } : event;
    this.#bytes += bytesOf(kept);
    this.#events.push(kept);
  }
}

/** The two as one, if they are pieces of the same thing and it does not get too large. */
function join(a: TokenEvent, b: TokenEvent): TokenEvent | undefined {
  if (!isDelta(a) || !isDelta(b) || a.choice !== b.choice) return undefined;
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
  return { ...a, text: a.text + b.text, ...(logprobs.length > 0 && { logprobs }) };
}

function fits(a: string, b: string): boolean {
  return a.length + b.length <= MOST_UNITS;
}
