// Time as something that is handed in, so that what depends on it can be tested without waiting.

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
