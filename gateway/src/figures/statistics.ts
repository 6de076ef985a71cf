// The few figures that samples are told by.

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** By linear interpolation between the two nearest. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (sorted.length - 1) * q;
  const low = sorted[Math.floor(at)] ?? Number.NaN;
  const high = sorted[Math.ceil(at)] ?? Number.NaN;
  return low + (high - low) * (at - Math.floor(at));
}

/** A middle value and how far the rounds were apart: what is told of every figure that was taken more than once. */
export interface Spread {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

export function spreadOf(values: readonly number[], digits = 0): Spread {
  return {
    median: rounded(median(values), digits),
    least: rounded(Math.min(...values), digits),
    most: rounded(Math.max(...values), digits),
  };
}

export function rounded(value: number, digits = 2): number {
  return Number(value.toFixed(digits));
}
