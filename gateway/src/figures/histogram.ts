// Millions of samples in a few hundred counters: for quantiles of what is too much to keep. Values are told to within one
// percent (as HdrHistogram does it, with buckets that grow by a factor).

/** From one bucket to the next. */
const GROWTH = 1.01;
const LOG_GROWTH = Math.log(GROWTH);
/** What is smaller counts as this. */
const LEAST = 1e-3;

export class Histogram {
  /** By bucket: as many as there are powers of the growth between the values. */
  readonly #counts = new Map<number, number>();
  #total = 0;
  #most = 0;

  get count(): number {
    return this.#total;
  }

  /** The largest value; exact. */
  get most(): number {
    return this.#most;
  }

  add(value: number, count = 1): void {
    const bucket = Math.round(Math.log(Math.max(value, LEAST)) / LOG_GROWTH);
    this.#counts.set(bucket, (this.#counts.get(bucket) ?? 0) + count);
    this.#total += count;
    if (value > this.#most) this.#most = value;
  }

  /** The least value that this part of the samples does not exceed; no number where there are none. */
  quantile(q: number): number {
    const wanted = q * this.#total;
    let seen = 0;
    for (const bucket of [...this.#counts.keys()].sort((a, b) => a - b)) {
      seen += this.#counts.get(bucket)!;
      if (seen >= wanted) return Math.min(Math.exp(bucket * LOG_GROWTH), this.#most);
    }
    return Number.NaN;
  }
}
