// Where values stand along one side of a picture, and which of them are written there: in equal steps, by their size, or
// by its logarithm.
// Pure.

export type Scale = 'linear' | 'log';

export interface Axis {
  /** 0 where the axis begins, 1 where it ends; no number for what has no place on it. */
  at(value: number): number;
  readonly ticks: readonly Tick[];
}

export interface Tick {
  readonly value: number;
  readonly label: string;
}

/** About so many values are written along an axis. */
const TICKS = 5;
/** A logarithmic axis over fewer powers of ten than this also names 2 and 5 times each. */
const FEW_DECADES = 2.5;
/** Of its end: an axis that would begin below this begins at 0. */
const NEAR_ZERO = 0.3;

/** From `least` to `most`, or a little beyond, by their size or its logarithm. */
export function axisOf(scale: Scale, least: number, most: number): Axis {
  return scale === 'log' ? logAxis(least, most) : linearAxis(least > most * NEAR_ZERO ? least : 0, most);
}

/** A place for each label; values are their indices. */
export function stepAxis(labels: readonly (string | number)[]): Axis {
  return {
    at: (index) => (index + 0.5) / labels.length,
    ticks: labels.map((label, index) => ({ value: index, label: String(label) })),
  };
}

/** From a round number at or below `least` to one at or above `most`. */
export function linearAxis(least: number, most: number): Axis {
  const span = most - least || most || 1;
  const step = niceStep(span / TICKS);
  const first = Math.floor(least / step);
  const last = Math.max(Math.ceil(most / step), first + 1);
  const ticks: Tick[] = [];
  for (let count = first; count <= last; count += 1) ticks.push(tickAt(count * step));
  return { at: (value) => (value / step - first) / (last - first), ticks };
}

/** What is not above 0 has no place on it. */
function logAxis(least: number, most: number): Axis {
  const from = Math.log10(least);
  const to = Math.log10(most);
  // A single value stands in the middle of its power of ten.
  const [low, high] = to - from > 1e-9 ? [from, to] : [Math.floor(from), Math.floor(from) + 1];
  const factors = high - low < FEW_DECADES ? [1, 2, 5] : [1];
  const ticks: Tick[] = [];
  for (let power = Math.floor(low); power <= high; power += 1) {
    for (const factor of factors) {
      const value = factor * 10 ** power;
      const place = Math.log10(value);
      if (place >= low - 1e-9 && place <= high + 1e-9) ticks.push(tickAt(value));
    }
  }
  return { at: (value) => (value > 0 ? (Math.log10(value) - low) / (high - low) : Number.NaN), ticks };
}

/** 1, 2 or 5 times a power of ten, not below `least`. */
function niceStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(least, 1e-9)));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= least)!;
}

function tickAt(value: number): Tick {
  return { value, label: numberText(value) };
}

/** As English writes it, with no more digits than anyone reads. */
export function numberText(value: number): string {
  const isTiny = Math.abs(value) < 0.01;
  return Number(value.toPrecision(6)).toLocaleString('en', isTiny ? { maximumSignificantDigits: 2 } : {});
}
