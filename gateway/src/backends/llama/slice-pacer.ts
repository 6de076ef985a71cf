// How many prompt tokens to evaluate in one go: as many as fit the time that running streams, or a cancel, may wait.
// It must never read a clock: times are passed in.
// Pure.

/** 32 is not among them: with flash attention ggml has a fast path from 64 rows on, and 32 cost as much as 64. */
const SIZES = [16, 64, 128, 256, 512] as const;

/** Below this a slice says too little. */
const LEAST_TOKENS = 12;

/**
 * What a token costs in a small slice, relative to one of 64 or more. Measured on a CPU (SmolLM2-135M, Q4_1, one
 * thread) at 0 to 3,000 tokens of context: 1.2 to 2.7 at 16, and 1.3 at 32 in the short contexts where such come.
 */
function relativeCost(tokens: number): number {
  if (tokens < 32) return 1.8;
  return tokens < 64 ? 1.2 : 1;
}

/** Nothing runs: only a cancel, or a newcomer, waits for the slice to end. */
const IDLE_SECONDS = 0.5;
/** Before anything was measured. */
const FIRST = 64;
/** Of the last so many: one step that was held up by something else must not make the next ones small and slow. */
const REMEMBERED = 3;

export class SlicePacer {
  private readonly busySeconds: number;
  /** Of a token in a large slice. */
  private readonly secondsPerToken = new Median();
  private readonly decodeSeconds = new Median();

  /** `busySeconds`: for a slice and the batch of running streams after it together. */
  constructor(busySeconds: number) {
    this.busySeconds = busySeconds;
  }

  /** Tokens for the next slice; `busy`: streams are running. */
  next(busy: boolean): number {
    const perToken = this.secondsPerToken.value;
    if (perToken === undefined) return FIRST;
    const budget = busy ? this.busySeconds - (this.decodeSeconds.value ?? 0) : IDLE_SECONDS;
    let best: number = busy ? SIZES[0] : SIZES[1];
    for (const size of SIZES) if (size >= best && size * perToken <= budget) best = size;
    return best;
  }

  prefilled(tokens: number, seconds: number): void {
    if (tokens < LEAST_TOKENS) return;
    this.secondsPerToken.add(seconds / tokens / relativeCost(tokens));
  }

  /** One batch of running streams' next tokens. */
  decoded(seconds: number): void {
    this.decodeSeconds.add(seconds);
  }
}

/** The middle one of the last few values. */
class Median {
  private readonly last: number[] = [];

  add(value: number): void {
    this.last.push(value);
    if (this.last.length > REMEMBERED) this.last.shift();
  }

  /** Undefined before there was any. */
  get value(): number | undefined {
    return this.last.toSorted((a, b) => a - b)[this.last.length >> 1];
  }
}
