// Ends an exchange from our side: a clock, an answer that is over, a back end that is taken away. It is what an AbortController
// would be for one listener, which with its signal and their listeners takes a kilobyte of each open stream.

export class Brake {
  #onPull: ((reason: unknown) => void) | undefined;
  #pulled: { readonly reason: unknown } | undefined;

  /** Ends the exchange, which rejects with the reason. Only the first time counts. */
  pull(reason: unknown): void {
    if (this.#pulled) return;
    this.#pulled = { reason };
    this.#onPull?.(reason);
  }

  /** What is to be ended, which is one thing; at once where it was pulled before. */
  connect(onPull: (reason: unknown) => void): void {
    this.#onPull = onPull;
    if (this.#pulled) onPull(this.#pulled.reason);
  }
}
