// How far a prediction may be off: the last errors, told by their middle and their spread, and a margin over them that fewer than
// one in a hundred exceed. Medians, because a burst of the first minute, or a step that something else held up, must not make the
// next hour careful.
// Pure: it knows no clock, and nothing of what is predicted.

/** Errors that are looked back on. */
const MOST_ERRORS = 24;

/**
 * Errors over the margin may be 1 in 100: the promise is a P99. The margin follows by a step at every error, up where one was
 * over it and down where none was, 99 to 1: in the long run exactly that share is, whatever the errors' distribution and
 * however it shifts (Angelopoulos, Candès and Tibshirani, "Conformal PID control for time series prediction", 2023). By how
 * much one was over does not matter, so one accident moves it by one step.
 */
const MOST_OVER_SHARE = 0.01;
const STEP = 0.5;
/** In spreads, as the margin is: the 99th percentile of a normal distribution, 2.33 standard deviations of 1.48 spreads each. */
const FIRST_MARGIN = 3.45;
const MOST_MARGIN = 25;

/** An error of more than so many spreads is an accident, unless the one before it was one the same way. */
const MOST_SPREADS = 5;

export class ErrorMargin {
  /** In the order in which they came, and rising. */
  readonly #errors: number[] = [];
  readonly #sorted: number[] = [];
  /** The middle error, and the middle distance from it; that of those above it, for only what is too late must be allowed for. */
  #middle = 0;
  #spread = 0;
  #upperSpread = 0;
  /** In spreads. */
  #margin = FIRST_MARGIN;
  /** Which way the last accident pointed; 0: the last error was none. */
  #lastAccident = 0;

  /** 99 of 100 errors are no larger than this. Not below 0. */
  get above(): number {
    return Math.max(0, this.#middle + this.#margin * this.#upperSpread);
  }

  /**
   * Learns from an error, and returns what else may be learnt from it: an accident is cut to what is usual (pre-cleaning by a
   * bounded error: Gelper, Fried and Croux, "Robust forecasting with exponential and Holt-Winters smoothing", 2010). Two in a row
   * are none: they are taken as they are. `least`: an error up to this is never cut, since where all went evenly the spread is
   * next to nothing.
   */
  take(error: number, least: number): number {
    const isFirst = this.#errors.length === 0;
    if (!isFirst) {
      const isOver = error > this.above;
      const step = STEP * (isOver ? 1 - MOST_OVER_SHARE : -MOST_OVER_SHARE);
      this.#margin = Math.min(MOST_MARGIN, Math.max(0, this.#margin + step));
    }
    const most = Math.max(Math.abs(this.#middle) + MOST_SPREADS * this.#spread, least);
    const direction = Math.abs(error) > most ? Math.sign(error) : 0;
    const isAccident = direction !== 0 && direction !== this.#lastAccident && !isFirst;
    this.#lastAccident = direction;
    const learnt = isAccident ? direction * most : error;
    this.#errors.push(learnt);
    this.#sorted.splice(placeOf(this.#sorted, learnt), 0, learnt);
    if (this.#errors.length > MOST_ERRORS)
      this.#sorted.splice(placeOf(this.#sorted, this.#errors.shift()!), 1);
    this.#middle = middleOf(this.#sorted);
    this.#spread = middleDistance(this.#sorted, this.#middle);
    this.#upperSpread = middleOf(this.#sorted, this.#sorted.length >> 1) - this.#middle;
    return learnt;
  }
}

/** Of those from the index `from` on. */
function middleOf(sorted: readonly number[], from = 0): number {
  const length = sorted.length - from;
  const half = from + (length >> 1);
  return length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

/** Of the first that is not smaller. */
function placeOf(sorted: readonly number[], value: number): number {
  let place = 0;
  while (place < sorted.length && sorted[place]! < value) place += 1;
  return place;
}

/** The middle one of the distances from `middle`: from there both ways, the nearer one first, until half of them are seen. */
function middleDistance(sorted: readonly number[], middle: number): number {
  let right = placeOf(sorted, middle);
  let left = right - 1;
  let distance = 0;
  let before = 0;
  for (let seen = 0; seen <= sorted.length >> 1; seen += 1) {
    const below = left < 0 ? Infinity : middle - sorted[left]!;
    const above = right === sorted.length ? Infinity : sorted[right]! - middle;
    before = distance;
    distance = Math.min(below, above);
    if (below < above) left -= 1;
    else right += 1;
  }
  return sorted.length % 2 === 1 ? distance : (before + distance) / 2;
}
