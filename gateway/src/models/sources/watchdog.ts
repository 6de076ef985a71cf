// A limit on silence: the signal that it gives aborts when nothing was heard for too long, or when the caller aborts.
// It never decides what silence means: the error that it aborts with is given.

export interface Watchdog extends Disposable {
  readonly signal: AbortSignal;
  /** Something was heard: the time starts anew. */
  touch(): void;
}

/** `limitMs` is the longest silence in milliseconds; `silence` makes the reason of the abort. */
export function createWatchdog(outer: AbortSignal, limitMs: number, silence: () => Error): Watchdog {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(silence()), limitMs);
  return {
    signal: AbortSignal.any([outer, controller.signal]),
    touch: () => {
      timer.refresh();
    },
    [Symbol.dispose]: () => clearTimeout(timer),
  };
}
