// A limit that stays as it is, whatever becomes of the calls.
// Pure.
import type { ConcurrencyLimit } from './concurrency-limit.ts';

/** `value`: whole, at least 1; absent: the back end's slots are limit enough. */
export function fixedLimit(value = Number.POSITIVE_INFINITY): ConcurrencyLimit {
  return { value, sampled: () => {} };
}
