// How long will the answer be? As long as the last ones of its model and tenant were, and never longer than it may be.
// It must never hold more than a bounded number of pairs.

/** Weight of the newest answer in the mean. */
const SMOOTHING = 0.1;
/** Pairs of model and tenant; who was asked for longest ago is forgotten first. */
const MOST_PAIRS = 10_000;

export class OutputEstimates {
  /** Mean tokens of an answer, by the pair; in the order in which they were last finished. */
  readonly #means = new Map<string, number>();

  /** Output tokens that a call may be expected to take, of at most `most`; `most` itself where nothing is known. */
  expected(model: string, tenant: string, most: number): number {
    const mean = this.#means.get(pairOf(model, tenant));
    return mean === undefined ? most : Math.min(most, Math.ceil(mean));
  }

  /** A call has ended in a whole answer of so many tokens. */
  finished(model: string, tenant: string, outputTokens: number): void {
    const pair = pairOf(model, tenant);
    const mean = this.#means.get(pair) ?? outputTokens;
    this.#means.delete(pair);
    this.#means.set(pair, mean + SMOOTHING * (outputTokens - mean));
    if (this.#means.size <= MOST_PAIRS) return;
    for (const oldest of this.#means.keys()) {
      this.#means.delete(oldest);
      return;
    }
  }
}

/** Two pairs of one name, which line breaks in names could make, would only share a mean. */
function pairOf(model: string, tenant: string): string {
  return `${model}\n${tenant}`;
}
