// How unevenly calls arrive: the squared coefficient of variation of the times between them, later ones counting more. 0 is
// a metronome, 1 chance, more are bursts.
// Pure: it knows no clock.

/** After so many arrivals the older ones count half. */
const DECAY = 0.5 ** (1 / 50);
/** Before so many nothing is known: chance. */
const LEAST_GAPS = 10;
/** One night between two bursts must not frighten anybody for the whole next day. */
const MOST = 10;

export class Burstiness {
  #arrivedAt: number | undefined;
  #gaps = 0;
  #weight = 0;
  #sum = 0;
  #squares = 0;

  /** `at`: in ms on one clock that never goes back. */
  arrived(at: number): void {
    const last = this.#arrivedAt;
    this.#arrivedAt = at;
    if (last === undefined) return;
    const gapMs = at - last;
    this.#gaps += 1;
    this.#weight = this.#weight * DECAY + 1;
    this.#sum = this.#sum * DECAY + gapMs;
    this.#squares = this.#squares * DECAY + gapMs * gapMs;
  }

  /** From 0 to 10. */
  get variation(): number {
    if (this.#gaps < LEAST_GAPS || this.#sum === 0) return 1;
    return Math.min(MOST, Math.max(0, (this.#squares * this.#weight) / (this.#sum * this.#sum) - 1));
  }
}
