// Time as something that is handed in, so that what depends on it can be tested without waiting.

// Not the global one, which is asked for through a getter each time.
import { performance } from 'node:perf_hooks';

export interface Clock {
  /** Monotonic, in ms. */
  now(): number;
  /** Runs `callback` once after `ms`; the returned function takes it back. Never keeps the process alive. */
  after(ms: number, callback: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  after(ms, callback) {
    const timer = setTimeout(callback, ms).unref();
    return () => clearTimeout(timer);
  },
};
