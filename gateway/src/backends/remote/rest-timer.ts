// Waits for a rest to be over. A timer of Node may run a moment too soon by the clock that the rest is counted on; then what is
// left is waited for, or whoever is told would find the rest still going on, and would not be told again.

export class RestTimer {
  #timer: NodeJS.Timeout | undefined;

  /** Calls `over` once, as soon as `leftMs` is 0; what was waited for before is forgotten. Never keeps the process alive. */
  start(leftMs: () => number, over: () => void): void {
    this.stop();
    const look = () => {
      if (leftMs() > 0) this.start(leftMs, over);
      else over();
    };
    this.#timer = setTimeout(look, leftMs() + 1).unref();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
