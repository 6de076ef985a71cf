// How many prompt tokens to evaluate in one go: as many as fit the time that running streams, or a cancel, may wait.
// It must never read a clock: times are passed in.
// Pure.

const SIZES = [16, 32, 64, 128, 256, 512] as const;

/**
 * What a token costs in a slice of that size, relative to a large one. Measured on a CPU (Q4_1, one thread): 12.3, 9.1
 * and 7.8 ms a token at 16, 32 and 64, and no less beyond: with flash attention ggml has a fast path from 64 rows on.
 */
const RELATIVE_COST: Readonly<Record<number, number>> = { 16: 1.55, 32: 1.2 };

/** Together with the batch of running streams that follows, this stays under a gap of 500 ms. */
const BUSY_SECONDS = 0.3;
/** Nothing runs: only a cancel, or a newcomer, waits for the slice to end. */
const IDLE_SECONDS = 0.5;
/** Before anything was measured. */
const FIRST_BUSY = 32;
const FIRST_IDLE = 64;
/** Contexts grow and machines get busy: new figures soon count more than old ones. */
const WEIGHT = 0.5;

export class SlicePacer {
  /** Of a token in a large slice. */
  private secondsPerToken: number | undefined;

  /** Tokens for the next slice; `busy`: streams are running. */
  next(busy: boolean): number {
    if (this.secondsPerToken === undefined) return busy ? FIRST_BUSY : FIRST_IDLE;
    const budget = busy ? BUSY_SECONDS : IDLE_SECONDS;
    let best: number = SIZES[0];
    for (const size of SIZES) {
      if (size * this.secondsPerToken * (RELATIVE_COST[size] ?? 1) <= budget) best = size;
    }
    return best;
  }

  /** Slices of odd lengths, a prompt's last ones, say too little and are left out. */
  took(tokens: number, seconds: number): void {
    if (!SIZES.some((size) => size === tokens)) return;
    const perToken = seconds / tokens / (RELATIVE_COST[tokens] ?? 1);
    const before = this.secondsPerToken ?? perToken;
    this.secondsPerToken = before + (perToken - before) * WEIGHT;
  }
}
