// How long will the answer be? As long as the last ones of its model and tenant were, and never longer than it may be.
// It must never hold more than a bounded number of pairs.

/** Weight of the newest answer in the mean. */
const SMOOTHING = 0.1;
/** Pairs of tenant and model; of the tenant that was answered longest ago, its model of longest ago is forgotten first. */
const MOST_PAIRS = 10_000;

export class OutputEstimates {
  /**
   * Mean tokens of an answer, by tenant and then by model, both in the order in which they were last answered. The names are looked up
   * as they are: one text made of them would have to be hashed anew for every call.
   */
  readonly #means = new Map<string, Map<string, number>>();
  #pairs = 0;

  /** Output tokens that a call may be expected to take, of at most `most`; `most` itself where nothing is known. */
  expected(model: string, tenant: string, most: number): number {
    const mean = this.#means.get(tenant)?.get(model);
    return mean === undefined ? most : Math.min(most, Math.ceil(mean));
  }

  /** A call has ended in a whole answer of so many tokens. */
  finished(model: string, tenant: string, outputTokens: number): void {
    const means = this.#means.get(tenant) ?? new Map<string, number>();
    const mean = means.get(model);
    means.delete(model);
    means.set(model, mean === undefined ? outputTokens : mean + SMOOTHING * (outputTokens - mean));
    if (mean === undefined) this.#pairs += 1;
    this.#means.delete(tenant);
    this.#means.set(tenant, means);
    if (this.#pairs > MOST_PAIRS) this.#forgetOldest();
  }

  #forgetOldest(): void {
    for (const [tenant, means] of this.#means) {
      for (const model of means.keys()) {
        means.delete(model);
        this.#pairs -= 1;
        if (means.size === 0) this.#means.delete(tenant);
        return;
      }
    }
  }
}
