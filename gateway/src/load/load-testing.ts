// What a client heard, for tests of what is made of it.
import type { Heard } from './streamed-request.ts';

/** A complete answer without words that was there at once, but for what is told in `more`. */
export function heardAt(sentAt: number, more: Partial<Heard> = {}): Heard {
  return {
    ending: 'complete',
    reason: undefined,
    message: undefined,
    status: 200,
    retryAfterMs: undefined,
    backend: undefined,
    sentAt,
    endedAt: sentAt,
    wordsAt: [],
    usage: undefined,
    ...more,
  };
}
