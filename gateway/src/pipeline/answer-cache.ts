// Whole answers that are given again to who asks the same: exact, for a time, up to a bound of memory.
// It must never keep what was not whole, and never know whose answer it is: that is the key's.
import { LRUCache } from 'lru-cache';
import type { FinishReason, Usage } from '../core/chat.ts';
import type { Clock } from '../core/clock.ts';
import type { AnswerCachePolicy } from '../core/world.ts';
import type { Recorded } from './recording.ts';

export interface KeptAnswer extends Recorded {
  readonly usage: Usage;
  /** The id of who made it. */
  readonly backend: string | undefined;
}

/** A key, and the objects around an answer. */
const ENTRY_BYTES = 512;
/** An answer that was filtered may be another one next time. */
const KEPT_ENDS: ReadonlySet<FinishReason> = new Set(['stop', 'length', 'tool_calls']);

export class AnswerCache {
  readonly #answers: LRUCache<string, KeptAnswer>;

  constructor({ ttlMs, maxBytes }: AnswerCachePolicy, clock: Clock) {
    this.#answers = new LRUCache({
      maxSize: maxBytes,
      sizeCalculation: ({ bytes }) => ENTRY_BYTES + bytes,
      ttl: ttlMs,
      ttlResolution: 0,
      perf: clock,
    });
  }

  get(key: string): KeptAnswer | undefined {
    return this.#answers.get(key);
  }

  /** Keeps it if it came to a good end, and is not larger than everything that may be kept. */
  keep(key: string, answer: KeptAnswer): void {
    const ends = answer.events.filter((event) => event.type === 'choice-end');
    if (ends.length === 0 || !ends.every(({ reason }) => KEPT_ENDS.has(reason))) return;
    // Texts that were joined piece by piece are trees of pieces in memory; a copy is as large as it is told to be.
    this.#answers.set(key, { ...answer, events: structuredClone(answer.events) });
  }
}
