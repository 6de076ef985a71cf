// How many prompt tokens to evaluate in one go: as many as fit the time that running streams, or a cancel, may wait.
// It must never read a clock: times are passed in.
// Pure.

/** 32 is not among them: with flash attention ggml has a fast path from 64 rows on, and 32 cost as much as 64. */
const SIZES = [16, 64, 128, 256, 512] as const;

/**
 * What a token costs in a slice of 16, relative to one of 64 or more. Measured on a CPU (SmolLM2-135M, Q4_1, one
 * thread): 1.2 to 2.7 at 0 to 3,000 tokens of context.
 */
const SMALL_COST = 1.8;

/** A slice and the batch of running streams after it together: well under the 500 ms that count as a stutter. */
const BUSY_SECONDS = 0.4;
/** Nothing runs: only a cancel, or a newcomer, waits for the slice to end. */
const IDLE_SECONDS = 0.5;
/** Before anything was measured. */
const FIRST = 64;
/** Contexts grow and machines get busy: new figures soon count more than old ones. */
const WEIGHT = 0.5;

export class SlicePacer {
  /** Of a token in a large slice. */
  private secondsPerToken: number | undefined;
  private decodeSeconds = 0;

  /** Tokens for the next slice; `busy`: streams are running. */
  next(busy: boolean): number {
    if (this.secondsPerToken === undefined) return FIRST;
    const budget = busy ? BUSY_SECONDS - this.decodeSeconds : IDLE_SECONDS;
    let best: number = busy ? SIZES[0] : SIZES[1];
    for (const size of SIZES) if (size >= best && size * this.secondsPerToken <= budget) best = size;
    return best;
  }

  /** Slices of odd lengths, a prompt's last ones, say too little and are left out. */
  prefilled(tokens: number, seconds: number): void {
    if (!SIZES.some((size) => size === tokens)) return;
    const perToken = seconds / tokens / (tokens === SIZES[0] ? SMALL_COST : 1);
    this.secondsPerToken = mix(this.secondsPerToken ?? perToken, perToken);
  }

  /** One batch of running streams' next tokens. */
  decoded(seconds: number): void {
    this.decodeSeconds = mix(this.decodeSeconds, seconds);
  }
}

function mix(before: number, now: number): number {
  return before + (now - before) * WEIGHT;
}
