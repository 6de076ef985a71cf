// A straight line through what was measured lately: how much each of a few causes adds to an effect, older samples counting
// less. No cause ever takes anything away, and where two always came together, each is taken for half of it.
// Pure: it knows no clock, and nothing of what it measures.

/**
 * How much every sum of squares is raised by: so little that it bends nothing that was measured apart, and enough to decide
 * between causes that were not (Hoerl and Kennard, "Ridge regression", 1970; relative to each cause's own size).
 */
const RIDGE = 1e-4;

/** Of a cause's products: less than that is rounding. */
const TOLERANCE = 1e-9;

/** Least squares with coefficients that are never negative, over a handful of causes: it tries the subsets of them. */
export class DecayedRegression {
  readonly #causes: number;
  /** Weighted sums of the products of each two causes, row by row. */
  readonly #squares: Float64Array;
  /** Weighted sums of each cause's products with the effect. */
  readonly #products: Float64Array;
  #solution: readonly number[];
  /** The causes that it counts, a bit each. */
  #subset = 0;
  #isSolved = true;

  /** `causes`: how many, a few at most: the work doubles with each. */
  constructor(causes: number) {
    this.#causes = causes;
    this.#squares = new Float64Array(causes * causes);
    this.#products = new Float64Array(causes);
    this.#solution = Array(causes).fill(0);
  }

  /** What was added so far counts only `factor` of what it did, above 0 and at most 1. */
  decay(factor: number): void {
    for (let index = 0; index < this.#squares.length; index += 1) this.#squares[index]! *= factor;
    for (let index = 0; index < this.#causes; index += 1) this.#products[index]! *= factor;
  }

  /** One measurement; `causes` are not negative. */
  add(causes: readonly number[], effect: number, weight: number): void {
    for (let row = 0; row < this.#causes; row += 1) {
      const weighted = causes[row]! * weight;
      this.#products[row]! += weighted * effect;
      for (let column = 0; column < this.#causes; column += 1) {
        this.#squares[row * this.#causes + column]! += weighted * causes[column]!;
      }
    }
    this.#isSolved = false;
  }

  /** The effect that these causes have; 0 before anything was added. */
  at(causes: readonly number[]): number {
    const solution = this.#solve();
    let effect = 0;
    for (let index = 0; index < this.#causes; index += 1) effect += solution[index]! * causes[index]!;
    return effect;
  }

  #solve(): readonly number[] {
    if (this.#isSolved) return this.#solution;
    this.#isSolved = true;
    // One more sample hardly ever changes which causes count: then there is nothing to look for.
    const found = this.#solveFor(this.#subset);
    if (found && this.#isBest(found)) this.#solution = found;
    else this.#search();
    return this.#solution;
  }

  /**
   * None of the coefficients is negative, and none that is 0 would explain more if it were not: the conditions of Karush, Kuhn
   * and Tucker, which are enough, for the problem is convex.
   */
  #isBest(found: readonly number[]): boolean {
    for (let cause = 0; cause < this.#causes; cause += 1) {
      if (found[cause]! < 0) return false;
      if (found[cause]! > 0) continue;
      const product = this.#products[cause]!;
      let explained = 0;
      for (let other = 0; other < this.#causes; other += 1)
        explained += this.#squares[cause * this.#causes + other]! * found[other]!;
      if (product - explained > TOLERANCE * product) return false;
    }
    return true;
  }

  /**
   * The best of all subsets whose coefficients are none of them negative: of those the one that explains most. None explains
   * more than one that it is a part of, so the larger ones come first, and a part of one that will do is not tried.
   */
  #search(): void {
    let most = 0;
    this.#subset = 0;
    this.#solution = Array(this.#causes).fill(0);
    const tried: number[] = [];
    // Whatever a subset is a part of is a larger number.
    for (let subset = 2 ** this.#causes - 1; subset > 0; subset -= 1) {
      if (tried.some((larger) => (subset & larger) === subset)) continue;
      const found = this.#solveFor(subset);
      if (!found || found.some((coefficient) => coefficient < 0)) continue;
      tried.push(subset);
      const explained = found.reduce(
        (sum, coefficient, index) => sum + coefficient * this.#products[index]!,
        0,
      );
      if (explained <= most) continue;
      most = explained;
      this.#subset = subset;
      this.#solution = found;
    }
  }

  /** The normal equations of some of the causes, those whose bit is set; the others are 0. Undefined: one was never there. */
  #solveFor(subset: number): number[] | undefined {
    const members: number[] = [];
    for (let cause = 0; cause < this.#causes; cause += 1) {
      if ((subset & (1 << cause)) === 0) continue;
      if (this.#squares[cause * (this.#causes + 1)] === 0) return undefined;
      members.push(cause);
    }
    const rows = members.map((row) => [
      ...members.map(
        (column) => this.#squares[row * this.#causes + column]! * (row === column ? 1 + RIDGE : 1),
      ),
      this.#products[row]!,
    ]);
    const values = solveLinear(rows);
    if (!values) return undefined;
    const found: number[] = Array(this.#causes).fill(0);
    for (const [index, cause] of members.entries()) found[cause] = values[index]!;
    return found;
  }
}

/**
 * Gauss's elimination, in place: each row is an equation's factors and then its right side. The factors are positive
 * definite, so no rows need to be exchanged; undefined: they are not.
 */
function solveLinear(rows: number[][]): number[] | undefined {
  const size = rows.length;
  for (let pivot = 0; pivot < size; pivot += 1) {
    const row = rows[pivot]!;
    if (!(row[pivot]! > 0)) return undefined;
    for (const other of rows.slice(pivot + 1)) {
      const factor = other[pivot]! / row[pivot]!;
      for (let column = pivot; column <= size; column += 1) other[column]! -= factor * row[column]!;
    }
  }
  const values: number[] = Array(size).fill(0);
  for (let index = size - 1; index >= 0; index -= 1) {
    const row = rows[index]!;
    let rest = row[size]!;
    for (let column = index + 1; column < size; column += 1) rest -= row[column]! * values[column]!;
    values[index] = rest / row[index]!;
  }
  return values;
}
