// How many tokens of a prompt to evaluate in one go: as many as fit the time that running streams, or a cancel, may wait.
// It must never read a clock: times are passed in.
// Pure.

/** Sizes that evaluate well. Between 32 and 64 a slice costs more than one of 64: ggml's fast attention begins there. */
const SIZES = [512, 256, 128, 64, 32, 16] as const;
const EFFICIENT = 64;

/** Below this a slice says too little. */
const LEAST_TOKENS = 12;

/**
 * What a token costs in a slice of so many, relative to one of 64 or more. Measured on two CPUs (SmolLM2-135M, Q8_0, one
 * thread, 320 tokens of context): 1.2 to 1.4 up to 32, 1.4 to 1.6 up to 63; 0.8 to 1.1 from 64 to 256.
 */
function relativeCost(tokens: number): number {
  if (tokens <= 32) return 1.25;
  return tokens < EFFICIENT ? 1.5 : 1;
}

/** Nothing runs: only a cancel, or a newcomer, waits for the slice to end. */
const IDLE_SECONDS = 0.5;
/** Before anything was measured. */
const FIRST = 64;
/** A prompt's whole rest, or 64 tokens, may take a little more than there is time: less at once is dearer in sum. */
const SLACK = 1.1;
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

  /** Tokens for the next slice, of the `rest` that a prompt has left; `busy`: streams are running. */
  next(busy: boolean, rest: number): number {
    const perToken = this.secondsPerToken.value;
    if (perToken === undefined) return Math.min(rest, FIRST);
    const seconds = busy ? this.busySeconds - (this.decodeSeconds.value ?? 0) : IDLE_SECONDS;
    const fits = (tokens: number, slack: number) =>
      tokens * relativeCost(tokens) * perToken <= seconds * slack;
    if (rest <= SIZES[0] && fits(rest, SLACK)) return rest;
    const size = SIZES.find((size) => size < rest && fits(size, size === EFFICIENT ? SLACK : 1));
    return size ?? Math.min(rest, busy ? SIZES[SIZES.length - 1]! : EFFICIENT);
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
