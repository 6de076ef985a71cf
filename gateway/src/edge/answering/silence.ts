// Tells of silences. One timer an answer, set again only when it fires: what is heard costs a look at the clock.
import type { Clock } from '../../core/clock.ts';

export class Silence {
  readonly #clock: Clock;
  readonly #limitMs: number;
  readonly #onSilent: () => void;
  #heardAt: number;
  #cancel: () => void;

  /** Calls `onSilent` when nothing was heard for `limitMs`, and again after as long, until it is stopped. */
  constructor(clock: Clock, limitMs: number, onSilent: () => void) {
    this.#clock = clock;
    this.#limitMs = limitMs;
    this.#onSilent = onSilent;
    this.#heardAt = clock.now();
    this.#cancel = clock.after(limitMs, this.#look);
  }

  heard(): void {
    this.#heardAt = this.#clock.now();
  }

  stop(): void {
    this.#cancel();
  }

  readonly #look = (): void => {
    const leftMs = this.#heardAt + this.#limitMs - this.#clock.now();
    const isSilent = leftMs <= 0;
    if (isSilent) this.heard();
    this.#cancel = this.#clock.after(isSilent ? this.#limitMs : leftMs, this.#look);
    if (isSilent) this.#onSilent();
  };
}
